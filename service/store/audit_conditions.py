# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Conditions on an event of the record: each clause of a search for AuditEvents as SQL over the columns that
`fhir_mappings/audit_event.py` makes them of. None is ever NULL, so that each can be turned round.
"""

from collections.abc import Callable, Iterable
from typing import LiteralString
from urllib.parse import unquote

from fhir_mappings import audit_event
from fhir_mappings.records import Json
from fhir_mappings.terminology import HSA_SYSTEMS, IDENTITY_KINDS, IDENTITY_SYSTEMS, Canonical
from service.store.asked import Clause, DateValue, SearchQuery, TokenValue, Value
from service.store.drivers import driven_by
from service.store.filters import Parameters, age_conditions, text_test

NO_SEAL_YET: LiteralString = """
SELECT e.id FROM audit_event e, (
    SELECT coalesce((SELECT settled FROM audit_seal ORDER BY number DESC LIMIT 1), '{}') AS settled
) s
WHERE e.id >= coalesce((SELECT upper(r) FROM unnest(s.settled) AS r LIMIT 1), 0) AND NOT e.id <@ s.settled
"""


def perhaps_about(sought: LiteralString) -> LiteralString:
    """Seals tell what their events are about, so events need no such index; no seal covers those of the last second."""
    return (
        f"id = ANY (ARRAY(SELECT unnest(ids) FROM audit_seal WHERE about && {sought}::text[] UNION ALL {NO_SEAL_YET}))"
    )


def chainable(clause: Clause) -> bool:
    """True for the one chain that is followed, `patient.identifier`, which an index of Patients answers."""
    return clause.parameter.name == "patient" and all(
        held.parameter.name == "identifier" and held.pairs for _, held in clause.chained
    )


def conditions(query: SearchQuery, canonical: Canonical, parameters: Parameters) -> list[str]:
    """Everything that must hold of an event. `canonical` names what the AuditEvents say of Sluss itself."""
    events = _Events(canonical, parameters)
    every = [events.condition(clause) for clause in query.clauses]
    if query.ids is not None:
        every.append(f"id::text = ANY({parameters.add(list(query.ids), array=True)}::text[])")
    ages = age_conditions(query.last_updated, parameters)
    return every + [condition.format(age="recorded") for condition in ages]


class _Events:
    """Writes conditions, one clause after another."""

    def __init__(self, canonical: Canonical, parameters: Parameters) -> None:
        self._canonical = canonical
        self._parameters = parameters

    def condition(self, clause: Clause) -> str:
        name = clause.parameter.name
        if clause.missing is not None:
            return f"NOT ({_PRESENT.get(name, 'false')})" if clause.missing else f"({_PRESENT.get(name, 'false')})"
        if clause.chained:
            return self._of_patients_found(clause)
        if name == "address":
            any_of = [self._address(clause.modifier, value) for value in clause.values]
        else:
            one = _IDENTIFIED[name] if clause.modifier == "identifier" else _ONE.get(name, _nothing)
            any_of = [one(self, value) for value in clause.values]
        found = " OR ".join(any_of) or "false"
        return f"NOT ({found})" if clause.modifier == "not" else f"({found})"

    # ------------------------------------------------------------ what was done

    def type(self, value: Value) -> str:
        any_of = self._of_interactions({name: [coding] for name, coding in audit_event.OTHERWISE.items()}, value)
        return f"{any_of} OR {_BY_REST}" if _is(value, audit_event.REST) else any_of

    def subtype(self, value: Value) -> str:
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        any_of = self._of_interactions(audit_event.SUBTYPES, value)
        if value.system not in (None, audit_event.INTERACTION):
            return any_of
        if not value.code:
            return f"{any_of} OR {_BY_REST}"
        code = self._parameters.add(value.code)
        creates = " OR (interaction = 'transaction' AND action = 'C')" if value.code == "create" else ""
        return f"{any_of} OR ({_BY_REST} AND (interaction = {code}{creates}))"

    def _of_interactions(self, codings: dict[str, list[Json]], value: Value) -> str:
        named = [name for name, some in codings.items() if any(_is(value, coding) for coding in some)]
        return f"interaction = ANY({self._parameters.add(named, array=True)}::text[])"

    def action(self, value: Value) -> str:
        return self._code("action", "http://hl7.org/fhir/audit-event-action", value)

    def outcome(self, value: Value) -> str:
        return self._code("outcome::text", "http://hl7.org/fhir/audit-event-outcome", value)

    def _code(self, column: str, system: str, value: Value) -> str:
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        if value.system not in (None, system):
            return "false"
        return f"{column} = {self._parameters.add(value.code)}" if value.code else "true"

    def date(self, value: Value) -> str:
        """`recorded` is an instant: https://hl7.org/fhir/R4/search.html#prefix."""
        assert isinstance(value, DateValue)  # noqa: S101 - the parser made it
        low, high = self._parameters.add(value.moment.low), self._parameters.add(value.moment.high)
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

    # ------------------------------------------------------------ with what, and about whom

    def of_patients(self, value: Value) -> str:
        sought = self._parameters.add([value], array=True)
        return f"({perhaps_about(sought)} AND patients && {sought}::text[])"

    def of_entities(self, value: Value) -> str:
        sought = self._parameters.add([value], array=True)
        return f"({perhaps_about(sought)} AND (patients && {sought}::text[] OR about && {sought}::text[]))"

    def _of_patients_found(self, clause: Clause) -> str:
        ((type_, held),) = clause.chained
        self._parameters.values["type"] = type_
        sought = f"ARRAY(SELECT 'Patient/' || found.id FROM ({driven_by(held, self._parameters)}) AS found)"
        return f"({perhaps_about(sought)} AND patients && {sought}::text[])"

    def patient_identified(self, value: Value) -> str:
        """Those who are not stored are told by their identifiers."""
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        kinds = [
            kind
            for kind in IDENTITY_SYSTEMS
            if value.system in (None, *(s for s, k in IDENTITY_KINDS.items() if k == kind))
        ]
        sought = self._parameters.add([f"{kind}|{value.code}" for kind in kinds], array=True)
        return f"({perhaps_about(sought)} AND patients && {sought}::text[])"

    def entity_identified(self, value: Value) -> str:
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        if value.system:
            return self.patient_identified(value)
        return f"({self.patient_identified(value)} OR coalesce(request_id = {self._parameters.add(value.code)}, false))"

    def entity_type(self, value: Value) -> str:
        return " OR ".join(there for coding, there in _ENTITY_TYPES if _is(value, coding)) or "false"

    def entity_role(self, value: Value) -> str:
        return " OR ".join(there for coding, there in _ENTITY_ROLES if _is(value, coding)) or "false"

    # ------------------------------------------------------------ by whom, and from where

    def agent_identified(self, value: Value) -> str:
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        code, any_of = self._parameters.add(value.code), [self.source_identified(value)]
        if value.system is None or value.system in HSA_SYSTEMS:
            any_of += [f"person = {code}", f"unit = {code}", f"{code} = ANY(organisations)"]
        if not value.system:
            any_of.append(f"client = {code}")
        return f"coalesce({' OR '.join(any_of)}, false)"

    def source_identified(self, value: Value) -> str:
        """Sluss has a part in everything, and observes it."""
        assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
        known = value.system in (None, self._canonical.identifier("device")) and value.code in ("", audit_event.DEVICE)
        return "true" if known else "false"

    def policy(self, value: Value) -> str:
        """Tokens are written as URLs may hold them."""
        token = unquote(str(value))
        if audit_event.policy(token) != value:
            return "false"
        return f"coalesce(token = {self._parameters.add(token)}, false)"

    def _address(self, modifier: str | None, value: Value) -> str:
        """Of whoever calls, and Sluss's own."""
        own = self._parameters.add(self._canonical.base)
        test = text_test("address_of_one", modifier, self._parameters.add(value))
        return f"EXISTS (SELECT FROM unnest(ARRAY[nullif(address, ''), {own}::text]) AS address_of_one WHERE {test})"


_One = Callable[[_Events, Value], str]


def _nothing(_events: _Events, _value: Value) -> str:
    """What an event has of a parameter that is about nothing in it: tags, profiles."""
    return "false"


def _is(value: Value, coding: Json) -> bool:
    assert isinstance(value, TokenValue)  # noqa: S101 - the parser made it
    return value.system in (None, coding["system"]) and value.code in ("", coding["code"])


def _names(interactions: Iterable[str]) -> str:
    return f"'{{{','.join(interactions)}}}'::text[]"


_BY_REST = f"interaction <> ALL({_names(audit_event.OTHERWISE)})"
_SUBTYPED = f"{_BY_REST} OR interaction = ANY({_names(audit_event.SUBTYPES)})"

_REQUESTED, _SEARCHED = "coalesce(request_id, '') <> ''", "coalesce(query, '') <> ''"
_ABOUT, _OF_PATIENTS = "cardinality(about) > 0", "cardinality(patients) > 0"

_ENTITY_TYPES = (
    (audit_event.REQUEST_ID, _REQUESTED),
    (audit_event.entity_type("1"), _OF_PATIENTS),
    (audit_event.entity_type("2"), f"{_SEARCHED} OR {_ABOUT}"),
    (audit_event.entity_type("4"), "cardinality(about) > 1"),
)
_ENTITY_ROLES = (
    (audit_event.object_role("1"), _OF_PATIENTS),
    (audit_event.object_role("4"), _ABOUT),
    (audit_event.object_role("24"), _SEARCHED),
)

_PRESENT: dict[str, str] = {
    "type": "true",
    "subtype": _SUBTYPED,
    "action": "true",
    "outcome": "true",
    "date": "true",
    "agent": "true",
    "source": "true",
    "address": "true",
    "policy": "coalesce(token, '') <> ''",
    "patient": _OF_PATIENTS,
    "entity": f"{_REQUESTED} OR {_SEARCHED} OR {_ABOUT} OR {_OF_PATIENTS}",
    "entity-type": f"{_REQUESTED} OR {_SEARCHED} OR {_ABOUT} OR {_OF_PATIENTS}",
    "entity-role": f"{_SEARCHED} OR {_ABOUT} OR {_OF_PATIENTS}",
}
_ONE: dict[str, _One] = {
    "type": _Events.type,
    "subtype": _Events.subtype,
    "action": _Events.action,
    "outcome": _Events.outcome,
    "date": _Events.date,
    "policy": _Events.policy,
    "patient": _Events.of_patients,
    "entity": _Events.of_entities,
    "entity-type": _Events.entity_type,
    "entity-role": _Events.entity_role,
}
_IDENTIFIED: dict[str, _One] = {
    "patient": _Events.patient_identified,
    "entity": _Events.entity_identified,
    "agent": _Events.agent_identified,
    "source": _Events.source_identified,
}
