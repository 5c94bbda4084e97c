"""Opening a stored referral for a change: under its row lock, with everything of it that is stored."""

from fhir_mappings.records import Reference
from service.access.caller import Caller
from service.referral.case import Case
from service.referral.house import House
from service.referral.refusal import not_found
from service.referral.sights import sight_for
from service.store.change import Change


def open_case(house: House, change: Change, caller: Caller, reference: Reference, letter: str | None = None) -> Case:
    """The referral that a resource belongs to, locked. Raises Refusal (not found) when it belongs to none, or to one
    that the caller may not see. `letter`: what a scope must allow the resource for, if it must.
    """
    type_, _, id_ = reference.partition("/")
    row = change.seen_by(sight_for(house, caller, letter)).referral_of(type_, id_)
    if row is None:
        raise not_found(type_, id_)
    return Case(house, change, change.lock_referral(row.id), caller)
