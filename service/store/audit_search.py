# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Searches in the record of who did what. The query comes by the same way as any other (`query.py`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from fhir_mappings.audit_event import Recorded
from fhir_mappings.terminology import Canonical
from service.store.asked import SearchQuery, Sort
from service.store.audit import COLUMNS
from service.store.audit_conditions import NO_SEAL_YET, conditions, perhaps_about
from service.store.connections import Connections, Row
from service.store.filters import Parameters
from service.store.moments import instant
from service.store.query import page_token

SORTED: dict[str, LiteralString] = {
    "_lastUpdated": "recorded",
    "date": "recorded",
    "_id": 'id::text COLLATE "C"',
    "action": "action",
    "outcome": "outcome::text",
}
"""What events can be ordered by."""

_PATIENTS: LiteralString = "SELECT DISTINCT 'Patient/' || patient FROM referral WHERE patient_key = %(key)s"

OF_PATIENT: LiteralString = f"""
SELECT {COLUMNS} FROM audit_event
WHERE {perhaps_about("%(patients)s")} AND patients && %(patients)s::text[]
  AND recorded >= %(since)s AND recorded < %(until)s ORDER BY recorded, id
"""

_LAG: LiteralString = f"SELECT min(recorded) FROM audit_event WHERE id = (SELECT min(id) FROM ({NO_SEAL_YET}) AS x)"


def is_event(id_: str) -> bool:
    """True for what can be an event's id."""
    return id_.isascii() and id_.isdigit() and len(id_) < 19 and id_ == str(int(id_))


class AuditView:
    """Reads the record. Raises StoreUnavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, id_: str) -> Recorded | None:
        """One event."""
        if not is_event(id_):
            return None
        rows = self._rows(f"SELECT {COLUMNS} FROM audit_event WHERE id = %(id)s", {"id": int(id_)})
        return Recorded(*rows[0]) if rows else None

    def search(self, query: SearchQuery, canonical: Canonical) -> tuple[list[Recorded], str | None, int | None]:
        """One page, the token of the next, and the total, where it is asked for or known anyway. `canonical` names what
        the AuditEvents say of Sluss itself. Orders are those of `SORTED`, chains what
        `chainable` lets through; a page starts after what `is_event`.
        """
        parameters = Parameters()
        where = " AND ".join(conditions(query, canonical, parameters)) or "true"
        counting = f"SELECT count(*) FROM audit_event WHERE {where}", dict(parameters.values)
        if query.count == 0:
            return [], None, self._counted(*counting)
        order = [(key, expression) for key in query.order for expression in [SORTED[key.name]]]
        if query.page is not None:
            where += f" AND {_after(query, order, parameters)}"
        keys = ", ".join([f"{expression}{' DESC' if key.descending else ''}" for key, expression in order])
        sql = f"SELECT {COLUMNS} FROM audit_event WHERE {where} ORDER BY {keys}, id LIMIT {query.count + 1}"
        found = [Recorded(*row) for row in self._rows(sql, parameters.values)]
        page, token = found[: query.count], None
        if len(found) > query.count:
            token = page_token([_value(key, page[-1]) for key, _ in order for _ in key.columns], str(page[-1].id))
        total = self._counted(*counting) if query.total else None
        if query.total is None and query.page is None and token is None:
            total = len(page)
        return page, token, total

    def of_patient(self, key: str, since: datetime, until: datetime) -> list[Recorded]:
        """What was done with a patient (`personnummer|199002222397`) at any unit, oldest first."""
        stored = [reference for (reference,) in self._rows(_PATIENTS, {"key": key})]
        return [
            Recorded(*row)
            for row in self._rows(OF_PATIENT, {"patients": [key, *stored], "since": since, "until": until})
        ]

    def unsealed_since(self) -> datetime | None:
        """When the oldest event that no seal covers was written; None when all are sealed."""
        ((oldest,),) = self._rows(_LAG, {})
        at: datetime | None = oldest
        return at

    def _counted(self, sql: str, values: dict[str, object]) -> int:
        ((total,),) = self._rows(sql, values)
        return int(total)

    def _rows(self, sql: str, values: dict[str, object]) -> list[Row]:
        with self._connections.connection() as connection:
            return connection.execute(sql.encode(), values).fetchall()


def _after(query: SearchQuery, order: Sequence[tuple[Sort, str]], parameters: Parameters) -> str:
    """What comes after the page's last event."""
    assert query.page is not None  # noqa: S101 - asked before
    *values, id_ = query.page
    columns = [(key, expression, type_) for key, expression in order for type_ in key.columns]
    condition = f"id > {parameters.add(id_)}::bigint"
    for (key, expression, type_), value in zip(reversed(columns), reversed(values), strict=True):
        given = f"{parameters.add(value)}::{type_}"
        sign = "<" if key.descending else ">"
        condition = f"({expression} {sign} {given} OR ({expression} = {given} AND {condition}))"
    return condition


def _value(key: Sort, event: Recorded) -> str:
    match key.name:
        case "_lastUpdated" | "date":
            return instant(event.recorded)
        case "_id":
            return str(event.id)
        case "action":
            return event.action
        case "outcome":
            return str(event.outcome)
    return ""
