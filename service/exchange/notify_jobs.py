"""The worker's jobs for subscribers: one looks for events every few seconds, and one each sends what is due."""

import asyncio
import contextlib
import zlib

import procrastinate
from procrastinate import exceptions

from service.exchange.notify import Notifier

LANES = 3
"""Endpoints that are called at the same time. Each Subscription has its lane, so that slow endpoints hold up others in
theirs, and neither the other lanes nor the deliveries.
"""

_NOTIFY = "notify_subscriber"
_LOOK_EVERY = "* * * * * */2"
_TIDY_EVERY = "41 * * * *"
_FIRST = 1
"""Priority, as of all that comes again and again: it does not queue up behind a backlog of deliveries."""


def add_tasks(app: procrastinate.App, notifier: Notifier) -> None:
    """Have the queue's app tell subscribers."""

    @app.task(name=_NOTIFY)
    def notify_subscriber(subscription_id: str) -> None:
        notifier.notify(subscription_id)

    # No lock: the store sees to it that one records, and a worker that was killed must hold nobody up.
    @app.periodic(cron=_LOOK_EVERY)
    @app.task(name="look_for_events", queueing_lock="look_for_events", priority=_FIRST)
    async def look_for_events(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes the scheduled time
        for id_ in await asyncio.to_thread(notifier.look):
            lane = zlib.crc32(id_.encode()) % LANES
            job = app.configure_task(_NOTIFY, lock=f"{_NOTIFY}:{lane}", queueing_lock=f"{_NOTIFY}:{id_}")
            with contextlib.suppress(exceptions.AlreadyEnqueued):
                await job.defer_async(subscription_id=id_)

    @app.periodic(cron=_TIDY_EVERY)
    @app.task(name="forget_events", queueing_lock="forget_events", priority=_FIRST)
    def forget_events(timestamp: int) -> None:  # noqa: ARG001
        notifier.tidy()
