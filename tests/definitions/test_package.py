"""`sluss publish`: an npm-style FHIR package of all that describes us, with examples that are real."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.cli import main
from service.definitions.package import examples_in, package_files, tarball
from service.definitions.profiles import PROFILES
from service.definitions.published import definitions
from service.packs.loading import folder_of, load, shipped
from service.store.database import Store
from tests.definitions.examples import EXAMPLES, made

S = "https://sluss.example/fhir"
CANONICAL = Canonical(S)
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]+")


def files_of(name: str) -> dict[str, Json]:
    pack = load(name)
    return package_files(pack, CANONICAL, definitions(pack, CANONICAL), examples_in(folder_of(name)))


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["reference"]] if isinstance(node.get("reference"), str) else []
        return own + [found for inner in node.values() for found in references(inner)]
    return [found for inner in node for found in references(inner)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_are_what_the_service_stores_for_a_case(name: str, store: Store) -> None:
    """After a change of what is stored: `python -m tests.definitions.examples` writes them anew."""
    folder = folder_of(name) / "examples"
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    assert written == made(name, store)


@pytest.mark.parametrize("name", shipped())
def test_an_example_of_every_profile_claims_it_and_refers_to_other_examples_only(name: str) -> None:
    examples = {k: v for k, v in files_of(name).items() if k.startswith("package/example/") and "index" not in k}
    claimed = {profile for one in examples.values() for profile in one.get("meta", {}).get("profile", ())}
    assert {f"{S}/StructureDefinition/{id_}" for id_ in PROFILES.values()} <= claimed
    there = {f"{one['resourceType']}/{one['id']}" for one in examples.values()}
    for path, one in examples.items():
        assert validate(one) == []
        assert path == f"package/example/{one['resourceType']}-{one['id']}.json"
        assert {r for r in references(one) if _RELATIVE.fullmatch(r)} <= there
        assert "{S}" not in json.dumps(one)


@pytest.mark.parametrize("name", shipped())
def test_the_index_tells_of_every_file(name: str) -> None:
    files = files_of(name)
    for folder in ("package", "package/example"):
        told = files[f"{folder}/.index.json"]["files"]
        for entry in told:
            resource = files[f"{folder}/{entry['filename']}"]
            assert all(resource[key] == entry[key] for key in entry if key != "filename")
        there = {p.rpartition("/")[2] for p in files if p.rpartition("/")[0] == folder} - {
            ".index.json",
            "package.json",
        }
        assert {entry["filename"] for entry in told} == there
    described = files["package/package.json"]
    assert (described["name"], described["version"]) == (f"sluss.ikbt.{name}", load(name).version)
    assert described["fhirVersions"] == ["4.0.1"]
    assert described["canonical"] == S


def test_publish_writes_the_folder_and_the_same_tarball_every_time(tmp_path: Path) -> None:
    runner, tars = CliRunner(), []
    for number in (1, 2):
        ended = runner.invoke(main, ["publish", str(tmp_path / f"out-{number}")], env={"SLUSS_PACK": "praktikertjanst"})
        assert ended.exit_code == 0, ended.output
        tars.append((tmp_path / f"out-{number}" / "sluss.ikbt.praktikertjanst-1.0.0.tgz").read_bytes())
    assert tars[0] == tars[1]
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as archive:
        packed = {entry.name: entry.size for entry in archive}
    out = tmp_path / "out-1"
    assert packed == {
        str(path.relative_to(out)): path.stat().st_size for path in (out / "package").rglob("*") if path.is_file()
    }
    form = json.loads((out / "package" / "Questionnaire-ikbt-referral.json").read_text(encoding="utf-8"))
    assert form["version"] == "1.0.0-praktikertjanst"
    assert json.loads((out / "package" / "CapabilityStatement-sluss.json").read_text())["kind"] == "capability"


def test_publish_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    ended = CliRunner().invoke(main, ["publish", str(tmp_path)])
    assert ended.exit_code == 1
    assert "package is there already" in ended.output


def test_a_tarball_holds_what_it_is_given() -> None:
    with tarfile.open(fileobj=io.BytesIO(tarball({"package/a.json": {"å": 1}}))) as archive:
        member = archive.extractfile("package/a.json")
        assert member is not None
        assert json.loads(member.read()) == {"å": 1}
