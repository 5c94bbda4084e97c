"""The other pack runs with no change of code (contract 4, end; L3, L5, L6, L7)."""

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.referrals import S
from tests.journeys.treatments import Journey, because, begin, owner, where, words

UNIT = "SE2321000198-EX60"
TEAM = "psykosociala-teamet"

pytestmark = pytest.mark.parametrize("service", ["praktikertjanst"], indirect=True)


def received(service: Service) -> Journey:
    journey = begin(service, UNIT)
    journey.team = TEAM
    journey.before_start = ("assessment-visit", "access-programme")
    return journey


def test_a_referral_comes_before_the_assessment_and_goes_to_the_one_team(service: Service) -> None:
    journey = received(service)
    assert journey.task["status"] == "requested"
    assert owner(journey.task) == f"HealthcareService/{TEAM}"
    journey.told("acknowledgement")


def test_the_assessment_visit_comes_before_access_and_access_before_the_start(service: Service) -> None:
    journey = received(service)
    journey.accept()
    issues = journey.refused(422, journey.therapist, "completed", task=journey.child("access-programme"))
    assert "Bedömningssamtal" in issues[0]["details"]["text"]
    journey.refused(422, journey.therapist, "in-progress")
    journey.do("assessment-visit")
    journey.do("access-programme")
    assert journey.moved(journey.therapist, "in-progress")["status"] == "in-progress"


def test_one_or_two_assessment_visits_are_made_and_no_more(service: Service) -> None:
    journey = received(service)
    journey.accept()
    assert journey.add_activity("assessment-visit").status_code == 201
    assert journey.add_activity("assessment-visit").status_code == 422


def test_the_plan_is_the_packs_with_weekly_messages_for_eight_to_twelve_weeks(service: Service) -> None:
    journey = received(service)
    journey.start()
    plan = journey.plan
    assert validate(plan) == []
    assert plan["instantiatesCanonical"] == [f"{S}/PlanDefinition/praktikertjanst-depression"]
    assert plan["period"] == {"start": "2026-11-23", "end": "2027-02-15"}  # twelve weeks
    codes = [journey.read(a["reference"]["reference"])["code"]["coding"][0]["code"] for a in plan["activity"]]
    assert codes == ["assessment-visit", "access-programme", *["weekly-message"] * 8, "closing-visit", "final-reply"]
    assert "8–12 veckor" in words(journey.told("started"))
    for _ in range(4):
        assert journey.add_activity("weekly-message").status_code == 201
    assert journey.add_activity("weekly-message").status_code == 422


def test_the_closing_visit_comes_before_the_reply(service: Service) -> None:
    journey = received(service)
    journey.start()
    reply = journey.with_output("final-reply", valueString="Klart.")
    issues = journey.refused(422, journey.therapist, "completed", output=reply)
    assert "Avslutande besök" in issues[0]["details"]["text"]
    journey.do("closing-visit")
    journey.complete("Klart.")
    assert "Klart." in words(journey.told("final-reply"))
    assert journey.plan["status"] == "completed"
    assert journey.children("weekly-message", "requested") == []


def test_both_the_visit_and_the_reply_are_told_to_be_missing(service: Service) -> None:
    journey = received(service)
    journey.start()
    assert sorted(where(journey.refused(422, journey.therapist, "completed"))) == ["Task.output", "Task.status"]


def test_unfit_after_the_assessment_visit(service: Service) -> None:
    journey = received(service)
    journey.accept()
    journey.do("assessment-visit")
    journey.moved(journey.therapist, "cancelled", **because("Behöver annan behandling."))
    assert "Behöver annan behandling." in words(journey.told("discontinued"))


def test_the_other_packs_activities_are_not_here(service: Service) -> None:
    journey = received(service)
    journey.accept()
    answer = journey.add_activity("follow-up-call")
    assert answer.status_code == 422
    assert "weekly-message" in answer.json()["issue"][0]["diagnostics"]


def test_the_authors_of_the_plan_are_licensed(service: Service) -> None:
    journey = received(service)
    journey.accept(owner={"reference": f"PractitionerRole/{TEAM}-1"})
    role = journey.read(journey.plan["author"]["reference"])
    assert role["code"][0]["coding"][0]["code"] == "licensed-psychologist-or-psychotherapist"  # L2
