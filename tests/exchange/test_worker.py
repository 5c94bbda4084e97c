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
from service.exchange.collect import Collector
from service.exchange.deliver import Deliverer, Result, State
from service.exchange.stand_in import Running
from service.exchange.worker import DELIVER, BackgroundWorker, Duties, lock_of
from service.exchange.workload import Account
from service.store.database import Store
from service.store.records import ReferralRow, StoreUnavailable
from tests.exchange.conftest import Clock, House
from tests.exchange.gateway import Gateway
from tests.exchange.troubled import Trouble, Way
from tests.journeys.referrals import referral


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


def test_what_has_a_job_waiting_is_not_woken_by_another(
    house: House, store: Store, clock: Clock, deliverer: Deliverer, way: Way
) -> None:
    house.receive()
    way.coming = [Trouble(503)]
    house.deliver()
    clock.later(minutes=1)
    assert deliverer.due() == ["r-1"]
    defer(store, "r-1")
    assert deliverer.due() == []


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


# ---------------------------------------------------------------- collection


def collecting(gateway: Gateway) -> Duties:
    return Duties(
        gateway.house.store.url, gateway.clock, nothing, gateway.deliverer, collector=gateway.collector, collect_every=1
    )


def test_what_is_done_over_there_is_done_here_and_shown_there_by_itself(
    gateway: Gateway, referred: ReferralRow
) -> None:
    with working(collecting(gateway)):
        gateway.region.change(gateway.copy_of_task(referred), status="accepted")
        soon(lambda: len(gateway.region.children_of(gateway.copy_of_task(referred))) >= 3)
    assert gateway.events(referred).count("collected") == 1


def test_of_several_workers_one_looks_and_everything_is_done_once(gateway: Gateway) -> None:
    rows = [gateway.receive(referral(f"R-{number}")) for number in range(5)]
    gateway.settle()
    with working(collecting(gateway)), working(collecting(gateway)), working(collecting(gateway)):
        for row in rows:
            gateway.region.change(gateway.copy_of_task(row), status="accepted")
        soon(lambda: {gateway.copy_of_task(row)["status"] for row in rows} == {"accepted"})
        time.sleep(2)
    assert [gateway.events(row).count("collected") for row in rows] == [1] * 5


def test_a_look_that_fails_is_followed_by_the_next_and_deliveries_go_on(
    gateway: Gateway, referred: ReferralRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    collect = Collector.collect_for

    def unsteady(self: Collector, seconds: float, stop: Callable[[], bool]) -> Account:
        looks.append(1)
        if len(looks) < 3:
            raise StoreUnavailable("away")
        return collect(self, seconds, stop)

    monkeypatch.setattr(Collector, "collect_for", unsteady)
    with working(collecting(gateway)):
        gateway.move(referred, note=[{"authorString": "B", "text": "Ringt"}])
        soon(lambda: "Ringt" in str(gateway.copy_of_task(referred).get("note")))
        gateway.region.change(gateway.copy_of_task(referred), status="received")
        soon(lambda: gateway.task(referred)["status"] == "received")


def test_collection_does_not_queue_up_behind_a_backlog_of_deliveries(
    gateway: Gateway, referred: ReferralRow, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(_: Deliverer, __: str) -> Result:
        time.sleep(0.5)
        return Result(State.NOTHING_TO_DO)

    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    monkeypatch.setattr(Deliverer, "deliver", slowly)
    for number in range(200):
        defer(store, f"r-{number}")
    with working(collecting(gateway)):
        soon(lambda: gateway.task(referred)["status"] == "accepted", 10)
    assert len(jobs(store, DELIVER)) > 50, "most of it still waits"


def test_without_a_collector_the_other_server_is_not_asked(house: House, store: Store, way: Way) -> None:
    with working(duties_of(store, Clock(), house.deliverer)):
        time.sleep(2)
    assert way.asked == []


def test_both_sides_are_compared_when_its_hour_comes(
    gateway: Gateway, referred: ReferralRow, there: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_RECONCILE_AT", "* * * * * *")
    (message,) = gateway.region.search("Communication")
    del there.memory.versions["Communication", message["id"]]
    with working(collecting(gateway)):
        soon(lambda: gateway.region.search("Communication"))


@pytest.mark.parametrize(("seconds", "line"), [(1, "* * * * * */1"), (10, "* * * * * */10"), (60, "* * * * *")])
def test_so_many_seconds_as_a_cron_line(seconds: int, line: str) -> None:
    assert worker.every(seconds) == line
