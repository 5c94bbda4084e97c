"""A circuit breaker: an external server that is down is noticed once, not by every job of every worker.

What is known stands in the database, so that all workers agree. While the server is down, deliveries are held back
without being tried, and one at a time tries whether it answers again; its success lets all the others go.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from service.exchange.outcomes import Permanent, Reason, Transient
from service.store.records import ServerRow
from service.store.server_state import ServerState

log = structlog.get_logger(__name__)

MOST_FAILURES = 3
"""In a row; after that the server is down."""
_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(minutes=1)
_LONGEST_WISH = timedelta(hours=1)
"""How long a server's own Retry-After is kept to."""
_LEASE = timedelta(seconds=45)
"""Who probes and does not come back has been killed: longer than the calls of one delivery."""
_NOTED_EVERY = timedelta(seconds=5)

_EVERYBODYS = (Reason.UNREACHABLE, Reason.BUSY)
"""Trouble that no referral causes."""
_PERHAPS_ITS_OWN = (Reason.TIMEOUT, Reason.SERVER_ERROR, Reason.UNREADABLE, Reason.ACCESS, Reason.ADDRESS)
"""Trouble of the server when several referrals meet it, else perhaps of the referral."""
OF_THE_SERVER = (*_EVERYBODYS, *_PERHAPS_ITS_OWN)


class Road(StrEnum):
    """Whether a delivery may be tried."""

    OPEN = "open"
    PROBE = "probe"
    """It is the one that tries whether the server answers again."""
    CLOSED = "closed"


@dataclass(frozen=True)
class Breaker:
    """The breaker of one external server; may be shared by threads."""

    server: ServerState

    def road(self, now: datetime) -> tuple[Road, ServerRow]:
        """Whether to try, and what is known. Who gets PROBE must tell how it ended."""
        known = self.server.known()
        if known.down_since is None:
            return Road.OPEN, known
        if known.probe_at is not None and known.probe_at <= now and self.server.take_probe(now, now + _LEASE):
            return Road.PROBE, known
        return Road.CLOSED, known

    def may_probe(self, now: datetime) -> bool | None:
        """None while the server is thought to answer; else whether it is time to try."""
        known = self.server.known()
        return None if known.down_since is None else known.probe_at is not None and known.probe_at <= now

    def answered(self, known: ServerRow, now: datetime) -> bool:
        """The server did what was asked, or said why not. True when it was thought to be down."""
        fresh = known.last_contact is not None and now - known.last_contact < _NOTED_EVERY
        if known.failures or known.down_since is not None or not fresh:
            self.server.answered(now)
        if known.down_since is not None:
            log.warning("external_server_is_back", away_for=str(now - known.down_since))
        return known.down_since is not None

    def failed(self, why: Transient, referral_id: str | None, road: Road, now: datetime) -> None:
        """The server did not answer, or not as a server in order does."""
        told = self.server.failed(
            referral_id,
            str(why.reason),
            now,
            alone=why.reason in _PERHAPS_ITS_OWN,
            probing=road is Road.PROBE,
            most=MOST_FAILURES,
            first=_FIRST_PAUSE,
            longest=_LONGEST_PAUSE,
            at_least=min(why.retry_after or timedelta(), _LONGEST_WISH),
        )
        if told is not None and told.down_since == now:
            log.error("external_server_is_down", reason=str(why.reason), status=why.status)

    def nothing_tried(self, road: Road, now: datetime) -> None:
        """No call was made after all: somebody else may probe."""
        if road is Road.PROBE:
            self.server.give_probe_back(now)


def is_down(why: Transient | Permanent) -> bool:
    """True for a failure that tells that the server is in trouble, and not only this request."""
    if why.reason is Reason.BUSY and why.status is None:
        return False  # one of our own locks
    return isinstance(why, Transient) and why.reason in OF_THE_SERVER


def is_answer(why: Transient | Permanent) -> bool:
    """True for a failure that only a server in order tells of."""
    return why.status is not None and not is_down(why)
