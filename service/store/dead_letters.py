"""Deliveries that were given up, and what a person decides about them. Every decision leaves a row in the journal, in
the same transaction: who, when and why.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from fhir_mappings.records import Json
from service.store.connections import EXCHANGE, Connections, Row

REPLAYED = "delivery-replayed"
DISCARDED = "delivery-discarded"

_LIST: LiteralString = """
SELECT e.referral_id, coalesce(r.task, e.referral_id), coalesce(r.state, ''), e.waiting_since, e.dead_at, e.attempts,
       e.last_error, e.discarded_at, j.actor, j.detail ->> 'why'
  FROM (SELECT * FROM exchange WHERE dead_at IS NOT NULL
        UNION ALL SELECT * FROM exchange WHERE dead_at IS NULL AND discarded_at IS NOT NULL) e
  LEFT JOIN referral r ON r.id = e.referral_id
  LEFT JOIN LATERAL (SELECT actor, detail FROM journal WHERE referral_id = e.referral_id AND event = %(discarded)s
                      ORDER BY id DESC LIMIT 1) j ON e.discarded_at IS NOT NULL
 ORDER BY e.discarded_at IS NOT NULL, coalesce(e.dead_at, e.discarded_at) LIMIT %(limit)s
"""

# What the journal says is what was changed, and nothing else.
_REPLAY: LiteralString = """
WITH changed AS (
  UPDATE exchange SET dead_at = NULL, discarded_at = NULL, attempts = 0, next_attempt_at = %(now)s,
         waiting_since = coalesce(waiting_since, %(now)s)
   WHERE CASE WHEN %(ids)s::text[] IS NULL THEN dead_at IS NOT NULL
              ELSE referral_id = ANY(%(ids)s::text[]) AND (dead_at IS NOT NULL OR discarded_at IS NOT NULL) END
  RETURNING referral_id, last_error
)
INSERT INTO journal (referral_id, at, actor, event, detail)
SELECT referral_id, sluss_stamp(), %(actor)s, %(event)s,
       %(detail)s::jsonb || jsonb_build_object('reason', last_error ->> 'reason') FROM changed
RETURNING referral_id
"""

_DISCARD: LiteralString = """
WITH changed AS (
  UPDATE exchange SET dead_at = NULL, discarded_at = %(now)s, attempts = 0, next_attempt_at = NULL,
         waiting_since = NULL
   WHERE referral_id = %(id)s AND dead_at IS NOT NULL
  RETURNING referral_id, last_error
)
INSERT INTO journal (referral_id, at, actor, event, detail)
SELECT referral_id, sluss_stamp(), %(actor)s, %(event)s,
       %(detail)s::jsonb || jsonb_build_object('reason', last_error ->> 'reason') FROM changed
RETURNING referral_id
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A referral whose delivery was given up, or discarded after that."""

    referral_id: str
    task_id: str
    """Of the Task by which it is found here."""
    state: str
    """The referral's, as its Task has it; empty for what is told of one that could not be taken in."""
    waiting_since: datetime | None
    dead_at: datetime | None
    """None when it was discarded."""
    attempts: int
    last_error: Json | None
    """Codes and words of ours: reason, status, issues, at."""
    discarded_at: datetime | None = None
    discarded_by: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decides, and why."""

    actor: str
    why: str | None
    detail: Json
    """What else is known of who it was."""
    now: datetime


class DeadLetters:
    """A person's way to what could not be delivered. Every method raises StoreUnavailable when the database cannot
    answer.
    """

    def __init__(self, url: str) -> None:
        self._connections = Connections(url, EXCHANGE, 1, wait=5)

    def close(self) -> None:
        """Closes what is idle."""
        self._connections.close()

    def listed(self, limit: int = 1000) -> list[DeadLetter]:
        """What was given up, oldest first, then what was discarded, with its reason."""
        return [DeadLetter(*row) for row in self._rows(_LIST, discarded=DISCARDED, limit=limit)]

    def replay(self, referral_ids: Collection[str] | None, decision: Decision) -> list[str]:
        """Have these delivered again, or every dead letter (None; what was discarded is replayed only by name). Gives
        those that were dead or discarded: the others are as they were.
        """
        ids = None if referral_ids is None else list(referral_ids)
        return [id_ for (id_,) in self._decide(_REPLAY, REPLAYED, decision, ids=ids)]

    def discard(self, referral_id: str, decision: Decision) -> bool:
        """Leave a dead letter undelivered until its referral changes or it is replayed. False when it was none."""
        return bool(self._decide(_DISCARD, DISCARDED, decision, id=referral_id))

    def _decide(self, statement: LiteralString, event: str, decision: Decision, **values: Any) -> Sequence[Row]:
        detail = {name: value for name, value in {"why": decision.why, **decision.detail}.items() if value is not None}
        return self._rows(
            statement, event=event, actor=decision.actor, detail=Jsonb(detail), now=decision.now, **values
        )

    def _rows(self, statement: LiteralString, **values: Any) -> list[Row]:
        with self._connections.connection() as connection:
            return connection.execute(statement, values).fetchall()
