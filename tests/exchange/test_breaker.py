"""A server that is down is noticed once, by whichever worker, and everything goes when it is back."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from service.exchange.breaker import MOST_FAILURES
from service.exchange.client import FhirClient
from service.exchange.deliver import Deliverer, State
from service.exchange.stand_in import Running
from service.store.exchange_state import ExchangeState
from tests.exchange.conftest import CANONICAL, Clock, House
from tests.exchange.troubled import Trouble, Way

Asked = Callable[[], list[str]]


@pytest.fixture
def another(house: House, there: Running, clock: Clock) -> Iterator[Deliverer]:
    """Another worker on the same database."""
    state = ExchangeState(house.store.url, lock_wait=timedelta(seconds=3))
    yield Deliverer(house.store, state, FhirClient(there.url, 2), CANONICAL, clock, chance=lambda: 0.5)
    state.close()


def receive(house: House, many: int) -> list[str]:
    return [house.receive(str(number), f"p-{number}") for number in range(many)]


def test_a_server_that_is_down_is_asked_by_a_few_and_not_by_every_job(house: House, way: Way, asked: Asked) -> None:
    referrals = receive(house, 20)
    way.always = Trouble(503)
    states = [house.deliver(referral).state for referral in referrals]
    assert states == [State.WAITING] * MOST_FAILURES + [State.SERVER_AWAY] * (20 - MOST_FAILURES)
    assert len(asked()) == MOST_FAILURES
    known = house.exchange.server.known()
    assert known.reason == "busy"
    assert known.down_since is not None


def test_workers_agree_on_it(house: House, another: Deliverer, way: Way, asked: Asked) -> None:
    referrals = receive(house, MOST_FAILURES + 1)
    way.always = Trouble(503)
    for referral in referrals[:-1]:
        house.deliver(referral)
    asked()
    assert another.deliver(referrals[-1]).state is State.SERVER_AWAY
    assert asked() == []


def test_one_at_a_time_tries_whether_it_answers_again(house: House, another: Deliverer, way: Way, clock: Clock) -> None:
    referrals = receive(house, 8)
    way.always = Trouble(503, seconds=0.3)
    for referral in referrals:
        house.deliver(referral)
    clock.later(minutes=1)
    assert len(house.deliverer.due()) == 1, "one is woken"
    way.asked.clear()
    threads = [
        threading.Thread(target=deliverer.deliver, args=(referral,))
        for deliverer, referral in zip([house.deliverer, another] * 4, referrals, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(way.asked) == 1, "and only one asks, even if all are"
    assert house.deliverer.due() == [], "nobody before the pause is over"


def test_the_pause_between_two_tries_grows_to_a_minute(house: House, way: Way, clock: Clock) -> None:
    referrals = receive(house, 40)
    way.always = Trouble(503)
    for referral in referrals:
        house.deliver(referral)
    pauses = []
    for _ in range(8):
        probe_at = house.exchange.server.known().probe_at
        assert probe_at is not None
        pauses.append((probe_at - clock()).total_seconds())
        clock.now = probe_at
        (referral,) = house.deliverer.due()
        assert house.deliver(referral).state is State.WAITING
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_everything_goes_by_itself_when_it_is_back(house: House, way: Way, clock: Clock) -> None:
    referrals = receive(house, 12)
    way.always = Trouble(503)
    for referral in referrals:
        house.deliver(referral)
    way.always = None
    clock.later(minutes=1)
    for _ in range(2):
        for referral in house.deliverer.due():
            assert house.deliver(referral).state is State.DELIVERED
        clock.later(minutes=1)
    assert len(house.shown("ServiceRequest")) == 12
    known = house.exchange.server.known()
    assert (known.failures, known.down_since, known.reason) == (0, None, None)
    assert known.last_contact is not None
    assert house.deliverer.due() == []


def test_a_referral_that_the_server_chokes_on_does_not_shut_the_road_for_others(
    house: House, way: Way, clock: Clock
) -> None:
    house.receive("bad", "p-bad")
    way.always = Trouble(500)
    for _ in range(6):
        house.deliver("r-bad")
        clock.later(hours=2)
    way.always = None
    house.receive("2", "p-2")
    assert house.deliver("r-2").state is State.DELIVERED


def test_a_server_that_fails_for_everybody_is_down_even_if_it_answers(house: House, way: Way, asked: Asked) -> None:
    referrals = receive(house, 10)
    way.always = Trouble(500)
    for referral in referrals:
        house.deliver(referral)
    assert len(asked()) == MOST_FAILURES


def test_one_answer_in_between_shows_that_it_is_not_down(house: House, way: Way) -> None:
    referrals = receive(house, 6)
    for number, referral in enumerate(referrals):
        way.always = Trouble(503) if number % 3 else None
        assert house.deliver(referral).state is (State.WAITING if number % 3 else State.DELIVERED)


def test_a_refusal_of_one_referral_shows_that_it_is_back(house: House, way: Way, clock: Clock) -> None:
    referrals = receive(house, 5)
    way.always = Trouble(503)
    for referral in referrals:
        house.deliver(referral)
    way.always = Trouble(422)
    clock.later(minutes=1)
    assert house.deliver(referrals[4]).state is State.DEAD
    assert house.exchange.server.known().down_since is None


def test_a_worker_that_is_killed_while_it_tries_leaves_the_try_to_another(house: House, way: Way, clock: Clock) -> None:
    referrals = receive(house, 4)
    way.always = Trouble(503)
    for referral in referrals:
        house.deliver(referral)
    way.always = None
    clock.later(minutes=1)
    assert house.exchange.server.take_probe(clock(), clock() + timedelta(seconds=45))
    assert house.deliver(referrals[3]).state is State.SERVER_AWAY
    clock.later(minutes=1)
    assert house.deliver(referrals[3]).state is State.DELIVERED


def test_a_try_with_nothing_to_send_is_left_to_the_next(house: House, way: Way, clock: Clock) -> None:
    house.receive("done", "p-done")
    house.deliver("r-done")
    referrals = receive(house, 4)
    way.always = Trouble(503)
    for referral in referrals:
        house.deliver(referral)
    way.always = None
    clock.later(minutes=1)
    assert house.deliver("r-done").state is State.NOTHING_TO_DO
    assert house.deliver(referrals[3]).state is State.DELIVERED
