"""A real HAPI that is killed, stays away, answers late, half or wrongly: everything is there once when that is over."""

import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.conftest import SCALE, MakeSluss, Tell
from tests.faults.database import Postgres
from tests.faults.load import Load
from tests.faults.outside import Hapi
from tests.faults.processes import INJECTED
from tests.faults.proxy import FINE, Trouble, proxied
from tests.faults.tally import settled
from tests.hapi.conftest import need_tools

pytestmark = pytest.mark.hapi

EVERY_KIND = {"late", "late_there", "halved", "unanswered", "doubled", "race lost", "500", "503", "429", "409", "412"}


@pytest.fixture(scope="module")
def hapi() -> Iterator[Hapi]:
    """A server for these tests, which share it and a database, so that what is there and not here is found."""
    need_tools()
    with tempfile.TemporaryDirectory(prefix="sluss-faults-", ignore_cleanup_errors=True) as folder:
        server = Hapi(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    """Theirs."""
    return postgres.database("hapi")


def test_hapi_meets_deliveries_with_every_kind_of_trouble(
    database: str, hapi: Hapi, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    trouble = Trouble(
        late=0.03, late_there=0.03, halved=0.04, unanswered=0.04, refused=0.1, doubled=0.1, forestalled=0.2, seconds=60
    )
    with proxied(hapi.url, chance.random(), trouble) as proxy:
        # two workers, which share what they learn of the server; a call is given up long before an answer after 60 s
        sluss = make_sluss(database, proxy.url, workers=2, command=INJECTED, FAULT_SECONDS="4")
        load = Load(sluss.urls, chance.random())
        many = 0
        while many < 80 or not (proxy.happened.keys() >= EVERY_KIND or many == 400):
            load.run(range(many, many + 20), clients=4, pause=0.8)
            many += 20
        proxy.trouble = FINE
        tally = settled(load.known, database, hapi.shown, 240)
    tell(f"{tally}; {dict(proxy.happened)}")
    assert proxy.happened.keys() >= EVERY_KIND
    assert tally.is_whole(many), (tally.amiss, sluss.logs())


def test_hapi_is_killed_stays_away_while_referrals_come_and_is_started_again(
    database: str, hapi: Hapi, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    many = int(2_000 * SCALE)
    sluss = make_sluss(database, hapi.url, webs=2)
    load = Load(sluss.urls, chance.random())
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, range(1_000, 1_060), pause=0.3)
        time.sleep(chance.uniform(2, 4))
        hapi.kill()
        loading.result()
    load.run(range(1_100, 1_100 + many))
    hapi.start()
    began = time.monotonic()
    tally = settled(load.known, database, hapi.shown, 180 + many / 3)
    tell(f"{tally}; {many} of them while it was away, there {time.monotonic() - began:.0f} s after its return")
    assert tally.is_whole(60 + many), (tally.amiss, sluss.logs())
