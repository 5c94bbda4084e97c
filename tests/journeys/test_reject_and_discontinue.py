"""Rejected, cancelled and failed: always with a reason, always told (contract 7)."""

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.referrals import S
from tests.journeys.steps import category_of
from tests.journeys.treatments import Journey, because, begin, owner, where, words

YOUNG = {"works_independently": False}
"""An answer for which the rules return a referral."""


@pytest.mark.parametrize("status", ["requested", "received"])
def test_the_owner_rejects_with_a_reason_that_is_told(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "received":
        journey.moved(journey.therapist, "received")
    assert where(journey.refused(422, journey.therapist, "rejected")) == ["Task.statusReason"]
    task = journey.moved(journey.therapist, "rejected", **because("Behöver tätare kontakt."))
    assert validate(task) == []
    message = journey.told("returned")
    assert "Behöver tätare kontakt." in words(message)
    assert "026-157777" in words(message)  # R22: ask the therapist


def test_a_coded_reason_goes_along_with_its_code(service: Service) -> None:
    journey = begin(service)
    reason = {"coding": [{"system": f"{S}/CodeSystem/eligibility-rule", "code": "motivated"}], "text": "Vill inte."}
    journey.moved(journey.therapist, "rejected", statusReason=reason)
    assert journey.told("returned")["reasonCode"] == [reason]


def test_a_reason_may_be_a_code_alone(service: Service) -> None:
    journey = begin(service)
    reason = {"coding": [{"system": "https://ehr.example/reason", "code": "X1", "display": "Fel nivå"}]}
    journey.moved(journey.therapist, "rejected", statusReason=reason)
    assert "Fel nivå" in words(journey.told("returned"))


@pytest.mark.parametrize("status", ["requested", "received", "accepted"])
def test_the_referrer_cancels_before_the_start_and_gets_a_confirmation(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "received":
        journey.moved(journey.therapist, "received")
    if status == "accepted":
        journey.accept()
    journey.moved(journey.referrer, "cancelled")
    journey.told("withdrawal-confirmed")
    assert journey.messages("discontinued") == []
    assert [plan["status"] for plan in service.all_of(journey.order, "CarePlan")] == ["revoked"] * (
        status == "accepted"
    )
    assert service.administrator.read(journey.order)["status"] == "active"  # the referrer's own


def test_the_owner_cancels_after_the_first_call_when_the_patient_is_unfit(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    journey.do("first-call")
    assert where(journey.refused(422, journey.therapist, "cancelled")) == ["Task.statusReason"]
    task = journey.moved(journey.therapist, "cancelled", **because("För utmattad just nu."))
    assert "För utmattad just nu." in words(journey.told("discontinued"))
    assert journey.plan["status"] == "revoked"
    assert "executionPeriod" not in task
    assert {t["status"] for t in service.all_of(journey.order, "Task") if t["id"] != task["id"]} == {
        "completed",
        "cancelled",
    }


@pytest.mark.parametrize("status", ["requested", "received"])
def test_the_owner_rejects_but_does_not_cancel_before_acceptance(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "received":
        journey.moved(journey.therapist, "received")
    journey.refused(403, journey.therapist, "cancelled", **because("skäl"))


def test_a_treatment_that_fails_is_told_with_its_reason(service: Service) -> None:
    journey = begin(service)
    journey.start()
    assert where(journey.refused(422, journey.therapist, "failed")) == ["Task.statusReason"]
    service.clock.later(days=20)
    task = journey.moved(journey.therapist, "failed", **because("Patienten svarar inte."))
    assert "Patienten svarar inte." in words(journey.told("discontinued"))
    assert journey.plan["status"] == "revoked"
    assert task["executionPeriod"]["end"] == "2026-12-13T10:00:00.000+01:00"
    assert journey.children("follow-up-call", "requested") == []


@pytest.mark.parametrize("who", ["therapist", "referrer"])
def test_a_started_treatment_is_cancelled_only_through_an_accepted_abort(service: Service, who: str) -> None:
    journey = begin(service)
    journey.start()
    client = journey.therapist if who == "therapist" else journey.referrer
    (issue, *_) = journey.refused(422, client, "cancelled", **because("skäl"))
    assert issue["diagnostics"].endswith("allowed: completed, failed, on-hold")


@pytest.mark.parametrize("end", ["rejected", "cancelled", "failed", "completed"])
def test_nothing_follows_an_end(service: Service, end: str) -> None:
    journey = begin(service)
    if end == "rejected":
        journey.moved(journey.therapist, "rejected", **because("skäl"))
    elif end == "cancelled":
        journey.moved(journey.referrer, "cancelled")
    else:
        journey.start()
        journey.complete() if end == "completed" else journey.moved(journey.therapist, "failed", **because("skäl"))
    told = len(journey.messages())
    for status in ("requested", "accepted", "in-progress", "on-hold"):
        (issue, *_) = journey.refused(422, journey.therapist, status)
        assert f"from {end} to {status}; allowed: -" in issue["diagnostics"]
    assert len(journey.messages()) == told


def override(journey: Journey, **changes: object) -> dict[str, object]:
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
        "focus": {"reference": journey.order},
        "note": [{"authorString": "Internetbehandlare Gävle", "text": "Klarar det med stöd."}],
        **changes,
    }


def test_a_therapist_overrides_a_return_with_a_new_task_on_the_same_focus(service: Service) -> None:
    journey = begin(service, answers=YOUNG)
    old = journey.task
    assert old["status"] == "rejected"
    answer = journey.post(journey.therapist, override(journey))
    assert answer.status_code == 201, answer.text
    task = journey.task
    assert task["id"] == answer.json()["id"] != old["id"]
    assert validate(task) == []
    assert task["focus"] == {"reference": journey.order}
    assert task["note"][0]["text"] == "Klarar det med stöd."
    assert task["note"][0]["authorString"] == "Internetbehandlare Gävle"
    assert [i for i in task["input"] if i in old["input"]] == old["input"]
    assert owner(task) == owner(old)
    assert journey.read(f"Task/{old['id']}")["status"] == "rejected"
    assert [category_of(m) for m in journey.messages()] == ["returned", "acknowledgement"]
    journey.start()
    assert journey.complete()["status"] == "completed"


def test_an_override_says_who_and_why(service: Service) -> None:
    journey = begin(service, answers=YOUNG)
    for note in ([], [{"text": "utan namn"}]):
        answer = journey.post(journey.therapist, {k: v for k, v in override(journey, note=note).items() if v != []})
        assert answer.status_code == 422
        assert where(answer.json()["issue"]) == ["Task.note"]


def test_only_a_returned_referral_is_overridden_and_only_once_and_not_a_withdrawn_one(service: Service) -> None:
    journey = begin(service)
    assert where(journey.post(journey.therapist, override(journey)).json()["issue"]) == ["Task.focus"]
    returned = begin(service, placer="R-2", answers=YOUNG)
    assert returned.post(returned.therapist, override(returned)).status_code == 201
    assert returned.post(returned.therapist, override(returned)).status_code == 422
    withdrawn = begin(service, placer="R-3", answers=YOUNG)
    withdrawn.withdraw()
    assert withdrawn.post(withdrawn.therapist, override(withdrawn)).status_code == 422


def test_only_the_team_overrides(service: Service) -> None:
    journey = begin(service, answers=YOUNG)
    for client in (service.platform, journey.referrer):
        assert journey.post(client, override(journey)).status_code == 403
    for client in journey.strangers:
        assert journey.post(client, override(journey)).status_code == 404
