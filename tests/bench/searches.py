"""Measures six searches over 1,000, 100,000 and 1,000,000 stored referrals, and over 10,000 beside a real HAPI with the
same resources. Ends with status 1 when a target is missed. `--quick` leaves out the largest store and HAPI.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg

from service.store import embedded
from service.store.database import Store
from tests.bench import fill, hapi_store, lives, machine, queries, servers
from tests.bench.asking import Server, measure, results
from tests.building import missing_tools
from tests.hapi.server import TOOLS, running_hapi

FEW, MANY, MOST = 1_000, 100_000, 1_000_000
BESIDE_HAPI = 10_000
LIMIT = 1.5
"""What a search over the largest store may take at most, in times of what it takes over the smallest."""


@dataclass(frozen=True)
class Plan:
    """How much."""

    sizes: tuple[int, ...] = (FEW, MANY, MOST)
    requests: int = 600
    """Of each search to each store."""
    warm_up: int = 60


QUICK = Plan((FEW, MANY), requests=200)


# ---------------------------------------------------------------- stores


@dataclass
class Stores:
    """A PostgreSQL with stores of several sizes."""

    url: str

    def fill(self, sizes: Sequence[int]) -> dict[int, str]:
        """Size → database. What an earlier run has filled is taken as it is."""
        urls = {size: self._of(f"with_{size}") for size in sizes}
        missing = [size for size in sizes if not self._there(f"with_{size}")]
        if missing:
            self._make("lived")
            families = fill.read(self._of("lived"), lives.live_families(self._of("lived")))
            self._ask('DROP DATABASE "lived"')
        for size in missing:
            began = time.perf_counter()
            self._make("filling")
            copies = fill.copies_for(size)
            with click.progressbar(length=families.steps(copies), label=f"{size:,} referrals", file=sys.stderr) as bar:
                families.fill(self._of("filling"), copies, bar.update)
            lives.take_in_open_ones(self._of("filling"))
            self._ask(f'ALTER DATABASE "filling" RENAME TO "with_{size}"')
            seconds = time.perf_counter() - began
            click.echo(f"filling a store with {size:,} referrals: {seconds:.0f} s, {self._megabytes(size):,} MB")
        for url in urls.values():
            Store(url).migrate()
        return urls

    def _of(self, name: str) -> str:
        return self.url.replace("/postgres?", f"/{name}?")

    def _ask(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def _there(self, name: str) -> bool:
        return bool(self._ask("SELECT 1 FROM pg_database WHERE datname = %s", name))

    def _make(self, name: str) -> None:
        self._ask(f'DROP DATABASE IF EXISTS "{name}"')
        self._ask(f'CREATE DATABASE "{name}"')
        Store(self._of(name)).migrate()

    def _megabytes(self, size: int) -> int:
        ((bytes_,),) = self._ask("SELECT pg_database_size(%s)", f"with_{size}")
        return int(str(bytes_)) // 1024**2


@contextmanager
def _stores(folder: Path) -> Iterator[Stores]:
    """A cluster in `folder` that writes no log of what is filled in one go."""
    server = embedded.start(folder / "cluster")
    with psycopg.connect(server.url, autocommit=True) as connection:
        for setting in ("wal_level = minimal", "max_wal_senders = 0", "max_wal_size = '4GB'"):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
    server.stop()
    server = embedded.start(folder / "cluster")
    try:
        yield Stores(server.url)
    finally:
        server.stop()


# ---------------------------------------------------------------- tables


def over_stores(urls: dict[int, str], plan: Plan) -> list[str]:
    """Every search over stores of these sizes, in turn; gives those that cost too much more over the largest ones."""
    missed = []
    with ExitStack() as stack:
        running = {size: Server(stack.enter_context(servers.sluss(url, 1, 8)).port) for size, url in urls.items()}
        asked = {size: queries.six(urls[size], server) for size, server in running.items()}
        click.echo(_line("p50 / p99, ms", "results", *(f"{size:,}" for size in urls), "p50 to the first's"))
        for name in asked[min(urls)]:
            one = {running[size]: asked[size][name] for size in urls}
            count = results(name, one)
            figures = measure(one, plan.requests, plan.warm_up)
            ratios = [figure.p50 / figures[0].p50 for figure in figures[1:]]
            kept = max(ratios) <= LIMIT
            said = f"{' '.join(f'{ratio:.2f}' for ratio in ratios)}   {'ok' if kept else 'MISSED'}: <= {LIMIT}"
            click.echo(_line(name, count, *map(str, figures), said))
            if not kept:
                missed.append(name)
    return missed


def beside_hapi(url: str, folder: Path, plan: Plan) -> None:
    """Every search over one store and over a HAPI that holds the same resources."""
    if missing := missing_tools(*TOOLS):
        click.echo(f"HAPI is not measured beside: no {' and no '.join(missing)} on the path.")
        return
    with running_hapi(folder / "hapi") as hapi, servers.sluss(url, 1, 8) as sluss:
        if not hapi_store.has(hapi.url, BESIDE_HAPI):
            began = time.perf_counter()
            posted = hapi_store.post(url, hapi.url)
            click.echo(f"posting {posted:,} resources to HAPI: {time.perf_counter() - began:.0f} s")
        ours, theirs = Server(sluss.port), Server(hapi.port)
        here = queries.six(url, ours)
        there = queries.six(url, theirs, is_hapi=True)
        click.echo(_line("p50 / p99, ms", "results", "Sluss", "HAPI", "p50 of HAPI to ours"))
        for name in here:
            one = {ours: here[name], theirs: there[name]}
            count = results(name, one, included_too=False)  # HAPI leaves some out of a page
            figures = measure(one, plan.requests, plan.warm_up)
            ratio = f"{figures[1].p50 / figures[0].p50:.1f}"
            click.echo(_line(name, count, *map(str, figures), ratio))


def _line(name: str, count: str, *rest: str) -> str:
    return f"{name:26} {count:>10}   " + "   ".join(f"{one:>17}" for one in rest)


PARTS = ("stores", "hapi")


@click.command()
@click.option("--quick", is_flag=True, help="1,000 and 100,000 referrals, without HAPI.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Some parts only.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Disk to measure on.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave the stores here, and use them.")
def main(quick: bool, only: tuple[str, ...], folder: Path | None, keep: Path | None) -> None:
    """Measure, print tables with targets, end with status 1 when one is missed."""
    began = time.perf_counter()
    click.echo(machine.description())
    plan = QUICK if quick else Plan()
    parts = only or (PARTS[:1] if quick else PARTS)
    place = keep or Path(tempfile.mkdtemp(prefix="sluss-bench-", dir=folder))
    missed = []
    try:
        with _stores(place) as stores:
            if "stores" in parts:
                missed = over_stores(stores.fill(plan.sizes), plan)
            if "hapi" in parts:
                beside_hapi(stores.fill([BESIDE_HAPI])[BESIDE_HAPI], place, plan)
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    said = f"missed: {'; '.join(missed)}" if missed else "every target met"
    click.echo(f"{time.perf_counter() - began:.0f} s; {said}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
