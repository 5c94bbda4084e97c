"""Deliver one referral: bring its copies on the external server to what they are here, in one transaction.

State decides, not the job that woke us: what differs from what that server is known to show is sent. Who delivers holds
the referral's lock; a failure is a value and holds this referral only.
"""

import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.backoff import next_attempt
from service.exchange.breaker import OF_THE_SERVER, Breaker, Road, is_answer, is_down
from service.exchange.client import FhirClient, Permanent, Reason, Transient
from service.exchange.handover import Handover, Load, Progress
from service.exchange.translate import (
    REFERRAL_TYPES,
    SHARED_TYPES,
    Anchors,
    local_reference,
    local_references,
    national_identities,
)
from service.store.audit_records import SLUSS, Act, AuditEvent
from service.store.database import Store
from service.store.exchange_state import ExchangeRow, ExchangeState, Held
from service.store.records import ServerRow, Stored, StoreUnavailable
from service.store.view import View

log = structlog.get_logger(__name__)

_MOST_ROUNDS = 4
"""A round sends what differs; another follows when the first taught something new."""
_BRING_FORWARD = (Reason.UNREACHABLE, Reason.TIMEOUT, Reason.BUSY)
_SPREAD = timedelta(seconds=30)
_DELIVERY = Act(SLUSS, "delivery", "E", "delivery to the external server")


class State(StrEnum):
    """How a delivery ended."""

    DELIVERED = "delivered"
    NOTHING_TO_DO = "nothing-to-do"
    NOT_DUE = "not-due"
    BUSY = "busy"
    """Somebody else is delivering it."""
    SERVER_AWAY = "server-away"
    """Not tried: the server is known to be down. It goes when that is over."""
    WAITING = "waiting"
    """Failed; another attempt is scheduled."""
    DEAD = "dead"
    """Given up; a person must look."""
    UNKNOWN = "unknown"
    """There is no such referral."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a delivery ended and, if not well, why."""

    state: State
    reason: str | None = None
    next_attempt_at: datetime | None = None


@dataclass(frozen=True)
class Deliverer:
    """Delivers referrals to one external server; may be shared by threads."""

    store: Store
    exchange: ExchangeState
    client: FhirClient
    canonical: Canonical
    clock: Callable[[], datetime]
    """The time now, aware."""
    chance: Callable[[], float] = field(default=random.random)
    """0 to 1, for the jitter of the next attempt."""
    own_base: str | None = None
    """Our public FHIR base URL, when stored references may spell it out."""

    def deliver(self, referral_id: str) -> Result:
        """Bring one referral's copies up to date, or note why that failed and when to try again.

        Safe to call at any time, twice, or from several machines at once. Raises StoreUnavailable when the database
        cannot answer; nothing is lost then, because what was sent is looked up before it is sent again.
        """
        with self.exchange.held(f"referral {referral_id}") as held:
            if held is None:
                return Result(State.BUSY)
            row = held.row(referral_id)
            if row.dead_at is not None:
                return Result(State.DEAD, _reason(row))
            if row.next_attempt_at is not None and row.next_attempt_at > self.clock():
                return Result(State.NOT_DUE, _reason(row), row.next_attempt_at)
            road, known = self.breaker.road(self.clock())
            if road is Road.CLOSED:
                held.held_back(referral_id, self.clock())
                return Result(State.SERVER_AWAY, known.reason, known.probe_at)
            return self._attempt(held, row, road, known)

    def due(self) -> list[str]:
        """The referrals to wake that no job will: while the server is down one at a time, to see if it answers."""
        now = self.clock()
        may_probe = self.breaker.may_probe(now)
        if may_probe is None:
            return self.exchange.to_wake(now)
        return self.exchange.to_wake(now, limit=1) if may_probe else []

    def anchors(self, referral_id: str) -> Anchors | None:
        """What a referral's contained and logical references stand for; None for one that could not be taken in."""
        load = self._load(referral_id)
        return load.anchors if load is not None else None

    @property
    def breaker(self) -> Breaker:
        """What knows whether the server answers."""
        return Breaker(self.exchange.server)

    def _attempt(self, held: Held, row: ExchangeRow, road: Road, known: ServerRow) -> Result:
        handover = Handover(
            held,
            self.client,
            self.canonical,
            self.clock,
            self.store.view().history,
            row.referral_id,
            unsure=row.unanswered_since is not None,
            own_base=self.own_base,
        )
        try:
            outcome = self._rounds(handover)
        except StoreUnavailable:
            raise
        except Exception as problem:  # one referral that we cannot handle must not hold up others, nor spin for ever
            place = traceback.extract_tb(problem.__traceback__)[-1]
            at = f"{place.name}:{place.lineno}"
            log.error("delivery_failed_inside", referral=row.referral_id, kind=type(problem).__name__, at=at)
            outcome = Transient(Reason.INTERNAL)
        if isinstance(outcome, Transient | Permanent):
            return self._failed(held, row, outcome, unsure=handover.unsure, road=road, known=known)
        if outcome:
            self.answered(known)
        else:
            self.breaker.nothing_tried(road, self.clock())
        if outcome is None:
            if row.next_attempt_at is not None:  # it was to be taken in, and was not
                held.delivered(row.referral_id, self.clock())
            return Result(State.UNKNOWN)
        if outcome or row.attempts or row.unanswered_since or row.next_attempt_at or row.delivered_at is None:
            held.delivered(row.referral_id, self.clock())
        if not outcome:
            return Result(State.NOTHING_TO_DO)
        self.store.audit.record(AuditEvent(_DELIVERY, referrals=(row.referral_id,)))
        in_trouble = row.attempts or known.failures  # else there is nothing that waits for the server
        woken = self.exchange.bring_forward(_BRING_FORWARD, self.clock(), _SPREAD) if in_trouble else 0
        log.info("delivered", referral=row.referral_id, resources=outcome, attempts=row.attempts + 1, woken=woken)
        return Result(State.DELIVERED)

    def _rounds(self, handover: Handover) -> int | Transient | Permanent | None:
        """The number of resources delivered; None for an unknown referral; or why it failed."""
        total, complete = 0, False
        for _ in range(_MOST_ROUNDS):
            load = self._load(handover.referral_id)
            if load is None:
                return None
            progress = handover.send(load)
            if not isinstance(progress, Progress):
                return progress
            total, complete = total + progress.delivered, progress.complete
            if complete:  # what has changed since it was read has a job of its own, which waits for this one to end
                break
        return total if complete else Transient(Reason.CONFLICT)

    def _load(self, referral_id: str) -> Load | None:
        view = self.store.view()
        referral = view.referral(referral_id)
        own = [stored for stored in view.of_referral(referral_id) if stored.type in REFERRAL_TYPES]
        if referral is None and not own:
            return None
        own.sort(key=lambda stored: (REFERRAL_TYPES.index(stored.type), stored.id))
        # what is told of a referral that could not be taken in has neither
        patient = Reference(f"Patient/{referral.patient}" if referral else "")
        requester = _requester(own, referral.task, self.own_base) if referral else None
        wanted = ({patient} if referral else set()) | ({requester} if requester else set())
        for stored in own:
            wanted |= local_references(stored.content, self.own_base)
        others = _referred_to(view, wanted, self.own_base)
        patients = [stored for stored in others if stored.type == "Patient"]
        shared = sorted(
            (stored for stored in others if stored.type in SHARED_TYPES),
            key=lambda stored: (SHARED_TYPES.index(stored.type), stored.id),
        )
        identities = frozenset().union(*(national_identities(p.content) for p in patients if p.reference == patient))
        return Load(tuple(own), tuple(shared), tuple(patients), Anchors(patient, requester, identities))

    def _failed(
        self, held: Held, row: ExchangeRow, why: Transient | Permanent, *, unsure: bool, road: Road, known: ServerRow
    ) -> Result:
        now, attempts = self.clock(), row.attempts + 1
        if isinstance(why, Transient) and is_down(why):
            self.breaker.failed(why, row.referral_id, road, now)
            if road is Road.PROBE:  # not this referral's failure: an outage, however long, makes no dead letters
                attempts = max(row.attempts, 1)
        elif is_answer(why):
            self.answered(known)
        else:
            self.breaker.nothing_tried(road, now)
        again = None
        if isinstance(why, Transient):
            again = next_attempt(attempts, now, self.chance(), why.retry_after, why.unanswered)
        failed = replace(
            row,
            attempts=attempts,
            next_attempt_at=again,
            last_error=_told(why, now),
            dead_at=None if again else now,
            unanswered_since=(row.unanswered_since or now) if unsure else None,
            waiting_since=row.waiting_since or now,
        )
        held.failed(failed)
        state = State.WAITING if again else State.DEAD
        tell = log.warning if again else log.error
        tell(
            "delivery_failed",
            referral=row.referral_id,
            state=str(state),
            reason=str(why.reason),
            status=why.status,
            attempts=attempts,
        )
        return Result(state, str(why.reason), again)

    def answered(self, known: ServerRow) -> None:
        """The server answers: if it was down, what waited for it waits no longer."""
        now = self.clock()
        if self.breaker.answered(known, now):
            self.exchange.bring_forward(OF_THE_SERVER, now, _SPREAD)


def _referred_to(view: View, wanted: set[Reference], own_base: str | None) -> list[Stored]:
    """The patients and shared resources among `wanted`, and the shared ones that these refer to in turn."""
    found: dict[Reference, Stored] = {}
    carried: tuple[str, ...] = ("Patient", *SHARED_TYPES)
    missing = {reference for reference in wanted if reference.partition("/")[0] in carried}
    asked: set[Reference] = set()
    while missing:
        asked |= missing
        got = view.get_many(sorted(missing))
        found |= {stored.reference: stored for stored in got.values()}
        further = {ref for stored in got.values() for ref in local_references(stored.content, own_base)}
        missing = {reference for reference in further if reference.partition("/")[0] in SHARED_TYPES} - asked
    return list(found.values())


def _requester(own: Sequence[Stored], task_id: str, own_base: str | None) -> Reference | None:
    for stored in own:
        if stored.type == "Task" and stored.id == task_id:
            return local_reference(stored.content.get("requester", {}).get("reference"), own_base)
    return None


def _reason(row: ExchangeRow) -> str | None:
    return None if row.last_error is None else row.last_error.get("reason")


def _told(why: Transient | Permanent, now: datetime) -> Json:
    """What is kept of a failure: words of ours and codes, no text that another system wrote."""
    issues = [{"severity": i.severity, "code": i.code, "expression": i.expression} for i in why.issues]
    return {"reason": str(why.reason), "status": why.status, "issues": issues, "at": now.isoformat()}
