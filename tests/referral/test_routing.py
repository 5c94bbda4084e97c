"""Which team: the first that knows decides, absences move, and every referral gets a team."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_mappings.records import HsaId, Referral, Requester, StartCall, StartMode
from service.packs.model import Absence, Pack
from service.referral.routing import choose_route, present_team
from tests.referral.examples import (
    BOOKING_UNIT,
    GAVLEBORG,
    PRAKTIKERTJANST,
    REFERRALS,
    STRANGER,
    TODAY,
    UNIT,
    referral,
)

CALL = StartCall("2026-11-30T09:00:00+01:00")
TEAMS = ["gavle", "vastra-gastrikland", "norra-halsingland", "sodra-halsingland"]
ABSENCES = st.lists(
    st.builds(
        Absence,
        team=st.sampled_from(TEAMS),
        first=st.dates(date(2026, 11, 20), date(2026, 11, 26)),
        last=st.dates(date(2026, 11, 20), date(2026, 11, 26)),
        substitute=st.one_of(st.none(), st.sampled_from(TEAMS)),
    ),
    max_size=6,
)


def sent_by(unit: HsaId, municipality: str | None = None, patient: str | None = None) -> Referral:
    one = referral()
    return replace(
        one, requester=Requester(unit, municipality=municipality), patient=replace(one.patient, municipality=patient)
    )


def away(team: str, substitute: str | None, first: date = TODAY, last: date = TODAY) -> Absence:
    return Absence(team, first, last, substitute)


@pytest.mark.parametrize(
    ("municipality", "team"),
    [
        ("2180", "gavle"),
        ("2101", "vastra-gastrikland"),
        ("2104", "vastra-gastrikland"),
        ("2181", "vastra-gastrikland"),
        ("2132", "norra-halsingland"),
        ("2161", "norra-halsingland"),
        ("2184", "norra-halsingland"),
        ("2121", "sodra-halsingland"),
        ("2182", "sodra-halsingland"),
        ("2183", "sodra-halsingland"),
    ],
)
def test_r37_every_municipality_has_its_team(municipality: str, team: str) -> None:
    by_requester = choose_route(sent_by(STRANGER, municipality), GAVLEBORG, TODAY)
    by_patient = choose_route(sent_by(STRANGER, None, municipality), GAVLEBORG, TODAY)
    assert (by_requester.team, by_requester.rule) == (team, "requester-municipality")
    assert (by_patient.team, by_patient.rule) == (team, "patient-municipality")


def test_the_unit_in_the_directory_decides_before_any_municipality() -> None:
    route = choose_route(sent_by(UNIT, "2183", "2184"), GAVLEBORG, TODAY)
    assert (route.team, route.rule) == ("vastra-gastrikland", "unit-directory")


def test_the_requesters_municipality_decides_before_the_patients() -> None:
    route = choose_route(sent_by(STRANGER, "2183", "2184"), GAVLEBORG, TODAY)
    assert (route.team, route.rule) == ("sodra-halsingland", "requester-municipality")


def test_a_requester_outside_the_region_leaves_it_to_the_patients_municipality() -> None:
    route = choose_route(sent_by(STRANGER, "0180", "2184"), GAVLEBORG, TODAY)
    assert (route.team, route.rule) == ("norra-halsingland", "patient-municipality")


@pytest.mark.parametrize(("requester", "patient"), [(None, None), ("0180", None), (None, "0380"), ("0180", "0380")])
def test_where_nobody_knows_coordination_must_say(requester: str | None, patient: str | None) -> None:
    route = choose_route(sent_by(STRANGER, requester, patient), GAVLEBORG, TODAY)
    assert (route.team, route.rule, route.needs_routing) == ("samordning", "needs-routing", True)


@settings(max_examples=80, deadline=None)
@given(REFERRALS, st.sampled_from([GAVLEBORG, PRAKTIKERTJANST]), ABSENCES)
def test_every_referral_gets_a_team_of_the_pack(one: Referral, pack: Pack, absences: list[Absence]) -> None:
    route = choose_route(one, pack, TODAY, absences)
    assert route.team in pack.teams
    assert route.rule in {"unit-directory", "requester-municipality", "patient-municipality", "needs-routing"}
    assert not route.needs_routing or route.team == pack.coordination


@given(st.sampled_from(TEAMS), ABSENCES)
def test_nobody_who_is_away_gets_a_referral(wanted: str, absences: list[Absence]) -> None:
    team, passed_over = present_team(wanted, absences, TODAY)
    last_entered = {absence.team: absence for absence in absences if absence.covers(TODAY)}
    assert team not in last_entered
    assert len(passed_over) == len(set(passed_over))
    assert all(each in last_entered for each in passed_over)


def test_an_absent_team_is_passed_over_for_its_substitute() -> None:
    route = choose_route(sent_by(UNIT), GAVLEBORG, TODAY, [away("vastra-gastrikland", "gavle")])
    assert (route.team, route.rule, route.instead_of) == ("gavle", "unit-directory", ("vastra-gastrikland",))


def test_a_substitute_who_is_away_too_is_passed_over_in_turn() -> None:
    absences = [away("vastra-gastrikland", "gavle"), away("gavle", "sodra-halsingland")]
    route = choose_route(sent_by(UNIT), GAVLEBORG, TODAY, absences)
    assert (route.team, route.instead_of) == ("sodra-halsingland", ("vastra-gastrikland", "gavle"))


def test_a_circle_of_substitutes_goes_to_coordination() -> None:
    absences = [away("vastra-gastrikland", "gavle"), away("gavle", "vastra-gastrikland")]
    route = choose_route(sent_by(UNIT), GAVLEBORG, TODAY, absences)
    assert (route.team, route.rule) == ("samordning", "needs-routing")
    assert route.instead_of == ("vastra-gastrikland", "gavle")


def test_an_absence_without_substitute_goes_to_coordination() -> None:
    route = choose_route(sent_by(UNIT), GAVLEBORG, TODAY, [away("vastra-gastrikland", None)])
    assert (route.team, route.rule) == ("samordning", "needs-routing")


@pytest.mark.parametrize(
    ("day", "team"),
    [
        (date(2026, 11, 22), "vastra-gastrikland"),
        (date(2026, 11, 23), "gavle"),
        (date(2026, 11, 29), "gavle"),
        (date(2026, 11, 30), "vastra-gastrikland"),
    ],
)
def test_an_absence_holds_from_its_first_day_to_its_last(day: date, team: str) -> None:
    absence = away("vastra-gastrikland", "gavle", date(2026, 11, 23), date(2026, 11, 29))
    assert choose_route(sent_by(UNIT), GAVLEBORG, day, [absence]).team == team


def test_the_packs_own_absences_hold_without_being_passed_in() -> None:
    pack = replace(GAVLEBORG, absences=(away("vastra-gastrikland", "gavle"),))
    assert choose_route(sent_by(UNIT), pack, TODAY).team == "gavle"


def test_r24_the_therapist_phones_before_the_start() -> None:
    assert choose_route(sent_by(UNIT), GAVLEBORG, TODAY).start is StartMode.THERAPIST_PHONES


def test_r29_a_region_run_centre_in_gavle_may_book_the_start_call() -> None:
    route = choose_route(replace(sent_by(BOOKING_UNIT), start_call=CALL), GAVLEBORG, TODAY)
    assert (route.start, route.findings) == (StartMode.BOOKED, ())


def test_r29_unbooked_there_the_therapist_phones_and_is_told() -> None:
    route = choose_route(sent_by(BOOKING_UNIT), GAVLEBORG, TODAY)
    assert route.start is StartMode.THERAPIST_PHONES
    assert [(each.rule, each.verdict) for each in route.findings] == [("start-call-not-booked", "advice")]


@pytest.mark.parametrize("unit", ["SE2321000198-EX03", "SE2321000198-EX07", "SE2321000198-EX10", STRANGER])
def test_r29_nobody_else_may_book(unit: str) -> None:
    route = choose_route(replace(sent_by(HsaId(unit)), start_call=CALL), GAVLEBORG, TODAY)
    assert route.start is StartMode.THERAPIST_PHONES
    assert [(each.rule, each.verdict) for each in route.findings] == [("start-call-not-bookable", "advice")]


def test_l12_the_one_team_of_praktikertjanst_gets_everything() -> None:
    for unit in (*PRAKTIKERTJANST.units, STRANGER):
        assert choose_route(sent_by(unit, patient="2180"), PRAKTIKERTJANST, TODAY).team == "psykosociala-teamet"
