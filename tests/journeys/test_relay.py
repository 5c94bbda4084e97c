"""Units that no platform reaches: the team passes our messages on (contract 5)."""

import pytest

from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE, STRANGER, plain, referral
from tests.journeys.steps import messages, move, reason, refer, tasks_of

BY_RECORD_MESSAGE, BY_LETTER = "SE2321000198-EX02", "SE2321000198-EX08"


@pytest.mark.parametrize("unit", [BY_RECORD_MESSAGE, BY_LETTER])
def test_a_message_to_a_unit_without_platform_is_prepared_and_the_team_asked_to_pass_it_on(
    service: Service, unit: str
) -> None:
    received = refer(service, referral(unit=unit), unit)
    (told,) = messages(service, received)
    assert told["status"] == "preparation"
    assert "sent" not in told
    (relay,) = tasks_of(service, received, "relay-message")
    assert relay["status"] == "requested"
    assert relay["focus"] == {"reference": f"Communication/{told['id']}"}
    assert relay["owner"] == {"reference": "HealthcareService/gavle"}


def test_completing_the_task_completes_the_message(service: Service) -> None:
    received = refer(service, referral(unit=BY_LETTER), BY_LETTER)
    move(service.therapist(), tasks_of(service, received, "relay-message")[0], "completed")
    (told,) = messages(service, received)
    assert told["status"] == "completed"
    assert told["sent"]


def test_a_message_that_nobody_could_pass_on_says_so(service: Service) -> None:
    received = refer(service, referral(unit=BY_LETTER), BY_LETTER)
    move(service.therapist(), tasks_of(service, received, "relay-message")[0], "failed", **reason("Fel adress."))
    assert [m["status"] for m in messages(service, received)] == ["not-done"]


def test_a_safety_alert_is_passed_on_at_once(service: Service) -> None:
    received = refer(service, referral(unit=BY_LETTER, items=GRAVE), BY_LETTER)
    relays = tasks_of(service, received, "relay-message")
    assert sorted(r["priority"] for r in relays) == ["routine", "stat"]


def test_a_unit_on_the_platform_gets_its_messages_there(service: Service) -> None:
    received = refer(service, referral())
    assert [m["status"] for m in messages(service, received)] == ["completed"]
    assert tasks_of(service, received, "relay-message") == []


def test_a_unit_outside_the_directory_is_answered_the_way_its_referral_came(service: Service) -> None:
    received = refer(service, referral(unit=STRANGER), STRANGER)
    assert [m["status"] for m in messages(service, received)] == ["completed"]
    body = plain(channel="paper-letter", referrer={"unit": "SE2321000198-EX98", "reference": "P-2"})
    received = service.administrator.post("/intake/referrals", body).json()["service_request"]
    assert [m["status"] for m in messages(service, received)] == ["preparation"]
    assert len(tasks_of(service, received, "relay-message")) == 1


def test_a_unit_in_the_directory_is_reached_as_it_says_there_whatever_way_the_referral_came(service: Service) -> None:
    answer = service.administrator.post("/intake/referrals", plain(channel="paper-letter"))
    assert [m["status"] for m in messages(service, answer.json()["service_request"])] == ["completed"]
