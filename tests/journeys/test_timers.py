"""What waits too long: a reminder to the team, then to coordination, then no more (contract 6)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.packs.model import Absence
from service.referral.journey.timers import enter_absence, run_timers
from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE
from tests.journeys.steps import notes_of, route_of
from tests.journeys.treatments import (
    COORDINATION,
    OTHER_TEAM,
    RELAYED_UNIT,
    TEAM,
    Journey,
    because,
    begin,
    begin_unrouted,
    business_status,
    owner,
    words,
)


def run(service: Service) -> int:
    return run_timers(service.house, service.clock.now)


def requested(service: Service) -> Journey:
    return begin(service)


def on_hold(service: Service) -> Journey:
    return begin(service, items=None)


def accepted(service: Service) -> Journey:
    journey = begin(service)
    journey.accept()
    return journey


def in_progress(service: Service) -> Journey:
    journey = begin(service)
    journey.start()
    return journey


def aborting(service: Service) -> Journey:
    journey = in_progress(service)
    journey.withdraw()
    return journey


def alerted(service: Service) -> Journey:
    return begin(service, items=GRAVE)


def relaying(service: Service) -> Journey:
    return begin(service, RELAYED_UNIT)


CASES: list[tuple[str, Callable[[Service], Journey], str, str]] = [
    ("requested", requested, "fulfill", "remissen väntar på att tas emot"),
    ("on-hold", on_hold, "fulfill", "remissen väntar på komplettering"),
    ("accepted", accepted, "fulfill", "väntar på start"),
    ("needs-routing", begin_unrouted, "fulfill", "väntar på att fördelas"),
    ("abort", aborting, "abort", "begäran om att avbryta"),
    ("safety-follow-up", alerted, "safety-follow-up", "suicidrisk"),
    ("relay-message", relaying, "relay-message", "vidarebefordras"),
    ("progress", in_progress, "fulfill", "inget framsteg"),
]


def about(journey: Journey, code: str) -> list[Json]:
    """The reminders about the Task of a code."""
    reference = f"Task/{journey.child(code)['id']}"
    return [r for r in journey.children("reminder") if r["focus"]["reference"] == reference]


@pytest.mark.parametrize(("name", "made", "code", "says"), CASES, ids=[case[0] for case in CASES])
def test_the_team_is_reminded_then_coordination_then_nobody(
    service: Service, name: str, made: Callable[[Service], Journey], code: str, says: str
) -> None:
    journey = made(service)
    limit = service.house.pack.time_limits[name]
    service.clock.now += limit.remind_after
    service.clock.later(minutes=-1)
    run(service)
    assert about(journey, code) == []
    service.clock.later(minutes=1)
    run(service)
    (first,) = about(journey, code)
    assert validate(first) == []
    assert owner(first) == (COORDINATION if name == "needs-routing" else TEAM)
    assert says in first["description"]
    run(service)
    assert len(about(journey, code)) == 1
    service.clock.now += limit.escalate_after - limit.remind_after
    run(service)
    assert [owner(r) for r in about(journey, code) if r != first][-1] == COORDINATION
    assert len(about(journey, code)) == 2
    service.clock.later(days=400)
    run(service)
    assert len(about(journey, code)) == 2
    reminded = [e.detail["level"] for e in journey.journal("reminded") if e.detail["kind"] == name]
    assert reminded == [1, 2]


def done(name: str, journey: Journey, service: Service) -> None:
    """What waited is done."""
    match name:
        case "requested":
            journey.accept()
        case "on-hold":
            journey.said(journey.referrer, "information", "MADRS-S 14")
        case "accepted":
            journey.start()
        case "needs-routing":
            journey.moved(journey.coordination, owner={"reference": TEAM})
        case "abort":
            journey.moved(journey.therapist, "rejected", journey.child("abort"), **because("skäl"))
        case "safety-follow-up" | "relay-message":
            journey.moved(journey.therapist, "completed", journey.child(name))
        case "progress":
            journey.do("follow-up-call")


@pytest.mark.parametrize(("name", "made", "code", "_says"), CASES, ids=[case[0] for case in CASES])
def test_the_reminders_end_when_it_is_done(
    service: Service, name: str, made: Callable[[Service], Journey], code: str, _says: str
) -> None:
    journey = made(service)
    service.clock.now += service.house.pack.time_limits[name].escalate_after
    run(service)
    before = about(journey, code)
    assert before
    done(name, journey, service)
    ended = about(journey, code)
    assert [r["status"] for r in ended] == ["cancelled"] * len(before)
    assert {r["statusReason"]["coding"][0]["code"] for r in ended} == {"no-longer-waiting"}


@pytest.mark.parametrize("by", ["activity", "output"])
def test_progress_begins_the_wait_anew(service: Service, by: str) -> None:
    journey = in_progress(service)
    service.clock.later(days=20)
    if by == "activity":
        journey.do("follow-up-call")
    else:
        journey.moved(journey.therapist, output=journey.with_output("progress", valueString="Avsnitt 4"))
    service.clock.later(days=20)
    assert run(service) == 0
    service.clock.later(days=1)
    assert run(service) == 1


def test_a_change_that_is_no_progress_leaves_the_wait_as_it_is(service: Service) -> None:
    journey = in_progress(service)
    service.clock.later(days=20)
    journey.moved(journey.therapist, note=[{"text": "ringde"}])
    journey.moved(journey.therapist, "failed", journey.children("follow-up-call")[0], **because("Svarade inte."))
    service.clock.later(days=1)
    assert run(service) == 1


def test_receiving_does_not_begin_the_wait_anew(service: Service) -> None:
    journey = requested(service)
    service.clock.later(days=6)
    journey.moved(journey.therapist, "received")
    service.clock.later(days=1)
    assert run(service) == 1


def test_a_person_may_end_a_reminder_and_coordination_its_own(service: Service) -> None:
    journey = requested(service)
    service.clock.later(days=10)
    run(service)
    service.clock.later(days=3)
    run(service)
    mine, theirs = sorted(journey.children("reminder"), key=owner)
    for client in journey.strangers:
        journey.refused(404, client, "completed", task=mine)
    assert journey.moved(journey.therapist, "completed", mine)["status"] == "completed"
    journey.refused(403, journey.therapist, "completed", task=theirs)
    assert journey.moved(journey.coordination, "completed", theirs)["status"] == "completed"


def test_two_runs_at_once_make_one_reminder(service: Service) -> None:
    for number in range(3):
        begin(service, placer=f"R-{number}")
    service.clock.later(days=7)
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: run(service), range(3)))
    assert sum(made) == 3
    assert len(service.administrator.search("Task", code="reminder")) == 3


def test_an_ended_referral_is_not_reminded_of(service: Service) -> None:
    journey = requested(service)
    journey.moved(journey.therapist, "rejected", **because("skäl"))
    service.clock.later(days=400)
    assert run(service) == 0


# ---------------------------------------------------------------- absent teams (contract 5)

TODAY, LATER = date(2026, 11, 23), date(2026, 12, 20)


@pytest.mark.parametrize("state", ["requested", "received", "on-hold"])
def test_what_an_absent_team_has_not_accepted_moves_to_its_substitute(service: Service, state: str) -> None:
    journey = begin(service)
    if state != "requested":
        journey.moved(journey.therapist, state)
    assert enter_absence(service.house, Absence("gavle", TODAY, LATER, "norra-halsingland")) == 1
    assert owner(journey.task) == OTHER_TEAM
    assert journey.task["status"] == ("on-hold" if state == "on-hold" else "requested")
    assert "Norra Hälsingland" in words(journey.told("rerouted"))
    assert journey.journal("rerouted")[0].actor == "sluss"


@pytest.mark.parametrize("state", ["accepted", "in-progress", "paused", "completed"])
def test_what_it_has_accepted_stays(service: Service, state: str) -> None:
    journey = begin(service)
    journey.accept()
    if state != "accepted":
        journey.start()
    if state == "paused":
        journey.moved(journey.therapist, "on-hold")
    if state == "completed":
        journey.complete()
    assert enter_absence(service.house, Absence("gavle", TODAY, LATER, "norra-halsingland")) == 0
    assert owner(journey.task) == TEAM


def test_an_absence_that_begins_later_moves_then(service: Service) -> None:
    journey = begin(service)
    assert enter_absence(service.house, Absence("gavle", date(2026, 11, 25), LATER, "norra-halsingland")) == 0
    run(service)
    assert owner(journey.task) == TEAM
    service.clock.later(days=2)
    run(service)
    run(service)
    assert owner(journey.task) == OTHER_TEAM
    assert len(journey.messages("rerouted")) == 1


@pytest.mark.parametrize("state", ["requested", "on-hold"])
def test_a_circle_of_substitutes_goes_to_coordination(service: Service, state: str) -> None:
    journey = begin(service)
    if state == "on-hold":
        journey.moved(journey.therapist, "on-hold", **because("Vilka läkemedel?"))
    enter_absence(service.house, Absence("norra-halsingland", TODAY, LATER, "gavle"))
    enter_absence(service.house, Absence("gavle", TODAY, LATER, "norra-halsingland"))
    assert owner(journey.task) == COORDINATION
    assert route_of(journey.task) == "needs-routing"
    if state == "on-hold":
        # what is asked for goes first
        assert business_status(journey.task) == "information-requested"
        journey.said(journey.referrer, "information", "Inga.")
    assert business_status(journey.task) == "needs-routing"
    run(service)
    assert len(journey.messages("rerouted")) == 1


def test_an_absence_of_nobody_or_backwards_is_refused(service: Service) -> None:
    with pytest.raises(ValueError, match="no such team: nobody"):
        enter_absence(service.house, Absence("nobody", TODAY, LATER, None))
    with pytest.raises(ValueError, match="no such team: nobody"):
        enter_absence(service.house, Absence("gavle", TODAY, LATER, "nobody"))
    with pytest.raises(ValueError, match="before the first"):
        enter_absence(service.house, Absence("gavle", LATER, TODAY, None))


def test_the_note_of_the_absence_is_for_people(service: Service) -> None:
    enter_absence(service.house, Absence("gavle", TODAY, LATER, "norra-halsingland"))
    journey = begin(service)
    assert owner(journey.task) == OTHER_TEAM
    assert "Frånvarande i dag: Internetbehandlare Gävle." in notes_of(journey.task)
