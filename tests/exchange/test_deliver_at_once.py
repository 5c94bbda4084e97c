"""Deliveries at the same time, and what they leave alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg

from service.exchange.deliver import Result, State
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from tests.exchange.conftest import House, whichever_server
from tests.exchange.troubled import Trouble, Way
from tests.store.examples import patient


def at_once(*calls: Callable[[], Result]) -> list[Result]:
    """All of them started together."""
    gate = threading.Barrier(len(calls))

    def started(call: Callable[[], Result]) -> Result:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(started, calls))


@whichever_server
def test_deliveries_of_one_referral_at_the_same_time_make_one_copy(house: House) -> None:
    house.receive()
    results = at_once(*[house.deliver] * 4)
    assert sorted(result.state for result in results) == [State.DELIVERED, *[State.NOTHING_TO_DO] * 3]
    for type_ in ("Patient", "ServiceRequest", "Task", "Communication", "QuestionnaireResponse"):
        assert len(house.shown(type_)) == 1, type_


@whichever_server
def test_the_first_referrals_at_the_same_time_make_one_directory(house: House) -> None:
    results = at_once(*referrals_of_one_patient(house))
    assert [result.state for result in results] == [State.DELIVERED] * 4
    assert len(house.shown("Organization")) == 2
    assert len(house.shown("PractitionerRole")) == 1
    assert len(house.shown("HealthcareService")) == 1
    assert len(house.shown("Task")) == 4


@whichever_server
def test_referrals_of_one_patient_at_the_same_time_make_one_patient(house: House) -> None:
    somebody = {"system": "http://electronichealth.se/identifier/personnummer", "value": "189002029800"}
    house.write(patient("p-0", identifier=[somebody]))
    house.deliver(house.receive("0", "p-0"))
    results = at_once(*referrals_of_one_patient(house))
    assert [result.state for result in results] == [State.DELIVERED] * 4
    assert len(house.shown("Patient")) == 2
    assert len({task["for"]["reference"] for task in house.shown("Task")}) == 2


def referrals_of_one_patient(house: House) -> list[Callable[[], Result]]:
    """Deliveries of four units' referrals."""
    received = [house.receive(str(number), f"p-{number}") for number in range(1, 5)]
    return [partial(house.deliver, referral_id) for referral_id in received]


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


def test_who_delivers_notes_what_it_learns_however_many_others_deliver(store: Store) -> None:
    exchange = ExchangeState(store.url, size=1)
    with exchange.held("one"):
        assert exchange.row("r-1") is None
    exchange.close()
