"""Deliveries to a real server over HTTP, from a real database."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from fhir_mappings.records import Json
from service.exchange.deliver import Result, State
from service.exchange.translate import REFERRAL_TYPES
from service.store.exchange_state import Copy
from service.store.records import StoreUnavailable
from tests.exchange.conftest import CANONICAL, Clock, House
from tests.exchange.troubled import Trouble, Way
from tests.store.examples import communication, patient

KEY = CANONICAL.resource_key
Asked = Callable[[], list[str]]


def by_key(shown: list[Json], reference: str) -> Json:
    (one,) = [r for r in shown if {"system": KEY, "value": reference} in r.get("identifier", ())]
    return one


def test_a_referral_arrives_whole_and_each_part_points_at_the_others(house: House) -> None:
    house.receive()
    assert house.deliver() == Result(State.DELIVERED)
    request, task = (
        by_key(house.shown("ServiceRequest"), "ServiceRequest/sr-1"),
        by_key(house.shown("Task"), "Task/t-1"),
    )
    (person,), (message,), (answers,) = (house.shown(t) for t in ("Patient", "Communication", "QuestionnaireResponse"))
    role, team = house.shown("PractitionerRole")[0], house.shown("HealthcareService")[0]
    unit = by_key(house.shown("Organization"), "Organization/o-1")
    seat = by_key(house.shown("Organization"), "Organization/seat")
    assert request["subject"] == {"reference": f"Patient/{person['id']}"}
    assert request["requester"] == {"reference": f"PractitionerRole/{role['id']}"}
    assert request["supportingInfo"] == [{"reference": f"QuestionnaireResponse/{answers['id']}"}]
    assert task["focus"] == {"reference": f"ServiceRequest/{request['id']}"}
    assert task["owner"] == {"reference": f"HealthcareService/{team['id']}"}
    assert message["partOf"] == [{"reference": f"Task/{task['id']}"}]
    assert message["recipient"][0]["reference"] == f"Organization/{unit['id']}"
    assert role["organization"] == {"reference": f"Organization/{unit['id']}"}
    assert team["providedBy"] == {"reference": f"Organization/{seat['id']}"}
    assert answers["meta"]["tag"] == [{"system": KEY, "code": "QuestionnaireResponse/q-1"}]
    assert task["id"] != "t-1"


def test_delivering_again_asks_nothing_of_the_server(house: House, asked: Asked) -> None:
    house.receive()
    house.deliver()
    asked()
    assert house.deliver() == Result(State.NOTHING_TO_DO)
    assert asked() == []


def test_only_what_differs_is_sent_with_the_version_that_we_know(house: House, asked: Asked) -> None:
    house.receive()
    house.deliver()
    asked()
    house.change("Task", "t-1", status="accepted")
    house.write(communication("c-2", basedOn=[{"reference": "ServiceRequest/sr-1"}]), of="r-1")
    assert house.deliver() == Result(State.DELIVERED)
    assert asked() == ["POST /fhir"]
    (task,) = house.shown("Task")
    assert (task["status"], task["meta"]["versionId"]) == ("accepted", "2")
    assert house.shown("ServiceRequest")[0]["meta"]["versionId"] == "1"
    assert len(house.shown("Communication")) == 2
    assert house.copy("Task/t-1") == Copy(house.copy("Task/t-1").reference, task["id"], "2", 2)


def test_an_amended_referral_is_put_and_only_over_the_version_that_we_know(house: House) -> None:
    house.receive()
    house.deliver()
    house.change("ServiceRequest", "sr-1", priority="urgent")
    house.deliver()
    (request,) = house.shown("ServiceRequest")
    assert (request["priority"], request["meta"]["versionId"]) == ("urgent", "2")


def test_contained_and_logical_parties_are_pointed_at_the_delivered_ones(house: House) -> None:
    identified = {"system": "http://electronichealth.se/identifier/personnummer", "value": "199002222397"}
    house.receive(
        subject={"reference": "#pat"},
        requester={"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000198-EX01"}},
        contained=[{"resourceType": "Patient", "id": "pat", "identifier": [identified]}],
    )
    assert house.deliver().state is State.DELIVERED
    (request,) = house.shown("ServiceRequest")
    assert request["subject"] == {"reference": f"Patient/{house.shown('Patient')[0]['id']}"}
    assert request["requester"]["reference"] == f"PractitionerRole/{house.shown('PractitionerRole')[0]['id']}"
    assert "contained" not in request
    stored = house.store.view().get("ServiceRequest", "sr-1")
    assert stored is not None
    assert stored.content["subject"] == {"reference": "#pat"}, "what was sent stays as it was sent"


def test_decimals_arrive_with_their_digits(house: House) -> None:
    house.receive(quantityQuantity={"value": Decimal("1.00")})
    house.deliver()
    assert str(house.shown("ServiceRequest")[0]["quantityQuantity"]["value"]) == "1.00"


def test_a_referral_that_does_not_exist_is_not_delivered(house: House, asked: Asked) -> None:
    assert house.deliver("nobody") == Result(State.UNKNOWN)
    assert asked() == []


# ---------------------------------------------------------------- patients


def test_a_patient_who_is_there_is_referred_to_and_never_written(house: House) -> None:
    theirs = {**patient("x", name=[{"family": "Annan", "given": ["Skrivning"]}])}
    theirs.pop("id")
    _, known = house.memory.create(theirs)
    house.receive()
    house.deliver()
    house.change("Patient", "p-1", of=None, birthDate="1990-02-23")
    house.change("Task", "t-1", status="received")
    house.deliver()
    assert house.shown("Patient") == [known]
    assert house.shown("Task")[0]["for"] == {"reference": f"Patient/{known['id']}"}


def test_a_patient_is_looked_up_in_the_body_of_a_search_and_no_identifier_is_in_any_url(
    house: House, asked: Asked
) -> None:
    house.receive()
    house.deliver()
    lines = asked()
    assert "POST /fhir/Patient/_search" in lines
    assert "1990" not in "".join(lines)


def test_two_units_patients_who_are_one_person_become_one_patient_there(house: House) -> None:
    house.receive("1", "p-1")
    house.receive("2", "p-2")
    house.deliver("r-1")
    house.deliver("r-2")
    (person,) = house.shown("Patient")
    assert {task["for"]["reference"] for task in house.shown("Task")} == {f"Patient/{person['id']}"}


def test_a_patient_whom_that_server_has_twice_is_a_case_for_a_person(house: House) -> None:
    for _ in range(2):
        house.memory.create({n: v for n, v in patient().items() if n != "id"})
    house.receive()
    assert house.deliver() == Result(State.DEAD, "multiple-matches")
    assert house.shown("Task") == []
    assert len(house.shown("Patient")) == 2


def test_a_dead_letter_that_a_person_has_seen_to_is_delivered(house: House, clock: Clock) -> None:
    doubles = [house.memory.create({n: v for n, v in patient().items() if n != "id"})[1] for _ in range(2)]
    house.receive()
    house.deliver()
    del house.memory.versions["Patient", doubles[1]["id"]]
    assert house.deliver().state is State.DEAD, "it waits for the person, not for another change"
    assert house.exchange.revive("r-1", clock())
    assert house.deliver() == Result(State.DELIVERED)
    assert not house.exchange.revive("r-1", clock())


# ---------------------------------------------------------------- trouble


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


def test_when_the_server_answers_again_the_others_do_not_wait_out_their_hour(
    house: House, way: Way, clock: Clock
) -> None:
    house.receive("1")
    house.receive("2", "p-2")
    way.always = Trouble(503)
    for _ in range(12):
        for number in ("r-1", "r-2"):
            house.deliver(number)
        clock.later(hours=1)
    way.always = None
    waiting = [house.row(number).next_attempt_at for number in ("r-1", "r-2")]
    clock.now = min(moment for moment in waiting if moment)
    house.receive("3", "p-3")
    later = house.row("r-2").next_attempt_at
    house.deliver("r-3")
    brought_forward = house.row("r-2").next_attempt_at
    assert later is not None
    assert brought_forward is not None
    assert brought_forward <= later
    assert (brought_forward - clock()).total_seconds() <= 31


def test_a_server_that_stays_away_ends_in_a_dead_letter_after_about_a_day(house: House, way: Way, clock: Clock) -> None:
    house.receive()
    way.always = Trouble(503)
    began, result = clock(), house.deliver()
    while result.next_attempt_at is not None:
        clock.now = result.next_attempt_at
        result = house.deliver()
    assert result == Result(State.DEAD, "busy")
    assert 20 < (clock() - began).total_seconds() / 3600 < 28
    assert house.exchange.due(clock()) == []
    assert [row.referral_id for row in house.exchange.dead_letters()] == ["r-1"]


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


def test_a_race_that_the_server_lost_is_tried_again(house: House, way: Way, clock: Clock) -> None:
    house.receive()
    house.deliver()
    house.change("Task", "t-1", status="received")
    way.coming = [Trouble(409)]
    assert house.deliver().reason == "conflict"
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


# ---------------------------------------------------------------- at the same time


def at_once(*calls: Callable[[], Result]) -> list[Result]:
    """All of them started together."""
    gate = threading.Barrier(len(calls))

    def started(call: Callable[[], Result]) -> Result:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(started, calls))


def test_deliveries_of_one_referral_at_the_same_time_make_one_copy(house: House) -> None:
    house.receive()
    results = at_once(*[house.deliver] * 4)
    assert sorted(result.state for result in results) == [State.DELIVERED, *[State.NOTHING_TO_DO] * 3]
    for type_ in ("Patient", "ServiceRequest", "Task", "Communication", "QuestionnaireResponse"):
        assert len(house.shown(type_)) == 1, type_


def test_referrals_of_one_patient_at_the_same_time_make_one_patient_and_one_directory(house: House) -> None:
    numbers = [str(n) for n in range(1, 5)]
    for number in numbers:
        house.receive(number, f"p-{number}")
    results = at_once(*[lambda n=number: house.deliver(f"r-{n}") for number in numbers])
    assert [result.state for result in results] == [State.DELIVERED] * 4
    assert len(house.shown("Patient")) == 1
    assert len(house.shown("Organization")) == 2
    assert len(house.shown("HealthcareService")) == 1
    assert len(house.shown("Task")) == 4


def test_no_transaction_is_open_and_no_writer_seen_while_the_server_is_asked(house: House, way: Way) -> None:
    house.receive()
    way.coming = [Trouble(503, seconds=1.0)]
    with ThreadPoolExecutor(1) as pool:
        delivery = pool.submit(house.deliver)
        while not any(line == "POST /fhir" for line in way.asked):
            assert not delivery.done()
        with psycopg.connect(house.store.url) as connection:
            seen = connection.execute(
                "SELECT application_name, state FROM pg_stat_activity"
                " WHERE application_name LIKE 'sluss%' AND state <> 'idle' AND datname = current_database()"
            ).fetchall()
        house.change("Task", "t-1", status="received")
        assert not delivery.done(), "a therapist's change waits for no delivery"
    assert seen == []


def test_who_waits_too_long_for_a_delivery_under_way_leaves_it_to_that_one(house: House) -> None:
    house.receive()
    with house.exchange.held("referral r-1"):
        assert house.deliver() == Result(State.BUSY)
    assert house.deliver() == Result(State.DELIVERED)
