"""Who may do what, as one table of questions (contract 7, 'who may move what')."""

from enum import StrEnum

from fhir_mappings.records import HsaId
from service.access.caller import Caller, Role


class Actor(StrEnum):
    """What a caller is to one referral."""

    OWNER = "owner"
    """The team that owns the Task."""
    REQUESTER = "requester"
    """The referring organisation."""
    SLUSS = "sluss"
    COORDINATION = "coordination"
    """The pack's coordination team, or an administrator."""


def actors(caller: Caller, owning_team: str | None, organisation: HsaId | None, coordination: str) -> frozenset[Actor]:
    """Everything that the caller is to a referral owned by `owning_team` and sent by `organisation`; empty for a
    stranger.
    """
    found = set()
    if caller.role is Role.SLUSS:
        found.add(Actor.SLUSS)
    if caller.role is Role.THERAPIST and owning_team in caller.teams:
        found.add(Actor.OWNER)
    if caller.role is Role.REFERRER and organisation in caller.organisations:
        found.add(Actor.REQUESTER)
    if caller.role is Role.ADMINISTRATOR or (caller.role is Role.THERAPIST and coordination in caller.teams):
        found.add(Actor.COORDINATION)
    return frozenset(found)


def may_refer(caller: Caller, organisation: HsaId) -> bool:
    """True when the caller may send, amend or withdraw referrals for `organisation`: the organisation itself, or an
    administrator who types in a letter or a call.
    """
    return caller.role is Role.ADMINISTRATOR or (caller.role is Role.REFERRER and organisation in caller.organisations)


def may_assess(caller: Caller) -> bool:
    """True when the caller may ask for a dry run; it tells nothing of others' referrals."""
    return caller.role is not Role.SLUSS
