"""Woken by the external server, the worker looks there at once, and not when its time comes."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.app import create_app
from service.exchange.stand_in import Running
from service.exchange.worker import COLLECT, BackgroundWorker, Duties
from service.settings import Settings
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from service.web import wake
from service.web.requests_in import WAKE
from tests.exchange.conftest import Clock
from tests.exchange.gateway import Gateway
from tests.exchange.test_worker import soon

SECRET = "a-secret-of-at-least-32-characters"


@pytest.fixture
def gateway(store: Store, exchange: ExchangeState, there: Running, clock: Clock) -> Iterator[Gateway]:
    between = Gateway.between(store, exchange, there.url, clock)
    yield between
    between.collector.state.close()


@pytest.fixture
def worker(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundWorker]:
    """One that never looks by itself."""
    monkeypatch.setattr("service.exchange.worker.every", lambda _: "0 0 1 1 *")
    duties = Duties(gateway.house.store.url, gateway.clock, lambda: None, gateway.deliverer)
    one = BackgroundWorker(replace(duties, collector=gateway.collector))
    thread = threading.Thread(target=one.run)
    thread.start()
    yield one
    one.stop()
    thread.join(20)


def test_both_sides_of_the_queue_call_it_by_the_same_name() -> None:
    assert wake.COLLECT == COLLECT


def test_a_change_there_is_done_here_as_soon_as_that_server_says_so(
    gateway: Gateway, worker: BackgroundWorker, there: Running
) -> None:
    row = gateway.receive()
    gateway.deliver(row)
    copy = gateway.region.copy_of(f"Task/{row.task}")
    gateway.region.change(copy, status="accepted")
    settings = Settings(fhir_server_url=there.url, wake_token=SECRET)
    client = create_app(settings, gateway.house).test_client()
    answer = client.put(f"{WAKE}/Task/{copy['id']}", headers={"Authorization": f"Bearer {SECRET}"})
    assert answer.status_code == 204
    soon(lambda: gateway.task(row)["status"] == "accepted")
