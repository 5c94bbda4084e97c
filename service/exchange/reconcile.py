"""Compare everything on both sides, and mend what was missed: what the looks and the deliveries could not see.

Every copy of ours is looked up, and everything there of ours or of our codes is gone through from the beginning. What
was changed there is done here like anything that is collected; what is gone there, or says what neither side ever said,
is delivered again. Page by page, noted after each: one that is interrupted goes on where it was.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from fhir_mappings.issues import IssueCode, error
from fhir_mappings.records import Reference
from service.access.caller import therapist_of
from service.exchange.both_sides import BothSides
from service.exchange.client import Permanent, Transient
from service.exchange.collect import Collector, pieces
from service.exchange.copies import copies_there
from service.exchange.foreign import key_of
from service.exchange.poll import Change, Gathered, look, polls
from service.exchange.take_in import VIA
from service.exchange.translate import REFERRAL_TYPES
from service.exchange.workload import Account, Workload
from service.referral.journey.elsewhere import turn_down
from service.store.collection_state import Standing

log = structlog.get_logger(__name__)

_PAGE = 200
"""Copies that are compared before it is noted how far this has come."""
_COPIES = "copies"
_NO_OVERLAP = timedelta()
_UNKNOWN = 0
"""`Copy.acknowledged` of a copy whose content is to be looked at."""

_PUT_BACK = error(
    IssueCode.BUSINESS_RULE,
    None,
    "Den läggs dit igen.",
    "what was taken away there is delivered again",
)


@dataclass(slots=True)
class Reconciliation:
    """What a reconciliation came to, since it was last started or resumed."""

    compared: int = 0
    """Copies of ours, and what was taken in from there, that were looked up there."""
    differing: int = 0
    """Of these, changed there without our knowing."""
    gone: int = 0
    """Of these, not there any more; delivered again."""
    found: int = 0
    """What is there and was gone through, ours or not."""
    taken: int = 0
    """Missed there, and done here now."""
    turned_down: int = 0
    set_aside: int = 0
    waiting: int = 0
    """Could not be done yet."""
    scheduled: int = 0
    """Referrals with something to deliver that nothing would have delivered."""
    orphans: list[str] = field(default_factory=list)
    """Copies that carry our key and are not the copy of anything here."""
    complete: bool = False
    """False when it was stopped, or the server went away: the next one goes on from there."""
    failure: str | None = None

    def add(self, account: Account) -> None:
        """What a piece of it came to."""
        self.found += account.found
        self.taken += account.taken
        self.turned_down += account.turned_down
        self.set_aside += account.set_aside
        self.waiting += account.waiting
        self.orphans += [key for key in account.orphans if key not in self.orphans]
        self.failure = account.failure


def reconcile(collector: Collector, stop: Callable[[], bool] = lambda: False) -> Reconciliation:
    """Compare both sides and mend, page by page until everything is done, the server goes away, or `stop`; then it is
    taken up again where it was. May run beside deliveries, collection and another reconciliation. Raises
    StoreUnavailable; nothing is lost then.
    """
    told = Reconciliation()
    for piece in (partial(_piece_of_copies, collector, told), partial(_piece_of_all, collector, stop)):
        more = True
        while more:
            if stop():
                return told
            account = collector.alone(piece)
            told.add(account)
            if account.failure is not None:
                return told
            more = account.more
    collector.state.reconciled()
    now = collector.deliverer.clock()
    told.scheduled = collector.deliverer.exchange.find_undelivered(REFERRAL_TYPES, now, timedelta())
    told.complete = True
    log.info(
        "reconciled",
        compared=told.compared,
        differing=told.differing,
        gone=told.gone,
        found=told.found,
        taken=told.taken,
        turned_down=told.turned_down,
        waiting=told.waiting,
        scheduled=told.scheduled,
    )
    if told.orphans:  # at night nobody reads what this returns; `sluss exchange reconcile` names them
        log.error("copies_of_nothing_here", copies=len(told.orphans))
    return told


# ---------------------------------------------------------------- ours, there


def _piece_of_copies(collector: Collector, told: Reconciliation, workload: Workload) -> None:
    """A page of what stands there for ours. Raises Away."""
    state = collector.state
    page = state.copies_after(state.reconciling().get(_COPIES, ""), _PAGE)
    if not page:
        return
    there = copies_there(collector.reader, page)
    told.compared += len(page)
    of_key = {(_type(standing), standing.copy.remote_id): standing for standing in page}
    differing = [change for change in there.changes if _differs(collector, of_key[change.key], change)]
    told.differing += len(differing)
    for referral, gone in _by_referral(there.gone).items():
        told.gone += _put_back(collector, referral, gone)
    workload.do(differing, once_more=True)
    state.reconciling_at(_COPIES, page[-1].copy.reference)
    workload.account.more = True


def _differs(collector: Collector, standing: Standing, change: Change) -> bool:
    """True for what was changed there; what says something else under the version that we know (a server that was put
    back to an earlier state) is looked at anew.
    """
    if not standing.shows(change.version):
        return True
    if standing.is_theirs or standing.referral_id is None:
        return False
    reference = standing.copy.reference
    version = collector.house.store.view().version(*key_of(reference), standing.copy.acknowledged)
    sides = BothSides(collector.house, collector.deliverer, collector.state, collector.reader, standing.referral_id)
    if version is None or sides.is_shown(version, change.resource):
        return False
    collector.state.adopt(reference, change.version, _UNKNOWN)
    return True


def _put_back(collector: Collector, referral: str, gone: Sequence[Standing]) -> int:
    """Something of a referral is gone there: it is delivered anew, and with it what refers to it."""
    state = collector.state
    with collector.deliverer.exchange.held(f"referral {referral}") as held:
        if held is None:
            return 0
        lost = {standing.copy.reference for standing in gone}
        for standing in state.copies_of([referral]):
            if standing.copy.reference in lost:
                state.forget(standing.copy.reference)
            elif not standing.is_theirs:
                state.adopt(standing.copy.reference, standing.copy.remote_version)
        _tell(collector, referral, lost)
        state.release(referral, collector.deliverer.clock())
    return len(lost)


def _tell(collector: Collector, referral: str, lost: Collection[Reference]) -> None:
    house = collector.house
    row = house.store.view().referral(referral)
    if row is None:  # what could not be taken in: coordination has it here
        return
    somebody = therapist_of(row.team, VIA)
    what = ", ".join(sorted({reference.partition("/")[0] for reference in lost}))
    turn_down(house, somebody, Reference(f"Task/{row.task}"), f"Borttagningen av {what}", [_PUT_BACK])


def _type(standing: Standing) -> str:
    return standing.copy.reference.partition("/")[0]


def _by_referral(standings: Sequence[Standing]) -> dict[str, list[Standing]]:
    found: dict[str, list[Standing]] = defaultdict(list)
    for standing in standings:
        if standing.referral_id is not None:
            found[standing.referral_id].append(standing)
    return found


# ---------------------------------------------------------------- theirs, here


def _piece_of_all(collector: Collector, stop: Callable[[], bool], workload: Workload) -> Transient | Permanent | None:
    """What follows in time of all that is there and concerns us, whether it was seen before or not."""
    state = collector.state
    asked = polls(collector.house.canonical)
    marks = {part: datetime.fromisoformat(at) for part, at in state.reconciling().items() if part != _COPIES}
    gathered = look(collector.reader, asked, marks, _NO_OVERLAP)
    if not isinstance(gathered, Gathered):
        return gathered
    workload.account.more = gathered.more
    for changes, reached in pieces(gathered):
        workload.do(changes, once_more=True)
        for type_, at in reached.items():
            if at is not None:
                state.reconciling_at(type_, at.isoformat())
        if stop():
            workload.account.more = True
            break
    return None
