"""On-hold: information is needed before the start, the treatment pauses after it (contract 7)."""

import pytest

from tests.journeys.conftest import Service
from tests.journeys.steps import category_of, notes_of
from tests.journeys.treatments import Journey, because, begin, begin_unrouted, business_status, words


def information_asked(service: Service) -> Journey:
    """A depression referral without MADRS-S: Sluss itself asks."""
    journey = begin(service, items=None)
    assert journey.task["status"] == "on-hold"
    return journey


def test_sluss_puts_on_hold_what_needs_information(service: Service) -> None:
    journey = information_asked(service)
    assert business_status(journey.task) == "information-requested"
    assert "MADRS-S" in words(journey.told("information-request"))


@pytest.mark.parametrize("status", ["requested", "received"])
def test_the_team_asks_for_information_and_the_referrer_is_told_what(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "received":
        journey.moved(journey.therapist, "received")
    coded = {"coding": [{"system": "https://ehr.example/reason", "code": "MED"}], "text": "Vilka läkemedel?"}
    task = journey.moved(journey.therapist, "on-hold", statusReason=coded)
    assert business_status(task) == "information-requested"
    message = journey.told("information-request")
    assert "Vilka läkemedel?" in words(message)
    assert message["reasonCode"] == [coded]


def test_a_text_of_the_referrer_gives_the_information_and_is_not_assessed_anew(service: Service) -> None:
    journey = information_asked(service)
    findings = [i for i in journey.task["input"] if i["type"]["coding"][0]["code"] == "finding"]
    journey.said(journey.referrer, "information", "MADRS-S 14, ifylld på papper.")
    task = journey.task
    assert task["status"] == "requested"
    assert "businessStatus" not in task
    assert "statusReason" not in task
    assert "MADRS-S 14, ifylld på papper." in notes_of(task)
    assert service.row(journey.order).verdict == "review"
    assert [i for i in task["input"] if i["type"]["coding"][0]["code"] == "finding"] == findings
    assert journey.moves(f"Task/{task['id']}") == [("on-hold", "requested")]
    journey.accept()


def test_a_text_without_a_category_is_information(service: Service) -> None:
    journey = information_asked(service)
    journey.said(journey.referrer, None, "MADRS-S 14.")
    assert journey.task["status"] == "requested"


def test_a_correction_of_an_earlier_message_is_no_answer(service: Service) -> None:
    journey = begin(service)
    first = journey.said(journey.referrer, "information", "Telefon 070-1740605")
    journey.moved(journey.therapist, "on-hold", **because("Vilka läkemedel?"))
    answered = [{"reference": f"Communication/{first['id']}"}]
    journey.said(journey.referrer, "correction", "Telefon 070-1740606", inResponseTo=answered)
    assert journey.task["status"] == "on-hold"


@pytest.mark.parametrize("status", ["requested", "accepted", "in-progress"])
def test_a_text_at_another_time_is_a_note_and_moves_nothing(service: Service, status: str) -> None:
    journey = begin(service)
    if status == "accepted":
        journey.accept()
    if status == "in-progress":
        journey.start()
    journey.said(journey.referrer, "information", "Patienten har flyttat.")
    assert journey.task["status"] == status
    assert "Patienten har flyttat." in notes_of(journey.task)


def test_the_owner_rejects_what_stays_unanswered_and_only_with_a_reason(service: Service) -> None:
    journey = information_asked(service)
    issues = journey.refused(422, journey.therapist, "rejected")
    assert issues[0]["expression"] == ["Task.statusReason"]
    task = journey.moved(journey.therapist, "rejected", **because("Ingen komplettering."))
    assert "businessStatus" not in task
    assert "Ingen komplettering." in words(journey.told("returned"))


def test_the_same_reason_may_be_the_reason_for_both(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, "on-hold", **because("Diagnos saknas."))
    task = journey.moved(journey.therapist, "rejected")
    assert task["statusReason"] == {"text": "Diagnos saknas."}
    assert "Diagnos saknas." in words(journey.told("returned"))


def test_the_referrer_cancels_what_is_on_hold_before_the_start(service: Service) -> None:
    journey = information_asked(service)
    journey.moved(journey.referrer, "cancelled")
    journey.told("withdrawal-confirmed")


@pytest.mark.parametrize("status", ["accepted", "requested", "in-progress", "completed"])
def test_the_owner_does_not_go_on_without_the_information(service: Service, status: str) -> None:
    journey = information_asked(service)
    (issue, *_) = journey.refused(422, journey.therapist, status)
    assert "from on-hold to" in issue["diagnostics"]
    assert issue["diagnostics"].endswith("allowed: cancelled, rejected")


def test_a_treatment_pauses_and_goes_on_with_its_plan(service: Service) -> None:
    journey = begin(service)
    journey.start()
    period = journey.plan["period"]
    task = journey.moved(journey.therapist, "on-hold", **because("Patienten är sjuk."))
    assert business_status(task) == "information-requested"
    assert journey.plan["status"] == "on-hold"
    assert "Patienten är sjuk." in words(journey.told("information-request"))
    task = journey.moved(journey.therapist, "in-progress")
    assert "businessStatus" not in task
    assert "statusReason" not in task
    assert journey.plan["status"] == "active"
    assert journey.plan["period"] == period
    assert len(journey.messages("started")) == 1


@pytest.mark.parametrize("status", ["requested", "rejected", "completed", "failed", "cancelled"])
def test_a_paused_treatment_only_goes_on(service: Service, status: str) -> None:
    journey = begin(service)
    journey.start()
    journey.moved(journey.therapist, "on-hold")
    (issue, *_) = journey.refused(422, journey.therapist, status, **because("skäl"))
    assert issue["diagnostics"].endswith("allowed: in-progress")


def test_a_text_does_not_move_a_paused_treatment(service: Service) -> None:
    journey = begin(service)
    journey.start()
    journey.moved(journey.therapist, "on-hold")
    journey.said(journey.referrer, "information", "Frisk igen.")
    assert journey.task["status"] == "on-hold"
    assert journey.plan["status"] == "on-hold"


def test_a_referral_that_nobody_could_route_is_so_still_after_the_answer(service: Service) -> None:
    journey = begin_unrouted(service)
    journey.moved(journey.therapist, "on-hold", **because("Var bor patienten?"))
    assert business_status(journey.task) == "information-requested"
    journey.said(journey.referrer, "information", "I Bollnäs.")
    assert business_status(journey.task) == "needs-routing"


def test_one_that_a_person_has_routed_meanwhile_is_routed(service: Service) -> None:
    journey = begin_unrouted(service)
    journey.moved(journey.therapist, owner={"reference": "HealthcareService/gavle"})
    journey.team = "gavle"
    journey.moved(journey.therapist, "on-hold", **because("Diagnos?"))
    journey.said(journey.referrer, "information", "F32.1")
    assert business_status(journey.task) is None
    assert [category_of(m) for m in journey.messages()].count("rerouted") == 1
