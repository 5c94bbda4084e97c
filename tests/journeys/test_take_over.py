"""After acceptance another team takes over by a child Task that it accepts (contract 7)."""

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Client, Service
from tests.journeys.treatments import OTHER_TEAM, TEAM, Journey, because, begin, owner, where, words

THIRD_TEAM = "HealthcareService/sodra-halsingland"


def asked(service: Service) -> tuple[Journey, Client]:
    """A started treatment that another team is asked to take over; and that team."""
    journey = begin(service)
    journey.start()
    answer = journey.ask_to_take_over()
    assert answer.status_code == 201, answer.text
    return journey, service.therapist("norra-halsingland")


def test_the_other_team_is_asked(service: Service) -> None:
    journey, _ = asked(service)
    child = journey.child("take-over")
    assert validate(child) == []
    assert owner(child) == OTHER_TEAM
    assert child["partOf"] == [{"reference": f"Task/{journey.task['id']}"}]
    assert "Internetbehandlare Gävle" in child["description"]
    assert owner(journey.task) == TEAM


def test_an_accepted_take_over_moves_the_task_and_its_open_children_and_is_told(service: Service) -> None:
    journey, other = asked(service)
    done = journey.child("first-call")
    journey.moved(other, "accepted", journey.child("take-over"))
    task = journey.task
    assert owner(task) == OTHER_TEAM
    assert task["status"] == "in-progress"
    assert {owner(t) for t in journey.children("follow-up-call")} == {OTHER_TEAM}
    assert owner(journey.read(f"Task/{done['id']}")) == TEAM  # what was done was done by them
    message = journey.told("rerouted")
    assert "Tidigare team: Internetbehandlare Gävle" in words(message)
    assert "Internetbehandlare Norra Hälsingland" in words(message)
    assert service.row(journey.order).team == "norra-halsingland"
    journey.refused(403, journey.therapist, "on-hold")
    journey.team = "norra-halsingland"
    assert journey.complete()["status"] == "completed"


def test_a_rejected_take_over_changes_nothing_and_says_why(service: Service) -> None:
    journey, other = asked(service)
    issues = journey.refused(422, other, "rejected", task=journey.child("take-over"))
    assert where(issues) == ["Task.statusReason"]
    journey.moved(other, "rejected", journey.child("take-over"), **because("Fullbelagt."))
    assert owner(journey.task) == TEAM
    assert "Fullbelagt." in journey.task["note"][-1]["text"]
    assert journey.messages("rerouted") == []
    assert journey.ask_to_take_over(THIRD_TEAM).status_code == 201


def test_only_the_team_that_is_asked_answers(service: Service) -> None:
    journey, _ = asked(service)
    for client in (journey.therapist, journey.referrer, journey.coordination):
        journey.refused(403, client, "accepted", task=journey.child("take-over"))
    for client in (*journey.strangers, service.platform):
        journey.refused(404, client, "accepted", task=journey.child("take-over"))


def test_of_two_teams_that_are_asked_the_first_to_accept_has_it(service: Service) -> None:
    journey, other = asked(service)
    assert journey.ask_to_take_over(THIRD_TEAM).status_code == 201
    journey.moved(other, "accepted", next(t for t in journey.children("take-over") if owner(t) == OTHER_TEAM))
    late = next(t for t in journey.children("take-over") if owner(t) == THIRD_TEAM)
    assert late["status"] == "cancelled"
    journey.refused(422, service.therapist("sodra-halsingland"), "accepted", task=late)
    assert owner(journey.task) == OTHER_TEAM


@pytest.mark.parametrize(
    "who",
    [TEAM, "HealthcareService/nowhere", "PractitionerRole/norra-halsingland-internet-therapist-1", "Organization/o"],
)
def test_it_is_another_team_that_is_asked(service: Service, who: str) -> None:
    journey = begin(service)
    journey.accept()
    answer = journey.ask_to_take_over(who)
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Task.owner.reference"]


def test_before_acceptance_and_after_the_end_nobody_is_asked(service: Service) -> None:
    journey = begin(service)
    assert journey.ask_to_take_over().status_code == 422
    journey.start()
    journey.complete()
    assert journey.ask_to_take_over().status_code == 422


def test_the_owner_or_coordination_asks_and_nobody_else(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    for client in (service.platform, journey.referrer):
        assert journey.ask_to_take_over(client=client).status_code == 403
    for client in journey.strangers:
        assert journey.ask_to_take_over(client=client).status_code == 404
    assert journey.ask_to_take_over(client=journey.coordination).status_code == 201
    assert journey.ask_to_take_over(THIRD_TEAM, service.administrator).status_code == 201


def test_an_accepted_plan_before_the_start_can_be_taken_over_too(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    journey.ask_to_take_over()
    journey.moved(service.therapist("norra-halsingland"), "accepted", journey.child("take-over"))
    journey.team = "norra-halsingland"
    assert journey.start()["status"] == "in-progress"
