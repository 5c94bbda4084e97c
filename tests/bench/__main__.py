"""Measures intake beside its bound, start and memory. `tests.bench.searches` measures searches.

Ends with status 1 when a target is missed. `--quick` measures for seconds only, to try it out.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import psycopg

from service.store import embedded
from service.store.database import Store
from tests.bench import bare, guarded, machine, referrals, servers
from tests.bench.load import Figure, Load, run


@dataclass(frozen=True)
class Plan:
    """How long and how much."""

    rounds: int = 5
    seconds: float = 6.0
    processes: int = 2
    threads: int = 8
    connections: int = 8


QUICK = Plan(rounds=2, seconds=2.0)


@dataclass(frozen=True)
class Result:
    """One line of the table: what was measured, the figure in words, and its target, if it has one."""

    what: str
    figure: str
    target: str = ""
    kept: bool = True


@dataclass(frozen=True)
class Measured:
    """The figures of one thing over all rounds, and the memory of its web processes after them."""

    figures: tuple[Figure, ...]
    memory: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Median of requests per second."""
        return median(figure.rate for figure in self.figures)

    def __str__(self) -> str:
        p50, p99 = (median(getattr(figure, name) for figure in self.figures) for name in ("p50", "p99"))
        held = " + ".join(f"{rss:.0f}" for rss in self.memory)
        return f"{self.rate:6.0f}/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   RSS {held} MB"


class Bench:
    """One run: a PostgreSQL of its own in `folder`, and what was found out so far."""

    def __init__(self, plan: Plan, folder: Path, url: str) -> None:
        self.plan = plan
        self.folder = folder
        self.url = url
        self.results: list[Result] = []

    def tell(self, what: str, figure: object, target: str = "", *, kept: bool = True) -> None:
        """Another line."""
        self.results.append(Result(what, str(figure), target, kept))
        said = f"   {'ok' if kept else 'MISSED'}: {target}" if target else ""
        click.echo(f"{what:58} {figure}{said}")

    def database(self, name: str, *, migrated: bool = True) -> str:
        """A new database on the server of this run."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = self.url.replace("/postgres?", f"/{name}?")
        if migrated:
            Store(url).migrate()
        return url

    # ------------------------------------------------------------ authentication and record

    def guarded(self) -> None:
        """What they cost."""
        guarded.measure(self)

    def sound(self, figure: Figure) -> Figure:
        """The figure, if every request succeeded. Raises ClickException otherwise."""
        return _sound(figure)

    # ------------------------------------------------------------ intake

    def intake(self) -> None:
        """Rounds of the bound and of intake in turn; the ratio of each pair, and their median."""
        plan = self.plan
        today = datetime.now(UTC).date()
        templates = tuple(referrals.template(unit, today).decode() for unit in referrals.UNITS)
        url = self.database("intake")
        bare_url = self.database("bare", migrated=False)
        with psycopg.connect(bare_url, autocommit=True) as connection:
            connection.execute(bare.TABLE.encode())
        with ExitStack() as stack:
            ours = stack.enter_context(servers.sluss(url, plan.processes, plan.threads))
            documents, rows = self._rows_of_one(ours.port, url, templates)
            environ = {bare.URL: bare_url, bare.DOCUMENTS: str(documents), bare.LINES: str(rows - documents)}
            bound = stack.enter_context(servers.bare(plan.processes, plan.threads, **environ))
            self.tell("rows that one referral adds", f"{rows} (resources and versions: {documents})")
            figures: dict[int, list[Figure]] = {bound.port: [], ours.port: []}
            first = 10_000
            for turn in range(plan.rounds + 1):
                for port, found in figures.items():
                    load = Load(port, plan.seconds, plan.connections, templates=templates, first=first)
                    figure = _sound(run(load))
                    first += figure.requests + plan.connections
                    if turn:  # the first is for warming up
                        found.append(figure)
            a = Measured(tuple(figures[bound.port]), tuple(bound.memory()))
            b = Measured(tuple(figures[ours.port]), tuple(ours.memory()))
        self.tell("(a) bound: validate with fhir.resources, insert rows", a)
        self.tell("(b) intake of a full referral", b)
        ratios = [mine.rate / theirs.rate for theirs, mine in zip(a.figures, b.figures, strict=True)]
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        ratio = median(ratios)
        self.tell("(b) / (a)", f"{ratio:.2f}   (rounds: {each})", ">= 0.5", kept=ratio >= 0.5)
        self._memory("intake", b.memory)

    def _rows_of_one(self, port: int, url: str, templates: tuple[str, ...]) -> tuple[int, int]:
        """(resources and their versions, all rows) that a referral adds on average, counted in every table."""
        before = _row_counts(url)
        figure = _sound(run(Load(port, 30, 2, templates=templates, first=0, most=100)))
        added = {table: rows - before[table] for table, rows in _row_counts(url).items()}
        documents = added["resource"] + added["resource_history"]
        return round(documents / figure.requests), round(sum(added.values()) / figure.requests)

    def _memory(self, after: str, held: Sequence[float]) -> None:
        most = max(held, default=float("inf"))
        self.tell(f"memory per web process after {after}, at most", f"{most:.0f} MB", "< 200 MB", kept=most < 200)

    # ------------------------------------------------------------ start

    def start(self) -> None:
        """From `sluss serve` to an answer of `/health/live`, with a database that is there already."""
        took = []
        folder = self.folder / "own"
        for turn in range(4):
            began = time.perf_counter()
            with servers.sluss(None, 1, self.plan.threads, SLUSS_DATA_DIR=str(folder)):
                if turn:  # the first makes the database
                    took.append(time.perf_counter() - began)
        seconds = median(took)
        self.tell("start with the embedded database, to /health/live", f"{seconds:.2f} s", "< 3 s", kept=seconds < 3)


def _sound(figure: Figure) -> Figure:
    """The figure, if every request succeeded: a fast refusal is no good figure. Raises ClickException otherwise."""
    if figure.failures:
        raise click.ClickException(f"requests failed: {figure.failures[0]}")
    return figure


def _row_counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        counts = {}
        for (table,) in tables:
            row = connection.execute(f'SELECT count(*) FROM "{table}"'.encode()).fetchone()  # noqa: S608 - names from PostgreSQL
            counts[str(table)] = int(row[0]) if row else 0
        return counts


@contextmanager
def _cluster(parent: Path | None) -> Iterator[tuple[Path, str]]:
    """A folder that is gone afterwards, with a PostgreSQL in it as it comes: everything committed is on disk."""
    folder = Path(tempfile.mkdtemp(prefix="sluss-bench-", dir=parent))
    server = embedded.start(folder / "cluster")
    try:
        yield folder, server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


PARTS = ("start", "intake", "guarded")


@click.command()
@click.option("--quick", is_flag=True, help="Short, for trying it out.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Some parts only.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Disk to measure on.")
def main(quick: bool, only: tuple[str, ...], folder: Path | None) -> None:
    """Measure, print a table with targets, end with status 1 when one is missed."""
    began = time.perf_counter()
    click.echo(machine.description())
    with _cluster(folder) as (place, url):
        bench = Bench(QUICK if quick else Plan(), place, url)
        plan = bench.plan
        bench.tell("fsync of 8 kB on the database's disk", f"{machine.fsyncs_per_second(place):.0f}/s")
        bench.tell(
            "each server", f"{plan.processes} processes of {plan.threads} threads, {plan.connections} connections"
        )
        for part in PARTS:
            if not only or part in only:
                getattr(bench, part)()
        missed = [result.what for result in bench.results if not result.kept]
    click.echo(
        f"{time.perf_counter() - began:.0f} s; {'missed: ' + '; '.join(missed) if missed else 'every target met'}"
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
