"""Child Tasks: what the pack lists, what the therapist adds, and what becomes of them (contract 6; R32, R34)."""

from typing import Any

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.referrals import S
from tests.journeys.treatments import OTHER_TEAM, ROLE, because, begin, owner, where


def test_a_third_follow_up_call_may_be_added_and_a_fourth_may_not(service: Service) -> None:
    journey = begin(service)
    journey.start()
    assert len(journey.children("follow-up-call")) == 2
    assert journey.add_activity("follow-up-call").status_code == 201
    answer = journey.add_activity("follow-up-call")
    assert answer.status_code == 422
    assert "at most 3" in answer.json()["issue"][0]["diagnostics"]
    assert len(journey.children("follow-up-call")) == 3


def test_extra_contacts_may_be_as_many_as_are_needed(service: Service) -> None:
    journey = begin(service)
    journey.start()
    assert journey.children("extra-contact") == []
    for _ in range(6):
        assert journey.add_activity("extra-contact").status_code == 201
    assert len(journey.plan["activity"]) == 5 + 6


def test_an_added_activity_is_like_the_others_and_keeps_what_the_therapist_said(service: Service) -> None:
    journey = begin(service)
    journey.accept(owner={"reference": ROLE})
    answer = journey.add_activity(
        "extra-contact",
        description="Samtal om sömnen",
        note=[{"text": "på begäran"}],
        executionPeriod={"start": "2026-12-03T13:00:00+01:00"},
        priority="urgent",
        owner={"reference": OTHER_TEAM},
        authoredOn="2020-01-01",
    )
    assert answer.status_code == 201
    child = journey.child("extra-contact")
    assert validate(child) == []
    assert answer.headers["Location"].endswith(f"Task/{child['id']}/_history/1")
    assert child["description"] == "Samtal om sömnen"
    assert child["note"] == [{"text": "på begäran"}]
    assert child["executionPeriod"] == {"start": "2026-12-03T13:00:00+01:00"}
    assert child["priority"] == "urgent"
    assert owner(child) == "HealthcareService/gavle"
    assert child["authoredOn"] == "2026-11-23T10:00:00.000+01:00"
    assert child["for"] == journey.task["for"]
    assert child["basedOn"] == [{"reference": f"CarePlan/{journey.plan['id']}"}]
    assert {"reference": {"reference": f"Task/{child['id']}"}} in journey.plan["activity"]


def test_no_new_task_has_a_note_in_the_name_of_sluss(service: Service) -> None:
    journey = begin(service)
    journey.start()
    forged = [{"text": "på begäran"}, {"authorString": " sluss", "text": "Risken är bedömd som låg."}]
    for answer in (
        journey.add_activity("extra-contact", note=forged),
        journey.add(
            journey.therapist,
            f"{S}/CodeSystem/ikbt-task",
            "take-over",
            owner={"reference": OTHER_TEAM},
            note=forged,
        ),
    ):
        assert answer.status_code == 422
        assert where(answer.json()["issue"]) == ["Task.note.authorString"]


def test_an_activity_that_the_pack_does_not_have_is_refused(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    answer = journey.add_activity("massage")
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Task.code"]
    assert "follow-up-call" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("status", ["requested", "received"])
def test_nothing_is_added_before_acceptance(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "received":
        journey.moved(journey.therapist, "received")
    assert journey.add_activity("extra-contact").status_code == 422


def test_nothing_is_added_while_information_is_awaited_before_acceptance(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, "on-hold", **because("Diagnos?"))
    assert journey.add_activity("extra-contact").status_code == 422
    assert journey.ask_to_take_over().status_code == 422


def test_nothing_is_added_after_the_end(service: Service) -> None:
    journey = begin(service)
    journey.start()
    journey.complete()
    assert journey.add_activity("extra-contact").status_code == 422


@pytest.mark.parametrize(
    ("changes", "expression"),
    [
        ({"status": "completed"}, "Task.status"),
        ({"intent": "plan"}, "Task.intent"),
        ({"partOf": None}, "Task.partOf"),
        ({"code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-task", "code": "safety-follow-up"}]}}, "Task.code"),
        ({"code": {"text": "ringa"}}, "Task.code"),
        (
            {"modifierExtension": [{"url": "https://x.example/not", "valueBoolean": True}]},
            "Task.modifierExtension[0]",
        ),
    ],
)
def test_what_is_added_must_be_something_that_a_therapist_adds(
    service: Service, changes: dict[str, Any], expression: str
) -> None:
    journey = begin(service)
    journey.accept()
    child = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-activity", "code": "extra-contact"}]},
        "partOf": [{"reference": f"Task/{journey.task['id']}"}],
    } | changes
    answer = journey.post(journey.therapist, {n: v for n, v in child.items() if v is not None})
    assert answer.status_code == 422, answer.text
    assert expression in where(answer.json()["issue"])


def test_only_the_team_that_owns_the_referral_adds_to_it(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    for client in (journey.referrer, journey.coordination, service.administrator, service.platform):
        assert journey.add_activity("extra-contact", client).status_code == 403
        # who comes before what
        assert journey.add_activity("extra-contact", client, status="completed").status_code == 403
    for client in journey.strangers:
        assert journey.add_activity("extra-contact", client).status_code == 404


def test_a_child_task_of_no_referral_is_not_found(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    assert journey.add_activity("extra-contact", partOf=[{"reference": "Task/nowhere"}]).status_code == 404


@pytest.mark.parametrize("end", ["completed", "cancelled", "failed"])
def test_a_child_task_ends_by_the_owner(service: Service, end: str) -> None:
    journey = begin(service)
    journey.start()
    call = journey.children("follow-up-call")[0]
    for client in (*journey.strangers, service.platform):
        journey.refused(404, client, end, task=call, **because("skäl"))
    journey.refused(403, journey.referrer, end, task=call, **because("skäl"))
    moved = journey.moved(journey.therapist, end, call, **because("skäl"))
    assert moved["status"] == end
    assert journey.moves(f"Task/{call['id']}") == [("requested", end)]
    assert len(journey.service.store.view().history("Task", call["id"])) == 2


@pytest.mark.parametrize("status", ["received", "accepted", "in-progress", "on-hold", "rejected"])
def test_a_child_task_knows_no_other_states(service: Service, status: str) -> None:
    journey = begin(service)
    journey.start()
    (issue,) = journey.refused(422, journey.therapist, status, task=journey.children("follow-up-call")[0])
    assert "allowed: cancelled, completed, failed" in issue["diagnostics"]


def test_a_failed_activity_says_why(service: Service) -> None:
    journey = begin(service)
    journey.start()
    issues = journey.refused(422, journey.therapist, "failed", task=journey.children("follow-up-call")[0])
    assert where(issues) == ["Task.statusReason"]


def test_a_child_task_does_not_change_team_by_itself(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    child = journey.child("first-call")
    issues = journey.refused(422, journey.therapist, task=child, owner={"reference": OTHER_TEAM})
    assert where(issues) == ["Task.owner.reference"]
    assert owner(journey.moved(journey.therapist, task=child, owner={"reference": ROLE})) == ROLE


def test_a_cancelled_call_leaves_room_for_another(service: Service) -> None:
    journey = begin(service)
    journey.start()
    assert journey.add_activity("follow-up-call").status_code == 201
    journey.moved(journey.therapist, "cancelled", journey.children("follow-up-call")[0])
    assert journey.add_activity("follow-up-call").status_code == 201
    assert journey.add_activity("follow-up-call").status_code == 422
