"""Deliveries at the same time, and what they leave alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from service.exchange.deliver import Result, State
from tests.exchange.conftest import House
from tests.exchange.troubled import Trouble, Way


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
