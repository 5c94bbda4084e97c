"""Collect what people did on the external server, and do it here: the same journey functions, as if it had come to us.

A change there is worked on under the lock under which its referral is delivered. What equals what we sent is an echo.
What does not stand is told on the Task, and our version is written back by the next delivery. Nothing is lost when this
stops half-way: what is made here gets its id from what it was there, and is made once.
"""

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from service.exchange.arrivals import Arrivals
from service.exchange.client import Answered, Permanent, Transient
from service.exchange.deliver import Deliverer
from service.exchange.foreign import Foreign, Standings
from service.exchange.original import our_key
from service.exchange.outcomes import Reason
from service.exchange.poll import Change, Gathered, change_of, look, polls
from service.exchange.reader import Reader
from service.exchange.steps import Steps
from service.exchange.take_in import Away
from service.referral.house import House
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import Collected, CollectionState, Key, Outcome
from service.store.records import StaleVersion, StoreUnavailable

log = structlog.get_logger(__name__)

_MOST_ATTEMPTS = 25
"""Then it waits for the nightly reconciliation, or for a person."""
_HELD_BACK = timedelta(minutes=10)
"""Longer than a look takes: deliveries of what is just being taken in wait until it is joined."""
_RETRIED_AFTER = timedelta(minutes=1)

_RANK = ("ServiceRequest", "QuestionnaireResponse", "Observation", "Communication", "Task")
"""In which order things of the same instant are taken: what a move needs comes before it."""


@dataclass(slots=True)
class Account:
    """What a look came to."""

    found: int = 0
    echoes: int = 0
    taken: int = 0
    turned_down: int = 0
    set_aside: int = 0
    waiting: int = 0
    others: int = 0
    """What is there and concerns nobody here."""
    orphans: list[str] = field(default_factory=list)
    """Copies that carry our key and whose original is not here: this database is older than that server."""
    failure: str | None = None
    """Why that server could not be asked."""

    def count(self, outcome: Outcome | None) -> None:
        """One more of its kind."""
        match outcome:
            case Outcome.TAKEN:
                self.taken += 1
            case Outcome.TURNED_DOWN:
                self.turned_down += 1
            case Outcome.SET_ASIDE:
                self.set_aside += 1
            case Outcome.WAITING | Outcome.STUCK:
                self.waiting += 1


@dataclass(frozen=True)
class Collector:
    """Collects from one external server; one look at a time (the worker sees to that), any number of threads."""

    house: House
    deliverer: Deliverer
    state: CollectionState

    @property
    def reader(self) -> Reader:
        """Pages and histories of the external server."""
        return Reader(self.deliverer.client)

    def collect(self) -> Account:
        """Look for what is new and take it in. Raises StoreUnavailable; nothing is lost then."""
        marks = self.state.watermarks()
        gathered = look(
            self.reader, polls(self.house.canonical), {type_: mark.watermark for type_, mark in marks.items()}
        )
        if not isinstance(gathered, Gathered):
            return self._unanswered(gathered)
        account = self.work((*gathered.changes, *self._once_more([Outcome.WAITING])))
        for type_, reached in gathered.reached.items():
            self.state.advance(type_, reached, self.deliverer.clock())
        arrivals = Arrivals(self.house, self.deliverer, self.state, self.reader)
        for quarantined in self.state.quarantine_due(self.deliverer.clock() - _RETRIED_AFTER):
            account.count(
                self._guarded(("ServiceRequest", quarantined.remote_id), partial(arrivals.again, quarantined))
            )
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

    def work(self, changes: Iterable[Change], *, stuck_too: bool = False) -> Account:
        """Do here what these changes are there; each referral's in the order in which they happened."""
        account = Account()
        latest = {change.key: change for change in changes}
        standings = Standings(self.state, latest.keys())
        before = self.state.collected(latest.keys())
        fresh: list[Change] = []
        for change in latest.values():
            account.found += 1
            if standings.shows(change.key, change.version):
                account.echoes += 1
            elif not _is_done(before.get(change.key), change, stuck_too=stuck_too):
                fresh.append(change)
        arrivals = Arrivals(self.house, self.deliverer, self.state, self.reader)
        rest: list[Change] = []
        for change in fresh:
            if change.type != "ServiceRequest" or standings.of(change.key):
                rest.append(change)
            elif (key := our_key(change.resource, self.house.canonical)) is not None:
                if self.house.store.view().get(*key.split("/")) is None:
                    account.orphans.append(key)
            else:
                account.count(self._guarded(change.key, partial(arrivals.arrive, change), change, before))
        foreign = Foreign(self.state, self.reader.base_url)
        of_referral: dict[str, list[Change]] = defaultdict(list)
        for change, referral in foreign.referrals_of(rest):
            if referral is None:
                account.others += 1
            else:
                of_referral[referral].append(change)
        for referral, theirs in of_referral.items():
            self._of_referral(referral, theirs, account, before)
        return account

    def _of_referral(
        self, referral: str, changes: Sequence[Change], account: Account, before: dict[Key, Collected]
    ) -> None:
        """All that happened to one referral, under its lock, in its order."""
        with self.deliverer.exchange.held(f"referral {referral}") as held:
            if held is None:
                for change in changes:
                    account.count(self._put_off(change, before, referral))
                return
            worker = Steps(self.house, self.deliverer, self.state, self.reader, referral)
            try:
                steps = worker.expand(changes)
            except Away:
                for change in changes:
                    account.count(self._put_off(change, before, referral))
                return
            if not steps:
                account.echoes += len(changes)
                return
            self.state.hold_back(referral, self.deliverer.clock() + _HELD_BACK)
            steps.sort(
                key=lambda step: (step.change.at, _RANK.index(step.change.type), not step.change.resource.get("partOf"))
            )
            for done, step in enumerate(steps):
                outcome = self._guarded(step.change.key, partial(worker.carry_out, step), step.change, before, referral)
                account.count(outcome)
                if outcome in (Outcome.WAITING, Outcome.STUCK):
                    # what follows may rest on what could not be done yet
                    later = {s.change.key: s.change for s in steps[done + 1 :] if s.change.key != step.change.key}
                    for change in later.values():
                        account.count(self._put_off(change, before, referral))
                    break
            self.state.release(referral, self.deliverer.clock())
        Arrivals(self.house, self.deliverer, self.state, self.reader).wake(referral)

    def _guarded(
        self,
        key: Key,
        carry_out: Callable[[], Outcome | None],
        change: Change | None = None,
        before: dict[Key, Collected] | None = None,
        referral: str | None = None,
    ) -> Outcome | None:
        """Carry one thing out and note what became of it; one that we cannot handle holds up no other."""
        try:
            outcome = carry_out()
        except StoreUnavailable:
            raise
        except (Away, StaleVersion):
            return self._put_off(change, before, referral) if change else Outcome.WAITING
        except Refusal as refusal:
            if refusal.kind not in (Kind.UNAVAILABLE, Kind.STALE):
                raise
            return self._put_off(change, before, referral) if change else Outcome.WAITING
        except Exception as problem:
            place = traceback.extract_tb(problem.__traceback__)[-1]
            log.error(
                "collection_failed_inside", type=key[0], kind=type(problem).__name__, at=f"{place.name}:{place.lineno}"
            )
            return self._put_off(change, before, referral) if change else Outcome.WAITING
        if change is not None and outcome is not None:
            self.state.record(key, change.version, outcome, self.deliverer.clock(), referral=referral)
        return outcome

    def _put_off(self, change: Change, before: dict[Key, Collected] | None, referral: str | None) -> Outcome:
        earlier = (before or {}).get(change.key)
        attempts = (earlier.attempts if earlier and earlier.remote_version == change.version else 0) + 1
        outcome = Outcome.WAITING if attempts < _MOST_ATTEMPTS else Outcome.STUCK
        if outcome is Outcome.STUCK:
            log.error("collection_given_up", type=change.type, attempts=attempts)
        self.state.record(
            change.key, change.version, outcome, self.deliverer.clock(), referral=referral, attempts=attempts
        )
        return outcome

    def _once_more(self, outcomes: Sequence[Outcome]) -> list[Change]:
        """What could not be done before, as it is now."""
        found = []
        for waiting in self.state.unfinished(outcomes):
            read = self.reader.read(waiting.type, waiting.remote_id)
            if isinstance(read, Answered):
                change = change_of(read.resource)
                if change is not None:
                    found.append(change)
            elif isinstance(read, Permanent):  # it is gone there
                self.state.record(
                    (waiting.type, waiting.remote_id), waiting.remote_version, Outcome.TAKEN, self.deliverer.clock()
                )
        return found

    def _unanswered(self, why: Transient | Permanent) -> Account:
        level = log.info if isinstance(why, Transient) and why.reason is not Reason.ADDRESS else log.error
        level("collection_unanswered", reason=str(why.reason), status=why.status)
        return Account(failure=str(why.reason))


def _is_done(earlier: Collected | None, change: Change, *, stuck_too: bool) -> bool:
    if earlier is None or earlier.remote_version != change.version:
        return False
    return earlier.outcome is not Outcome.WAITING and not (stuck_too and earlier.outcome is Outcome.STUCK)
