"""Every move leaves a version and a row in the journal (contract 7)."""

from itertools import pairwise

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.treatments import OTHER_TEAM, Journey, because, begin


def states(journey: Journey, task: Json) -> list[str]:
    """The statuses of a Task through its versions, oldest first, each once in a row."""
    seen = [v.content["status"] for v in reversed(journey.service.store.view().history("Task", task["id"]))]
    return [status for i, status in enumerate(seen) if i == 0 or status != seen[i - 1]]


def moves_are_complete(journey: Journey) -> None:
    """For every Task of the referral the journal has exactly the moves that its versions show."""
    for task in journey.service.all_of(journey.order, "Task"):
        assert journey.moves(f"Task/{task['id']}") == list(pairwise(states(journey, task))), task["code"]


def test_a_whole_treatment_is_in_the_journal_move_by_move(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, "received")
    journey.moved(journey.coordination, owner={"reference": OTHER_TEAM})
    journey.moved(service.therapist("norra-halsingland"), owner={"reference": "HealthcareService/gavle"})
    journey.start()
    journey.do("follow-up-call")
    journey.moved(journey.therapist, "failed", journey.children("follow-up-call", "requested")[0], **because("x"))
    journey.moved(journey.therapist, "on-hold")
    journey.moved(journey.therapist, "in-progress")
    task = journey.complete()
    assert states(journey, task) == [
        "requested",
        "received",
        "requested",
        "accepted",
        "in-progress",
        "on-hold",
        "in-progress",
        "completed",
    ]
    moves_are_complete(journey)


def test_so_is_a_withdrawal_with_all_that_it_ends(service: Service) -> None:
    journey = begin(service)
    journey.start()
    journey.ask_to_take_over()
    journey.withdraw()
    journey.moved(journey.therapist, "accepted", journey.child("abort"))
    moves_are_complete(journey)


def test_so_is_what_was_asked_and_answered_and_rejected(service: Service) -> None:
    journey = begin(service, items=None)
    journey.said(journey.referrer, "information", "MADRS-S 14")
    journey.moved(journey.therapist, "on-hold", **because("x"))
    journey.moved(journey.therapist, "rejected", **because("y"))
    moves_are_complete(journey)


def test_so_are_reminders_that_end(service: Service) -> None:
    from service.referral.journey.timers import run_timers

    journey = begin(service)
    service.clock.later(days=8)
    assert run_timers(service.house, service.clock.now) == 1
    journey.accept()
    moves_are_complete(journey)


def test_the_journal_says_who(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, "received")
    journey.moved(journey.referrer, "cancelled")
    told = [(entry.actor, entry.detail["to"]) for entry in journey.journal("moved")]
    assert told == [("therapist gavle", "received"), (f"referrer {journey.unit}", "cancelled")]


def test_every_version_can_be_read_and_is_valid(service: Service) -> None:
    journey = begin(service)
    journey.start()
    task = journey.complete()
    answer = service.administrator.get(f"Task/{task['id']}/_history")
    bundle = answer.json()
    assert validate(bundle) == []
    versions = [int(entry["resource"]["meta"]["versionId"]) for entry in bundle["entry"]]
    assert versions == list(range(len(versions), 0, -1))
    for number in versions:
        stored = service.administrator.get(f"Task/{task['id']}/_history/{number}").json()
        assert validate(stored) == []
        assert stored["owner"]["reference"] == "HealthcareService/gavle"


def test_every_resource_that_a_treatment_leaves_is_valid_r4(service: Service) -> None:
    journey = begin(service)
    journey.start()
    journey.complete()
    view = service.store.view()
    stored = view.of_referral(service.row(journey.order).id)
    assert {s.type for s in stored} >= {"Task", "Communication", "CarePlan", "ServiceRequest", "Observation"}
    problems = [(s.reference, v.version, validate(v.content)) for s in stored for v in view.history(s.type, s.id)]
    assert [problem for problem in problems if problem[2]] == []


def test_a_change_that_moves_nothing_is_recorded_too_and_a_refused_one_is_not(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, note=[{"text": "läst"}])
    assert [entry.event for entry in journey.journal()][-1] == "changed"
    rows = len(journey.journal())
    journey.refused(422, journey.therapist, "completed")
    journey.refused(403, journey.referrer, "accepted")
    assert len(journey.journal()) == rows
