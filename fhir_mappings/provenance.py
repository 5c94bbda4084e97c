"""Where versions of resources come from, as Provenances and back. https://hl7.org/fhir/R4/provenance.html"""

from dataclasses import dataclass
from enum import StrEnum

from fhir_mappings.records import HsaId, Json, Reference
from fhir_mappings.terminology import HSA_SYSTEMS, Canonical, Systems

_ACTIVITIES = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


class Activity(StrEnum):
    """What was done, in v3-DataOperation."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made some versions, when, and what they were made of."""

    id: str
    targets: tuple[tuple[Reference, int], ...]
    """Each resource and its version."""
    recorded: str
    activity: Activity
    author: Reference
    """The Organization that somebody acted for."""
    author_unit: HsaId
    source: str | None = None
    """Absolute URL, with version, of what it was on the external server; None for what came to us."""


def to_fhir_provenance(origin: Origin, canonical: Canonical) -> Json:
    """The Provenance without `meta`. What was collected has a source, and Sluss as its assembler."""
    provenance: Json = {
        "resourceType": "Provenance",
        "id": origin.id,
        "target": [{"reference": f"{reference}/_history/{version}"} for reference, version in origin.targets],
        "recorded": origin.recorded,
        "activity": {"coding": [{"system": _ACTIVITIES, "code": str(origin.activity)}]},
        "agent": [
            {
                "type": _part("author"),
                "who": {
                    "reference": origin.author,
                    "identifier": {"system": str(Systems.HSA_ID), "value": origin.author_unit},
                },
            }
        ],
    }
    if origin.source is not None:
        sluss = {"identifier": {"system": canonical.identifier("device"), "value": "sluss"}, "display": "Sluss"}
        provenance["agent"].append({"type": _part("assembler"), "who": {"type": "Device", **sluss}})
        provenance["entity"] = [{"role": "source", "what": {"reference": origin.source}}]
    return provenance


def from_fhir_provenance(provenance: Json) -> Origin | None:
    """The origin that a Provenance of ours tells; None for what we would not have written, so that nobody guesses."""
    author: Json = next((agent["who"] for agent in provenance["agent"] if _is_author(agent)), {})
    unit = author.get("identifier", {})
    codes = [
        coding.get("code")
        for coding in provenance.get("activity", {}).get("coding", ())
        if coding.get("system") == _ACTIVITIES
    ]
    targets = [target.get("reference", "").partition("/_history/") for target in provenance["target"]]
    if codes not in ([Activity.CREATE], [Activity.UPDATE]) or not all(version.isdecimal() for *_, version in targets):
        return None
    if unit.get("system") not in HSA_SYSTEMS or "reference" not in author:
        return None
    source = next((entity["what"]["reference"] for entity in provenance.get("entity", ())), None)
    return Origin(
        id=provenance.get("id", ""),
        targets=tuple((Reference(reference), int(version)) for reference, _, version in targets),
        recorded=provenance["recorded"],
        activity=Activity(codes[0]),
        author=Reference(author["reference"]),
        author_unit=HsaId(unit["value"]),
        source=source,
    )


def _part(code: str) -> Json:
    return {"coding": [{"system": _PARTS, "code": code}]}


def _is_author(agent: Json) -> bool:
    return bool(agent.get("type") == _part("author"))
