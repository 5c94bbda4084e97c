"""Reading a stored referral again: the ServiceRequest, old or new, with all the evidence that is here by now."""

from dataclasses import replace

from fhir_mappings.elements import child, text
from fhir_mappings.records import Json, Reference, Referral
from service.access.seeing import DIRECTORY
from service.referral.case import Case
from service.referral.intake import Lookup, Part, Submission, Unreadable, read_parts
from service.referral.journey.ratings import is_computed
from service.referral.journey.receive import reading_for
from service.referral.journey.withdrawal import is_withdrawn
from service.referral.lookup import EVIDENCE, SHARED
from service.referral.refusal import Kind, Refusal
from service.store.query import parse_query
from service.store.records import Stored
from service.store.sight import Sight


def reread(case: Case, order: Part, beside: list[Part]) -> Submission | Unreadable:
    """The referral as the given ServiceRequest, what comes with it and the stored evidence make it; or every problem.

    The status of an order that was taken back or closed is no problem here: its evidence still counts for alerts.
    """
    new = {part.source for part in beside}
    stored = [
        Part(resource, "ServiceRequest", reference)
        for resource in case.all_of(*EVIDENCE)
        if (reference := f"{resource['resourceType']}/{resource['id']}") not in new
        and not is_computed(resource, case.canonical)
    ]
    settled = is_withdrawn(order.resource) or is_closed(case, order.resource)
    as_read = replace(order, resource={**order.resource, "status": "active"}) if settled else order
    role = _role_that_joins(case, order, beside)
    read = read_parts(as_read, [*beside, *role, *stored], reading_for(case.house), _usable(case))
    if isinstance(read, Unreadable):
        return read
    return replace(read, order=order, parts=tuple(beside))


def as_it_stands(case: Case) -> Referral:
    """The referral of what is stored and changed so far. Raises Refusal when it can no longer be read."""
    read = reread(case, Part(case.order, "ServiceRequest", case.order_reference), [])
    if isinstance(read, Unreadable):
        raise Refusal(Kind.INVALID, read.issues)
    return read.referral


def is_closed(case: Case, order: Json) -> bool:
    """True for an order that its referrer has marked completed after the final reply; nothing follows from that."""
    return order.get("status") == "completed" and case.task["status"] == "completed"


def _role_that_joins(case: Case, order: Part, beside: list[Part]) -> list[Part]:
    """The stored role that joined the requester, a Practitioner, to its organisation when the referral first came: who
    sends the ServiceRequest back need not send the role again.
    """
    person = text(child(order.resource, "requester"), "reference") or ""
    if not person.startswith("Practitioner/") or any(part.type == "PractitionerRole" for part in beside):
        return []
    role = Reference(text(child(case.task, "requester"), "reference") or "")
    stored = case.change.get(*role.split("/")) if role.startswith("PractitionerRole/") else _role_of(case, person)
    return [Part(stored.content, "ServiceRequest", stored.reference, existing=stored.reference)] if stored else []


def _role_of(case: Case, person: str) -> Stored | None:
    """A role without an HSA-id is none that a Task names; it is found by the person and the organisation, among what
    the organisation has described.
    """
    asked = parse_query("PractitionerRole", [("practitioner", person), ("organization", case.organisation)])
    own = case.change.seen_by(Sight(DIRECTORY, within=case.row.organisation))
    found = () if isinstance(asked, list) else own.search(asked).matches
    return found[0] if found else None


def _usable(case: Case) -> Lookup:
    """Finds `Type/id`: of this referral, shared providers, and the same organisation's patients and evidence."""
    change, organisation = case.change, case.row.organisation

    def is_own(type_: str, id_: str) -> bool:
        if type_ == "Patient":
            return any(key.endswith(f"@{organisation}") for key in change.keys_of("Patient", f"{type_}/{id_}"))
        row = change.referral_of(type_, id_) if type_ in EVIDENCE else None
        return row is not None and row.organisation == organisation

    def find(reference: str) -> Json | None:
        own = case.get(Reference(reference))
        if own is not None:
            return own
        type_, _, id_ = reference.partition("/")
        if type_ not in SHARED and not is_own(type_, id_):
            return None
        stored = change.get(type_, id_)
        return stored.content if stored else None

    return find
