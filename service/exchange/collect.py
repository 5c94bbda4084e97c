"""Collect what people did on the external server, and do it here: the same journey functions, as if it had come to us.

One look asks for what is new and has it done, in pieces, each noted before the next. What equals what we sent is an
echo. What does not stand is told on the Task, and our version is written back by the next delivery.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from service.exchange.arrivals import Arrivals
from service.exchange.breaker import Road, is_answer, is_down
from service.exchange.client import Answered, Permanent, Transient
from service.exchange.copies import copies_there
from service.exchange.deliver import Deliverer
from service.exchange.poll import Change, Gathered, change_of, look, polls
from service.exchange.reader import Away, Reader
from service.exchange.workload import Account, Workload
from service.referral.house import House
from service.store.collection_state import CollectionState, Outcome
from service.store.records import ServerRow

log = structlog.get_logger(__name__)

_PIECE = 100
"""Changes that are done before it is noted how far this has come."""
_LOCK = "collection"


@dataclass(frozen=True)
class Collector:
    """Collects from one external server; one look at a time, whichever process takes it."""

    house: House
    deliverer: Deliverer
    state: CollectionState

    @property
    def reader(self) -> Reader:
        """Pages and histories of the external server."""
        return Reader(self.deliverer.client)

    @property
    def workload(self) -> Workload:
        """Does here what was done there."""
        return Workload(self.house, self.deliverer, self.state, self.reader)

    def collect_for(self, seconds: float, stop: Callable[[], bool]) -> Account:
        """Look, and go on looking while there is more, but begin nothing further after `seconds`, nor after `stop`.
        Gives the last account. Raises StoreUnavailable; nothing is lost then.
        """
        until = time.monotonic() + seconds

        def enough() -> bool:
            return stop() or time.monotonic() > until

        while True:
            account = self.collect(enough)
            if not account.more or account.failure is not None or enough():
                return account

    def collect(self, stop: Callable[[], bool] = lambda: False) -> Account:
        """Look for what is new and do it, until `stop`. Raises StoreUnavailable; nothing is lost then."""
        return self.alone(partial(self._look, stop))

    def alone(self, work: Callable[[Workload], Transient | Permanent | None]) -> Account:
        """Do something with the external server that nobody else does at the same time, if it is thought to answer;
        `work` gives why it could not be done.
        """
        now, breaker, workload = self.deliverer.clock, self.deliverer.breaker, self.workload
        account = workload.account
        with self.deliverer.exchange.held(_LOCK) as held:
            if held is None:
                account.failure = "busy"
                return account
            road, known = breaker.road(now())
            if road is Road.CLOSED:
                account.failure = known.reason
                return account
            try:
                why = work(workload)
            except Away as away:
                why = away.why
            except BaseException:
                breaker.nothing_tried(road, now())
                raise
            self._noted(why, road, known)
        if why is not None:
            account.failure = str(why.reason)
        if account.orphans:
            log.error("copies_of_nothing_here", copies=len(account.orphans))
        if account.taken or account.turned_down or account.set_aside or account.waiting:
            log.info(
                "collected",
                found=account.found,
                taken=account.taken,
                turned_down=account.turned_down,
                set_aside=account.set_aside,
                waiting=account.waiting,
            )
        return account

    def _look(self, stop: Callable[[], bool], workload: Workload) -> Transient | Permanent | None:
        marks = self.state.watermarks()
        looked_at = min((mark.polled_at for mark in marks.values()), default=None)
        began = self.deliverer.clock()
        gathered = look(
            self.reader, polls(self.house.canonical), {type_: mark.watermark for type_, mark in marks.items()}
        )
        if not isinstance(gathered, Gathered):
            return gathered
        workload.account.more = gathered.more
        workload.do(self._once_more(), once_more=True)
        if looked_at is not None:
            contested = self.state.contested(looked_at)
            if contested:
                workload.do(copies_there(self.reader, self.state.copies_of(contested)).changes)
        for changes, seen in pieces(gathered):
            workload.do(changes)
            for type_, reached in seen.items():
                self.state.advance(type_, reached, began)
            if stop():
                workload.account.more = True
                return None
        arrivals = Arrivals(self.house, self.deliverer, self.state, self.reader)
        for quarantined in self.state.quarantine_due(self.deliverer.clock()):
            workload.again(("ServiceRequest", quarantined.remote_id), partial(arrivals.again, quarantined))
        return None

    def _once_more(self) -> Iterator[Change]:
        """What could not be done before, as it is now."""
        for waiting in self.state.waiting(self.deliverer.clock()):
            key = (waiting.type, waiting.remote_id)
            read = self.reader.read(*key)
            change = change_of(read.resource) if isinstance(read, Answered) else None
            if change is not None:
                yield change
            elif isinstance(read, Permanent):  # it is gone there
                self.state.record(key, waiting.remote_version, Outcome.TAKEN, self.deliverer.clock())
            elif isinstance(read, Transient) and is_down(read):
                raise Away(read)

    def _noted(self, why: Transient | Permanent | None, road: Road, known: ServerRow) -> None:
        """What the breaker learns of it."""
        now, breaker = self.deliverer.clock(), self.deliverer.breaker
        if isinstance(why, Transient) and is_down(why):
            breaker.failed(why, _LOCK, road, now)
        elif why is None or is_answer(why):
            self.deliverer.answered(known)
        else:
            breaker.nothing_tried(road, now)
        if why is not None:
            log.warning("collection_unanswered", reason=str(why.reason), status=why.status)


def pieces(gathered: Gathered) -> Iterator[tuple[Sequence[Change], Mapping[str, datetime | None]]]:
    """What was gathered, piece by piece, each with how far every type has come with it; one empty piece where there is
    nothing.
    """
    changes, reached = gathered.changes, gathered.reached
    for start in range(0, max(len(changes), 1), _PIECE):
        piece = changes[start : start + _PIECE]
        is_last = start + _PIECE >= len(changes)
        yield piece, reached if is_last else {type_: at and min(at, piece[-1].at) for type_, at in reached.items()}
