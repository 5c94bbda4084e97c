"""What authentication and the record cost: intake and the work list with both, beside the same without, in turn."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from service.exchange.worker import seal_until
from service.store.audit_seals import Seals
from tests.bench import lives, referrals, servers
from tests.bench.load import Figure, Load, run

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

REFERRER = ("--role", "referrer", *(word for unit in referrals.UNITS for word in ("--organisation", unit)))
THERAPIST = ("--role", "therapist", "--team", "gavle")
WORK_LIST = (
    "/fhir/Task?owner=HealthcareService/gavle,PractitionerRole/gavle-internet-therapist-1"
    "&status=requested,received,accepted,in-progress,on-hold&_sort=-_lastUpdated"
    "&_include=Task:focus&_include=Task:patient"
)


def measure(bench: "Bench") -> None:
    """Work list and intake of a guarded service, each beside an unguarded one on a database like its own. The record is
    sealed meanwhile, as the worker does.
    """
    plan = bench.plan
    today = datetime.now(UTC).date()
    templates = tuple(referrals.template(unit, today).decode() for unit in referrals.UNITS)
    urls = [bench.database(name) for name in ("guarded", "unguarded")]
    for url in urls:
        lives.take_in_open_ones(url)
    tokens = _Tokens(bench.folder, urls[0])
    with ExitStack() as stack:
        guarded = stack.enter_context(servers.sluss(urls[0], plan.processes, plan.threads, SLUSS_AUTH="smart"))
        bare = stack.enter_context(servers.unguarded(urls[1], plan.processes, plan.threads))
        stack.enter_context(_sealing(urls[0]))
        first = 10_000
        for name, client, target in (("work list", THERAPIST, 0.6), ("intake", REFERRER, 0.8)):
            tokens.register(name.replace(" ", "-"), client)
            ratios, both = [], []
            for turn in range(plan.rounds + 1):
                load = Load(bare.port, plan.seconds, plan.connections, templates=templates, first=first)
                if name == "work list":
                    load = replace(load, templates=(), paths=(WORK_LIST,), caller="therapist gavle")
                without = bench.sound(run(load))
                token = tokens.get(name.replace(" ", "-"), guarded.port)
                first += without.requests + plan.connections
                with_ = bench.sound(run(replace(load, port=guarded.port, first=first, caller=None, token=token)))
                first += with_.requests + plan.connections
                if turn:
                    ratios.append(with_.rate / without.rate)
                    both.append((without, with_))
            _tell(bench, name, ratios, both, target)


@contextmanager
def _sealing(url: str) -> Iterator[None]:
    stopping = threading.Event()
    sealer = threading.Thread(target=seal_until, args=(Seals(url), stopping))
    sealer.start()
    try:
        yield
    finally:
        stopping.set()
        sealer.join()


def _tell(bench: "Bench", name: str, ratios: list[float], both: list[tuple[Figure, Figure]], target: float) -> None:
    for what, figures in zip(("unguarded", "guarded"), zip(*both, strict=True), strict=True):
        rate, p50, p99 = (median(getattr(figure, one) for figure in figures) for one in ("rate", "p50", "p99"))
        bench.tell(f"{name}, {what}", f"{rate:6.0f}/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
    each, ratio = " ".join(f"{one:.2f}" for one in ratios), median(ratios)
    bench.tell(f"{name}: guarded / unguarded", f"{ratio:.2f}   (rounds: {each})", f">= {target}", kept=ratio >= target)


class _Tokens:
    """Clients of a database and their tokens, as people get them."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url

    def register(self, name: str, client: tuple[str, ...]) -> None:
        """A client with a key of its own."""
        self._sluss("add", name, "--name", name, *client, "--generate-key", str(self._folder / name))

    def get(self, name: str, port: int) -> str:
        """A token, good for five minutes."""
        key = ("--key", str(self._folder / name))
        return self._sluss("token", name, *key, "--url", f"http://127.0.0.1:{port}").strip()

    def _sluss(self, *words: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
        command = [sys.executable, "-m", "service.cli", "client", *words]
        environ = {**kept, "SLUSS_DATABASE_URL": self._url}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout
