"""A safety follow-up is ended by a person and by nothing else (contract 4)."""

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE
from tests.journeys.treatments import TEAM, Journey, because, begin, owner, words


def alerted(service: Service) -> Journey:
    """A referral for review with a grave answer on item 9."""
    journey = begin(service, "SE2321000198-EX07", programme="anxiety", items=GRAVE)
    assert journey.task["status"] == "requested"
    return journey


def test_the_team_has_a_follow_up_and_the_referrer_an_alert(service: Service) -> None:
    journey = alerted(service)
    follow_up = journey.child("safety-follow-up")
    assert validate(follow_up) == []
    assert follow_up["priority"] == "stat"
    assert owner(follow_up) == TEAM
    assert "partOf" not in follow_up
    assert journey.task["priority"] == "stat"
    alert = journey.told("safety-alert")
    assert alert["priority"] == "stat"
    assert alert["reasonCode"][0]["coding"][0]["code"] == "madrs-s-item-9"
    assert "suicidrisk" in words(alert)


@pytest.mark.parametrize("end", ["rejected", "cancelled", "completed", "failed", "abort"])
def test_it_stays_whatever_becomes_of_the_referral(service: Service, end: str) -> None:
    journey = alerted(service)
    if end == "rejected":
        journey.moved(journey.therapist, "rejected", **because("skäl"))
    elif end == "cancelled":
        journey.withdraw()
    else:
        journey.start()
        if end == "completed":
            journey.complete()
        elif end == "failed":
            journey.moved(journey.therapist, "failed", **because("skäl"))
        else:
            journey.withdraw()
            journey.moved(journey.therapist, "accepted", journey.child("abort"))
    assert journey.child("safety-follow-up")["status"] == "requested"
    ended = journey.moved(journey.therapist, "completed", journey.child("safety-follow-up"))
    assert ended["status"] == "completed"


def test_it_may_be_taken_up_before_it_is_ended(service: Service) -> None:
    journey = alerted(service)
    for status in ("received", "accepted", "in-progress", "completed"):
        assert journey.moved(journey.therapist, status, journey.child("safety-follow-up"))["status"] == status
    journey.refused(422, journey.therapist, "in-progress", task=journey.child("safety-follow-up"))


@pytest.mark.parametrize("status", ["cancelled", "failed", "rejected", "on-hold"])
def test_it_is_not_dropped(service: Service, status: str) -> None:
    journey = alerted(service)
    journey.refused(422, journey.therapist, status, task=journey.child("safety-follow-up"), **because("skäl"))


def test_only_the_team_ends_it(service: Service) -> None:
    journey = alerted(service)
    for client in (journey.referrer, journey.coordination, service.administrator):
        journey.refused(403, client, "completed", task=journey.child("safety-follow-up"))
    for client in (*journey.strangers, service.platform):
        journey.refused(404, client, "completed", task=journey.child("safety-follow-up"))


def test_it_does_not_change_the_treatment(service: Service) -> None:
    journey = alerted(service)
    journey.moved(journey.therapist, "completed", journey.child("safety-follow-up"))
    assert journey.task["status"] == "requested"
    assert journey.start()["status"] == "in-progress"
