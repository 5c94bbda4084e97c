"""Referrals taken in and treated by the service itself over HTTP: open ones for each store, and those that have ended,
which `fill` multiplies.

A family is one patient of one unit with three referrals that have ended, in this way or that. Everything of it has an
id that begins with the family's mark, and happens in a time of its own, ahead of the clock, within SPAN.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from flask.testing import FlaskClient

from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from fhir_mappings.terminology import Canonical
from service.access.caller import HEADER
from service.app import create_app, new_id
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.bench import referrals
from tests.journeys.referrals import S, located

TEAMS = {
    "gavle": "SE2321000198-EX01",
    "vastra-gastrikland": "SE2321000198-EX03",
    "norra-halsingland": "SE2321000198-EX04",
    "sodra-halsingland": "SE2321000198-EX05",
}
"""A unit on the platform for each team."""

OPEN = 160
"""Open referrals in each store: 40 for each team, of patients that have no other."""
GRAVE = 48
"""A sum of MADRS-S that OPEN_AND_GRAVE of them have, and no other referral."""
OPEN_AND_GRAVE = 20

FAMILIES = 8
FAMILY = 3
"""Referrals of one patient."""
SPAN = timedelta(days=500)
"""Longer than from a family's first referral to its last end."""
SERIALS = tuple(f"{serial}" for serial in range(980, 1000))
"""Of the patients in families and their copies; those of open referrals have others."""

_SUMS = (
    (2, 2, 2, 1, 1, 2, 1, 1, 0),
    (3, 2, 2, 2, 2, 2, 2, 1, 1),
    (1, 1, 1, 1, 1, 1, 1, 1, 0),
    (3, 3, 2, 2, 2, 2, 2, 2, 1),
)
_GRAVE = (6, 6, 6, 6, 6, 6, 6, 6, 0)
_ENDS = (
    ("rejected", "discontinued", "withdrawn"),
    ("withdrawn", "rejected", "completed"),
    ("rejected", "withdrawn", "withdrawn"),
    ("discontinued", "rejected", "rejected"),
)


def mark(family: int) -> str:
    """What ids of a family begin with: thirteen characters, as the time does that ids of the service begin with."""
    return f"fff{family:05x}-ffff"


@dataclass
class _Ids:
    """Ids as the service makes them; those of a family begin with its mark."""

    mark: str | None = None

    def __call__(self) -> str:
        if self.mark is None:
            return new_id()
        return f"{self.mark}-7{str(uuid.uuid4())[15:]}"


@dataclass
class _Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """The service on a database, with people who call it, and a time that goes on when it is told to."""

    url: str
    clock: _Clock
    ids: _Ids
    client: FlaskClient
    ahead: bool
    """Whether the time is ahead of the database's: stamps are made to follow it."""
    _database: psycopg.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._database = psycopg.connect(self.url, autocommit=True)

    def pass_time(self, **much: float) -> None:
        """Goes on by a timedelta of these."""
        self.clock.now += timedelta(**much)

    def ask(self, caller: str, method: str, path: str, body: Json | bytes | None = None) -> Json:
        """The JSON of an answer that must be 2xx. Raises ValueError otherwise."""
        if self.ahead:
            # A stamp is later than every one before it, whatever the database's clock says.
            micros = int(self.clock.now.timestamp() * 1_000_000)
            self._database.execute("SELECT setval('sluss_stamp_floor', %s)", (micros,))
            self.pass_time(seconds=1.234567)
        data = dump(body).encode() if isinstance(body, dict) else body
        answer = self.client.open(
            path, method=method, data=data, headers={HEADER: caller}, content_type="application/fhir+json"
        )
        if answer.status_code >= 300:
            raise ValueError(f"{caller}: {method} {path}: {answer.status_code}: {answer.text}")
        read: Json = answer.get_json()
        return read

    def change(self, caller: str, reference: str, **elements: Any) -> None:
        """Read, replace elements, PUT."""
        self.ask(caller, "PUT", f"/fhir/{reference}", {**self.ask(caller, "GET", f"/fhir/{reference}"), **elements})

    def found(self, caller: str, query: str) -> list[Json]:
        """The first page of a search."""
        return [entry["resource"] for entry in self.ask(caller, "GET", f"/fhir/{query}").get("entry", ())]

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()


@contextmanager
def _world(url: str, now: datetime, *, ahead: bool) -> Iterator[World]:
    clock, ids = _Clock(now), _Ids()
    store = Store(url)
    house = House(store, load("gavleborg"), Canonical(S), clock, ids)
    world = World(
        url, clock, ids, create_app(Settings(database_url=url, log_level="error"), house).test_client(), ahead
    )
    try:
        yield world
    finally:
        world.close()
        store.close()


# ---------------------------------------------------------------- open ones


def take_in_open_ones(url: str) -> None:
    """OPEN referrals, a minute between them, the last one now."""
    with _world(url, datetime.now(SWEDEN) - timedelta(minutes=OPEN), ahead=False) as world:
        for number, identity in enumerate(itertools.islice(referrals.identities(1990, 1999), OPEN)):
            world.pass_time(minutes=1)
            team = tuple(TEAMS)[number % len(TEAMS)]
            grave = number < OPEN_AND_GRAVE
            _refer(
                world,
                team,
                identity,
                f"B-{number}",
                items=_GRAVE if grave else _SUMS[number % 3],
                programme="anxiety" if grave else "depression",
                role=number % referrals.ROLES,
            )


def _refer(world: World, team: str, identity: str, placer: str, *, role: int, **content: Any) -> str:
    """A referral is sent and found eligible; gives `ServiceRequest/{id}`."""
    unit = TEAMS[team]
    filled = referrals.template(unit, world.clock.now.astimezone(SWEDEN).date(), books=team == "gavle", **content)
    # The role's number decides its unit too: a role belongs to one.
    body = referrals.body(filled, placer, identity, role)
    answer = world.ask(f"referrer {unit}", "POST", "/fhir", body)
    return next(located(entry) for entry in answer["entry"] if "ServiceRequest/" in entry["response"]["location"])


# ---------------------------------------------------------------- families


def live_families(url: str, first: int = 0) -> list[str]:
    """FAMILIES families, with marks from `first` on, from the first referral to the last end; gives their patients'
    numbers.

    Raises ValueError when the service does not do what a step needs.
    """
    identities = referrals.identities(1970, 1970, SERIALS)
    begins = datetime.now(SWEDEN).replace(hour=7, minute=0) + timedelta(days=1)
    patients = []
    with _world(url, begins, ahead=True) as world:
        for family in range(FAMILIES):
            world.clock.now = begins + timedelta(hours=family)
            patients.append(next(identities))
            _live(world, family, mark(first + family), patients[-1])
            assert world.clock.now < begins + SPAN
    return patients


def _live(world: World, family: int, begins: str, identity: str) -> None:
    """The three referrals of one patient, one after the other."""
    team = tuple(TEAMS)[family % len(TEAMS)]
    ends = _ENDS[(family + family // len(TEAMS)) % len(_ENDS)]
    for number, end in enumerate(ends):
        world.ids.mark = begins
        items = _SUMS[(family + number) % len(_SUMS)]
        placer = f"B-{begins}-{number}"
        order = _refer(world, team, identity, placer, items=items, role=family % referrals.ROLES)
        _FATES[end](_Case(world, team, order))
        world.ids.mark = None
        world.pass_time(days=120)


@dataclass
class _Case:
    world: World
    team: str
    order: str

    @property
    def therapist(self) -> str:
        """The caller."""
        return f"therapist {self.team}"

    @property
    def task(self) -> str:
        """`Task/{id}` of the referral's own."""
        (task,) = self.world.found(self.therapist, f"Task?focus={self.order}&code=fulfill")
        return f"Task/{task['id']}"

    def move(self, status: str, **elements: Any) -> None:
        """The therapist changes the Task."""
        self.world.change(self.therapist, self.task, status=status, **elements)

    def do(self, activity: str) -> None:
        """The therapist ends the first open activity of a kind."""
        for child in self.world.found(self.therapist, f"Task?part-of={self.task}&status=requested&_sort=authored-on"):
            if any(coding["code"] == activity for coding in child["code"]["coding"]):
                self.world.change(self.therapist, f"Task/{child['id']}", status="completed")
                return
        raise ValueError(f"no {activity}")

    def accept(self) -> None:
        """Claimed and accepted after two days."""
        self.world.pass_time(days=2, minutes=17)
        self.move("accepted", owner={"reference": f"PractitionerRole/{self.team}-internet-therapist-1"})


def _rejected(case: _Case) -> None:
    case.world.pass_time(days=1, minutes=41)
    case.move("rejected", statusReason={"text": "Patienten har behov av fysisk vård; se svaret."})


def _withdrawn(case: _Case) -> None:
    case.world.pass_time(hours=20)
    case.world.change(f"referrer {TEAMS[case.team]}", case.order, status="revoked")


def _discontinued(case: _Case) -> None:
    case.accept()
    case.world.pass_time(days=5)
    case.move("cancelled", statusReason={"text": "Efter första samtalet: patienten väljer annan behandling."})


def _completed(case: _Case) -> None:
    case.accept()
    case.world.pass_time(days=3)
    case.do("first-call")
    case.do("access-1177")
    case.move("in-progress")
    case.world.pass_time(days=50)
    case.do("follow-up-call")
    held = case.world.ask(case.therapist, "GET", f"/fhir/{case.task}").get("output", [])
    kind = {"coding": [{"system": f"{S}/CodeSystem/task-output", "code": "final-reply"}]}
    text = "Behandlingen är genomförd enligt plan. MADRS-S 6 vid avslut. Ingen fortsatt kontakt planerad."
    case.move("completed", output=[*held, {"type": kind, "valueString": text}])


_FATES: dict[str, Callable[[_Case], None]] = {
    "rejected": _rejected,
    "withdrawn": _withdrawn,
    "discontinued": _discontinued,
    "completed": _completed,
}
