"""What a caller is to a referral (contract 7: o, r, s, c)."""

import pytest

from fhir_mappings.records import HsaId
from service.access.caller import ADMINISTRATOR, SLUSS, Caller, Role, referrer_of, therapist_of
from service.access.rights import Actor, actors, may_assess, may_refer

UNIT, OTHER = HsaId("SE2321000198-EX01"), HsaId("SE2321000198-EX03")


def referrer(unit: HsaId) -> Caller:
    return referrer_of(unit)


def therapist(team: str) -> Caller:
    return therapist_of(team)


@pytest.mark.parametrize(
    ("caller", "found"),
    [
        (therapist("gavle"), {Actor.OWNER}),
        (therapist("norra-halsingland"), set()),
        (therapist("samordning"), {Actor.COORDINATION}),
        (referrer(UNIT), {Actor.REQUESTER}),
        (referrer(OTHER), set()),
        (Caller(Role.PLATFORM), set()),
        (ADMINISTRATOR, {Actor.COORDINATION}),
        (SLUSS, {Actor.SLUSS}),
    ],
)
def test_everybody_is_something_or_a_stranger(caller: Caller, found: set[Actor]) -> None:
    assert actors(caller, "gavle", UNIT, "samordning") == found


def test_coordination_is_also_the_owner_of_what_nobody_could_route() -> None:
    assert actors(therapist("samordning"), "samordning", UNIT, "samordning") == {Actor.OWNER, Actor.COORDINATION}


def test_an_unknown_owner_makes_nobody_the_owner() -> None:
    assert actors(Caller(Role.THERAPIST), None, UNIT, "samordning") == set()
    assert (
        actors(
            Caller(Role.REFERRER, organisations=frozenset({UNIT}), teams=frozenset({"gavle"})),
            "gavle",
            OTHER,
            "samordning",
        )
        == set()
    )


def test_a_unit_refers_for_itself_and_an_administrator_for_all() -> None:
    assert may_refer(referrer(UNIT), UNIT)
    assert not may_refer(referrer(OTHER), UNIT)
    assert may_refer(ADMINISTRATOR, UNIT)
    assert not any(may_refer(caller, UNIT) for caller in (therapist("gavle"), Caller(Role.PLATFORM), SLUSS))


def test_everybody_outside_may_ask_for_a_dry_run() -> None:
    assert all(map(may_assess, (referrer(UNIT), therapist("gavle"), Caller(Role.PLATFORM), ADMINISTRATOR)))
    assert not may_assess(SLUSS)
