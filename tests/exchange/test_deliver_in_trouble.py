"""Deliveries when the server is away, loses its answer, refuses, or was changed by somebody else."""

from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
import pytest

from service.exchange.deliver import Result, State
from service.exchange.translate import REFERRAL_TYPES
from service.store.records import StoreUnavailable
from tests.exchange.conftest import CANONICAL, Clock, House, whichever_server
from tests.exchange.troubled import Trouble, Way
from tests.store.examples import communication

KEY = CANONICAL.resource_key
Asked = Callable[[], list[str]]


def test_a_server_that_is_away_gets_everything_when_it_is_back(house: House, way: Way, clock: Clock) -> None:
    house.receive()
    way.always = Trouble(503)
    first = house.deliver()
    assert (first.state, first.reason) == (State.WAITING, "busy")
    assert house.row().attempts == 1
    assert house.deliver().state is State.NOT_DUE, "another change does not hurry a server that is away"
    way.always = None
    clock.later(minutes=1)
    assert house.exchange.due(clock()) == ["r-1"]
    assert house.deliver() == Result(State.DELIVERED)
    assert len(house.shown("Task")) == 1
    row = house.row()
    assert (row.attempts, row.next_attempt_at, row.last_error, row.unanswered_since) == (0, None, None, None)
    assert row.delivered_at == clock()


def test_when_the_server_answers_again_the_others_do_not_wait_out_their_time(
    house: House, way: Way, clock: Clock
) -> None:
    house.receive("1")
    way.always = Trouble(503, headers=(("Retry-After", "1800"),))
    for _ in range(3):
        clock.later(hours=1)
        waiting = house.deliver("r-1").next_attempt_at
    assert waiting is not None
    assert waiting - clock() == timedelta(minutes=30)
    way.always = None
    clock.later(minutes=29)
    house.receive("2", "p-2")
    assert house.deliver("r-2").state is State.SERVER_AWAY, "the server has said when to come back"
    clock.later(minutes=1)
    assert house.deliver("r-2").state is State.DELIVERED
    brought_forward = house.row("r-1").next_attempt_at
    assert brought_forward is not None
    assert brought_forward - clock() <= timedelta(seconds=30)


def test_a_server_that_is_away_for_a_weekend_makes_no_dead_letters(house: House, way: Way, clock: Clock) -> None:
    for number in "123":
        house.receive(number, f"p-{number}")
    way.always = Trouble(503)
    for number in "123":
        house.deliver(f"r-{number}")
    for _ in range(62 * 12):
        for referral_id in house.deliverer.due():
            house.deliver(referral_id)
        clock.later(minutes=5)
    assert house.exchange.dead_letters() == []
    way.always = None
    for _ in range(20):
        for referral_id in house.deliverer.due():
            house.deliver(referral_id)
        clock.later(seconds=10)
    assert len(house.shown("Task")) == 3


def test_what_fails_while_the_server_takes_others_ends_in_a_dead_letter_after_about_a_day(
    house: House, way: Way, clock: Clock
) -> None:
    house.receive()
    way.always = Trouble(500)
    began, result = clock(), house.deliver()
    while result.next_attempt_at is not None:
        clock.now = result.next_attempt_at
        result = house.deliver()
    assert result == Result(State.DEAD, "server-error")
    assert 20 < (clock() - began).total_seconds() / 3600 < 28
    assert house.exchange.due(clock()) == []
    assert [row.referral_id for row in house.exchange.dead_letters()] == ["r-1"]


@whichever_server
@pytest.mark.parametrize("status", [502, 200])
def test_an_answer_lost_on_the_way_back_makes_no_second_copy(
    house: House, way: Way, clock: Clock, asked: Asked, status: int
) -> None:
    house.receive()
    # The second transaction is the referral's own; the first brought the directory.
    way.coming = [Trouble(status, "<html>", after=True), Trouble(status, "<html>", after=True)]
    assert house.deliver().state is State.WAITING
    clock.later(minutes=1)
    assert house.deliver().state is State.WAITING
    assert house.row().unanswered_since is not None
    clock.later(minutes=1)
    asked()
    assert house.deliver() == Result(State.DELIVERED)
    assert "POST /fhir" not in asked(), "it was looked up and found to be there"
    for type_ in ("Patient", "ServiceRequest", "Task", "Communication", "QuestionnaireResponse", "PractitionerRole"):
        assert [one["meta"]["versionId"] for one in house.shown(type_)] == ["1"], type_


@whichever_server
def test_a_time_out_after_the_server_committed_makes_no_second_copy(house: House, way: Way, clock: Clock) -> None:
    house.receive()
    house.deliver()
    house.write(communication("c-2", basedOn=[{"reference": "ServiceRequest/sr-1"}]), of="r-1")
    house.change("Task", "t-1", status="received")
    way.coming = [Trouble(200, after=True, seconds=2.5)]
    result = house.deliver()
    assert (result.state, result.reason) == (State.WAITING, "timeout")
    house.change("Task", "t-1", status="accepted")
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DELIVERED)
    assert len(house.shown("Communication")) == 2
    (task,) = house.shown("Task")
    assert (task["status"], task["meta"]["versionId"]) == ("accepted", "3")


@whichever_server
def test_a_worker_killed_between_their_commit_and_ours_makes_no_second_copy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.receive()
    house.deliver()
    house.write(communication("c-2", basedOn=[{"reference": "ServiceRequest/sr-1"}]), of="r-1")

    def killed(*_: object) -> None:
        raise StoreUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr("service.store.exchange_state.Held.learnt", killed)
        with pytest.raises(StoreUnavailable):
            house.deliver()
    assert house.row().unanswered_since is not None
    assert house.deliver() == Result(State.DELIVERED)
    assert len(house.shown("Communication")) == 2


def test_a_copy_that_is_there_under_our_key_is_found_even_if_we_forgot_it(
    house: House, store_forgets: Callable[[], None]
) -> None:
    house.receive()
    house.deliver()
    before = house.memory.versions.copy()
    store_forgets()
    assert house.deliver() == Result(State.DELIVERED)
    assert house.memory.versions == before


def test_two_copies_under_our_key_are_a_case_for_a_person(house: House, way: Way, clock: Clock) -> None:
    house.receive()
    way.coming = [Trouble(502, after=True)]
    house.deliver()
    twin = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "identifier": [{"system": KEY, "value": "Task/t-1"}],
    }
    for _ in range(2):
        house.memory.create(twin)
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DEAD, "multiple-matches")


def test_what_a_therapist_changed_there_is_not_written_over(house: House, clock: Clock) -> None:
    house.receive()
    house.deliver()
    (task,) = house.shown("Task")
    theirs = house.memory.update({**task, "status": "accepted"}, task["id"], None)
    house.change("Task", "t-1", status="received")
    result = house.deliver()
    assert (result.state, result.reason) == (State.WAITING, "conflict")
    assert house.shown("Task") == [theirs]
    clock.later(hours=2)
    assert house.deliver().reason == "conflict"
    assert house.shown("Task") == [theirs]


def test_directory_data_that_somebody_changed_there_becomes_ours_again(house: House) -> None:
    house.receive()
    house.deliver()
    (team,) = house.shown("HealthcareService")
    house.memory.update({**team, "name": "Något annat"}, team["id"], None)
    house.change("HealthcareService", "gavle", of=None, name="IKBT Gävle och Sandviken")
    house.change("Task", "t-1", status="received")
    assert house.deliver() == Result(State.DELIVERED)
    (team,) = house.shown("HealthcareService")
    assert team["name"] == "IKBT Gävle och Sandviken"


def test_a_race_that_the_server_lost_is_tried_again_at_once_and_then_later(
    house: House, way: Way, clock: Clock
) -> None:
    house.receive()
    house.deliver()
    house.change("Task", "t-1", status="received")
    way.coming = [Trouble(409)]
    assert house.deliver() == Result(State.DELIVERED)
    house.change("Task", "t-1", status="accepted")
    way.coming = [Trouble(409)] * 20
    assert house.deliver().reason == "conflict"
    assert len(way.coming) > 10, "not for ever"
    way.coming = []
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DELIVERED)


def test_what_the_server_will_never_take_holds_only_its_own_referral(house: House, asked: Asked) -> None:
    house.receive("1")
    house.receive("2", "p-2")
    house.write({"resourceType": "Task", "id": "bad", "status": "nonsense", "intent": "order"}, of="r-1")
    assert house.deliver("r-1") == Result(State.DEAD, "refused")
    assert house.deliver("r-2") == Result(State.DELIVERED)
    (task,) = house.shown("Task")
    assert {"system": KEY, "value": "Task/t-2"} in task["identifier"]
    asked()
    assert house.deliver("r-1") == Result(State.DEAD, "refused")
    assert asked() == []


def test_a_dead_letter_says_why_without_naming_anybody(house: House) -> None:
    house.receive()
    house.write(
        {"resourceType": "Task", "id": "bad", "status": "Test Testsson 199002222397", "intent": "order"}, of="r-1"
    )
    house.deliver()
    error = house.row().last_error
    assert error is not None
    assert (error["reason"], error["status"]) == ("refused", 400)
    assert "Test" not in str(error)
    assert "1990" not in str(error)


def test_a_fault_of_ours_holds_one_referral_and_does_not_spin(
    house: House, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    house.receive()

    def broken(*_: object) -> None:
        raise KeyError("199002222397")

    with monkeypatch.context() as patch:
        patch.setattr("service.exchange.handover.to_transaction", broken)
        result = house.deliver()
    assert (result.state, result.reason) == (State.WAITING, "internal")
    assert "1990" not in str(house.row().last_error)
    clock.later(minutes=1)
    assert house.deliver() == Result(State.DELIVERED)


def test_a_reference_to_something_that_was_never_ours_is_kept_as_a_logical_one(house: House) -> None:
    house.receive(supportingInfo=[{"reference": "DocumentReference/epikris"}])
    assert house.deliver() == Result(State.DELIVERED)
    (request,) = house.shown("ServiceRequest")
    assert request["supportingInfo"] == [{"identifier": {"system": KEY, "value": "DocumentReference/epikris"}}]


def test_what_was_received_while_no_server_was_set_is_found(house: House, clock: Clock) -> None:
    house.receive("1")
    house.receive("2", "p-2")
    house.deliver("r-2")
    for expected in (1, 0):
        assert house.exchange.find_undelivered(REFERRAL_TYPES, later(house), timedelta()) == expected
    assert house.exchange.due(later(house)) == ["r-1"]
    clock.now = later(house)
    assert house.deliver() == Result(State.DELIVERED)
    assert house.exchange.find_undelivered(REFERRAL_TYPES, later(house), timedelta()) == 0


def later(house: House) -> datetime:
    """A second after the referral was received."""
    stored = house.store.view().get("ServiceRequest", "sr-1")
    assert stored is not None
    return stored.last_updated + timedelta(seconds=1)


@pytest.fixture
def store_forgets(house: House) -> Callable[[], None]:
    """All that we knew of the other side is lost."""

    def forget() -> None:
        with psycopg.connect(house.store.url, autocommit=True) as connection:
            connection.execute("DELETE FROM remote")
            connection.execute("DELETE FROM exchange")

    return forget
