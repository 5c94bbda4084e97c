# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Searches in the record of who did what. The query comes by the same way as any other (`query.py`)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import LiteralString

from fhir_mappings.audit_event import Recorded
from fhir_mappings.terminology import HSA_SYSTEMS, IDENTITY_KINDS, IDENTITY_SYSTEMS
from service.store.asked import Clause, DateValue, SearchQuery, Sort, TokenValue, Value
from service.store.audit import COLUMNS
from service.store.connections import Connections, Row
from service.store.filters import Parameters, age_conditions
from service.store.moments import instant
from service.store.query import page_token

_SORTED: dict[str, LiteralString] = {
    "_lastUpdated": "recorded",
    "date": "recorded",
    "_id": 'id::text COLLATE "C"',
    "action": "action",
    "outcome": "outcome::text",
}
_NOTHING: LiteralString = "''"
"""What an event has of a parameter that is about nothing in it: tags, profiles."""

_PATIENTS: LiteralString = "SELECT DISTINCT 'Patient/' || patient FROM referral WHERE patient_key = %(key)s"

_NO_SEAL_YET: LiteralString = """
SELECT e.id FROM audit_event e, (
    SELECT coalesce((SELECT settled FROM audit_seal ORDER BY number DESC LIMIT 1), '{}') AS settled
) s
WHERE e.id >= coalesce((SELECT upper(r) FROM unnest(s.settled) AS r LIMIT 1), 0) AND NOT e.id <@ s.settled
"""


def _perhaps_about(sought: LiteralString) -> LiteralString:
    """Seals tell what their events are about, so events need no such index; no seal covers those of the last second."""
    return (
        f"id = ANY (ARRAY(SELECT unnest(ids) FROM audit_seal WHERE about && {sought}::text[] UNION ALL {_NO_SEAL_YET}))"
    )


OF_PATIENT: LiteralString = f"""
SELECT {COLUMNS} FROM audit_event
WHERE {_perhaps_about("%(patients)s")} AND patients && %(patients)s::text[]
  AND recorded >= %(since)s AND recorded < %(until)s ORDER BY recorded, id
"""

_LAG: LiteralString = f"SELECT min(recorded) FROM audit_event WHERE id = (SELECT min(id) FROM ({_NO_SEAL_YET}) AS x)"


class AuditView:
    """Reads the record. Raises StoreUnavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, id_: str) -> Recorded | None:
        """One event."""
        if not (id_.isascii() and id_.isdigit() and len(id_) < 19 and id_ == str(int(id_))):
            return None
        rows = self._rows(f"SELECT {COLUMNS} FROM audit_event WHERE id = %(id)s", {"id": int(id_)})
        return Recorded(*rows[0]) if rows else None

    def search(self, query: SearchQuery) -> tuple[list[Recorded], str | None, int | None]:
        """One page, the token of the next, and the total, where it is asked for or known anyway."""
        parameters = Parameters()
        where = " AND ".join(_conditions(query, parameters)) or "true"
        counting = f"SELECT count(*) FROM audit_event WHERE {where}", dict(parameters.values)
        if query.count == 0:
            return [], None, self._counted(*counting)
        order = [(key, expression) for key in query.order for expression in [_SORTED.get(key.name, _NOTHING)]]
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


def _conditions(query: SearchQuery, parameters: Parameters) -> list[str]:
    conditions = [_condition(clause, parameters) for clause in query.clauses]
    if query.ids is not None:
        conditions.append(f"id::text = ANY({parameters.add(list(query.ids), array=True)}::text[])")
    ages = age_conditions(query.last_updated, parameters)
    return conditions + [condition.format(age="recorded") for condition in ages]


def _condition(clause: Clause, parameters: Parameters) -> str:
    name = clause.parameter.name
    if clause.missing is not None:
        return f"NOT ({_PRESENT.get(name, 'false')})" if clause.missing else f"({_PRESENT.get(name, 'false')})"
    if clause.modifier == "identifier":
        one: _One = _IDENTIFIED[name]
    else:
        one = _ONE.get(name, lambda *_: "false")
    any_of = " OR ".join(one(value, parameters) for value in clause.values) or "false"
    return f"NOT ({any_of})" if clause.modifier == "not" else f"({any_of})"


_One = Callable[[Value, Parameters], str]

_PRESENT: dict[str, LiteralString] = {
    "action": "true",
    "outcome": "true",
    "date": "true",
    "agent": "true",
    "patient": "cardinality(patients) > 0",
    "entity": "cardinality(patients) + cardinality(about) > 0 OR request_id IS NOT NULL OR query IS NOT NULL",
}


def _coded(column: str, system: str) -> _One:
    def condition(value: Value, parameters: Parameters) -> str:
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        if value.system not in (None, system):
            return "false"
        return f"{column} = {parameters.add(value.code)}" if value.code else "true"

    return condition


def _date(value: Value, parameters: Parameters) -> str:
    """`recorded` is an instant: https://hl7.org/fhir/R4/search.html#prefix."""
    assert isinstance(value, DateValue)  # noqa: S101 - the parser made it
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    return {
        "eq": f"(recorded >= {low} AND recorded < {high})",
        "ne": f"(recorded < {low} OR recorded >= {high})",
        "gt": f"recorded >= {high}",
        "sa": f"recorded >= {high}",
        "ge": f"recorded >= {low}",
        "lt": f"recorded < {low}",
        "eb": f"recorded < {low}",
        "le": f"recorded < {high}",
        "ap": f"(recorded >= {low}::timestamptz - interval '1 day' AND recorded < {high}::timestamptz + interval"
        " '1 day')",
    }[value.prefix]


def _of_patients(value: Value, parameters: Parameters) -> str:
    sought = parameters.add([value], array=True)
    return f"({_perhaps_about(sought)} AND patients && {sought}::text[])"


def _of_entities(value: Value, parameters: Parameters) -> str:
    sought = parameters.add([value], array=True)
    return f"({_perhaps_about(sought)} AND (patients && {sought}::text[] OR about && {sought}::text[]))"


def _patient_identified(value: Value, parameters: Parameters) -> str:
    """Those who are not stored are told by their identifiers."""
    assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
    kinds = [
        kind
        for kind in IDENTITY_SYSTEMS
        if value.system in (None, *(s for s, k in IDENTITY_KINDS.items() if k == kind))
    ]
    sought = parameters.add([f"{kind}|{value.code}" for kind in kinds], array=True)
    return f"({_perhaps_about(sought)} AND patients && {sought}::text[])"


def _entity_identified(value: Value, parameters: Parameters) -> str:
    assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
    of_request = f" OR request_id = {parameters.add(value.code)}" if not value.system else ""
    return f"({_patient_identified(value, parameters)}{of_request})"


def _agent_identified(value: Value, parameters: Parameters) -> str:
    assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
    code, any_of = parameters.add(value.code), []
    if value.system is None or value.system in HSA_SYSTEMS:
        any_of += [f"person = {code}", f"unit = {code}", f"{code} = ANY(organisations)"]
    if not value.system:
        any_of.append(f"client = {code}")
    if value.code == "sluss" and (value.system is None or value.system.endswith("/identifier/device")):
        any_of.append("true")  # it has a part in everything
    return f"coalesce({' OR '.join(any_of) or 'false'}, false)"


_ONE: dict[str, _One] = {
    "action": _coded("action", "http://hl7.org/fhir/audit-event-action"),
    "outcome": _coded("outcome::text", "http://hl7.org/fhir/audit-event-outcome"),
    "date": _date,
    "patient": _of_patients,
    "entity": _of_entities,
}
_IDENTIFIED: dict[str, _One] = {
    "patient": _patient_identified,
    "entity": _entity_identified,
    "agent": _agent_identified,
}


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
