"""The whole service behind a loopback port, on a real PostgreSQL, with a client for each role and a clock that only
moves when told.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import requests
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump, parse
from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.packs.model import Pack
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from service.store.records import ReferralRow
from tests.journeys.referrals import UNIT

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=ZoneInfo("Europe/Stockholm"))


@dataclass
class Clock:
    """A clock in Sweden that only moves when told."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        """`later(days=3)`"""
        self.now += timedelta(**by)

    def set(self, moment: str) -> None:
        """`set("2026-12-01T09:00")`, Swedish time."""
        self.now = datetime.fromisoformat(moment).replace(tzinfo=NOW.tzinfo)


class Ids:
    """Ids that are the same in every run: the first is `00000000-0000-4000-8000-000000000001`."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self._last += 1
            return str(UUID(int=0x0000_0000_0000_4000_8000_0000_0000_0000 + self._last))


@dataclass(frozen=True)
class Client:
    """Who calls, over HTTP. Paths are those of contract 2 (`/fhir/Task`), or a stored reference (`Task/7`)."""

    base: str
    caller: str | None
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> requests.Response:
        return self._send("GET", path, None, headers, parameters)

    def post(self, path: str, body: Json | bytes, headers: dict[str, str] | None = None) -> requests.Response:
        return self._send("POST", path, body, headers)

    def put(self, path: str, body: Json | bytes, headers: dict[str, str] | None = None) -> requests.Response:
        return self._send("PUT", path, body, headers)

    def read(self, reference: str) -> Json:
        """A resource by `Type/id` or `Type/id/_history/v`, its decimals exact."""
        answer = self.get(reference)
        assert answer.status_code == 200, answer.text
        return exact(answer)

    def search(self, type_: str, **parameters: Any) -> list[Json]:
        """The resources that match (names with `-` or `:` are given as `**{"based-on": …}`)."""
        answer = self.get(f"/fhir/{type_}", **parameters)
        assert answer.status_code == 200, answer.text
        return [e["resource"] for e in exact(answer).get("entry", []) if e["search"]["mode"] == "match"]

    def _send(
        self,
        method: str,
        path: str,
        body: Json | bytes | None,
        headers: dict[str, str] | None,
        parameters: dict[str, Any] | None = None,
    ) -> requests.Response:
        url = self.base + (path if path.startswith("/") else f"/fhir/{path}")
        type_ = "application/json" if path.startswith("/intake") else "application/fhir+json"
        return self.session.request(
            method,
            url,
            params=parameters,
            data=dump(body).encode() if isinstance(body, dict) else body,
            headers={
                **({"Sluss-Caller": self.caller} if self.caller else {}),
                **({"Content-Type": type_} if body is not None else {}),
                **(headers or {}),
            },
            timeout=20,
        )


def exact(answer: requests.Response) -> Json:
    """The JSON body with every decimal as it was written."""
    body = parse(answer.content)
    assert isinstance(body, dict), body
    return body


@dataclass(frozen=True)
class Service:
    """The running service, as its clients and the tests see it."""

    base: str
    house: House
    clock: Clock

    @property
    def store(self) -> Store:
        return self.house.store

    def referrer(self, unit: str = UNIT) -> Client:
        return Client(self.base, f"referrer {unit}")

    def therapist(self, team: str = "gavle") -> Client:
        return Client(self.base, f"therapist {team}")

    @property
    def platform(self) -> Client:
        return Client(self.base, "platform")

    @property
    def administrator(self) -> Client:
        return Client(self.base, None)

    def row(self, order: str) -> ReferralRow:
        """The referral of `ServiceRequest/{id}` as the database knows it."""
        row = self.store.view().referral_of(*order.split("/")[:2])
        assert row is not None
        return row

    def all_of(self, order: str, type_: str) -> list[Json]:
        """What is stored of one type for the referral of `ServiceRequest/{id}`, oldest first."""
        stored = self.store.view().of_referral(self.row(order).id)
        return [item.content for item in stored if item.type == type_]

    def count(self, type_: str) -> int:
        """How many resources of a type there are."""
        answer = self.administrator.get(f"/fhir/{type_}", _count=0)
        total: int = answer.json()["total"]
        return total


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Door:
    """One port for the whole session; behind it each test's own application."""

    app: Flask | None = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        assert self.app is not None
        return self.app(environ, start_response)


@pytest.fixture(scope="session")
def _door() -> Iterator[tuple[str, _Door]]:
    door = _Door()
    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", door
    server.shutdown()
    thread.join()


@pytest.fixture(scope="session")
def packs() -> Callable[[str], Pack]:
    """The shipped packs, each loaded once."""
    loaded: dict[str, Pack] = {}

    def pack(name: str) -> Pack:
        if name not in loaded:
            loaded[name] = load(name)
        return loaded[name]

    return pack


@pytest.fixture
def service(
    store: Store,
    _door: tuple[str, _Door],
    packs: Callable[[str], Pack],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Service:
    """The service with an empty database; `parametrize("service", ["praktikertjanst"], indirect=True)` chooses the
    pack.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    base, door = _door
    clock = Clock()
    house = House(
        store=store,
        pack=packs(getattr(request, "param", "gavleborg")),
        canonical=Canonical("https://sluss.example/fhir"),
        clock=clock,
        new_id=Ids(),
    )
    assert urlsplit(base).hostname == "127.0.0.1"
    door.app = create_app(Settings(log_level="error"), house)
    return Service(base, house, clock)
