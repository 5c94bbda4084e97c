"""Who sees what, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import HsaId
from service.access.caller import ADMINISTRATOR, SLUSS, Caller, Role, referrer_of, therapist_of
from service.access.scopes import Scope, Scopes
from service.access.seeing import SHARED, is_of_the_team, lacks_reason, sight_of
from service.store.search_parameters import BY_TYPE
from service.store.sight import EVERYTHING, Sight

COORDINATION = "samordning"
UNIT, OTHER = HsaId("SE2321000198-EX01"), HsaId("SE2321000198-EX02")
UNITS = frozenset({UNIT, OTHER})

TABLE: dict[str, tuple[Caller, Sight]] = {
    "Sluss": (SLUSS, EVERYTHING),
    "a referrer": (referrer_of(UNIT), Sight(SHARED, organisations=frozenset({UNIT}))),
    "a referrer for two units": (Caller(Role.REFERRER, UNITS), Sight(SHARED, organisations=UNITS)),
    "a referrer for none": (Caller(Role.REFERRER), Sight(SHARED)),
    "a therapist": (therapist_of("gavle"), Sight(SHARED, teams=frozenset({"gavle"}))),
    "a therapist of no team": (Caller(Role.THERAPIST), Sight(SHARED)),
    "coordination": (
        therapist_of(COORDINATION),
        Sight(SHARED, every_referral=True, teams=frozenset({COORDINATION})),
    ),
    "a platform": (
        Caller(Role.PLATFORM, UNITS, client="1177"),
        Sight(SHARED, organisations=UNITS, replies_only=True),
    ),
    "a platform without authentication": (
        Caller(Role.PLATFORM),
        Sight(SHARED, every_referral=True, replies_only=True),
    ),
    "a registered platform of no unit": (Caller(Role.PLATFORM, client="1177"), Sight(SHARED, replies_only=True)),
    "an administrator": (ADMINISTRATOR, Sight(SHARED)),
    "an administrator with a reason": (
        Caller(Role.ADMINISTRATOR, reason="fel i journalen"),
        Sight(SHARED, every_referral=True),
    ),
}


@pytest.mark.parametrize("who", TABLE)
def test_who_sees_what(who: str) -> None:
    caller, sight = TABLE[who]
    assert sight_of(caller, COORDINATION) == sight_of(caller, COORDINATION, "r") == sight


def test_what_is_shared_is_no_clinical_content() -> None:
    clinical = "Appointment CarePlan Communication Condition Observation Patient Provenance QuestionnaireResponse"
    assert SHARED.isdisjoint({*clinical.split(), "ServiceRequest", "Task", "AuditEvent"})
    assert {"Organization", "PractitionerRole", "HealthcareService", "Questionnaire"} <= SHARED


def test_only_an_administrator_needs_a_reason() -> None:
    assert lacks_reason(ADMINISTRATOR)
    assert not any(lacks_reason(caller) for caller, _ in TABLE.values() if caller != ADMINISTRATOR)


def test_findings_for_the_team_are_kept_from_who_refers_and_who_fetches_replies() -> None:
    assert {caller.role for caller, _ in TABLE.values() if not is_of_the_team(caller)} == {
        Role.REFERRER,
        Role.PLATFORM,
    }


@pytest.mark.parametrize(
    ("sight", "covered"),
    [
        (EVERYTHING, True),
        (Sight(), False),
        (Sight(organisations=frozenset({UNIT})), True),
        (Sight(organisations=frozenset({OTHER})), False),
        (Sight(teams=frozenset({"gavle"})), True),
        (Sight(teams=frozenset({"norra-halsingland"})), True),
        (Sight(teams=frozenset({"sodra-halsingland"})), False),
        (EVERYTHING.within_unit(UNIT), True),
        (EVERYTHING.within_unit(OTHER), False),
    ],
)
def test_a_sight_covers_a_referral(sight: Sight, covered: bool) -> None:
    assert sight.covers(UNIT, "gavle", ("norra-halsingland",)) is covered


# ---------------------------------------------------------------- scopes


def scoped(*scopes: Scope) -> Caller:
    return Caller(Role.THERAPIST, teams=frozenset({"gavle"}), client="ehr", scopes=Scopes(scopes))


def scope(type_: str, letters: str, *query: tuple[str, str]) -> Scope:
    return Scope("system", type_, frozenset(letters), query)


def test_a_type_without_a_scope_is_not_seen() -> None:
    sight = sight_of(scoped(scope("Task", "rs")), COORDINATION, "s")
    assert sight.allowed == {"Task": ()}
    assert not sight.is_everything


def test_all_types_are_seen_with_a_star() -> None:
    assert sight_of(scoped(scope("*", "rs")), COORDINATION, "r").allowed == dict.fromkeys(BY_TYPE, ())


def test_a_search_narrows_unless_another_scope_does_not() -> None:
    owned = scope("Task", "rs", ("owner", "HealthcareService/gavle"))
    sight = sight_of(scoped(owned), COORDINATION, "s")
    assert sight.allowed is not None
    (search,) = sight.allowed["Task"]
    assert [clause.parameter.name for clause in search.clauses] == ["owner"]
    assert sight_of(scoped(owned, scope("Task", "s")), COORDINATION, "s").allowed == {"Task": ()}


def test_each_letter_has_its_own_searches_and_what_may_be_read_may_be_included() -> None:
    caller = scoped(scope("Task", "s"), scope("Patient", "r"), scope("Communication", "u"))
    assert set(sight_of(caller, COORDINATION, "s").allowed or ()) == {"Task", "Patient"}
    assert set(sight_of(caller, COORDINATION, "r").allowed or ()) == {"Patient"}
    assert set(sight_of(caller, COORDINATION, "u").allowed or ()) == {"Communication"}
    assert sight_of(caller, COORDINATION).allowed is None


@pytest.mark.parametrize(
    "query", [("nonsense", "1"), ("_sort", "_id"), ("_include", "Task:focus"), ("owner:above", "x"), ("_count", "1")]
)
def test_a_scope_that_is_no_condition_allows_nothing(query: tuple[str, str]) -> None:
    assert sight_of(scoped(scope("Task", "rs", query)), COORDINATION, "r").allowed == {}


ROLES = st.sampled_from([role for role in Role if role is not Role.SLUSS])


@given(ROLES, st.frozensets(st.sampled_from(sorted(UNITS))), st.frozensets(st.sampled_from(["gavle", "norra"])))
def test_nobody_from_outside_sees_every_referral_for_nothing(
    role: Role, units: frozenset[HsaId], teams: frozenset[str]
) -> None:
    sight = sight_of(Caller(role, units, teams, client="a client"), COORDINATION)
    assert not sight.every_referral
