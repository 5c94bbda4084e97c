"""Measures deliveries into a real HAPI beside what HAPI itself takes, and how long a referral is on its way there.

The bound: the very Bundles that deliveries send, of other referrals, posted straight to HAPI over as many connections.
Ends with status 1 when a target is missed. `--quick` measures little, to try it out.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Any, LiteralString

import click
import psycopg
import requests

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from fhir_mappings.terminology import Canonical
from service import logs
from service.exchange.client import FhirClient, Found, Outcome, Permanent, Reason
from service.exchange.deliver import Deliverer
from service.store import embedded
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from tests.bench import machine, processor, referrals, servers
from tests.bench.load import Load, run
from tests.building import missing_tools
from tests.hapi.server import TOOLS, running_hapi

CANONICAL = Canonical("https://sluss.example/fhir")
CONNECTIONS = 4
"""What a worker uses, unless told otherwise."""
_STOPPING = 30
"""A worker that is told to stop ends what it has begun; so many more than are measured must be waiting."""


@dataclass(frozen=True)
class Plan:
    """How much."""

    rounds: int = 5
    each: int = 150
    warm_up: int = 300
    single: int = 60
    pause: float = 0.3
    backlog: int = 2_000


QUICK = Plan(rounds=2, each=60, warm_up=100, single=20, backlog=100)


class Recorder(FhirClient):
    """Keeps the Bundles that would be sent, and sends none."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.bundles: list[bytes] = []

    def search(self, _type: str, _parameters: Sequence[tuple[str, str]]) -> Found:
        """Nobody is there yet."""
        return Found(())

    def transaction(self, bundle: Json) -> Outcome:
        """Not sent."""
        self.bundles.append(dump(bundle).encode())
        return Permanent(Reason.REFUSED)


@dataclass(frozen=True)
class Stretch:
    """Deliveries in a row."""

    at: Sequence[datetime]
    """When each had ended, earliest first."""
    cost: Mapping[str, float]
    """Milliseconds of processor time for each, by process."""

    @property
    def rate(self) -> float:
        """How many a second."""
        return (len(self.at) - 1) / (self.at[-1] - self.at[0]).total_seconds()


@dataclass
class Side:
    """A database of Sluss, and the referrals that came into it."""

    url: str
    hapi: str
    processes: Mapping[str, int]
    """The servers, whose processor time counts, by name."""
    taken_in: int = 0
    _connection: psycopg.Connection | None = None

    def take_in(self, many: int) -> None:
        """Referrals come over HTTP; nobody delivers them yet."""
        with self.web() as port:
            load = Load(port, 600, 4, templates=_templates(), first=self.taken_in, most=many)
            figure = run(load)
        if figure.failures:
            raise click.ClickException(f"requests failed: {figure.failures[0]}")
        self.taken_in += figure.requests + load.connections

    @contextmanager
    def web(self) -> Iterator[int]:
        """`sluss serve`, on the port given."""
        with servers.sluss(self.url, 1, 4, SLUSS_FHIR_SERVER_URL=self.hapi) as web:
            yield web.port

    def post_one(self, port: int) -> datetime:
        """One referral comes; gives when its sender knew that it is received."""
        self.taken_in += 1
        person = next(islice(referrals.identities(), self.taken_in, None))
        body = referrals.body(_templates()[0].encode(), f"B-{self.taken_in}", person, 1)
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Content-Type": "application/fhir+json"}
            answer = session.post(f"http://127.0.0.1:{port}/fhir", data=body, headers=headers, timeout=30)
        if answer.status_code != 200:
            raise click.ClickException(f"request failed: {answer.text[:300]}")
        return datetime.now(UTC)

    @contextmanager
    def worker(self) -> Iterator[int]:
        """`sluss worker`, as it is in service; gives its process id."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
        environ = {**kept, "SLUSS_AUTH": "off", "SLUSS_DATABASE_URL": self.url, "SLUSS_FHIR_SERVER_URL": self.hapi}
        command = (sys.executable, "-m", "service.cli", "worker")
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)

    def delivered(self) -> list[datetime]:
        """When each referral was last delivered, earliest first."""
        rows = self._asked("SELECT delivered_at FROM exchange WHERE delivered_at IS NOT NULL ORDER BY 1")
        return [row[0] for row in rows]

    def nothing_waits(self) -> bool:
        """True when every delivery that was asked for has ended."""
        return not self._asked("SELECT FROM procrastinate_jobs WHERE task_name = 'deliver_referral' LIMIT 1")

    def _asked(self, query: LiteralString) -> list[tuple[Any, ...]]:
        # One connection for the whole run: to open one for each look would cost what is measured.
        if self._connection is None:
            self._connection = psycopg.connect(self.url, autocommit=True)
        return self._connection.execute(query).fetchall()

    def deliver(self, many: int) -> Stretch:
        """A worker starts, delivers `many` and is stopped. What its start takes does not count."""
        before = len(self.delivered())
        with self.worker() as worker:
            processes = {**self.processes, "Sluss": worker}
            first = _wait(lambda: len(self.delivered()) - before, every=0.1)
            began = processor.spent(processes)
            _wait(lambda: len(self.delivered()) >= before + many, every=0.5)
            ended, last = processor.spent(processes), len(self.delivered()) - before
        return Stretch(self.delivered()[before : before + many], _each(began, ended, last - first))

    def record(self) -> list[bytes]:
        """The Bundles of everything that is waiting here. It counts as given up afterwards."""
        exchange, recorder = ExchangeState(self.url), Recorder(self.hapi)
        deliverer = Deliverer(Store(self.url), exchange, recorder, CANONICAL, lambda: datetime.now(UTC))
        waiting = self._asked("SELECT id FROM referral WHERE id NOT IN (SELECT referral_id FROM exchange)")
        for (referral,) in waiting:
            deliverer.deliver(referral)
        exchange.close()
        return recorder.bundles


def straight(side: Side, bundles: list[bytes]) -> Stretch:
    """Post Bundles as fast as HAPI takes them."""
    waiting = list(bundles)
    ended: list[datetime] = []
    failures: list[str] = []
    began = _with_client(side)

    def post() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while waiting and not failures:
                headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
                answer = session.post(side.hapi, data=waiting.pop(), headers=headers, timeout=60)
                if answer.status_code != 200:
                    failures.append(answer.text[:300])
                ended.append(datetime.now(UTC))

    clients = [threading.Thread(target=post) for _ in range(CONNECTIONS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failures:
        raise click.ClickException(f"HAPI refused: {failures[0]}")
    return Stretch(sorted(ended), _each(began, _with_client(side), len(bundles)))


@dataclass
class Bench:
    """One run, and what was found out so far."""

    plan: Plan
    ours: Side
    theirs: Side
    missed: list[str] = field(default_factory=list)

    def tell(self, what: str, figure: str, target: str = "", *, kept: bool = True) -> None:
        """Another line of the table."""
        said = f"   {'ok' if kept else 'MISSED'}: {target}" if target else ""
        click.echo(f"{what:58} {figure}{said}")
        if not kept:
            self.missed.append(what)

    def rate(self) -> None:
        """Rounds of the bound and of deliveries in turn; the ratio of each pair, and their median."""
        plan = self.plan
        for side in (self.ours, self.theirs):  # teams, units and roles are there from now on
            side.take_in(60)
            side.deliver(60)
        self.theirs.take_in(plan.warm_up + plan.rounds * plan.each)
        bundles = self.theirs.record()
        self.tell("a delivery's Bundle, on average", f"{mean(len(bundle) for bundle in bundles) / 1024:.0f} kB")
        straight(self.theirs, bundles[: plan.warm_up])
        del bundles[: plan.warm_up]
        self.ours.take_in((plan.rounds + 1) * (plan.each + _STOPPING))
        self.ours.deliver(plan.each)
        bounds, rounds = [], []
        for turn in range(plan.rounds):
            bounds.append(straight(self.theirs, bundles[turn * plan.each : (turn + 1) * plan.each]))
            rounds.append(self.ours.deliver(plan.each))
        ratios = [mine.rate / bound.rate for bound, mine in zip(bounds, rounds, strict=True)]
        self.told_of(f"(a) bound: Bundles straight, {CONNECTIONS} connections", bounds)
        self.told_of(f"(b) deliveries by one worker, {CONNECTIONS} at once", rounds)
        each, ratio = " ".join(f"{one:.2f}" for one in ratios), median(ratios)
        self.tell("(b) / (a)", f"{ratio:.2f}   (rounds: {each})", ">= 0.8", kept=ratio >= 0.8)

    def told_of(self, what: str, rounds: Sequence[Stretch]) -> None:
        """The rate, and the processor time of each delivery."""
        costs = {name: mean(one.cost[name] for one in rounds) for name in rounds[0].cost}
        listed = " + ".join(f"{name} {cost:.1f}" for name, cost in costs.items())
        figure = f"{median(one.rate for one in rounds):6.1f}/s   processor {sum(costs.values()):.1f} ms ({listed})"
        self.tell(what, figure)

    def on_its_way(self) -> None:
        """From the answer to a referral's sender until a worker has HAPI's answer, one referral at a time."""
        took = []
        with self.ours.web() as port, self.ours.worker():
            self.ours.post_one(port)
            _wait(self.ours.nothing_waits)
            for _ in range(self.plan.single):
                time.sleep(self.plan.pause)
                before = len(self.ours.delivered())
                received = self.ours.post_one(port)
                _wait(lambda before=before: len(self.ours.delivered()) > before)  # type: ignore[misc]
                took.append((self.ours.delivered()[-1] - received).total_seconds())
        took.sort()
        p50, p95, most = took[len(took) // 2], took[min(len(took) - 1, len(took) * 95 // 100)], took[-1]
        figure = f"p50 {p50:.2f} s   p95 {p95:.2f} s   longest {most:.2f} s"
        self.tell("(c) from commit to HAPI, one at a time", figure, "p95 < 1 s", kept=p95 < 1)

    def backlog(self) -> None:
        """A worker starts on what came while there was none."""
        many = self.plan.backlog
        self.ours.take_in(many)
        began, before = time.perf_counter(), len(self.ours.delivered())
        with self.ours.worker():
            _wait(lambda: self.ours.nothing_waits() and len(self.ours.delivered()) >= before + many, every=0.5)
            seconds = time.perf_counter() - began
        self.tell(f"(d) a backlog of {many:,}, from the worker's start", f"{seconds:.0f} s ({many / seconds:.1f}/s)")


def _templates() -> tuple[str, ...]:
    today = datetime.now(UTC).date()
    return tuple(referrals.template(unit, today).decode() for unit in referrals.UNITS)


def _with_client(side: Side) -> dict[str, float]:
    """What the servers have used, and this process."""
    return {**processor.spent(side.processes), "client": time.process_time()}


def _each(began: Mapping[str, float], ended: Mapping[str, float], many: int) -> dict[str, float]:
    """Milliseconds for each of `many`."""
    return {name: (ended[name] - before) * 1000 / many for name, before in began.items()}


def _wait(until: Callable[[], int], seconds: float = 900, every: float = 0.05) -> int:
    """What it gives once that is not 0. Raises TimeoutError when it does not come true."""
    end = time.monotonic() + seconds
    while not (found := until()):
        if time.monotonic() > end:
            raise TimeoutError("deliveries do not come to an end")
        time.sleep(every)
    return found


def _postmaster(cluster: Path) -> int:
    """The process that starts all others of a PostgreSQL."""
    return int((cluster / "postmaster.pid").read_text().split()[0])


def _database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = server.replace("/postgres?", f"/{name}?")
    Store(url).migrate()
    return url


PARTS = ("rate", "on-its-way", "backlog")


@click.command()
@click.option("--quick", is_flag=True, help="Little, for trying it out.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Some parts only.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Disk to measure on.")
def main(quick: bool, only: tuple[str, ...], folder: Path | None) -> None:
    """Measure, print a table with targets, end with status 1 when one is missed."""
    if missing := missing_tools(*TOOLS):
        click.echo(f"Deliveries into HAPI are not measured: no {' and no '.join(missing)} on the path.")
        return
    logs.set_up("critical")  # what is recorded instead of sent counts as failed
    began = time.perf_counter()
    click.echo(machine.description())
    place = Path(tempfile.mkdtemp(prefix="sluss-bench-", dir=folder))
    database = embedded.start(place / "cluster")
    try:
        with running_hapi(place / "hapi") as hapi:
            processes = {"HAPI": hapi.process.pid, "PostgreSQL": _postmaster(place / "cluster")}
            urls = (_database(database.url, name) for name in ("ours", "theirs"))
            ours, theirs = (Side(url, hapi.url, processes) for url in urls)
            bench = Bench(QUICK if quick else Plan(), ours, theirs)
            for part in PARTS:
                if not only or part in only:
                    getattr(bench, part.replace("-", "_"))()
    finally:
        database.stop()
        shutil.rmtree(place, ignore_errors=True)
    bench_said = f"missed: {'; '.join(bench.missed)}" if bench.missed else "every target met"
    click.echo(f"{time.perf_counter() - began:.0f} s; {bench_said}")
    sys.exit(1 if bench.missed else 0)


if __name__ == "__main__":
    main()
