"""What the exchange with the external server remembers: attempts, dead letters, and the copies over there.

Mutual exclusion is a session advisory lock and not a row lock, so that nothing waits for an HTTP call: no transaction
is open while one is under way, writers never touch these rows, and vacuum is not held up.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from fhir_mappings.records import Json, Reference
from service.store import exchange_statements as statements
from service.store.connections import EXCHANGE, Connection, Connections
from service.store.server_state import ServerState
from service.store.text_arrays import Texts

_AT_A_GLANCE = 4
"""Connections for single statements."""

THEIRS = 2**31 - 1
"""`Copy.acknowledged` of what was made over there and joined to a resource of ours: no version of ours is newer, so it
is referred to and never written.
"""

OVERRULED = -1
"""`Copy.acknowledged` of a copy that somebody changed over there and whose change does not stand: what it shows is
known, and ours is written over it.
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of one resource's copy on the external server."""

    reference: Reference
    """Ours, `Type/id`."""
    remote_id: str
    remote_version: str | None = None
    """Its version there, for `If-Match`; None when that server told none."""
    acknowledged: int = 0
    """The version of ours that it shows; 0 when that is not known, THEIRS when it is not ours to write."""


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """How the delivery of one referral stands."""

    referral_id: str
    attempts: int = 0
    """Failed attempts since the last success."""
    next_attempt_at: datetime | None = None
    last_error: Json | None = None
    """Codes and words of ours: reason, status, issues, at."""
    dead_at: datetime | None = None
    """When it was given up; it waits for a person."""
    delivered_at: datetime | None = None
    unanswered_since: datetime | None = None
    """When something was sent whose answer is not known: look there before sending again."""
    waiting_since: datetime | None = None
    """When it first could not be delivered, since it last was."""


class ExchangeState:
    """The exchange's own way to the database; may be shared by threads.

    Its connections carry `application_name` `sluss-exchange`, so that one that is held during an HTTP call never counts
    as a writer. Every method raises StoreUnavailable when the database cannot answer.
    """

    def __init__(self, url: str, size: int = 12, lock_wait: timedelta = timedelta(seconds=8)) -> None:
        """At most `size` deliveries at once; a lock that somebody else holds is waited for `lock_wait` at most."""
        self._holders = Connections(url, EXCHANGE, size, wait=30)
        # Of their own: who holds a lock and waits for a second connection must not wait for others who do the same.
        self._connections = Connections(url, EXCHANGE, _AT_A_GLANCE, wait=30)
        self._lock_wait = lock_wait
        self.server = ServerState(self._connections)

    def close(self) -> None:
        """Closes what is idle."""
        self._holders.close()
        self._connections.close()

    @contextmanager
    def held(self, *names: str) -> Iterator["Held | None"]:
        """Hold the named locks until the block ends, on one connection; None when somebody else kept one for too long.

        A lock ends with its connection, so a killed worker holds nothing.
        """
        with self._holders.connection() as connection:
            held = Held(connection, self._lock_wait)
            try:
                yield held if held.lock(*names) else None
            finally:
                held.release()

    def row(self, referral_id: str) -> ExchangeRow | None:
        """How a referral's delivery stands; None when none was tried."""
        with self._connections.connection() as connection:
            return _row(connection, referral_id)

    def due(self, now: datetime, limit: int = 500) -> list[str]:
        """Referrals whose next attempt is due, longest waiting first."""
        return self._listed(statements.DUE, now, limit)

    def to_wake(self, now: datetime, limit: int = 500) -> list[str]:
        """As `due`, without those that have a job waiting in the queue."""
        return self._listed(statements.TO_WAKE, now, limit)

    def find_undelivered(self, types: Collection[str], now: datetime, settled: timedelta, limit: int = 5000) -> int:
        """Schedule every referral that has changes the other side does not show and that nothing else will wake:
        received while no server was set, or whose job was lost.

        Changes younger than `settled` are left to their own job. Gives the number scheduled. Costs a pass over the
        resources, so it is for every few minutes.
        """
        wanted = {"types": list(types), "now": now, "before": now - settled, "limit": limit}
        return self._changed(statements.FIND_UNDELIVERED, wanted)

    def bring_forward(self, reasons: Collection[str], now: datetime, spread: timedelta) -> int:
        """The server answers again: what waits only for that waits no longer than `spread`, evenly spread. Gives how
        many there were.
        """
        return self._changed(statements.BRING_FORWARD, {"reasons": list(reasons), "now": now, "spread": spread})

    def dead_letters(self, limit: int = 1000) -> list[ExchangeRow]:
        """Deliveries that were given up, oldest first."""
        with self._connections.connection() as connection:
            return [ExchangeRow(*row) for row in connection.execute(statements.DEAD_LETTERS, {"limit": limit})]

    def _listed(self, statement: LiteralString, now: datetime, limit: int) -> list[str]:
        with self._connections.connection() as connection:
            return [row[0] for row in connection.execute(statement, {"now": now, "limit": limit})]

    def _changed(self, statement: LiteralString, values: Mapping[str, Any]) -> int:
        with self._connections.connection() as connection:
            return connection.execute(statement, values).rowcount


class Held:
    """The exchange's state as changed by who holds the lock.

    Every statement is its own transaction on the connection that holds it: when that is lost, so is the right to record
    anything.
    """

    def __init__(self, connection: Connection, lock_wait: timedelta) -> None:
        self._connection = connection
        self._lock_wait = int(lock_wait.total_seconds() * 1000)

    def lock(self, *names: str) -> bool:
        """Take further locks, sorted, so that two who want the same ones do not wait for each other; False after too
        long a wait.
        """
        wanted = {"wait": f"{self._lock_wait}ms", "numbers": sorted({_number(name) for name in names})}
        try:
            self._connection.execute(statements.LOCK, wanted)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def unlock(self, *names: str) -> None:
        """Give locks back before the end."""
        self._connection.execute(statements.UNLOCK, {"numbers": [_number(name) for name in names]})

    def release(self) -> None:
        """Give every lock back; a connection that cannot be told so is closed, which does the same."""
        try:
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        except psycopg.Error:
            self._connection.close()

    def row(self, referral_id: str) -> ExchangeRow:
        """How the referral's delivery stands."""
        return _row(self._connection, referral_id) or ExchangeRow(referral_id)

    def copies(self, references: Collection[Reference]) -> dict[Reference, Copy]:
        """What is known of these resources' copies."""
        pairs = [reference.partition("/") for reference in references]
        wanted = {"types": Texts(pair[0] for pair in pairs), "ids": Texts(pair[2] for pair in pairs)}
        return {Reference(row[0]): Copy(*row) for row in self._connection.execute(statements.COPIES, wanted)}

    def sending(self, referral_id: str, now: datetime) -> None:
        """Note, before a request is sent, that its answer is not known."""
        self._connection.execute(statements.SENDING, {"id": referral_id, "now": now})

    def learnt(self, copies: Sequence[Copy], referral_of: Mapping[Reference, str | None]) -> None:
        """Note what was learnt of copies. The version of ours that a copy shows never goes back."""
        pairs = [copy.reference.partition("/") for copy in copies]
        self._connection.execute(
            statements.LEARNT,
            {
                "types": Texts(pair[0] for pair in pairs),
                "ids": Texts(pair[2] for pair in pairs),
                "remote_ids": Texts(copy.remote_id for copy in copies),
                "remote_versions": Texts(copy.remote_version for copy in copies),
                "acknowledged": [copy.acknowledged for copy in copies],
                "referrals": Texts(referral_of.get(copy.reference) for copy in copies),
            },
        )

    def forget(self, reference: Reference) -> None:
        """Forget a copy, so that it is looked up anew."""
        resource_type, _, resource_id = reference.partition("/")
        self._connection.execute(statements.FORGET, {"type": resource_type, "id": resource_id})

    def delivered(self, referral_id: str, now: datetime) -> None:
        """Everything of the referral is there."""
        self._connection.execute(statements.DELIVERED, {"id": referral_id, "now": now})

    def held_back(self, referral_id: str, now: datetime) -> None:
        """It is due, but the server is down: it goes when that is over."""
        self._connection.execute(statements.HELD_BACK, {"id": referral_id, "now": now})

    def failed(self, row: ExchangeRow) -> None:
        """An attempt failed: note how it stands now."""
        self._connection.execute(
            statements.FAILED,
            {
                "id": row.referral_id,
                "attempts": row.attempts,
                "next_attempt_at": row.next_attempt_at,
                "last_error": None if row.last_error is None else Jsonb(row.last_error),
                "dead_at": row.dead_at,
                "unanswered_since": row.unanswered_since,
                "waiting_since": row.waiting_since,
            },
        )


def _number(name: str) -> int:
    """The advisory lock of a name. Hashed here and not by the database: a name may hold a patient's identifier, which
    must not reach a statement log.
    """
    return int.from_bytes(hashlib.sha256(f"sluss-exchange:{name}".encode()).digest()[:8], signed=True)


def _row(connection: Connection, referral_id: str) -> ExchangeRow | None:
    found = connection.execute(statements.ROW, {"id": referral_id}).fetchone()
    return None if found is None else ExchangeRow(*found)
