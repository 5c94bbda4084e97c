"""The record of who did what: written and read. It is only ever added to.

What changes something is recorded by the change itself (`store/change.py`); all the rest here, on connections of its
own, since pollers wait for write transactions and nobody is to wait for a read.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from fhir_mappings.strict_json import dump
from service.store.audit_records import AuditEvent
from service.store.connections import RECORDER, Connections
from service.store.records import StoreUnavailable

COLUMNS: LiteralString = (
    "id, recorded, action, interaction, outcome, status, role, client, person, unit, organisations, teams, via, reason,"
    " token, address, request_id, tried, query, about, versions, patients"
)
"""The columns of a `Recorded`, in order."""

# Patients are looked up here, so that whoever records what was shown need not read it.
RECORD: LiteralString = """
INSERT INTO audit_event (action, interaction, outcome, status, role, client, person, unit, organisations, teams, via,
                         reason, token, address, request_id, tried, query, about, versions, patients)
SELECT w.action, w.interaction, w.outcome, w.status, w.role, w.client, w.person, w.unit, w.organisations, w.teams,
       w.via, w.reason, w.token, w.address, w.request_id, w.tried, w.query, w.about, w.versions,
       w.patients || ARRAY(
           SELECT DISTINCT 'Patient/' || r.patient FROM unnest(w.referrals) AS x (id) JOIN referral r ON r.id = x.id
           WHERE r.patient <> '' AND 'Patient/' || r.patient <> ALL (w.patients)
       )
FROM json_to_recordset(%(recorded)s::json) AS w (
    action text, interaction text, outcome smallint, status smallint, role text, client text, person text, unit text,
    organisations text[], teams text[], via text, reason text, token text, address text, request_id text, tried text,
    query text, about text[], versions integer[], patients text[], referrals text[]
)
"""


def parameter(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """The parameter of RECORD."""
    return {"recorded": dump([event.as_json() for event in events])}


class Audit:
    """The way to the record for whatever is no change. Raises StoreUnavailable."""

    def __init__(self, url: str, pool_size: int, wait: float) -> None:
        self._connections = Connections(url, RECORDER, pool_size, wait)

    def record(self, *events: AuditEvent) -> None:
        """Adds to the record; it is on disk when this returns."""
        try:
            with self._connections.connection() as connection:
                connection.execute(RECORD, parameter(events))
        except psycopg.Error as problem:  # no right to, say; its message repeats the row
            raise StoreUnavailable(f"not recorded: {type(problem).__name__}") from None

    def close(self) -> None:
        """Closes idle connections."""
        self._connections.close()
