"""All that describes us as an npm-style FHIR package, which a server or a validator loads.

https://confluence.hl7.org/display/FHIR/NPM+Package+Specification: a folder `package` with `package.json`, `.index.json`
and a file for each resource; examples in `package/example`.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.about import PUBLISHER
from service.definitions.profiles import PROFILES
from service.packs.forms import bound_to
from service.packs.model import Pack

_INDEXED = ("url", "version", "kind", "type", "derivation")
_DEPENDENCIES = {"hl7.fhir.r4.core": "4.0.1", "hl7se.fhir.base": "1.0.0"}


def package_name(pack: Pack) -> str:
    """`sluss.ikbt.{pack}`"""
    return f"sluss.ikbt.{pack.name}"


def package_files(
    pack: Pack, canonical: Canonical, resources: Iterable[Json], examples: Iterable[Json]
) -> dict[str, Json]:
    """The package's files by path: its description, the index and the resources of both folders. Examples claim our
    profiles.
    """
    files: dict[str, Json] = {
        "package/package.json": {
            "name": package_name(pack),
            "version": pack.version,
            "title": pack.title,
            "description": f"Remisser till IKBT: {pack.title}",
            "author": PUBLISHER,
            "type": "Conformance",
            "canonical": canonical.base,
            "fhirVersions": ["4.0.1"],
            "dependencies": _DEPENDENCIES,
        }
    }
    claimed = [_with_profile(bound_to(example, canonical.base), canonical) for example in examples]
    for folder, written in (("package", list(resources)), ("package/example", claimed)):
        names = {f"{one['resourceType']}-{one['id']}.json": one for one in written}
        files[f"{folder}/.index.json"] = {
            "index-version": 2,
            "files": [_indexed(name, one) for name, one in names.items()],
        }
        files |= {f"{folder}/{name}": one for name, one in names.items()}
    return files


def tarball(files: Mapping[str, Json]) -> bytes:
    """The package as `.tgz`; the same files always give the same bytes."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for path, content in sorted(files.items()):
            data = as_text(content).encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(tar.getvalue(), mtime=0)


def as_text(content: Json) -> str:
    """A file's JSON, for people and machines."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def examples_in(folder: Path) -> list[Json]:
    """The example resources of a pack, by file name; `{S}` in them stands for the canonical base."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "examples").glob("*.json"))]


def _indexed(name: str, resource: Json) -> Json:
    told = {key: resource[key] for key in _INDEXED if isinstance(resource.get(key), str)}
    return {"filename": name, "resourceType": resource["resourceType"], "id": resource["id"], **told}


def _with_profile(example: Json, canonical: Canonical) -> Json:
    if not _is_ours(example):
        return example
    meta = example.get("meta", {})
    profiles = [*meta.get("profile", ()), canonical.profile(PROFILES[example["resourceType"]])]
    return {
        "resourceType": example["resourceType"],
        "id": example["id"],
        **example,
        "meta": {**meta, "profile": profiles},
    }


def _is_ours(example: Json) -> bool:
    """Whether one of our profiles is about it: of PractitionerRoles a team's, of Tasks the referral's own."""
    match example["resourceType"]:
        case "PractitionerRole":
            return "healthcareService" in example
        case "Task":
            return any(coding["code"] == "fulfill" for coding in example["code"]["coding"])
    return example["resourceType"] in PROFILES
