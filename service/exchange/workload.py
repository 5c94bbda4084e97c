"""What a look at the external server has found, done here: whatever becomes of one thing holds up no other.

Each referral's changes are worked on in their order, under the lock under which it is delivered. Nothing is lost when
this stops half-way: what is made here gets its id from what it was there, and is made once.
"""

import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from service.exchange.arrivals import Arrivals
from service.exchange.both_sides import BothSides, Step
from service.exchange.breaker import is_down
from service.exchange.deliver import Deliverer
from service.exchange.foreign import Foreign, Standings
from service.exchange.original import absolute, our_key
from service.exchange.outcomes import Reason
from service.exchange.poll import Change
from service.exchange.reader import Away, Reader
from service.exchange.steps import Steps
from service.exchange.take_in import id_for
from service.referral.house import House
from service.referral.lookup import EVIDENCE
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import Collected, CollectionState, Key, Outcome
from service.store.exchange_state import Copy, ExchangeRow
from service.store.records import StaleVersion, StoreUnavailable

log = structlog.get_logger(__name__)

_MOST_ATTEMPTS = 25
"""Then it waits for the nightly reconciliation, or for a person."""
_HELD_BACK = timedelta(minutes=10)
"""Longer than this takes: deliveries of what is just being taken in wait until it is joined."""
_MOST_SILENCES = 3
"""In a row; after that the server is away, and the rest is left for another time."""

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
    """Copies that carry our key and that are not the copy of anything here: this database is older than that server, or
    something was copied there by hand.
    """
    more: bool = False
    """There was more than one look takes."""
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


@dataclass
class Workload:
    """Does here what was done there."""

    house: House
    deliverer: Deliverer
    state: CollectionState
    reader: Reader
    account: Account = field(default_factory=Account)
    _before: dict[Key, Collected] = field(default_factory=dict)
    _orphaned: set[Key] = field(default_factory=set)
    _put_off_now: set[Key] = field(default_factory=set)
    _silences: int = 0

    def do(self, changes: Iterable[Change], *, once_more: bool = False) -> None:
        """Do here what these changes are there, each referral's in the order in which they happened; `once_more` also
        what could not be done before. Raises StoreUnavailable, and Away when the server has gone away.
        """
        latest = {change.key: change for change in changes}
        standings = Standings(self.state, latest)
        self._before |= self.state.collected(latest)
        fresh: list[Change] = []
        for change in latest.values():
            self.account.found += 1
            if standings.shows(change.key, change.version):
                self.account.echoes += 1
            elif not _is_done(self._before.get(change.key), change, once_more=once_more):
                fresh.append(change)
        ours: list[Change] = []
        new: list[Change] = []
        orders: list[Change] = []
        for change in fresh:
            if standings.of(change.key) or self._is_our_copy(change):
                ours.append(change)
            elif change.key not in self._orphaned:
                (orders if change.type == "ServiceRequest" else new).append(change)
        for order in orders:
            self._arrived(order, new)
        self._by_referral([*ours, *new])

    def again(self, key: Key, carry_out: Callable[[], Outcome | None]) -> None:
        """Try something once more that no change tells of."""
        self.account.count(self._guarded(key, carry_out))

    # ------------------------------------------------------------ whose it is

    def _is_our_copy(self, change: Change) -> bool:
        """A copy that carries our key and that we do not know of: the answer to its delivery was lost, or is on its
        way. It is known from now on.
        """
        key = our_key(change.resource, self.house.canonical)
        if key is None:
            return False
        type_, _, id_ = key.partition("/")
        stored = self.house.store.view().get(type_, id_) if type_ == change.type else None
        if stored is None and id_ == id_for(absolute(f"{change.type}/{change.id}", self.reader.base_url)):
            return False  # made over there, and completed by us before this database was put back to an earlier state
        if stored is not None:
            self.state.join([Copy(stored.reference, change.id, change.version)], stored.referral_id)
        if stored is None or Standings(self.state, [change.key]).of(change.key) is None:
            self.account.orphans.append(key)
            self._orphaned.add(change.key)
            return False
        return True

    def _arrived(self, change: Change, beside: Sequence[Change]) -> None:
        """A ServiceRequest that nothing here stands for, with the evidence that came at the same time."""
        foreign, arrivals = self._foreign, self._arrivals
        evidence = [one for one in beside if one.type in EVIDENCE and change.key in foreign.belongs_to(one)]
        outcome = self._guarded(change.key, partial(arrivals.arrive, change, evidence), change)
        if outcome is Outcome.TAKEN:
            self.state.free(arrivals.referral_of(change.id))
        self.account.count(outcome)

    def _by_referral(self, changes: Sequence[Change]) -> None:
        of_referral: dict[str, list[Change]] = defaultdict(list)
        for change, referral, order in self._foreign.referrals_of(changes):
            if referral is not None:
                of_referral[referral].append(change)
            elif order is None or order.outcome is Outcome.TAKEN:
                self.account.others += 1
            else:
                self._with_an_order_not_taken(change, order, of_referral)
        for referral, theirs in of_referral.items():
            self._of_referral(referral, theirs)

    def _with_an_order_not_taken(self, change: Change, order: Collected, of_referral: dict[str, list[Change]]) -> None:
        """It waits for its ServiceRequest; a message about one that was set aside goes to whoever looks into that."""
        aside = self.state.quarantined(order.remote_id) if change.type == "Communication" else None
        if aside is not None and aside.ended_at is None:
            of_referral[aside.id].append(change)
        else:
            self.account.count(self._put_off(change, self._arrivals.referral_of(order.remote_id)))

    # ------------------------------------------------------------ one referral

    def _of_referral(self, referral: str, changes: Sequence[Change]) -> None:
        """All that happened to one referral, under its lock, in its order."""
        here = {change.key for change in changes}
        if any(key not in here for key in self.state.holding_up(referral)):
            self._put_all_off(changes, referral)
            return
        worker = Steps(BothSides(self.house, self.deliverer, self.state, self.reader, referral))
        with self.deliverer.exchange.held(f"referral {referral}") as held:
            ready = held is not None and not _is_unsure(held.row(referral))
            steps = self._steps(worker, changes, referral) if ready else None
            if steps is None:
                self._put_all_off([change for change in changes if change.key not in self._put_off_now], referral)
                return
            if not steps:
                self.account.echoes += len(changes)
                return
            self.state.hold_back(referral, self.deliverer.clock() + _HELD_BACK)
            self._carry_out(worker, steps, referral)
            self.state.release(referral, self.deliverer.clock())
        self._arrivals.wake(referral)

    def _steps(self, worker: Steps, changes: Sequence[Change], referral: str) -> list[Step] | None:
        """All that is to be done, in its order; None when something of it cannot be read now."""
        steps: list[Step] = []

        def expand(change: Change) -> None:
            steps.extend(worker.of(change))

        for change in changes:
            unread = self._guarded(change.key, partial(expand, change), change, referral)
            if unread is not None:
                self.account.count(unread)
                return None
        steps.sort(key=lambda step: (step.change.at, _rank(step.change.type), not step.change.resource.get("partOf")))
        return steps

    def _carry_out(self, worker: Steps, steps: list[Step], referral: str) -> None:
        for done, step in enumerate(steps):
            outcome = self._guarded(step.change.key, partial(worker.carry_out, step), step.change, referral)
            self.account.count(outcome)
            if outcome in (Outcome.WAITING, Outcome.STUCK):
                # what follows may rest on what could not be done yet
                later = {s.change.key: s.change for s in steps[done + 1 :] if s.change.key != step.change.key}
                self._put_all_off(later.values(), referral)
                break

    # ------------------------------------------------------------ what goes wrong

    def _guarded(
        self,
        key: Key,
        carry_out: Callable[[], Outcome | None],
        change: Change | None = None,
        referral: str | None = None,
    ) -> Outcome | None:
        """Carry one thing out and note what became of it; one that we cannot handle holds up no other."""
        try:
            outcome = carry_out()
        except StoreUnavailable:
            raise
        except Away as away:
            return self._silent(away, change, referral)
        except StaleVersion:
            return self._put_off(change, referral)
        except Exception as problem:
            if not (isinstance(problem, Refusal) and problem.kind in (Kind.UNAVAILABLE, Kind.STALE)):
                place = traceback.extract_tb(problem.__traceback__)[-1]
                at = f"{place.name}:{place.lineno}"
                log.error("collection_failed_inside", type=key[0], kind=type(problem).__name__, at=at)
            return self._put_off(change, referral)
        self._silences = 0
        if change is not None and outcome is not None:
            self.state.record(key, change.version, outcome, self.deliverer.clock(), referral=referral)
        return outcome

    def _silent(self, away: Away, change: Change | None, referral: str | None) -> Outcome:
        if away.why is not None and is_down(away.why):
            self._silences += 1
        outcome = self._put_off(change, referral)
        if self._silences >= _MOST_SILENCES:
            raise away
        return outcome

    def _put_off(self, change: Change | None, referral: str | None = None, *, blamed: bool = True) -> Outcome:
        """It is tried again; not for ever, when it was its own fault."""
        if change is None:
            return Outcome.WAITING
        earlier = self._before.get(change.key)
        attempts = (earlier.attempts if earlier and earlier.remote_version == change.version else 0) + blamed
        outcome = Outcome.WAITING if attempts < _MOST_ATTEMPTS else Outcome.STUCK
        if outcome is Outcome.STUCK:
            log.error("collection_given_up", type=change.type, attempts=attempts)
        self._put_off_now.add(change.key)
        now = self.deliverer.clock()
        self.state.record(change.key, change.version, outcome, now, referral=referral, attempts=attempts)
        return outcome

    def _put_all_off(self, changes: Collection[Change], referral: str) -> None:
        for change in changes:
            self.account.count(self._put_off(change, referral, blamed=False))

    # ------------------------------------------------------------ with what

    @property
    def _arrivals(self) -> Arrivals:
        return Arrivals(self.house, self.deliverer, self.state, self.reader)

    @property
    def _foreign(self) -> Foreign:
        return Foreign(self.state, self.reader.base_url)


def _is_unsure(row: ExchangeRow) -> bool:
    """True while a delivery has yet to look up what became of what it sent: before that, it is not known what over
    there is ours.
    """
    has_looked = row.last_error is not None and row.last_error.get("reason") == Reason.CONFLICT
    return row.unanswered_since is not None and row.dead_at is None and not has_looked


def _rank(type_: str) -> int:
    return _RANK.index(type_) if type_ in _RANK else 0


def _is_done(earlier: Collected | None, change: Change, *, once_more: bool) -> bool:
    if earlier is None or earlier.remote_version != change.version:
        return False
    return not (once_more and earlier.outcome in (Outcome.WAITING, Outcome.STUCK))
