"""The referrer takes a referral back (contract 3, withdraw)."""

from typing import Any

import pytest

from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE, OTHER_UNIT, bundle, entry, madrs_s, referral
from tests.journeys.steps import (
    accept,
    finish,
    messages,
    move,
    notes_of,
    reason,
    refer,
    start,
    task_of,
    tasks_of,
)

either = pytest.mark.parametrize("status", ["revoked", "entered-in-error"])


def withdraw(service: Service, received: str, status: str = "revoked") -> Any:
    answer = service.referrer().put(received, {**service.referrer().read(received), "status": status})
    assert answer.status_code == 200, answer.text
    return answer


@either
@pytest.mark.parametrize("state", ["requested", "received", "on-hold", "accepted"])
def test_before_the_start_the_task_is_cancelled_and_the_referrer_told(
    service: Service, state: str, status: str
) -> None:
    received = refer(service, referral(reasonCode=None) if state == "on-hold" else referral())
    if state in ("received", "accepted"):
        move(service.therapist(), task_of(service, received), state)
    answer = withdraw(service, received, status)
    assert answer.json()["status"] == status
    task = task_of(service, received)
    assert task["status"] == "cancelled"
    assert task["statusReason"]["coding"][0]["code"] == "withdrawn"
    assert len(messages(service, received, "withdrawal-confirmed")) == 1
    assert tasks_of(service, received, "abort") == []
    assert [p["status"] for p in service.all_of(received, "CarePlan")] == (["revoked"] if state == "accepted" else [])
    assert {t["status"] for t in tasks_of(service, received, "first-call")} <= {"cancelled"}


@either
@pytest.mark.parametrize("state", ["in-progress", "on-hold"])
def test_after_the_start_the_therapist_is_asked_to_abort(service: Service, state: str, status: str) -> None:
    received = refer(service, referral())
    task = start(service, received)
    if state == "on-hold":
        move(service.therapist(), task, "on-hold", **reason("Patienten är bortrest."))
    withdraw(service, received, status)
    assert task_of(service, received)["status"] == state
    (abort,) = tasks_of(service, received, "abort")
    assert (abort["status"], abort["owner"]) == ("requested", {"reference": "HealthcareService/gavle"})
    assert abort["focus"] == {"reference": f"Task/{task['id']}"}
    assert messages(service, received, "withdrawal-confirmed") == []


def test_an_accepted_abort_cancels_the_task_and_revokes_the_plan(service: Service) -> None:
    received = refer(service, referral())
    start(service, received)
    withdraw(service, received)
    move(service.therapist(), tasks_of(service, received, "abort")[0], "accepted")
    assert task_of(service, received)["status"] == "cancelled"
    assert [p["status"] for p in service.all_of(received, "CarePlan")] == ["revoked"]
    assert len(messages(service, received, "withdrawal-confirmed")) == 1


def test_a_rejected_abort_is_told_to_the_referrer_and_the_treatment_goes_on(service: Service) -> None:
    received = refer(service, referral())
    start(service, received)
    withdraw(service, received)
    abort = tasks_of(service, received, "abort")[0]
    move(service.therapist(), abort, "rejected", **reason("Patienten vill fortsätta."))
    assert task_of(service, received)["status"] == "in-progress"
    (told,) = messages(service, received, "withdrawal-refused")
    assert "Patienten vill fortsätta." in told["payload"][0]["contentString"]
    assert [p["status"] for p in service.all_of(received, "CarePlan")] == ["active"]


@either
@pytest.mark.parametrize("end", ["completed", "rejected"])
def test_after_the_end_a_withdrawal_is_kept_and_changes_nothing(service: Service, end: str, status: str) -> None:
    received = refer(service, referral())
    if end == "completed":
        finish(service, received)
    else:
        move(service.therapist(), task_of(service, received), "rejected", **reason("Inte lämplig."))
    told = len(messages(service, received))
    withdraw(service, received, status)
    assert task_of(service, received)["status"] == end
    assert service.administrator.read(received)["status"] == status
    assert len(messages(service, received)) == told


def test_saying_it_twice_changes_nothing(service: Service) -> None:
    received = refer(service, referral())
    first = withdraw(service, received)
    again = withdraw(service, received)
    assert again.headers["ETag"] == first.headers["ETag"] == 'W/"2"'
    assert len(messages(service, received, "withdrawal-confirmed")) == 1


def test_only_the_referring_organisation_withdraws(service: Service) -> None:
    received = refer(service, referral())
    current = {**service.administrator.read(received), "status": "revoked"}
    assert service.referrer(OTHER_UNIT).put(received, current).status_code == 404
    assert service.therapist().put(received, current).status_code == 403
    assert task_of(service, received)["status"] == "requested"


def test_the_order_is_never_changed_by_sluss(service: Service) -> None:
    received = refer(service, referral())
    finish(service, received)
    assert service.administrator.read(received)["meta"]["versionId"] == "1"
    returned = refer(service, referral("R-2", answers={"motivated": False}))
    assert service.administrator.read(returned)["meta"]["versionId"] == "1"
    assert service.administrator.read(returned)["status"] == "active"


def test_evidence_that_comes_with_a_withdrawal_is_kept_and_alerts(service: Service) -> None:
    received = refer(service, referral())
    current = {**service.referrer().read(received), "status": "revoked"}
    whole = bundle(("urn:uuid:20000000-0000-4000-8000-000000000001", madrs_s(GRAVE, subject=current["subject"])))
    whole["entry"].append(entry(f"{service.base}/fhir/{received}", current, method="PUT", url=received))
    answer = service.referrer().post("/fhir", whole)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Alert"] == "suicide-risk"
    assert task_of(service, received)["status"] == "cancelled"
    (follow_up,) = tasks_of(service, received, "safety-follow-up")
    assert follow_up["status"] == "requested"


def test_a_treatment_that_was_taken_back_can_be_asked_for_again(service: Service) -> None:
    received = refer(service, referral())
    withdraw(service, received)
    answer = service.referrer().put(received, {**service.referrer().read(received), "status": "active"})
    assert answer.status_code == 200
    assert task_of(service, received)["status"] == "requested"
    assert len(tasks_of(service, received, "fulfill")) == 2
    accept(service, received)
    assert "Återkallad" not in notes_of(task_of(service, received))
