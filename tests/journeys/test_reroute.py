"""Another team before acceptance: whose right it is, what is told, and what nobody could route (contract 5, 7)."""

from collections.abc import Callable

import pytest

from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE
from tests.journeys.steps import route_of
from tests.journeys.treatments import (
    COORDINATION,
    OTHER_TEAM,
    TEAM,
    Journey,
    begin,
    begin_unrouted,
    business_status,
    owner,
    where,
    words,
)


@pytest.mark.parametrize("who", ["owner", "coordination", "administrator"])
@pytest.mark.parametrize("state", ["requested", "received", "on-hold"])
def test_before_acceptance_the_referral_goes_to_another_team_and_that_is_told(
    service: Service, who: str, state: str
) -> None:
    journey = begin(service)
    if state != "requested":
        journey.moved(journey.therapist, state)
    clients = {
        "owner": journey.therapist,
        "coordination": journey.coordination,
        "administrator": service.administrator,
    }
    task = journey.moved(clients[who], owner={"reference": OTHER_TEAM})
    assert owner(task) == OTHER_TEAM
    # the new team has not received it yet
    assert task["status"] == ("on-hold" if state == "on-hold" else "requested")
    if state == "received":
        assert journey.moves(f"Task/{task['id']}")[-1] == ("received", "requested")
    message = journey.told("rerouted")
    assert "Tidigare team: Internetbehandlare Gävle" in words(message)
    assert "Nytt ansvarigt team: Internetbehandlare Norra Hälsingland, Iggesund" in words(message)
    assert message["sender"] == {"reference": OTHER_TEAM}
    assert service.row(journey.order).team == "norra-halsingland"
    assert [entry.detail["after"] for entry in journey.journal("rerouted")] == [OTHER_TEAM]
    journey.refused(404, journey.therapist, "accepted")
    assert "norra-halsingland" in owner(journey.task)


def test_the_new_team_takes_it_from_there(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.therapist, owner={"reference": OTHER_TEAM})
    journey.team = "norra-halsingland"
    journey.start()
    assert journey.complete()["status"] == "completed"
    # from the new team's list, though the referral came in at another
    found = journey.therapist.search("Task", owner=OTHER_TEAM, code="fulfill")
    assert [task["id"] for task in found] == [journey.task["id"]]


@pytest.mark.parametrize("state", ["accepted", "in-progress", "on-hold", "completed"])
def test_after_acceptance_nobody_reroutes(service: Service, state: str) -> None:
    journey = begin(service)
    journey.accept()
    if state != "accepted":
        journey.start()
    if state == "on-hold":
        journey.moved(journey.therapist, "on-hold")
    if state == "completed":
        journey.complete()
    for client in (journey.therapist, journey.coordination, service.administrator):
        (issue,) = journey.refused(422, client, owner={"reference": OTHER_TEAM})
        assert "take-over" in issue["diagnostics"]


def test_a_therapist_of_another_team_is_no_new_owner(service: Service) -> None:
    journey = begin(service)
    role = {"reference": "PractitionerRole/norra-halsingland-internet-therapist-1"}
    for client in (journey.therapist, journey.coordination):
        (issue,) = journey.refused(422, client, owner=role)
        assert issue["expression"] == ["Task.owner.reference"]
        assert "HealthcareService" in issue["diagnostics"]


def test_rerouting_and_moving_are_two_things(service: Service) -> None:
    journey = begin(service)
    issues = journey.refused(422, journey.therapist, "accepted", owner={"reference": OTHER_TEAM})
    assert where(issues) == ["Task.owner.reference"]


def test_strangers_and_the_referrer_do_not_reroute(service: Service) -> None:
    journey = begin(service)
    for client in journey.strangers:
        journey.refused(404, client, owner={"reference": OTHER_TEAM})
    journey.refused(403, service.platform, owner={"reference": OTHER_TEAM})
    assert where(journey.refused(422, journey.referrer, owner={"reference": OTHER_TEAM})) == ["Task.owner"]


def test_open_tasks_of_the_referral_follow_it(service: Service) -> None:
    journey = begin(service, items=GRAVE)
    assert owner(journey.child("safety-follow-up")) == TEAM
    journey.moved(journey.therapist, owner={"reference": OTHER_TEAM})
    assert owner(journey.child("safety-follow-up")) == OTHER_TEAM


def test_what_nobody_could_route_waits_at_coordination_until_a_person_does(service: Service) -> None:
    journey = begin_unrouted(service)
    task = journey.task
    assert owner(task) == COORDINATION
    assert business_status(task) == "needs-routing"
    assert route_of(task) == "needs-routing"
    task = journey.moved(journey.coordination, owner={"reference": TEAM})
    assert owner(task) == TEAM
    assert business_status(task) is None
    journey.told("rerouted")


def test_receiving_is_not_routing(service: Service) -> None:
    journey = begin_unrouted(service)
    assert business_status(journey.moved(journey.coordination, "received")) == "needs-routing"
    assert business_status(journey.moved(journey.coordination, owner={"reference": TEAM})) is None


def test_coordination_may_treat_it_itself(service: Service) -> None:
    journey = begin_unrouted(service)
    assert business_status(journey.moved(journey.coordination, "accepted")) is None


def test_a_team_that_does_not_know_either_gives_it_to_coordination(service: Service) -> None:
    journey = begin(service)
    status = {
        "coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-business-status", "code": "needs-routing"}]
    }
    task = journey.moved(journey.therapist, owner={"reference": COORDINATION}, businessStatus=status)
    assert owner(task) == COORDINATION
    assert business_status(task) == "needs-routing"


@pytest.mark.parametrize("begun", [begin, begin_unrouted])
def test_an_amendment_does_not_undo_where_a_person_has_sent_it(
    service: Service, begun: Callable[[Service], Journey]
) -> None:
    journey = begun(service)
    journey.moved(journey.coordination, owner={"reference": OTHER_TEAM})
    sent = journey.referrer.read(journey.order)
    answer = journey.referrer.put(journey.order, {**sent, "note": [{"text": "Nås bäst på förmiddagen."}]})
    assert answer.status_code == 200, answer.text
    assert owner(journey.task) == OTHER_TEAM
    assert business_status(journey.task) is None
    assert len(journey.journal("rerouted")) == 1
