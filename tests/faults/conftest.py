"""Real processes on a PostgreSQL of their own, an external server beside them, and trouble.

`SLUSS_FAULT_SCALE=1` runs what takes long at its full size; `SLUSS_FAULT_SEED` repeats a run's choices.
"""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.database import Postgres
from tests.faults.outside import StandIn, stand_in
from tests.faults.processes import Sluss

Tell = Callable[[object], None]
MakeSluss = Callable[..., Sluss]

SCALE = float(os.environ.get("SLUSS_FAULT_SCALE", "0.1"))
"""What share of its full size that has which takes minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in item.nodeid:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def chance(tell: Tell) -> random.Random:
    """Every choice that a test makes."""
    seed = os.environ.get("SLUSS_FAULT_SEED") or str(random.SystemRandom().randrange(10**6))
    tell(f"seed {seed}")
    return random.Random(seed)  # noqa: S311 - no secret


@pytest.fixture
def tell(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Tell:
    """Say a figure: told at the end of the run, whether it went well or not."""
    return lambda said: record_property("told", f"{request.node.name}: {said}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for these tests alone."""
    with tempfile.TemporaryDirectory(prefix="sluss-faults-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "pg")
        yield server
        server.stop()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """A database for one test; its URL."""
    return postgres.database("fault")


@pytest.fixture
def outside() -> Iterator[StandIn]:
    """The external server's stand-in."""
    with stand_in() as server:
        yield server


@pytest.fixture
def make_sluss(tmp_path: Path) -> Iterator[MakeSluss]:
    """Start a Sluss: `make_sluss(database_url, external_url, webs=1, workers=1, …)`."""
    with ExitStack() as stack:

        def make(database_url: str, external_url: str, **how: Any) -> Sluss:
            sluss = Sluss(tmp_path, database_url, external_url)
            stack.callback(sluss.stop)
            sluss.start(**how)
            return sluss

        yield make
