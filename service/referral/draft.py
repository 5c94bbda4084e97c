"""A draft order of an EHR, read as the referral that it would become when it is signed. Pure.

Everything comes with the request (CDS Hooks: context and prefetch). Ids are the EHR's, so nothing is looked up here,
and no address is ever fetched: not `fhirServer`, not a reference.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fhir_mappings.elements import child, children, codings, text
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.referral.intake import Reading, Submission, Unreadable, read_submission
from service.referral.parts import WITH_A_REFERRAL

_ELSEWHERE = "https://ehr.invalid/fhir"
"""Base of what the EHR sent, where it does not name its own: https://www.rfc-editor.org/rfc/rfc2606"""


@dataclass(frozen=True, slots=True)
class Context:
    """What the hook tells of the draft, apart from the draft itself."""

    patient: str
    """`Patient/{id}`"""
    user: str
    """`PractitionerRole/{id}` or another type."""
    resources: Mapping[str, Json]
    """Everything that was sent along, by `Type/id`."""
    base: str | None = None
    """The EHR's FHIR base: a name in references, never called."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft order and what it would become."""

    order: Json
    read: Submission | Unreadable
    unseen: tuple[str, ...]
    """References to what might bear on the judgement and was not sent along."""


def sent_along(bundles_and_resources: Iterable[Json]) -> dict[str, Json]:
    """Resources with an id by `Type/id`, from searchsets and single ones; an OperationOutcome is no data."""
    found: dict[str, Json] = {}
    for one in bundles_and_resources:
        inside = [child(entry, "resource") for _, entry in children(one, "entry")]
        for resource in inside if one.get("resourceType") == "Bundle" else [one]:
            if text(resource, "id"):
                found[f"{resource['resourceType']}/{resource['id']}"] = resource
    return found


def orders_for_ikbt(draft_orders: Json, canonical: Canonical, selections: Iterable[str] | None) -> Iterator[Json]:
    """The ServiceRequests that ask for a programme of ours; with `selections` only those named there."""
    chosen = None if selections is None else set(selections)
    for _, entry in children(draft_orders, "entry"):
        resource = child(entry, "resource")
        if resource.get("resourceType") != "ServiceRequest":
            continue
        if chosen is not None and f"ServiceRequest/{resource.get('id')}" not in chosen:
            continue
        if any(system == canonical.programme for system, _ in codings(resource, "code")):
            yield resource


def missing(order: Json, context: Context) -> list[str]:
    """What a judgement cannot do without and was not sent along: the patient, the requester."""
    lacking = []
    subject = child(order, "subject")
    if not (child(subject, "identifier") or _within(order, subject) or context.patient in context.resources):
        lacking.append("patient")
    if _requester(order, context) is None:
        lacking.append("user")
    return lacking


def read_draft(order: Json, context: Context, instance: str, reading: Reading) -> Draft:
    """The referral as if it were signed now: active, an order, with a number, a date and a requester where the draft
    has none yet. Evidence that the order refers to but that was not sent along is left out and told.
    """
    signed = {**order, "status": "active", "intent": "order"}
    signed.setdefault("identifier", [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{instance}"}])
    signed.setdefault("authoredOn", reading.now.isoformat(timespec="seconds"))
    signed["requester"] = _requester(order, context) or {}
    unseen: list[str] = []
    for name in ("supportingInfo", "reasonReference"):
        kept = []
        for _, reference in children(order, name):
            literal = text(reference, "reference")
            if literal is None or _within(order, reference) or _key(literal, context) in context.resources:
                kept.append(reference)
            else:
                unseen.append(literal)
        signed[name] = kept
    signed = {name: value for name, value in signed.items() if value not in ([], {})}
    entries = [_entry(signed, context), *(_entry(one, context) for one in _with_the_order(order, context))]
    bundle: Json = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return Draft(order, read_submission(bundle, reading, lambda _: None), tuple(unseen))


def _with_the_order(order: Json, context: Context) -> Iterator[Json]:
    """The patient, the providers, every form and rating, and the Conditions that the order names as its reason."""
    referred = {
        _key(text(reference, "reference") or "", context)
        for name in ("supportingInfo", "reasonReference")
        for _, reference in children(order, name)
    }
    for key, resource in context.resources.items():
        type_ = resource["resourceType"]
        if type_ not in WITH_A_REFERRAL:
            continue
        if type_ == "Patient" and key != _key(text(child(order, "subject"), "reference") or context.patient, context):
            continue
        if type_ in ("Condition", "Appointment") and key not in referred:
            continue
        yield resource


def _requester(order: Json, context: Context) -> Json | None:
    """The draft's requester where it can be read; else the user's role."""
    own = child(order, "requester")
    literal = text(own, "reference")
    if child(own, "identifier") or _within(order, own) or (literal and _key(literal, context) in context.resources):
        return own
    if context.user in context.resources:
        return {"reference": context.user}
    roles = [key for key in context.resources if key.startswith("PractitionerRole/")]
    return {"reference": roles[0]} if len(roles) == 1 else None


def _within(order: Json, reference: Json) -> bool:
    """Whether a reference means a contained resource."""
    literal = text(reference, "reference") or ""
    return any(f"#{inner.get('id')}" == literal for _, inner in children(order, "contained"))


def _key(literal: str, context: Context) -> str:
    """`Type/id` of a reference into the EHR's own base, relative or absolute; else as it is."""
    return literal.removeprefix(f"{context.base}/") if context.base else literal


def _entry(resource: Json, context: Context) -> Json:
    type_ = resource["resourceType"]
    return {
        "fullUrl": f"{context.base or _ELSEWHERE}/{type_}/{resource.get('id', 'draft')}",
        "resource": resource,
        "request": {"method": "POST", "url": type_},
    }
