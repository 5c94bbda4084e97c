"""Checking a pack by its cases: what does not match, and which outcomes nobody has tried."""

from dataclasses import replace
from datetime import date
from typing import Any

from fhir_mappings.records import Referral, StartMode, Verdict
from service.packs.cases import Case, Expected, Way
from service.packs.model import Absence
from service.referral.rehearsal import rehearse
from tests.referral.examples import BOOKING_UNIT, GAVLEBORG, TODAY, answered, referral

MOTIVATED = tuple(rule for rule in GAVLEBORG.rules if rule.id == "motivated")
STRESS = tuple(rule for rule in GAVLEBORG.rules if rule.id == "stress-timing")
SMALL = replace(GAVLEBORG, rules=MOTIVATED)
"""A pack with one rule of two outcomes: answered no, not answered."""

INPUTS: dict[str, Referral | None] = {
    "good": referral(),
    "unmotivated": answered(motivated=False),
    "unanswered": answered(motivated=None),
    "stress": answered("stress", stress_phase="other"),
    "booking": replace(referral(), requester=replace(referral().requester, unit=BOOKING_UNIT)),
    "refused": None,
}


def read(case: Case) -> Referral | None:
    return INPUTS[case.name]


def case(name: str, status: int = 201, **expected: Any) -> Case:
    return Case(name, "titel", "gavleborg", TODAY, Way.PLAIN, b"{}", Expected(status, **expected))


def test_a_pack_whose_every_outcome_has_its_cases_is_sound() -> None:
    report = rehearse(SMALL, [case("good"), case("unmotivated"), case("unanswered")], read)
    assert report.sound
    assert report.lines() == []
    assert report.cases == 3


def test_an_outcome_that_no_case_fires_is_told() -> None:
    report = rehearse(SMALL, [case("good"), case("unmotivated")], read)
    assert report.lines() == ["motivated, outcome 1 (%`motivated`.empty()): no case in which it fires"]
    assert not report.sound


def test_an_outcome_that_every_case_fires_is_told() -> None:
    report = rehearse(SMALL, [case("unmotivated")], read)
    assert "motivated, outcome 0 (%`motivated` = false): no case in which it does not fire" in report.lines()


def test_a_case_of_another_programme_does_not_show_that_a_rule_stays_silent() -> None:
    pack = replace(GAVLEBORG, rules=STRESS)
    (gap, *_) = rehearse(pack, [case("good"), case("stress")], read).gaps
    assert (gap.rule, gap.outcome, gap.missing) == ("stress-timing", 0, "does not fire")


def test_the_shipped_pack_without_cases_lacks_two_for_every_outcome() -> None:
    report = rehearse(GAVLEBORG, [], read)
    assert len(report.gaps) == 2 * sum(len(rule.outcomes) for rule in GAVLEBORG.rules)


def test_what_comes_out_as_the_case_says_is_no_mismatch() -> None:
    good = case(
        "good",
        verdict=Verdict.ELIGIBLE,
        alert=False,
        findings=(),
        team="vastra-gastrikland",
        route="unit-directory",
        start=StartMode.THERAPIST_PHONES,
    )
    assert rehearse(GAVLEBORG, [good], read).mismatches == ()


def test_everything_that_comes_out_otherwise_is_told() -> None:
    wrong = case(
        "unmotivated",
        verdict=Verdict.ELIGIBLE,
        alert=True,
        findings=(),
        team="gavle",
        route="needs-routing",
        start=StartMode.BOOKED,
    )
    assert [str(each) for each in rehearse(GAVLEBORG, [wrong], read).mismatches] == [
        "unmotivated: verdict should be eligible, is return",
        "unmotivated: alert should be True, is False",
        "unmotivated: team should be gavle, is vastra-gastrikland",
        "unmotivated: route should be needs-routing, is unit-directory",
        "unmotivated: start should be booked, is therapist-phones",
        "unmotivated: findings should be none, is motivated return",
    ]


def test_a_case_that_should_be_refused_must_be_and_no_other_may() -> None:
    report = rehearse(GAVLEBORG, [case("refused", 422), case("refused", 201), case("good", 422)], read)
    assert [str(each) for each in report.mismatches] == [
        "refused: it should be received, is refused",
        "good: it should be refused, is received",
    ]


def test_the_circumstances_of_a_case_count() -> None:
    away = Absence("gavle", date(2026, 11, 20), date(2026, 11, 30), "sodra-halsingland")
    findings = (
        ("open-referral", Verdict.REVIEW),
        ("possible-duplicate", Verdict.REVIEW),
        ("start-call-not-booked", Verdict.ADVICE),
    )
    one = replace(
        case("booking", verdict=Verdict.REVIEW, team="sodra-halsingland", findings=findings),
        open_referral="other",
        possible_duplicate=True,
        absences=(away,),
    )
    assert rehearse(GAVLEBORG, [one], read).mismatches == ()
