"""A database that goes away, cuts people off or has no room: callers are told to come back, and what was accepted is
there afterwards.
"""

import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.conftest import MakeSluss, Tell
from tests.faults.database import Postgres
from tests.faults.disk import Disk, disks
from tests.faults.load import Load
from tests.faults.outside import StandIn
from tests.faults.tally import settled

HasDisk = Callable[[Path], AbstractContextManager[Disk]]


def test_postgresql_is_restarted_and_cuts_its_connections_under_load(
    postgres: Postgres, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    database = postgres.database("cut")
    sluss = make_sluss(database, outside.url, webs=2)
    load = Load(sluss.urls, chance.random())
    cut = restarts = 0
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, range(300), pause=0.05)
        while not loading.done():
            time.sleep(chance.uniform(0.3, 1.5))
            if chance.random() < 0.5:
                cut += postgres.cut(database)
                continue
            postgres.crash()
            time.sleep(chance.uniform(0, 1.0))
            postgres.start()
            restarts += 1
        loading.result()
    tally = settled(load.known, database, outside.shown)
    tell(f"{tally}; {restarts} restarts, {cut} connections cut; clients got {dict(load.answers)}")
    assert min(cut, restarts, load.answers["503"]) > 0
    assert tally.is_whole(300), (tally.amiss, sluss.logs())


@pytest.mark.parametrize("has_disk", disks(), ids=lambda one: str(one.__name__))
def test_a_disk_that_is_full_is_told_and_costs_nothing_that_was_accepted(
    has_disk: HasDisk, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    with tempfile.TemporaryDirectory(prefix="sluss-full-") as name, has_disk(Path(name)) as disk:
        disk.folder.chmod(0o755)  # the server may run as another user
        postgres = Postgres(disk.folder / "pg")
        try:
            database = postgres.database("full")
            sluss = make_sluss(database, outside.url, webs=2)
            load = Load(sluss.urls, chance.random())
            load.run(range(50))
            with ThreadPoolExecutor(1) as pool:
                with disk.full(postgres):
                    loading = pool.submit(load.run, range(50, 150))
                    time.sleep(5)
                    refused, meanwhile = load.answers["503"], len(load.known) - 50
                    assert not loading.done()
                died = postgres.pid is None
                if died:  # as whoever made room would start it again
                    postgres.start()
                loading.result()
            tally = settled(load.known, database, outside.shown)
            sluss.stop()
        finally:
            postgres.stop()
    tell(
        f"{tally}; while full {meanwhile} were received and {refused} requests told to come back;"
        f" PostgreSQL {'ended' if died else 'went on'}; clients got {dict(load.answers)}"
    )
    assert refused > 0
    assert tally.is_whole(150), (tally.amiss, sluss.logs())
