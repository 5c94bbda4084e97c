"""What all workers know of the external server: whether it answers, and who may try when it does not."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, LiteralString

from service.store.connections import Connections
from service.store.records import ServerRow

KNOWN: LiteralString = "SELECT failures, reason, down_since, probe_at, last_contact FROM external_server"

_ANSWERED: LiteralString = """
INSERT INTO external_server (last_contact) VALUES (%(now)s)
ON CONFLICT (only_row) DO UPDATE SET last_contact = excluded.last_contact, failures = 0, failed_referral = NULL,
  reason = NULL, down_since = NULL, probe_at = NULL
"""

# While it is down only the failure of who probes says anything new: the others had started before.
_FAILED: LiteralString = """
INSERT INTO external_server AS s (failures, failed_referral, reason) VALUES (1, %(referral)s, %(reason)s)
ON CONFLICT (only_row) DO UPDATE SET failures = s.failures + 1, failed_referral = excluded.failed_referral,
  reason = excluded.reason,
  down_since = CASE WHEN s.failures + 1 >= %(most)s THEN coalesce(s.down_since, %(now)s) END,
  probe_at = CASE WHEN s.failures + 1 >= %(most)s THEN %(now)s::timestamptz + greatest(
    %(at_least)s::interval,
    least(%(longest)s::interval, %(first)s::interval * power(2, least(s.failures + 1 - %(most)s, 20)))
  ) END
 WHERE CASE WHEN s.down_since IS NOT NULL THEN %(probing)s
            ELSE NOT %(alone)s OR s.failed_referral IS DISTINCT FROM excluded.failed_referral END
RETURNING failures, reason, down_since, probe_at, last_contact
"""

_TAKE_PROBE: LiteralString = """
UPDATE external_server SET probe_at = %(until)s WHERE down_since IS NOT NULL AND probe_at <= %(now)s
"""

_GIVE_PROBE_BACK: LiteralString = "UPDATE external_server SET probe_at = %(now)s WHERE down_since IS NOT NULL"


class ServerState:
    """The one row about the external server. Every method raises StoreUnavailable when the database cannot answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def known(self) -> ServerRow:
        """Whether the external server answers, as far as any worker knows."""
        with self._connections.connection() as connection:
            row = connection.execute(KNOWN).fetchone()
        return ServerRow() if row is None else ServerRow(*row)

    def answered(self, now: datetime) -> None:
        """It did what was asked: whatever was known against it is past."""
        self._changed(_ANSWERED, {"now": now})

    def failed(
        self,
        referral_id: str | None,
        reason: str,
        now: datetime,
        *,
        alone: bool,
        probing: bool,
        most: int,
        first: timedelta,
        longest: timedelta,
        at_least: timedelta,
    ) -> ServerRow | None:
        """It did not answer. After `most` failures in a row it is down, and may be tried again after `first`, doubled
        with each probe that fails, up to `longest`, and not before `at_least`.

        `alone`: the failure may be the referral's own, so that it counts once for each referral in a row. Gives the new
        state; None when this failure tells nothing new.
        """
        values: dict[str, Any] = {
            "referral": referral_id,
            "reason": reason,
            "now": now,
            "alone": alone,
            "probing": probing,
        }
        values |= {"most": most, "first": first, "longest": longest, "at_least": at_least}
        with self._connections.connection() as connection:
            row = connection.execute(_FAILED, values).fetchone()
        return None if row is None else ServerRow(*row)

    def take_probe(self, now: datetime, until: datetime) -> bool:
        """Be the one who tries whether the server answers again; nobody else may before `until`. False when another
        is, or when it is too early.
        """
        return self._changed(_TAKE_PROBE, {"now": now, "until": until}) == 1

    def give_probe_back(self, now: datetime) -> None:
        """Nothing was tried after all."""
        self._changed(_GIVE_PROBE_BACK, {"now": now})

    def _changed(self, statement: LiteralString, values: Mapping[str, Any]) -> int:
        with self._connections.connection() as connection:
            return connection.execute(statement, values).rowcount
