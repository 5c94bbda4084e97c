"""Referrals that come in and move, whatever happens: clients that repeat what they got no answer to, as an EHR does."""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any

import requests

from fhir_mappings.records import Json
from tests.bench import referrals

PATIENCE = 150.0
"""Seconds that a client goes on repeating one request."""
RETURNING = 10
"""Every so many referrals the patient is one who has just been referred."""
_LOCAL = threading.local()
_PEOPLE = tuple(islice(referrals.identities(), 20_000))


@dataclass
class Known:
    """A referral that a client was told is received, and what it was told since."""

    placer: str
    order: str = ""
    task: Json = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Statuses of its Task that were acknowledged."""


@dataclass
class Load:
    """Clients of some web processes."""

    urls: Sequence[str]
    seed: float
    today: date = field(default_factory=date.today)
    known: dict[str, Known] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    """How many of each status, and of each way of not being answered."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._templates = [referrals.template(unit, self.today) for unit in referrals.UNITS]

    def run(self, numbers: range, clients: int = 6, pause: float = 0.0) -> None:
        """Refer so many; every other one is then received by its team, every fourth accepted. Returns when all that
        was sent has been acknowledged. `pause` is a client's mean wait before each, in seconds.
        """
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda number: self.refer(number, pause), numbers))

    def refer(self, number: int, pause: float = 0.0) -> Known:
        """One referral, and what follows it."""
        chance = random.Random(f"{self.seed}-{number}")  # noqa: S311 - a test's choice
        time.sleep(chance.uniform(0, 2 * pause))
        placer = f"F-{number}"
        one = Known(placer, order_of(self.ask("POST", "/fhir", self.body(number), chance)))
        with self._lock:
            self.known[placer] = one
        if number % 2:
            self._move(one, "received", chance)
            if number % 4 == 1:
                self._move(one, "accepted", chance)
        return one

    def body(self, number: int) -> bytes:
        """The Bundle of a referral. Synthetic."""
        person = number - 3 if number % RETURNING == 3 else number
        template = self._templates[number % len(self._templates)]
        return referrals.body(template, f"F-{number}", _PEOPLE[person], number % referrals.ROLES)

    def _move(self, one: Known, status: str, chance: random.Random) -> None:
        if not one.task:
            (one.task,) = (
                e["resource"] for e in self.ask("GET", f"/fhir/Task?focus={one.order}", None, chance)["entry"]
            )
        caller = f"therapist {one.task['owner']['reference'].partition('/')[2]}"
        path = f"/fhir/Task/{one.task['id']}"
        while one.task["status"] != status:
            headers = {"Sluss-Caller": caller, "If-Match": f'W/"{one.task["meta"]["versionId"]}"'}
            told = self.ask("PUT", path, {**one.task, "status": status}, chance, headers=headers, also=(412,))
            # 412: an answer was lost on its way, or somebody else was first
            one.task = told if told.get("resourceType") == "Task" else self.ask("GET", path, None, chance)
        one.said.append(status)

    def ask(
        self,
        method: str,
        path: str,
        sent: Json | bytes | None,
        chance: random.Random,
        *,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Json:
        """What is answered in the end. Repeated, at any of the web processes, until there is an answer that says more
        than "later"; any other refusal is a failure.
        """
        began = time.monotonic()
        while True:
            assert time.monotonic() - began < PATIENCE, f"no answer to {method} {path}: {self.answers}"
            status, told, wait = self._once(method, chance.choice(self.urls) + path, sent, headers)
            with self._lock:
                self.answers[str(status)] += 1
            if isinstance(status, int):
                if status < 400 or status in also:
                    return told
                assert status in (409, 503), f"{method} {path}: {status} {str(told)[:600]}"
                assert told["resourceType"] == "OperationOutcome"
                assert wait, "it says when to come back"
            time.sleep(chance.uniform(0.05, 0.4))

    def _once(
        self, method: str, url: str, sent: Json | bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[int | str, Json, str | None]:
        given: dict[str, Any] = {"data": sent} if isinstance(sent, bytes) else {"json": sent}
        content = {"Content-Type": "application/fhir+json"} if sent is not None else {}
        try:
            answer = session().request(method, url, timeout=30, headers={**content, **(headers or {})}, **given)
            return answer.status_code, answer.json(), answer.headers.get("Retry-After")
        except (requests.RequestException, ValueError) as problem:  # not answered, or not to the end
            return type(problem).__name__, {}, None


def order_of(answer: Json) -> str:
    """The ServiceRequest that a Bundle's answer tells of, `ServiceRequest/id`."""
    locations = [entry["response"].get("location", "") for entry in answer["entry"]]
    return next("/".join(place.split("/")[:2]) for place in locations if place.startswith("ServiceRequest/"))


def session() -> requests.Session:
    """This thread's own."""
    one: requests.Session | None = getattr(_LOCAL, "session", None)
    if one is None:
        one = _LOCAL.session = requests.Session()
        one.trust_env = False  # loopback needs no proxy
    return one
