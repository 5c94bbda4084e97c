"""The referrer withdraws: cancelled before the start, an abort for the therapist to answer after it (contract 3, 7)."""

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.steps import category_of
from tests.journeys.treatments import TEAM, Journey, because, begin, business_status, owner, where, words


def asked(service: Service) -> Journey:
    """A started treatment whose referral the referrer has withdrawn."""
    journey = begin(service)
    journey.start()
    journey.withdraw()
    return journey


@pytest.mark.parametrize("status", ["revoked", "entered-in-error"])
@pytest.mark.parametrize("state", ["requested", "received", "on-hold", "accepted"])
def test_before_the_start_a_withdrawal_cancels(service: Service, state: str, status: str) -> None:
    journey = begin(service)
    if state == "accepted":
        journey.accept()
    elif state != "requested":
        journey.moved(journey.therapist, state)
    journey.withdraw(status)
    task = journey.task
    assert task["status"] == "cancelled"
    assert task["statusReason"]["coding"][0]["code"] == "withdrawn"
    assert "businessStatus" not in task
    journey.told("withdrawal-confirmed")
    assert journey.children("abort") == []
    assert journey.moves(f"Task/{task['id']}")[-1] == (state, "cancelled")
    assert journey.children("first-call", "requested") == []


def test_after_the_start_the_therapist_is_asked(service: Service) -> None:
    journey = asked(service)
    abort = journey.child("abort")
    assert validate(abort) == []
    assert abort["code"]["coding"][0]["system"] == "http://hl7.org/fhir/CodeSystem/task-code"
    assert owner(abort) == TEAM
    assert abort["focus"] == {"reference": f"Task/{journey.task['id']}"}
    assert journey.task["status"] == "in-progress"
    assert business_status(journey.task) == "withdrawal-requested"
    assert journey.messages("withdrawal-confirmed") == []


def test_an_accepted_abort_cancels_task_and_plan_and_is_confirmed(service: Service) -> None:
    journey = asked(service)
    service.clock.later(days=3)
    journey.moved(journey.therapist, "accepted", journey.child("abort"))
    task = journey.task
    assert validate(task) == []
    assert task["status"] == "cancelled"
    assert "businessStatus" not in task
    assert task["executionPeriod"]["end"] == "2026-11-26T10:00:00.000+01:00"
    assert journey.plan["status"] == "revoked"
    journey.told("withdrawal-confirmed")
    assert journey.messages("discontinued") == []
    assert journey.moves(f"Task/{task['id']}")[-1] == ("in-progress", "cancelled")
    assert [t for t in service.all_of(journey.order, "Task") if t["status"] == "requested"] == []
    assert service.row(journey.order).state == "cancelled"


def test_a_rejected_abort_is_told_with_its_reason_and_the_treatment_goes_on(service: Service) -> None:
    journey = asked(service)
    assert where(journey.refused(422, journey.therapist, "rejected", task=journey.child("abort"))) == [
        "Task.statusReason"
    ]
    journey.moved(journey.therapist, "rejected", journey.child("abort"), **because("Patienten vill fortsätta."))
    assert "Patienten vill fortsätta." in words(journey.told("withdrawal-refused"))
    assert journey.task["status"] == "in-progress"
    assert business_status(journey.task) is None
    assert journey.plan["status"] == "active"
    journey.complete()
    assert [category_of(m) for m in journey.messages()][-1] == "final-reply"


def test_asking_twice_asks_once(service: Service) -> None:
    journey = asked(service)
    journey.withdraw()
    journey.withdraw("entered-in-error")
    assert len(journey.children("abort")) == 1


def test_the_question_stands_while_the_treatment_pauses(service: Service) -> None:
    journey = asked(service)
    assert business_status(journey.moved(journey.therapist, "on-hold")) == "withdrawal-requested"
    journey.moved(journey.therapist, "accepted", journey.child("abort"))
    assert journey.task["status"] == "cancelled"
    assert journey.moves(f"Task/{journey.task['id']}")[-1] == ("on-hold", "cancelled")


def test_a_treatment_that_ends_first_leaves_no_question(service: Service) -> None:
    journey = asked(service)
    task = journey.complete()
    assert "businessStatus" not in task
    assert journey.child("abort")["status"] == "cancelled"


def test_only_the_team_answers(service: Service) -> None:
    journey = asked(service)
    for client in (journey.referrer, journey.coordination):
        journey.refused(403, client, "accepted", task=journey.child("abort"))
    for client in (*journey.strangers, service.platform):
        journey.refused(404, client, "accepted", task=journey.child("abort"))


@pytest.mark.parametrize("status", ["completed", "cancelled", "in-progress", "failed"])
def test_a_question_is_answered_and_nothing_else(service: Service, status: str) -> None:
    journey = asked(service)
    (issue,) = journey.refused(422, journey.therapist, status, task=journey.child("abort"))
    assert issue["diagnostics"].endswith("allowed: accepted, rejected")


def test_the_referrers_service_request_is_never_changed_by_us(service: Service) -> None:
    journey = asked(service)
    journey.moved(journey.therapist, "accepted", journey.child("abort"))
    versions = service.store.view().history("ServiceRequest", journey.order.split("/")[1])
    assert [v.content["status"] for v in versions] == ["revoked", "active"]
