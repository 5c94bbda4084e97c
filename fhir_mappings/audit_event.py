"""The record of who did what, as AuditEvents in the shape of IHE Basic Audit Log Patterns.

https://profiles.ihe.net/ITI/BALP/ (1.1). Departures: a search has one event with an entity for each patient found, not
an event each; what a change has brought about besides is entities of type Other, so that `data` is what was asked for.
Nobody sends AuditEvents, so there is no way back.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from fhir_mappings.records import IdentityKind, Json
from fhir_mappings.terminology import IDENTITY_SYSTEMS, Canonical, Systems

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
REST = {
    "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "code": "rest",
    "display": "RESTful Operation",
}
"""What is done by a request."""
INTERACTION = "http://hl7.org/fhir/restful-interaction"
"""The system of its subtypes."""
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
REQUEST_ID = {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}
"""The type of the entity that has the request's number."""
_SOURCE_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}

DEVICE = "sluss"
"""Sluss's own number among devices."""

OTHERWISE: dict[str, Json] = {
    name: {"system": _DCM, "code": code, "display": display}
    for name, code, display in (
        ("delivery", "110106", "Export"),
        ("notification", "110106", "Export"),
        ("collection", "110107", "Import"),
        ("administration", "110100", "Application Activity"),
    )
}
"""What is done by no request, in DICOM's words."""

SUBTYPES: dict[str, list[Json]] = {
    "administration": [{"system": _DCM, "code": "110131", "display": "Software Configuration"}]
}
"""Those of `OTHERWISE` that have any."""

TREATING = frozenset({"referrer", "therapist"})
"""The roles that act in the care of a patient."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One row of the record."""

    id: int
    recorded: datetime
    action: str
    interaction: str
    outcome: int
    status: int | None
    role: str
    client: str | None
    person: str | None
    unit: str | None
    organisations: Sequence[str]
    teams: Sequence[str]
    via: str | None
    reason: str | None
    token: str | None
    address: str | None
    request_id: str | None
    tried: str | None
    query: str | None
    about: Sequence[str]
    """`Type/id`"""
    versions: Sequence[int]
    """Of each of `about`; 0 where it is about none in particular."""
    patients: Sequence[str]
    """`Patient/id`, or `personnummer|…` of one who is not stored."""


def to_fhir_audit_event(event: Recorded, canonical: Canonical) -> Json:
    """The AuditEvent of one row, with `meta`; it has one version."""
    at = event.recorded.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    resource: Json = {
        "resourceType": "AuditEvent",
        "id": str(event.id),
        "meta": {"versionId": "1", "lastUpdated": at},
        **_kind(event),
        "action": event.action,
        "recorded": at,
        "outcome": str(event.outcome),
    }
    if event.outcome:
        resource["outcomeDesc"] = f"{event.status or ''} {event.tried or ''}".strip() or "failed"
    if purpose := _purpose(event):
        resource["purposeOfEvent"] = [purpose]
    resource["agent"] = list(_agents(event, canonical))
    resource["source"] = {"observer": _sluss(canonical), "type": [_SOURCE_TYPE]}
    if entities := list(_entities(event)):
        resource["entity"] = entities
    return resource


def _kind(event: Recorded) -> Json:
    if event.interaction in OTHERWISE:
        subtypes = SUBTYPES.get(event.interaction)
        return {"type": OTHERWISE[event.interaction], **({"subtype": subtypes} if subtypes else {})}
    codes = [event.interaction, *(["create"] if (event.interaction, event.action) == ("transaction", "C") else [])]
    return {"type": REST, "subtype": [{"system": INTERACTION, "code": code} for code in codes]}


def _purpose(event: Recorded) -> Json | None:
    if event.reason:
        return {"coding": [{"system": _PURPOSE, "code": "BTG"}], "text": event.reason}
    if event.role in TREATING:
        return {"coding": [{"system": _PURPOSE, "code": "TREAT"}]}
    return None


def _agents(event: Recorded, canonical: Canonical) -> Iterator[Json]:
    """The client, Sluss, the person, and the units and teams that they act for."""
    to_client = event.action == "R"
    source, destination = _coded(_DCM, "110153", "Source Role ID"), _coded(_DCM, "110152", "Destination Role ID")
    client: Json = {
        "type": destination if to_client else source,
        "role": [{"text": event.role}],
        "who": _client(event, canonical),
        "requestor": event.person is None,
    }
    if event.address:
        client["network"] = {"address": event.address, "type": "2"}
    if event.token:
        client["policy"] = [policy(event.token)]
    yield client
    yield {
        "type": source if to_client else destination,
        "who": _sluss(canonical),
        "requestor": False,
        "network": {"address": canonical.base, "type": "5"},
    }
    if event.person:
        code = "AUT" if event.action in "CUD" else "IRCP"
        yield {
            "type": _coded(_PARTICIPATION, code),
            "role": [{"text": event.role}],
            "who": _hsa("Practitioner", event.person),
            "requestor": True,
        }
    for unit in dict.fromkeys((*([event.unit] if event.unit else ()), *event.organisations)):
        yield {"type": _coded(_PARTICIPATION, "RESP"), "who": _hsa("Organization", unit), "requestor": False}
    for team in event.teams:
        who = {"display": f"HealthcareService/{team}"}
        yield {"type": _coded(_PARTICIPATION, "RESP"), "who": who, "requestor": False}


def _client(event: Recorded, canonical: Canonical) -> Json:
    if event.client:
        return {"type": "Device", "identifier": {"value": event.client}}
    if event.via:
        return {"type": "Device", "display": event.via}
    if event.role == "sluss":
        return _sluss(canonical)
    return {"display": event.role}


def _sluss(canonical: Canonical) -> Json:
    identifier = {"system": canonical.identifier("device"), "value": DEVICE}
    return {"type": "Device", "identifier": identifier, "display": "Sluss"}


def _hsa(type_: str, value: str) -> Json:
    return {"type": type_, "identifier": {"system": str(Systems.HSA_ID), "value": value}}


def _entities(event: Recorded) -> Iterator[Json]:
    """The request, the search, what it was about, and each patient."""
    if event.request_id:
        yield {"what": {"identifier": {"value": event.request_id}}, "type": REQUEST_ID}
    if event.query:
        query = b64encode(event.query.encode()).decode()
        yield {"type": entity_type("2"), "role": object_role("24"), "query": query}
    for position, (reference, version) in enumerate(zip(event.about, event.versions, strict=True)):
        what = f"{reference}/_history/{version}" if version else reference
        yield {
            "what": {"reference": what},
            "type": entity_type("4" if position else "2"),
            "role": object_role("4"),
        }
    for patient in event.patients:
        yield {"what": _patient(patient), "type": entity_type("1"), "role": object_role("1")}


def _patient(patient: str) -> Json:
    kind, _, value = patient.partition("|")
    if not value:
        return {"reference": patient}
    return {"type": "Patient", "identifier": {"system": IDENTITY_SYSTEMS[IdentityKind(kind)], "value": value}}


def _coded(system: str, code: str, display: str | None = None) -> Json:
    return {"coding": [{"system": system, "code": code, **({"display": display} if display else {})}]}


def policy(token: str) -> str:
    """The id of a token as a URI."""
    return quote(token, safe=":._-")


def entity_type(code: str) -> Json:
    """A Coding of https://hl7.org/fhir/R4/valueset-audit-entity-type.html."""
    return {"system": _ENTITY_TYPE, "code": code}


def object_role(code: str) -> Json:
    """A Coding of https://hl7.org/fhir/R4/valueset-object-role.html."""
    return {"system": _ROLE, "code": code}
