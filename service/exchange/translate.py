"""Our resources and their copies on the external server: what a copy looks like, and when two are the same. Pure.

A copy carries our key, the only thing that we create and look up by (contract 9): identifier `{S}/identifier/resource`
with value `Type/id`, as a `meta.tag` where the type has no repeatable identifier.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.exchange.client import condition, token

REFERRAL_TYPES = (
    "ServiceRequest",
    "Condition",
    "Observation",
    "QuestionnaireResponse",
    "Appointment",
    "CarePlan",
    "Task",
    "Communication",
)
"""What is delivered of a referral, in the order of the Bundle."""

SHARED_TYPES = ("Organization", "Practitioner", "HealthcareService", "PractitionerRole")
"""What many referrals refer to; delivered before them, in this order."""

_ONE_IDENTIFIER = frozenset({"QuestionnaireResponse"})
_LOCAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9.-]{1,64})(/_history/[A-Za-z0-9.-]{1,64})?\Z")


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a referral's contained and logical references stand for: the stored resources that Sluss made of them."""

    patient: Reference
    requester: Reference | None = None
    identities: frozenset[tuple[str, str]] = frozenset()
    """The patient's national identifiers as (kind, value)."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Where references lead: `targets` maps our `Type/id` to theirs, or to a `urn:uuid:` within the same Bundle."""

    canonical: Canonical
    targets: Mapping[str, str]
    anchors: Anchors | None = None
    own_base: str | None = None
    """Our public FHIR base URL, when references may spell it out."""
    their_base: str | None = None
    """The external server's: what was taken in from there refers by it to what stays there."""


def placeholder(reference: Reference, canonical: Canonical) -> str:
    """The fullUrl of a resource that gets its id from the server; the same one for every attempt."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{canonical.resource_key}|{reference}')}"


def key_parameter(reference: Reference, canonical: Canonical) -> tuple[str, str]:
    """The search parameter, name and value, that finds our copy of a resource."""
    resource_type = reference.partition("/")[0]
    return "_tag" if resource_type in _ONE_IDENTIFIER else "identifier", token(canonical.resource_key, reference)


def key_condition(reference: Reference, canonical: Canonical) -> str:
    """The `If-None-Exist` that makes creating our copy of a resource safe to repeat."""
    name, value = key_parameter(reference, canonical)
    return condition(name, value)


def carries_key(resource: Json, reference: Reference, canonical: Canonical) -> bool:
    """True for our copy of that resource. Asked of every match, because a server may ignore a search parameter."""
    wanted = (canonical.resource_key, str(reference))
    tags = [(tag.get("system"), tag.get("code")) for tag in resource.get("meta", {}).get("tag", ())]
    listed = resource.get("identifier", ())
    held = [(i.get("system"), i.get("value")) for i in listed] if isinstance(listed, list) else []
    return wanted in tags or wanted in held


def national_identities(patient: Json) -> frozenset[tuple[str, str]]:
    """The (kind, value) of every national identifier of a Patient, whichever system URI they were sent under."""
    return frozenset(
        (str(IDENTITY_KINDS[i["system"]]), i["value"])
        for i in patient.get("identifier", ())
        if i.get("system") in IDENTITY_KINDS and i.get("value")
    )


def identity_choices(identities: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    """Token values that find a Patient by national identifier, under every system URI in use for its kind."""
    return tuple(
        token(system, value)
        for kind, value in sorted(identities)
        for system, its_kind in sorted(IDENTITY_KINDS.items())
        if its_kind == kind
    )


def local_reference(reference: object, own_base: str | None = None) -> Reference | None:
    """`Type/id` of a literal reference to a resource of ours, without its version; None for any other."""
    if not isinstance(reference, str):
        return None
    if own_base is not None:
        reference = reference.removeprefix(f"{own_base.rstrip('/')}/")
    match = _LOCAL.match(reference)
    return Reference(f"{match['type']}/{match['id']}") if match else None


def local_references(resource: Json, own_base: str | None = None) -> frozenset[Reference]:
    """Every resource of ours that a resource refers to."""
    found = (local_reference(reference, own_base) for reference in _references(resource))
    return frozenset(reference for reference in found if reference is not None)


def to_copy(resource: Json, peers: Peers) -> Json:
    """The copy of a stored resource for the external server, without an id.

    References lead where `peers` says; one that leads nowhere there becomes a logical reference by our key, because the
    same `Type/id` on another server is another resource. A ServiceRequest's subject and requester lead to the delivered
    ones, and so does every reference that names the patient by national identifier. Contained resources stay while
    something still refers to them (invariant dom-3).
    """
    reference = Reference(f"{resource['resourceType']}/{resource['id']}")
    copy = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    if peers.anchors is not None and resource["resourceType"] == "ServiceRequest":
        copy = _anchored(copy, peers.anchors)
    stands_for = _stand_ins(resource, peers.anchors)
    copy = {name: _led(value, peers, stands_for) for name, value in copy.items()}
    _keep_contained_in_use(copy)
    meta = {n: value for n, value in resource.get("meta", {}).items() if n not in ("versionId", "lastUpdated")}
    key = peers.canonical.resource_key
    if resource["resourceType"] in _ONE_IDENTIFIER:
        meta["tag"] = [t for t in meta.get("tag", ()) if t.get("system") != key] + [{"system": key, "code": reference}]
    else:
        others = [i for i in copy.get("identifier", ()) if i.get("system") != key]
        copy["identifier"] = [*others, {"system": key, "value": reference}]
    return {"resourceType": copy.pop("resourceType"), **({"meta": meta} if meta else {}), **copy}


def is_same(ours: Json, theirs: Json, their_base: str) -> bool:
    """True when a copy there says what ours says.

    Compared without id, `meta` and a narrative that only they have; `1.0` equals `1.00`, because not every server keeps
    digits; a reference may have become absolute or versioned.
    """
    unsaid = {"id", "meta"} | ({"text"} if "text" not in ours else set())
    same: bool = _plain(ours, unsaid, their_base) == _plain(theirs, unsaid, their_base)
    return same


def _anchored(request: Json, anchors: Anchors) -> Json:
    led = dict(request)
    led["subject"] = {**_without_literal(request.get("subject", {})), "reference": str(anchors.patient)}
    if anchors.requester is not None:
        led["requester"] = {**_without_literal(request.get("requester", {})), "reference": str(anchors.requester)}
    return led


def _without_literal(reference: Json) -> Json:
    """Without the literal and the type: a Practitioner may have become the PractitionerRole that stands for them."""
    return {name: value for name, value in reference.items() if name not in ("reference", "_reference", "type")}


def _stand_ins(resource: Json, anchors: Anchors | None) -> dict[str, str]:
    """Which `#id` of this resource stand for the referral's patient or requester."""
    if anchors is None:
        return {}
    led = {
        f"#{inner['id']}": str(anchors.patient)
        for inner in resource.get("contained", ())
        if inner.get("resourceType") == "Patient"
        and inner.get("id")
        and national_identities(inner) & anchors.identities
    }
    if resource["resourceType"] == "ServiceRequest":
        for name, target in (("subject", anchors.patient), ("requester", anchors.requester)):
            literal = resource.get(name, {}).get("reference")
            if target is not None and isinstance(literal, str) and literal.startswith("#"):
                led[literal] = str(target)
    return led


def _led(element: Any, peers: Peers, stands_for: Mapping[str, str]) -> Any:
    if isinstance(element, list):
        return [_led(item, peers, stands_for) for item in element]
    if not isinstance(element, dict):
        return element
    out = {
        name: _led(value, peers, stands_for) if isinstance(value, dict | list) else value
        for name, value in element.items()
    }
    if isinstance(element.get("reference"), str):
        return _led_reference(out, peers, stands_for)
    if peers.anchors is not None and "resourceType" not in element and _names(element, peers.anchors):
        return {"reference": peers.targets.get(peers.anchors.patient, str(peers.anchors.patient)), **out}
    return out


def _led_reference(reference: Json, peers: Peers, stands_for: Mapping[str, str]) -> Json:
    literal = stands_for.get(reference["reference"], reference["reference"])
    ours = local_reference(literal, peers.own_base)
    if ours is None:
        # on that server it is relative: HAPI refuses its own address as that of another server
        theirs = literal.removeprefix(f"{peers.their_base}/")
        return {**reference, "reference": theirs} if theirs != literal else reference
    if ours in peers.targets:
        return {**reference, "reference": peers.targets[ours]}
    return _logical(reference, ours, peers.canonical)


def _names(element: Json, anchors: Anchors) -> bool:
    """True for a logical Reference to the patient."""
    identifier = element.get("identifier")
    return isinstance(identifier, dict) and bool(national_identities({"identifier": [identifier]}) & anchors.identities)


def _logical(reference: Json, ours: Reference, canonical: Canonical) -> Json:
    kept = {name: value for name, value in reference.items() if name not in ("reference", "_reference")}
    return {"identifier": {"system": canonical.resource_key, "value": str(ours)}, **kept}


def _keep_contained_in_use(resource: Json) -> None:
    contained = resource.pop("contained", None)
    if not contained:
        return
    reached = set(_fragments(resource))
    waiting = [inner for inner in contained if "#" in set(_fragments(inner))]
    kept: list[Json] = []
    rest = [inner for inner in contained if inner not in waiting]
    while waiting or any(f"#{inner.get('id')}" in reached for inner in rest):
        waiting += [inner for inner in rest if f"#{inner.get('id')}" in reached]
        rest = [inner for inner in rest if inner not in waiting]
        reached |= {fragment for inner in waiting for fragment in _fragments(inner)}
        kept += waiting
        waiting = []
    if kept:
        resource["contained"] = [inner for inner in contained if inner in kept]


def _fragments(element: Any) -> Iterator[str]:
    if isinstance(element, str) and element.startswith("#"):
        yield element
    for value in element.values() if isinstance(element, dict) else element if isinstance(element, list) else ():
        yield from _fragments(value)


def _references(resource: Json) -> Iterator[str]:
    waiting: list[Any] = [resource]
    while waiting:
        element = waiting.pop()
        if isinstance(element, dict):
            reference = element.get("reference")
            if isinstance(reference, str):
                yield reference
            element = element.values()
        waiting += [value for value in element if isinstance(value, dict | list)]


def _plain(element: Any, unsaid: set[str], their_base: str) -> Any:
    if isinstance(element, list):
        return [_plain(item, set(), their_base) for item in element]
    if not isinstance(element, dict):
        return element
    out = {name: _plain(value, set(), their_base) for name, value in element.items() if name not in unsaid}
    if isinstance(out.get("reference"), str):
        out["reference"] = local_reference(out["reference"], their_base) or out["reference"]
    return out
