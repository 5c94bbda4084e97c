"""A real server says that something has changed there, with its own rest-hook, and the collector's job is there."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from werkzeug.serving import make_server

from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.exchange.client import FhirClient
from service.exchange.subscriptions import Registered, Subscriptions
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from service.web.requests_in import WAKE
from tests.exchange.region import CANONICAL, Region, message_in
from tests.hapi.server import Running
from tests.web.conftest import NOW

pytestmark = pytest.mark.hapi

SECRET = "a-secret-of-at-least-32-characters"
PROGRAMME = f"{CANONICAL.base}/CodeSystem/ikbt-programme"


_BETWEEN_BATCHES = 7
"""Seconds, and some to spare."""


@dataclass
class Woken:
    """Sluss, and how often the external server has called it."""

    url: str
    store: Store

    def looks(self) -> int:
        """Looks that wait for a worker."""
        with psycopg.connect(self.store.url) as connection:
            rows = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'collect'").fetchone()
        assert rows is not None
        return int(rows[0])

    def forget(self) -> None:
        """As if a worker had looked."""
        with psycopg.connect(self.store.url, autocommit=True) as connection:
            connection.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'collect'")


@pytest.fixture
def sluss(store: Store, hapi: Running) -> Iterator[Woken]:
    settings = Settings(fhir_server_url=hapi.url, wake_token=SECRET)
    house = House(store, load("gavleborg"), Canonical(settings.canonical_base), lambda: NOW, lambda: str(uuid4()))
    server = make_server("127.0.0.1", 0, create_app(settings, house), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Woken(f"http://127.0.0.1:{server.server_port}", store)
    server.shutdown()
    thread.join()
    server.server_close()


def _soon(happens: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.2)


def _forget_all(sluss: Woken) -> None:
    """No look waits, and none comes of what has happened so far: HAPI may tell in batches, five seconds apart."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < _BETWEEN_BATCHES:
        if sluss.looks():
            sluss.forget()
            quiet_since = time.monotonic()
        time.sleep(0.2)


def _register(subscriptions: Subscriptions, url: str, secret: str = SECRET) -> list[Registered]:
    outcome = subscriptions.register(f"{url}{WAKE}", secret)
    assert isinstance(outcome, list), outcome
    return outcome


def test_a_change_there_wakes_the_collector_until_the_subscriptions_are_taken_away(hapi: Running, sluss: Woken) -> None:
    subscriptions, region = Subscriptions(FhirClient(hapi.url), CANONICAL), Region(hapi.url)
    first = _register(subscriptions, sluss.url)
    assert len(first) == 3
    _soon(lambda: {one.status for one in _register(subscriptions, sluss.url)} == {"active"})
    assert [one.id for one in _register(subscriptions, sluss.url)] == [one.id for one in first]

    made = region.post(message_in("information", "Hej"))
    _soon(sluss.looks)
    for number in range(5):
        region.change(made, payload=[{"contentString": f"Hej igen {number}"}])
    time.sleep(1)
    assert sluss.looks() == 1, "many hints are one look"

    _forget_all(sluss)
    region.post({"resourceType": "Task", "status": "requested", "intent": "order"})
    _soon(sluss.looks)

    _forget_all(sluss)
    patient = region.post({"resourceType": "Patient"})
    time.sleep(_BETWEEN_BATCHES)
    assert sluss.looks() == 0, "patients are none of our business"
    order = {"resourceType": "ServiceRequest", "status": "draft", "intent": "order"}
    subject = {"subject": {"reference": f"Patient/{patient['id']}"}}
    region.post({**order, **subject, "code": {"coding": [{"system": PROGRAMME, "code": "sleep"}]}})
    _soon(sluss.looks)

    _register(subscriptions, sluss.url, f"another-{SECRET}")
    time.sleep(2)
    _forget_all(sluss)
    region.change(made, payload=[{"contentString": "Hej då"}])
    time.sleep(_BETWEEN_BATCHES)
    assert sluss.looks() == 0, "who does not know the secret wakes nobody"

    assert subscriptions.remove() == []
    assert region.search("Subscription") == []
