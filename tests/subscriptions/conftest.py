"""Sluss on a real store, subscribers' endpoints on loopback, and what tells them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.exchange.notify import Notifier, notifier_of
from service.packs.loading import load
from service.packs.model import Pack
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.exchange.conftest import Clock
from tests.subscriptions.endpoint import CERTIFICATE, Endpoint, running_endpoint
from tests.web.caller import Sluss, content
from tests.web.test_subscriptions import wanted


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load("gavleborg")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(store: Store, pack: Pack, clock: Clock) -> House:
    return House(store, pack, Canonical(Settings().canonical_base), clock, lambda: str(uuid4()))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as running:
        yield running


@dataclass
class Region:
    """Sluss, its subscribers and who tells them."""

    sluss: Sluss
    notifier: Notifier
    settings: Settings
    clock: Clock

    def subscribe(self, endpoint: Endpoint, caller: str, topic: str, *filters: str, **channel: Any) -> str:
        """A Subscription of this caller's; gives its id. `path` tells its requests from others'."""
        url = f"https://{endpoint.host}{channel.pop('path')}" if "path" in channel else endpoint.url
        sent = wanted(topic, *filters, **{"endpoint": url, **channel})
        answer = self.sluss.acting(caller).post("/fhir/Subscription", sent)
        assert answer.status_code == 201, answer.text
        return str(content(answer)["id"])

    def tell(self, rounds: int = 1) -> None:
        """What the worker does again and again."""
        for _ in range(rounds):
            for id_ in self.notifier.look():
                self.notifier.notify(id_)

    def read(self, id_: str) -> Json:
        """The Subscription, as an administrator sees it."""
        return self.sluss.acting("administrator").read(f"Subscription/{id_}")

    def ask(self, id_: str, status: str, caller: str) -> None:
        """The Subscription's maker sets its status."""
        acting = self.sluss.acting(caller)
        answer = acting.put(f"/fhir/Subscription/{id_}", {**acting.read(f"Subscription/{id_}"), "status": status})
        assert answer.status_code == 200, answer.text


@pytest.fixture
def region_of(house: House, clock: Clock) -> Iterator[Callable[..., Region]]:
    made: list[Notifier] = []

    def make(*hosts: str, **changes: Any) -> Region:
        settings = Settings(
            **{
                "subscription_hosts": hosts,
                "subscription_networks": ("127.0.0.0/8", "::1/128"),
                "subscription_ca": CERTIFICATE,
                **changes,
            }
        )
        notifier = notifier_of(settings, house)
        made.append(notifier)
        return Region(Sluss(create_app(settings, house)), notifier, settings, clock)

    yield make
    for notifier in made:
        notifier.events.close()


@pytest.fixture
def region(region_of: Callable[..., Region], endpoint: Endpoint) -> Region:
    """One that may tell the endpoint."""
    return region_of(endpoint.host)
