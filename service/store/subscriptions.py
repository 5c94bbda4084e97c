# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Subscriptions that others have with us, as their makers see them: made, read, changed, deleted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from service.store.audit import RECORD, parameter
from service.store.audit_records import Acting, AuditEvent
from service.store.connections import Connections, Row
from service.store.subscription_records import Event, NewSubscription, Owner, SubscriptionFigures, SubscriptionRow

ROW: LiteralString = (
    "id, version, last_updated, status, topic, content, role, organisation, team, client, base, since, heartbeat,"
    " ends_at, events, acknowledged, attempts, next_attempt_at, failing_since, reason, sent_at, deleted_at"
)
"""The columns of a `SubscriptionRow`, in order."""

_OWNED: LiteralString = """
role = %(role)s AND organisation IS NOT DISTINCT FROM %(organisation)s AND team IS NOT DISTINCT FROM %(team)s
AND client IS NOT DISTINCT FROM %(client)s
"""

_CREATE: LiteralString = f"""
WITH taken AS MATERIALIZED (SELECT sluss_stamp() AS stamp)
INSERT INTO subscription (id, last_updated, since, topic, content, role, organisation, team, client, base, heartbeat,
                          ends_at)
SELECT %(id)s, stamp, stamp, %(topic)s, %(content)s, %(role)s, %(organisation)s, %(team)s, %(client)s, %(base)s,
       %(heartbeat)s, %(ends_at)s
  FROM taken
 WHERE (SELECT count(*) FROM subscription WHERE deleted_at IS NULL AND {_OWNED}) < %(most)s
RETURNING {ROW}
"""

_GET: LiteralString = f"SELECT {ROW} FROM subscription WHERE id = %(id)s"

_ALL: LiteralString = f"SELECT {ROW} FROM subscription WHERE deleted_at IS NULL ORDER BY id"

_OF: LiteralString = f"SELECT {ROW} FROM subscription WHERE deleted_at IS NULL AND {_OWNED} ORDER BY id"

# What was off has missed events, and counts on from now. What failed is tried again at once.
_CHANGE: LiteralString = f"""
WITH taken AS MATERIALIZED (SELECT sluss_stamp() AS stamp)
UPDATE subscription
   SET version = version + 1, last_updated = stamp, content = %(content)s, status = %(status)s, base = %(base)s,
       heartbeat = %(heartbeat)s, ends_at = %(ends_at)s, attempts = 0, next_attempt_at = NULL, failing_since = NULL,
       reason = NULL, since = CASE WHEN status = 'off' THEN stamp ELSE since END
  FROM taken
 WHERE id = %(id)s AND version = %(version)s AND deleted_at IS NULL
RETURNING {ROW}
"""

_DELETE: LiteralString = """
WITH gone AS (
    UPDATE subscription SET deleted_at = now(), status = 'off', content = '{}', version = version + 1
     WHERE id = %(id)s AND deleted_at IS NULL AND (%(version)s::integer IS NULL OR version = %(version)s)
    RETURNING id
), untold AS (
    DELETE FROM subscription_event e USING gone WHERE e.subscription_id = gone.id
)
SELECT id FROM gone
"""

EVENTS: LiteralString = """
SELECT number, at, focus FROM subscription_event
 WHERE subscription_id = %(id)s AND number BETWEEN %(first)s AND %(last)s ORDER BY number LIMIT %(most)s
"""

_FIGURES: LiteralString = """
SELECT count(*) FILTER (WHERE s.status = 'requested'), count(*) FILTER (WHERE s.status = 'active'),
       count(*) FILTER (WHERE s.status = 'error'), count(*) FILTER (WHERE s.status = 'off'),
       coalesce(sum(s.events - s.acknowledged) FILTER (WHERE s.status <> 'off'), 0)::integer,
       min(e.at) FILTER (WHERE s.status <> 'off')
  FROM subscription s
  LEFT JOIN subscription_event e ON e.subscription_id = s.id AND e.number = s.acknowledged + 1
 WHERE s.deleted_at IS NULL
"""


class Subscriptions:
    """The Subscriptions of everybody; whose they are is for the web to look at. Raises StoreUnavailable."""

    def __init__(self, writers: Connections, readers: Connections, acting: Acting | None = None) -> None:
        # Made by a writer, so that the recorder of events never passes by one that is just being made.
        self._writers, self._readers = writers, readers
        self._acting = acting

    def create(self, new: NewSubscription, most: int) -> SubscriptionRow | None:
        """Stores a Subscription with status `requested`; None when its owner has `most` of them already."""
        owner = _owner(new.owner)
        values = {"id": new.id, "topic": new.topic, "content": new.content, "base": new.base, "most": most, **owner}
        return _first(self._write(_CREATE, {**values, "heartbeat": new.heartbeat, "ends_at": new.ends_at}))

    def get(self, id_: str) -> SubscriptionRow | None:
        """A Subscription, also one that was deleted."""
        return _first(self._read(_GET, {"id": id_}))

    def of(self, owner: Owner | None) -> list[SubscriptionRow]:
        """The Subscriptions of an owner, or everybody's, by id; without those that were deleted."""
        rows = self._read(_ALL, {}) if owner is None else self._read(_OF, _owner(owner))
        return [SubscriptionRow(*row) for row in rows]

    def change(
        self, row: SubscriptionRow, *, content: str, status: str, base: str, heartbeat: int | None, end: datetime | None
    ) -> SubscriptionRow | None:
        """The Subscription as it is asked for anew; None when it is no longer as it was read."""
        values = {"content": content, "status": status, "base": base, "heartbeat": heartbeat, "ends_at": end}
        return _first(self._write(_CHANGE, {"id": row.id, "version": row.version, **values}))

    def delete(self, id_: str, version: int | None = None) -> bool:
        """Takes it away with its events. False when it has another version than this (None: any), or is gone."""
        return bool(self._write(_DELETE, {"id": id_, "version": version}))

    def events(self, id_: str, first: int, last: int, most: int) -> list[Event]:
        """The oldest `most` events with these numbers, both included; without those that were too old to keep."""
        values = {"id": id_, "first": first, "last": last, "most": most}
        return [Event(*row) for row in self._read(EVENTS, values)]

    def figures(self) -> SubscriptionFigures:
        """How they stand."""
        (row,) = self._read(_FIGURES, {})
        return SubscriptionFigures(*row)

    def _read(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        with self._readers.connection() as connection:
            return connection.execute(statement, values).fetchall()

    def _write(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        """The change and its place in the record, in one transaction."""
        with self._writers.connection() as connection, connection.transaction():
            rows = connection.execute(statement, values).fetchall()
            if rows and self._acting is not None:
                id_, *version = rows[0][:2]
                about = f"Subscription/{id_}" + "".join(f"/_history/{number}" for number in version)
                connection.execute(RECORD, parameter([AuditEvent(self._acting.act, about=(about,))]))
        if rows and self._acting is not None:
            self._acting.noted = True
        return rows


def _owner(owner: Owner) -> dict[str, str | None]:
    return {"role": owner.role, "organisation": owner.organisation, "team": owner.team, "client": owner.client}


def _first(rows: list[Row]) -> SubscriptionRow | None:
    return SubscriptionRow(*rows[0]) if rows else None
