"""The background worker: deliveries, the sweep that wakes them, collection, and the service's own timers.

A job only wakes: it names a referral, and what is to be done is read from the database. A job that is lost, runs twice
or comes late therefore changes nothing but the time. Jobs: https://procrastinate.readthedocs.io
"""

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import procrastinate
import structlog
from procrastinate import exceptions
from procrastinate.jobs import Status

from service.exchange.collect import Collector
from service.exchange.deliver import Deliverer
from service.exchange.notify import Notifier
from service.exchange.notify_jobs import LANES, add_tasks
from service.exchange.reconcile import reconcile
from service.exchange.translate import REFERRAL_TYPES
from service.store.audit_seals import Seals
from service.store.queue_connections import queue_pool
from service.store.records import StoreUnavailable

log = structlog.get_logger(__name__)

COLLECT = "collect"
"""Name of the job that looks at the external server, and of its locks."""
DELIVER = "deliver_referral"
"""Name of the job that wakes a delivery; its only argument is `referral_id`."""

# The sixth field is seconds.
_SWEEP_EVERY = "* * * * * */5"
_TIMERS_EVERY = "* * * * * */10"
_FIND_UNDELIVERED_EVERY = "*/5 * * * *"
_RECONCILE_AT = "17 1 * * *"
"""UTC: at night in Sweden."""

_AT_ONCE = 4
"""Deliveries at the same time: they wait for the other server, not for this machine."""
_FIRST = 1
"""Priority: what comes again and again does not queue up behind a backlog of deliveries."""
_COLLECT_FOR = 20.0
"""Seconds in which one job goes on collecting while there is more; then others come first."""
_SETTLED = timedelta(minutes=1)
_STOP_WITHIN = 45.0
"""Seconds that running jobs get to end: longer than the calls of one delivery."""
_LOOKS_FOR_JOBS_EVERY = 0.5
"""Seconds. Nobody notifies the worker of a new job: that would hold up whoever makes it (see the first migration)."""

_SEAL_EVERY = 0.4
"""Seconds: what is recorded is sealed within one."""

_RESTART_AFTER = 2.0
_PAUSES = (1.0, 3.0, 6.0, 10.0, 15.0)
"""Seconds between the tries of a job whose database is away. Too few of them would leave it to the next reconciliation,
minutes later; in all they are shorter than `_STOP_WITHIN`.
"""


@dataclass(frozen=True)
class Duties:
    """What a worker is there for."""

    database_url: str
    clock: Callable[[], datetime]
    timers: Callable[[], None]
    """Called every ten seconds, by one worker at a time: whatever is due by the clock."""
    deliverer: Deliverer | None = None
    """None when no external server is set: the worker then only runs the timers."""
    concurrency: int = _AT_ONCE
    collector: Collector | None = None
    """None: nothing is collected."""
    collect_every: int = 10
    """Seconds, 1 to 60."""
    notifier: Notifier | None = None
    """None: no subscriber is told anything."""

    @property
    def at_once(self) -> int:
        """Jobs that run at the same time."""
        lanes = LANES + 1 if self.notifier is not None else 0
        return self.concurrency + (self.collector is not None) + lanes


def lock_of(referral_id: str) -> str:
    """The queue's lock for one referral's deliveries: they run one after another."""
    return f"deliver:{referral_id}"


def create_app(duties: Duties, stopping: Callable[[], bool] = lambda: False) -> procrastinate.App:
    """The queue's app with all tasks; what takes long ends early when `stopping`. Opens nothing."""
    connector = procrastinate.PsycopgConnector(
        conninfo=duties.database_url.replace("postgresql+psycopg://", "postgresql://", 1),
        min_size=1,
        max_size=4,
        pool_factory=queue_pool,
        kwargs={"application_name": "sluss-worker", "connect_timeout": 5},
    )
    app = procrastinate.App(connector=connector)
    deliverer, collector = duties.deliverer, duties.collector

    @app.task(name=DELIVER)
    def deliver_referral(referral_id: str) -> None:
        if deliverer is not None:  # else it stays undelivered, and is found when a server is set
            deliver_patiently(deliverer, referral_id)

    @app.periodic(cron=_TIMERS_EVERY)
    @app.task(name="timers", lock="timers", queueing_lock="timers", priority=_FIRST)
    def timers(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes the scheduled time
        duties.timers()

    # No lock: the sweep is what frees the locks of dead workers, so it must not wait for one.
    @app.periodic(cron=_SWEEP_EVERY)
    @app.task(name="sweep", queueing_lock="sweep", priority=_FIRST)
    async def sweep(timestamp: int) -> None:  # noqa: ARG001
        await requeue_stalled(app)
        if deliverer is not None:
            await wake_due(app, deliverer)

    @app.periodic(cron=_FIND_UNDELIVERED_EVERY)
    @app.task(name="find_undelivered", queueing_lock="find_undelivered", priority=_FIRST)
    def look_for_undelivered(timestamp: int) -> None:  # noqa: ARG001
        if deliverer is not None:
            find_undelivered(deliverer, duties.clock())

    # Also woken by that server, where it is asked to.
    @app.task(name=COLLECT, lock=COLLECT, queueing_lock=COLLECT, priority=_FIRST)
    def collect(timestamp: int) -> None:  # noqa: ARG001
        if collector is not None:
            collector.collect_for(_COLLECT_FOR, stopping)

    @app.task(name="reconcile", lock="reconcile", queueing_lock="reconcile")
    def reconcile_all(timestamp: int) -> None:  # noqa: ARG001
        if collector is not None:
            reconcile(collector, stopping)

    if collector is not None:
        app.periodic(cron=every(duties.collect_every))(collect)
        app.periodic(cron=_RECONCILE_AT)(reconcile_all)
    if duties.notifier is not None:
        add_tasks(app, duties.notifier)
    return app


def every(seconds: int) -> str:
    """A cron line for every so many seconds, 1 to 60; its sixth field is seconds."""
    return f"* * * * * */{seconds}" if seconds < 60 else "* * * * *"


def deliver_patiently(deliverer: Deliverer, referral_id: str) -> None:
    """Deliver, past a database that is away for a moment. Raises StoreUnavailable when it stays away: the job is then
    requeued as stalled, or the referral found by the next reconciliation.

    Not a retry of the queue's: that would need the queueing lock, which a job that waits behind this one may hold.
    """
    for pause in (*_PAUSES, None):
        try:
            deliverer.deliver(referral_id)
        except StoreUnavailable:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


def find_undelivered(deliverer: Deliverer, now: datetime) -> int:
    """Schedule what is undelivered and what nothing else would wake; gives how many referrals."""
    found = deliverer.exchange.find_undelivered(REFERRAL_TYPES, now, _SETTLED)
    if found:
        log.info("undelivered_found", referrals=found)
    return found


async def wake_due(app: procrastinate.App, deliverer: Deliverer) -> int:
    """Put a job in the queue for every referral whose next attempt is due; gives how many."""
    due = await asyncio.to_thread(deliverer.due)
    for referral_id in due:
        job = app.configure_task(DELIVER, lock=lock_of(referral_id), queueing_lock=lock_of(referral_id))
        with contextlib.suppress(exceptions.AlreadyEnqueued):
            await job.defer_async(referral_id=referral_id)
    return len(due)


async def requeue_stalled(app: procrastinate.App) -> int:
    """Give the jobs of workers that have gone silent back to the queue; gives how many."""
    stalled = list(await app.job_manager.get_stalled_jobs())
    for job in stalled:
        try:
            await app.job_manager.retry_job(job)
        except exceptions.ConnectorException:
            # One that waits already does the same, and their queueing lock allows no second.
            if job.id is not None:
                await app.job_manager.finish_job_by_id_async(job.id, status=Status.FAILED, delete_job=True)
    if stalled:
        log.warning("stalled_jobs_requeued", jobs=len(stalled))
    return len(stalled)


@dataclass
class BackgroundWorker:
    """A worker that runs until it is stopped, and comes back when the database does."""

    duties: Duties
    _stopping: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _task: "asyncio.Task[None] | None" = None

    def run(self) -> None:
        """Work until `stop`; running jobs are then let to end. In the main thread SIGTERM and SIGINT stop it too."""
        sealer = threading.Thread(target=seal_until, args=(Seals(self.duties.database_url), self._stopping))
        sealer.start()
        try:
            asyncio.run(self._run())
        finally:
            self._stopping.set()
            sealer.join()

    def stop(self) -> None:
        """Ask `run` to end, from any thread."""
        self._stopping.set()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A thread for every job: by itself the loop has a few more than processors, and jobs mostly wait for others.
        self._loop.set_default_executor(ThreadPoolExecutor(self.duties.at_once + 2))
        with _signals(self._loop, self.stop):
            while not self._stopping.is_set():
                self._task = asyncio.create_task(self._work())
                if self._stopping.is_set():
                    self._cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
        self._loop = None

    async def _work(self) -> None:
        """One life of the queue's worker; it ends when stopped or when the database goes away."""
        app = create_app(self.duties, self._stopping.is_set)
        try:
            async with app.open_async():
                if self.duties.deliverer is not None:
                    await asyncio.to_thread(partial(find_undelivered, self.duties.deliverer, self.duties.clock()))
                await app.run_worker_async(
                    concurrency=self.duties.at_once,
                    install_signal_handlers=False,
                    delete_jobs="always",  # what went wrong stands in the exchange's state and in the log
                    shutdown_graceful_timeout=_STOP_WITHIN,
                    fetch_job_polling_interval=_LOOKS_FOR_JOBS_EVERY,
                )
        except Exception as problem:  # whatever ended it, the worker must come back
            log.error("worker_ended", kind=type(problem).__name__)
        if not self._stopping.is_set():
            await asyncio.sleep(_RESTART_AFTER * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def seal_until(seals: Seals, stopping: threading.Event) -> None:
    """Seal the record as it grows. In a thread of its own, so that no backlog of jobs delays it; of several workers one
    at a time does.
    """
    away = False
    while not stopping.wait(_RESTART_AFTER if away else _SEAL_EVERY):
        try:
            seals.seal()
            away = False
        except StoreUnavailable:
            away = True
        except Exception as problem:  # whatever it was, the next look may do better; readiness tells that none did
            away = True
            log.error("record_not_sealed", kind=type(problem).__name__)
    seals.close()


def run_worker(duties: Duties) -> None:
    """Work in this thread until SIGTERM or SIGINT; returns when running jobs have ended."""
    BackgroundWorker(duties).run()


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Only the main thread may handle signals; in any other, who started the worker stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
