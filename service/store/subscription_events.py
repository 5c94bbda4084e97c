# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""Events for Subscriptions, derived from what is committed, and how their sending stands. For the background worker.

The recorder walks what was stored up to `sluss_settled_until()`: before that instant nothing can appear any more, so
nothing is passed by, and whoever stores a referral pays nothing for it (docs/decisions/0003).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

from service.store.connections import EXCHANGE, Connection, Connections
from service.store.subscription_records import Changed, Event, SubscriptionRow
from service.store.subscriptions import EVENTS, ROW

_RECORDER = 5_701_177_003
"""Advisory lock of who records events."""

_LIVE: LiteralString = f"SELECT {ROW} FROM subscription WHERE deleted_at IS NULL AND status <> 'off' ORDER BY id"

# Each walk along its index is no longer than a batch, and never ends between two equal stamps.
_CHANGES: LiteralString = """
SELECT c.type, c.id, c.version, c.last_updated, c.body, before.body, o.organisation, o.team
FROM (
    SELECT * FROM (
        SELECT now_.* FROM unnest(%(types)s::text[]) AS kind (type) CROSS JOIN LATERAL (
            SELECT r.type, r.id, r.version, r.last_updated, r.referral_id, r.body FROM resource r
            WHERE r.type = kind.type AND r.last_updated > %(after)s AND r.last_updated < %(settled)s
            ORDER BY r.last_updated FETCH FIRST %(most)s ROWS WITH TIES
        ) now_
        UNION ALL
        SELECT past.* FROM unnest(%(types)s::text[]) AS kind (type) CROSS JOIN LATERAL (
            SELECT r.type, r.id, r.version, r.last_updated, r.referral_id, r.body FROM resource_history r
            WHERE r.type = kind.type AND r.last_updated > %(after)s AND r.last_updated < %(settled)s
            ORDER BY r.last_updated FETCH FIRST %(most)s ROWS WITH TIES
        ) past
    ) found ORDER BY last_updated FETCH FIRST %(most)s ROWS WITH TIES
) c
LEFT JOIN LATERAL (
    SELECT h.body FROM resource_history h
    WHERE h.type = c.type AND h.id = c.id AND h.version < c.version AND h.last_updated < c.last_updated
    ORDER BY h.version DESC LIMIT 1
) before ON true
LEFT JOIN referral o ON o.id = c.referral_id
ORDER BY c.last_updated, c.type, c.id, c.version
"""

_TELL: LiteralString = """
INSERT INTO subscription_event (subscription_id, number, at, focus)
SELECT * FROM unnest(%(ids)s::text[], %(numbers)s::integer[], %(times)s::timestamptz[], %(focuses)s::text[])
"""

_COUNT: LiteralString = """
UPDATE subscription s SET events = n.events FROM unnest(%(ids)s::text[], %(events)s::integer[]) AS n (id, events)
 WHERE s.id = n.id
"""

_REACHED: LiteralString = """
INSERT INTO subscription_reached (reached) VALUES (%(reached)s)
ON CONFLICT (only_row) DO UPDATE SET reached = excluded.reached
"""

_DUE: LiteralString = """
SELECT id FROM subscription
 WHERE deleted_at IS NULL AND (next_attempt_at IS NULL OR next_attempt_at <= %(now)s)
   AND (status = 'requested'
        OR status = 'active' AND (events > acknowledged OR sent_at + heartbeat * interval '1 second' <= %(now)s))
 ORDER BY coalesce(next_attempt_at, sent_at, since)
"""

_TAKEN: LiteralString = """
UPDATE subscription SET acknowledged = greatest(acknowledged, %(number)s), sent_at = %(now)s, attempts = 0,
       next_attempt_at = NULL, failing_since = NULL, reason = NULL
 WHERE id = %(id)s
"""

_TURN: LiteralString = """
UPDATE subscription SET status = %(status)s, version = version + 1, last_updated = sluss_stamp(), sent_at =
       CASE WHEN %(status)s = 'active' THEN %(now)s ELSE sent_at END, reason = %(reason)s, next_attempt_at = NULL
 WHERE id = %(id)s AND version = %(version)s AND deleted_at IS NULL
RETURNING version
"""

_PUT_OFF: LiteralString = """
UPDATE subscription SET attempts = attempts + 1, next_attempt_at = %(next)s, reason = %(reason)s,
       failing_since = coalesce(failing_since, %(now)s)
 WHERE id = %(id)s AND version = %(version)s
"""

_END: LiteralString = """
UPDATE subscription SET status = 'off', version = version + 1, last_updated = sluss_stamp(), reason = %(reason)s
 WHERE deleted_at IS NULL AND status <> 'off' AND ends_at <= %(now)s
"""

_END_OF_CLIENTS: LiteralString = """
UPDATE subscription s SET status = 'off', version = version + 1, last_updated = sluss_stamp(), reason = %(reason)s
  FROM client c
 WHERE c.id = s.client AND c.disabled_at IS NOT NULL AND s.deleted_at IS NULL AND s.status <> 'off'
"""

_ABANDON: LiteralString = """
UPDATE subscription SET status = 'off', version = version + 1, last_updated = sluss_stamp()
 WHERE deleted_at IS NULL AND status = 'error' AND last_updated < %(before)s
"""

_FORGET: LiteralString = """
DELETE FROM subscription_event e USING subscription s
 WHERE s.id = e.subscription_id AND e.at < %(before)s AND (e.number <= s.acknowledged OR s.status = 'off')
"""

Judge = Callable[[SubscriptionRow, Changed], bool]
"""Whether a change is an event for a Subscription."""


class SubscriptionEvents:
    """The worker's own way to Subscriptions; may be shared by threads. Every method raises StoreUnavailable when the
    database cannot answer.
    """

    def __init__(self, url: str) -> None:
        # Who holds a Subscription while its endpoint is called needs no second connection.
        self._connections = Connections(url, EXCHANGE, 8, wait=30)

    def close(self) -> None:
        """Closes what is idle."""
        self._connections.close()

    def record(self, types: Sequence[str], judge: Judge, most: int = 200) -> int | None:
        """Notes the events of the next `most` changes of these types; gives how many changes there were. None when
        there was nothing to look at, or another worker is looking.

        Events, their numbers and how far it has come are one transaction.
        """
        with self._connections.connection() as connection, connection.transaction():
            if not _one(connection, "SELECT pg_try_advisory_xact_lock(%(lock)s)", lock=_RECORDER):
                return None
            # First: what is settled must be known before anything is looked at.
            settled = _one(connection, "SELECT sluss_settled_until()")
            live = [SubscriptionRow(*row) for row in connection.execute(_LIVE)]
            if not live:
                return None
            reached = _one(connection, "SELECT max(reached) FROM subscription_reached")
            oldest = min(row.since for row in live)
            after = max(oldest, reached) if reached else oldest
            values = {"types": list(types), "after": after, "settled": settled, "most": most}
            changes = [Changed(*row) for row in connection.execute(_CHANGES, values)]
            if not changes:
                return None
            told = [
                (row.id, row.events + number, changed.at, f"{changed.type}/{changed.id}")
                for row in live
                for number, changed in enumerate(
                    (changed for changed in _last_of_each(changes) if changed.at > row.since and judge(row, changed)), 1
                )
            ]
            if told:
                ids, numbers, times, focuses = (list(column) for column in zip(*told, strict=True))
                connection.execute(_TELL, {"ids": ids, "numbers": numbers, "times": times, "focuses": focuses})
                latest = dict(zip(ids, numbers, strict=True))
                connection.execute(_COUNT, {"ids": list(latest), "events": list(latest.values())})
            connection.execute(_REACHED, {"reached": changes[-1].at})
            return len(changes)

    def due(self, now: datetime) -> list[str]:
        """The Subscriptions that something is to be sent for, longest waiting first."""
        with self._connections.connection() as connection:
            return [id_ for (id_,) in connection.execute(_DUE, {"now": now})]

    def end(self, now: datetime) -> None:
        """Turns off what has come to the end that its maker set, and what a client made that is disabled now."""
        with self._connections.connection() as connection:
            connection.execute(_END, {"now": now, "reason": "its end has passed"})
            connection.execute(_END_OF_CLIENTS, {"reason": "its client is disabled"})

    def forget(self, now: datetime, keep: timedelta) -> None:
        """Turns off what was left in error for as long as events are kept, and forgets older events that were taken or
        that nobody will be sent.
        """
        with self._connections.connection() as connection:
            connection.execute(_ABANDON, {"before": now - keep})
            connection.execute(_FORGET, {"before": now - keep})

    @contextmanager
    def held(self, id_: str) -> Iterator["HeldSubscription | None"]:
        """A Subscription that nobody else sends for until the block ends; None when somebody does, or it is gone.

        An advisory lock of the connection and no transaction, so that nothing waits for an endpoint, and a worker that
        is killed holds nothing.
        """
        number = int.from_bytes(hashlib.sha256(f"sluss-subscription:{id_}".encode()).digest()[:8], signed=True)
        with self._connections.connection() as connection:
            if not _one(connection, "SELECT pg_try_advisory_lock(%(number)s::bigint)", number=number):
                yield None
                return
            try:
                held = HeldSubscription(connection, id_)
                yield held if held.row() is not None else None
            finally:
                try:
                    connection.execute("SELECT pg_advisory_unlock_all()")
                except psycopg.Error:
                    connection.close()


class HeldSubscription:
    """How the sending of one Subscription stands, as changed by who holds it."""

    def __init__(self, connection: Connection, id_: str) -> None:
        self._connection, self._id = connection, id_

    def row(self) -> SubscriptionRow | None:
        """It, as it is now; None when it is gone."""
        statement: LiteralString = f"SELECT {ROW} FROM subscription WHERE id = %(id)s AND deleted_at IS NULL"
        found = self._connection.execute(statement, {"id": self._id}).fetchone()
        return SubscriptionRow(*found) if found else None

    def waiting(self, row: SubscriptionRow, most: int) -> list[Event]:
        """The next events that the endpoint has not taken, at most so many."""
        values = {"id": self._id, "first": row.acknowledged + 1, "last": row.events, "most": most}
        return [Event(*found) for found in self._connection.execute(EVENTS, values)]

    def taken(self, number: int, now: datetime) -> None:
        """The endpoint has taken every event up to this number, or a sign of life."""
        self._run(_TAKEN, number=number, now=now)

    def turn(self, row: SubscriptionRow, status: str, now: datetime, reason: str | None = None) -> bool:
        """Its status is another now. False when its maker has changed it meanwhile: then that counts."""
        return self._run(_TURN, version=row.version, status=status, now=now, reason=reason) == 1

    def put_off(self, row: SubscriptionRow, next_attempt_at: datetime, now: datetime, reason: str) -> None:
        """The endpoint has not taken it: not before then again."""
        self._run(_PUT_OFF, version=row.version, next=next_attempt_at, now=now, reason=reason)

    def _run(self, statement: LiteralString, **values: Any) -> int:
        return self._connection.execute(statement, {"id": self._id, **values}).rowcount


def _one(connection: Connection, statement: LiteralString, **values: Any) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM, or of an aggregate, gives one row
    return row[0]


def _last_of_each(changes: Sequence[Changed]) -> list[Changed]:
    """Without the versions that one transaction wrote and replaced itself: nobody ever saw them."""
    last = {(changed.type, changed.id, changed.at): changed for changed in changes}
    return [changed for changed in changes if last[changed.type, changed.id, changed.at] is changed]
