"""Opening a stored referral for a change: under its row lock, with everything of it that is stored."""

from fhir_mappings.records import Reference
from service.access.caller import Caller
from service.referral.case import Case
from service.referral.house import House
from service.referral.refusal import not_found
from service.store.change import Change


def open_case(house: House, change: Change, caller: Caller, reference: Reference) -> Case:
    """The referral that a resource belongs to, locked. Raises Refusal (not found) when it belongs to none."""
    type_, _, id_ = reference.partition("/")
    row = change.referral_of(type_, id_)
    if row is None:
        raise not_found(type_, id_)
    return Case(house, change, change.lock_referral(row.id), caller)
