"""The background worker: what it wakes, what it survives, and that it stops when told."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.exchange import worker
from service.exchange.deliver import Deliverer, Result, State
from service.exchange.worker import DELIVER, BackgroundWorker, Duties, lock_of
from service.store.database import Store
from service.store.records import StoreUnavailable
from tests.exchange.conftest import Clock, House
from tests.exchange.troubled import Trouble, Way


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_SWEEP_EVERY", "* * * * * *")
    monkeypatch.setattr(worker, "_TIMERS_EVERY", "* * * * * *")
    monkeypatch.setattr(worker, "_RESTART_AFTER", 0.2)


def nothing() -> None:
    pass


@contextmanager
def working(duties: Duties) -> Iterator[BackgroundWorker]:
    """A worker in a thread, stopped at the end."""
    one = BackgroundWorker(duties)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
    finally:
        one.stop()
        thread.join(20)
        assert not thread.is_alive()


def soon(happens: Callable[[], Any], seconds: float = 15) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def duties_of(store: Store, clock: Clock, deliverer: Deliverer | None, timers: Callable[[], None] = nothing) -> Duties:
    return Duties(store.url, clock, timers, deliverer)


def defer(store: Store, referral_id: str) -> None:
    with store.change() as change:
        lock = lock_of(referral_id)
        change.defer(DELIVER, {"referral_id": referral_id}, queueing_lock=lock, lock=lock)


def jobs(store: Store, name: str) -> list[str]:
    with psycopg.connect(store.url) as connection:
        rows = connection.execute("SELECT status::text FROM procrastinate_jobs WHERE task_name = %s", (name,))
        return [row[0] for row in rows]


def test_a_change_wakes_its_delivery_at_once_and_leaves_no_job_behind(
    house: House, store: Store, clock: Clock, deliverer: Deliverer
) -> None:
    with working(duties_of(store, clock, deliverer)):
        house.receive()
        defer(store, "r-1")
        soon(lambda: house.shown("Task"))
        soon(lambda: jobs(store, DELIVER) == [])


def test_what_failed_is_woken_when_it_is_due_and_not_before(
    house: House, store: Store, clock: Clock, deliverer: Deliverer, way: Way
) -> None:
    house.receive()
    way.coming = [Trouble(503)]
    assert house.deliver().state is State.WAITING
    with working(duties_of(store, clock, deliverer)):
        time.sleep(2.5)
        assert house.shown("Task") == []
        clock.later(minutes=1)
        soon(lambda: house.shown("Task"))


def test_what_came_while_no_server_was_set_is_delivered_once_there_is_one(
    house: House, store: Store, clock: Clock, deliverer: Deliverer
) -> None:
    house.receive()
    defer(store, "r-1")
    with working(duties_of(store, clock, None)):
        soon(lambda: jobs(store, DELIVER) == [])
    assert house.shown("Task") == []
    clock.now = datetime(2100, 1, 1, tzinfo=UTC)
    with working(duties_of(store, clock, deliverer)):
        soon(lambda: house.shown("Task"))


def test_timers_run_without_any_server_and_go_on_after_one_fails(store: Store, clock: Clock) -> None:
    ran: list[int] = []

    def timers() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise RuntimeError("once")

    with working(duties_of(store, clock, None, timers)):
        soon(lambda: len(ran) >= 3)


def test_jobs_of_a_worker_that_was_killed_are_done_by_another(
    house: House, store: Store, clock: Clock, deliverer: Deliverer
) -> None:
    house.receive()
    defer(store, "r-1")
    with psycopg.connect(store.url, autocommit=True) as connection:
        dead = connection.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '5 minutes') RETURNING id"
        ).fetchone()
        assert dead is not None
        connection.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", dead)
    defer(store, "r-1")  # another waits behind it, under the same locks
    with working(duties_of(store, clock, deliverer)):
        soon(lambda: house.shown("Task"))
        soon(lambda: jobs(store, DELIVER) == [])


def test_the_worker_comes_back_when_the_database_does(
    house: House, store: Store, clock: Clock, deliverer: Deliverer
) -> None:
    ran: list[int] = []
    with working(duties_of(store, clock, deliverer, lambda: ran.append(1))):
        soon(lambda: ran)
        with psycopg.connect(store.url, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name IN ('sluss-worker', 'sluss-exchange') AND datname = current_database()"
            ).fetchall()
        assert len(ended) > 1
        house.receive()
        defer(store, "r-1")
        soon(lambda: house.shown("Task"), 30)


def test_a_database_that_is_away_for_a_moment_costs_a_moment(
    house: House, deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.receive()
    monkeypatch.setattr(worker, "_PAUSES", (0.01, 0.01))
    left = [StoreUnavailable("away"), StoreUnavailable("away")]
    deliver = Deliverer.deliver

    def unsteady(self: Deliverer, referral_id: str) -> Result:
        if left:
            raise left.pop()
        return deliver(self, referral_id)

    monkeypatch.setattr(Deliverer, "deliver", unsteady)
    worker.deliver_patiently(deliverer, "r-1")
    assert house.shown("Task")
    left += [StoreUnavailable("away")] * 3
    with pytest.raises(StoreUnavailable):
        worker.deliver_patiently(deliverer, "r-1")


def test_stopping_lets_the_delivery_under_way_end(
    house: House, store: Store, clock: Clock, deliverer: Deliverer, way: Way
) -> None:
    house.receive()
    house.deliver()
    house.change("Task", "t-1", status="received")
    way.coming = [Trouble(429, seconds=1)]
    way.asked.clear()
    with working(duties_of(store, clock, deliverer)):
        defer(store, "r-1")
        soon(lambda: "POST /fhir" in way.asked)
    assert house.row().last_error is not None, "it ended, and noted how"
    assert house.row().attempts == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_good_order(store: Store, number: signal.Signals) -> None:
    program = (
        "import sys; from datetime import datetime, UTC; from service.exchange.worker import Duties, run_worker;"
        "run_worker(Duties(sys.argv[1], lambda: datetime.now(UTC), lambda: print('tick', flush=True)));"
        "print('ended', flush=True)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, store.url], stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "tick\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)
    assert rest.endswith("ended\n")
    assert process.returncode == 0
