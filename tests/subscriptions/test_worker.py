"""The background worker tells subscribers by itself, and goes on where it was when it comes back."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.exchange import notify_jobs
from service.exchange.worker import BackgroundWorker, Duties
from service.store.database import Store
from tests.subscriptions.conftest import Region
from tests.subscriptions.endpoint import CERTIFICATE, Answer, Endpoint, running_endpoint
from tests.web.caller import UNIT
from tests.web.served import environment

REFERRER = f"referrer {UNIT}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_jobs, "_LOOK_EVERY", "* * * * * *")


@contextmanager
def working(region: Region, store: Store) -> Iterator[None]:
    one = BackgroundWorker(Duties(store.url, region.clock, lambda: None, notifier=region.notifier))
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield
    finally:
        one.stop()
        thread.join(60)
        assert not thread.is_alive()


def soon(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.05)


def test_the_worker_shakes_hands_and_tells_and_after_a_restart_tells_the_rest(
    region: Region, store: Store, endpoint: Endpoint
) -> None:
    id_ = region.subscribe(endpoint, REFERRER, "referral-received")
    with working(region, store):
        soon(lambda: region.read(id_)["status"] == "active")
        region.sluss.refer("R-1")
        soon(lambda: len(endpoint.events) == 1)
    for number in range(2, 5):
        region.sluss.refer(f"R-{number}")
    assert len(endpoint.events) == 1
    with working(region, store):
        soon(lambda: len(endpoint.events) >= 4)
    assert [number for number, _ in endpoint.events] == [1, 2, 3, 4]


def test_two_workers_tell_everything_once_and_in_order(region: Region, store: Store, endpoint: Endpoint) -> None:
    region.subscribe(endpoint, REFERRER, "referral-received")
    endpoint.always = Answer(after=0.05)
    with working(region, store), working(region, store):
        for number in range(1, 9):
            region.sluss.refer(f"R-{number}")
            time.sleep(0.2)
        soon(lambda: len(endpoint.events) >= 8)
        time.sleep(1)
    assert [number for number, _ in endpoint.events] == list(range(1, 9))


def test_an_endpoint_that_does_not_answer_holds_up_no_other_lane(
    region_of: Callable[..., Region], store: Store, endpoint: Endpoint
) -> None:
    with running_endpoint() as slow:
        region = region_of(endpoint.host, slow.host)
        slow.always = Answer(after=8)
        region.subscribe(slow, REFERRER, "referral-received")
        with working(region, store):
            soon(lambda: len(slow.told) == 1)
            # of ten, not all are in the slow one's lane
            ids = [region.subscribe(endpoint, REFERRER, "referral-received") for _ in range(10)]
            began = time.monotonic()
            soon(lambda: any(region.read(id_)["status"] == "active" for id_ in ids))
            assert time.monotonic() - began < 6


@pytest.mark.faults
def test_a_worker_that_is_killed_while_it_tells_loses_nothing(
    region: Region, store: Store, endpoint: Endpoint, tmp_path: Path
) -> None:
    settings = {
        "SLUSS_DATABASE_URL": store.url,
        "SLUSS_SUBSCRIPTION_HOSTS": endpoint.host,
        "SLUSS_SUBSCRIPTION_NETWORKS": "127.0.0.0/8,::1/128",
        "SLUSS_SUBSCRIPTION_CA": str(CERTIFICATE),
    }

    def started() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "service.cli", "worker"],
                env=environment(**settings),
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )

    id_ = region.subscribe(endpoint, REFERRER, "referral-received", header=["Authorization: Bearer hush"])
    worker = started()
    try:
        soon(lambda: region.read(id_)["status"] == "active", 60)
        endpoint.coming = [Answer(after=20)]
        region.sluss.refer("R-1")
        soon(lambda: len(endpoint.events) == 1)
        worker.send_signal(signal.SIGKILL)
        worker.wait(20)
        region.sluss.refer("R-2")
        worker = started()
        # a killed worker's job is given back when it has been silent for half a minute
        soon(lambda: len(endpoint.events) >= 3, 120)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    assert [number for number, _ in endpoint.events] == [1, 1, 2]
    assert "hush" not in (tmp_path / "log").read_text()
