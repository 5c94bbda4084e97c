# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""From a `SearchQuery` to SQL, and from rows to a page.

Ordered by age, a search walks one index in that order and stops when the page is full: that of one clause with index
rows (the driver), or that of the type. The other clauses are filters on the way. What needs another order, or is found
by a number, a date or a chain, is first asked which of its clauses is narrow (`probe_of`): what a narrow one finds is
gathered and sorted; when none is, the index in the order asked for is walked.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

from service.store.asked import Clause, SearchQuery, Sort, TokenValue
from service.store.connections import Row
from service.store.drivers import best_driver, dated_between, driven_by, drives
from service.store.filters import Parameters, age_conditions, elements, filter_condition
from service.store.moments import instant
from service.store.query import page_token
from service.store.records import Stored
from service.store.search_kinds import Kind, Shape
from service.store.search_parameters import STATUSES
from service.store.sight import EVERYTHING, Sight
from service.store.statements import STORED
from service.store.visible import seen_by

SETTLED_UNTIL: LiteralString = "SELECT sluss_settled_until()"

NARROW = 1000
"""The most index rows that are gathered and sorted for a page."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text, the same for all queries of one shape, and its values."""

    sql: bytes
    parameters: dict[str, Any] = field(default_factory=dict)


def probe_of(query: SearchQuery) -> tuple[Statement, tuple[Clause, ...]] | None:
    """The statement that counts, up to `NARROW` and one more, what each of these clauses finds by itself, in their
    order; None when the way to go is known without.
    """
    drivers = tuple(clause for clause in query.clauses if drives(clause))
    if query.ids is not None or not drivers:
        return None
    if query.by_age and query.count and all(clause.pairs for clause in drivers):
        return None
    parameters = Parameters()
    parameters.values["type"] = query.type
    counts = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM ({driven_by(clause, parameters)}) found LIMIT {NARROW + 1}) few)"
        for clause in drivers
    )
    return Statement(f"SELECT {counts}".encode(), parameters.values), drivers


def statement_for(query: SearchQuery, narrow: Clause | None = None, sight: Sight = EVERYTHING) -> Statement:
    """The statement that finds one page and at least one row more, if there is one, among what `sight` covers.
    `narrow`: the clause whose finds are to be gathered and sorted.

    A query by `_lastUpdated` needs the further parameter `settled` (see `SETTLED_UNTIL`).
    """
    parameters = Parameters()
    parameters.values["type"] = query.type
    if not query.by_age:
        return Statement(_by_keys(query, narrow, sight, parameters).encode(), parameters.values)
    driver = None if query.ids is not None or narrow else best_driver(query)
    statuses, status_clauses = _statuses(query) if driver else (None, ())
    told = (*status_clauses, *((driver,) if driver and driver.told_by_rows else ()))
    filters, ages = _conditions(query, narrow, sight, parameters, told)
    if query.page:
        ages += _after(query.page[0], query.page[1], parameters, descending=_descending(query))
    if driver:
        _name_driver(driver, statuses or ("",), parameters)
        sql = _walk_values(query, filters, ages)
    else:
        sql = _walk_type(query, _candidates(query, narrow, parameters), filters + ages, _gathered(query, narrow))
    return Statement(sql.encode(), parameters.values)


def count_for(query: SearchQuery, narrow: Clause | None = None, sight: Sight = EVERYTHING) -> Statement:
    """The statement that counts what `sight` covers of all matches. `settled` as in `statement_for`."""
    parameters = Parameters()
    parameters.values["type"] = query.type
    clause = narrow or (None if query.ids is not None else best_driver(query))
    filters, ages = _conditions(query, clause, sight, parameters)
    sql = f"SELECT count(*) FROM {_candidates(query, clause, parameters)}{_all(filters + ages, 'r.last_updated')}"
    return Statement(sql.encode(), parameters.values)


def page_of(query: SearchQuery, rows: list[Row]) -> tuple[tuple[Stored, ...], str | None]:
    """The page in `rows` and the token of the next one. Asked by `_lastUpdated`, it never ends between two equal stamps
    (contract 8), so that who goes on from the last stamp misses nothing; any other has no more than was asked for.
    """
    matches = tuple(Stored(*row[:6]) for row in rows[: query.count])
    if len(rows) <= query.count:
        return matches, None
    if not query.by_age:
        return matches, page_token(rows[query.count - 1][6:], matches[-1].id)
    last: datetime = matches[-1].last_updated
    if not query.by_last_updated:
        return matches, page_token([instant(last)], matches[-1].id)
    as_old = itertools.takewhile(lambda stored: stored.last_updated == last, (Stored(*r) for r in rows[query.count :]))
    return (*matches, *as_old), page_token([instant(last)], "")


def _after(stamp: str, id_: str, parameters: Parameters, *, descending: bool) -> list[str]:
    """The conditions on what comes after a page that ends with this stamp and id; without an id, with all of its stamp.
    Of one stamp, ids always rise.
    """
    beyond, at = "<" if descending else ">", f"{parameters.add(stamp)}::timestamptz"
    if not id_:
        return [f"{{age}} {beyond} {at}"]
    return [f"{{age}} {beyond}= {at}", f"({{age}} <> {at} OR {{id}} > {parameters.add(id_)})"]


# ---------------------------------------------------------------- which way to go


def _name_driver(driver: Clause, statuses: tuple[str, ...], parameters: Parameters) -> None:
    pairs = list(dict.fromkeys(driver.pairs or ()))
    parameters.values |= {
        "driver_params": [name for name, _ in pairs],
        "driver_values": [value for _, value in pairs],
        "driver_statuses": list(statuses),
    }


def _statuses(query: SearchQuery) -> tuple[tuple[str, ...] | None, tuple[Clause, ...]]:
    """The statuses that index rows may have, and the clauses that are answered by saying so."""
    known = STATUSES.get(query.type)
    if known is None:
        return None, ()
    told = []
    left = list(known)
    for clause in query.clauses:
        if clause.parameter.name != "status" or clause.modifier not in (None, "not"):
            continue
        values = [value for value in clause.values if isinstance(value, TokenValue)]
        if not all(value.code for value in values):
            continue
        named = {value.code for value in values if clause.parameter.can_be_of(value.system)}
        left = [status for status in left if (status in named) is (clause.modifier is None)]
        told.append(clause)
    return tuple(left), tuple(told)


# ---------------------------------------------------------------- the statements


def _conditions(
    query: SearchQuery, found_by: Clause | None, sight: Sight, parameters: Parameters, told: Sequence[Clause] = ()
) -> tuple[list[str], list[str]]:
    """Everything that must hold of a match, as conditions on r and on its `{age}`, but for what is `told` otherwise.
    What index rows alone say of the clause that candidates are found by is not asked again.
    """
    known = (*told, *((found_by,) if found_by is not None and found_by.told_by_rows else ()))
    seen = seen_by(sight, parameters)
    filters = [
        filter_condition(clause, seen, parameters)
        for clause in query.clauses
        if not any(clause is known_one for known_one in known)
    ]
    filters += seen(query.type, "r")
    ages = age_conditions(query.last_updated, parameters)
    if query.by_last_updated:
        ages.append("{age} < %(settled)s")
    if query.ids is not None:
        filters.append(f"r.id = ANY({parameters.add(list(query.ids), array=True)}::text[])")
    return filters, ages


def _descending(query: SearchQuery) -> bool:
    return query.order[0].descending


def _all(conditions: list[str], age: str) -> str:
    id_ = age.replace("last_updated", "id")
    return "".join(f" AND {condition.replace('{age}', age).replace('{id}', id_)}" for condition in conditions)


_DRIVER = """unnest(%(driver_params)b::text[], %(driver_values)b::text[]) AS wanted (param, value)
        CROSS JOIN unnest(%(driver_statuses)b::text[]) AS state (status)"""
_DRIVEN = "s.type = %(type)s AND s.param = wanted.param AND s.value = wanted.value AND s.status = state.status"


def _walk_values(query: SearchQuery, filters: list[str], ages: list[str]) -> str:
    # One walk for each value and status, each in order and no longer than a page, then merged.
    way = "DESC" if _descending(query) else "ASC"
    resource = "JOIN resource r ON r.type = s.type AND r.id = s.id" if filters else ""
    return f"""
        SELECT {STORED} FROM (
            SELECT DISTINCT hit.last_updated, hit.id
            FROM {_DRIVER}
            CROSS JOIN LATERAL (
                SELECT s.last_updated, s.id FROM search_value s {resource}
                WHERE {_DRIVEN}{_all(ages, "s.last_updated")}{_all(filters, "s.last_updated")}
                ORDER BY s.last_updated {way} FETCH FIRST {query.count + 1} ROWS WITH TIES
            ) hit
            ORDER BY hit.last_updated {way} FETCH FIRST {query.count + 1} ROWS WITH TIES
        ) page JOIN resource r ON r.type = %(type)s AND r.id = page.id
        ORDER BY r.last_updated {way}, r.id
    """


def _walk_type(query: SearchQuery, candidates: str, conditions: list[str], gathered: str) -> str:
    way = "DESC" if _descending(query) else "ASC"
    return f"""
        SELECT * FROM (
            SELECT * FROM (SELECT {STORED} FROM {candidates}{_all(conditions, "r.last_updated")}{gathered}) candidate
            ORDER BY last_updated {way} FETCH FIRST {query.count + 1} ROWS WITH TIES
        ) page ORDER BY last_updated {way}, id
    """


def _candidates(query: SearchQuery, found_by: Clause | None, parameters: Parameters) -> str:
    """A FROM item and the beginning of its condition: all of the type, or what a clause finds."""
    if found_by is None or query.ids is not None:
        return "resource r WHERE r.type = %(type)s"
    return f"""(SELECT DISTINCT id FROM ({driven_by(found_by, parameters)}) found) hit
        JOIN resource r ON r.type = %(type)s AND r.id = hit.id WHERE true"""


def _gathered(query: SearchQuery, narrow: Clause | None) -> str:
    """Ends the query for candidates that are few. Else PostgreSQL may walk all of the type in the order asked for."""
    return " OFFSET 0" if narrow is not None or query.ids is not None else ""


def _by_keys(query: SearchQuery, narrow: Clause | None, sight: Sight, parameters: Parameters) -> str:
    filters, ages = _conditions(query, narrow, sight, parameters)
    keys = [(expression, key.descending) for key in query.order for expression in _keys(key, parameters)]
    casts = [column for key in query.order for column in key.columns]
    if query.order[0].parameter is not None and query.order[0].parameter.main:
        # Said because the index in this order holds nothing else.
        filters.append("r.dated_from IS NOT NULL")
        filters += [
            dated_between(clause, parameters).removeprefix(" AND ")
            for clause in query.clauses
            if narrow is None and clause.parameter.main and drives(clause)
        ]
    keys.append(("r.id", keys[-1][1]))
    names = [f"k{position}" for position in range(len(keys) - 1)]
    shown = "".join(f", {sql} AS {name}" for (sql, _), name in zip(keys, names, strict=False))
    # Under other names: ORDER BY would take a text of the same name for the key.
    told = "".join(f", {name}::text AS {name}_text" for name in names)
    start = ""
    if query.page:
        values = [parameters.add(value) for value in query.page]
        start = "WHERE " + _beyond(
            [
                (name, descending, f"{value}::{cast}")
                for name, (_, descending), value, cast in zip(
                    (*names, "id"), keys, values, (*casts, "text"), strict=True
                )
            ]
        )
    order = ", ".join(
        f"{name} {'DESC' if descending else 'ASC'}" for name, (_, descending) in zip((*names, "id"), keys, strict=True)
    )
    return f"""
        SELECT {STORED.replace("r.", "")}{told} FROM (
            SELECT {STORED}{shown} FROM {_candidates(query, narrow, parameters)}{_all(filters + ages, "r.last_updated")}
            {_gathered(query, narrow)}
        ) candidate {start} ORDER BY {order} LIMIT {query.count + 1}
    """


def _keys(key: Sort, parameters: Parameters) -> tuple[str, ...]:
    """What a key compares: what has no such value comes first, or last in descending order, and is not lost."""
    if key.parameter is None:
        return ("r.id",) if key.name == "_id" else ("r.last_updated",)
    parameter = key.parameter
    if parameter.main:
        return "r.dated_from", "r.dated_until"
    each, least = {
        Kind.DATE: ("coalesce(lower(sluss_covered(element)), '-infinity')", "'-infinity'::timestamptz"),
        Kind.QUANTITY: ("(element ->> 'value')::numeric", "'-Infinity'::numeric"),
        Kind.STRING: ("sluss_folded(element #>> '{}') COLLATE \"C\"", "''"),
        Kind.TOKEN: (f'{_TOKEN_TEXT[parameter.shape or Shape.CODE]} COLLATE "C"', "''"),
    }.get(parameter.kind, ("(element #>> '{}') COLLATE \"C\"", "''"))
    found = elements(parameter, parameters, "r")
    coding = f" CROSS JOIN {_CODINGS}" if parameter.shape is Shape.CONCEPT else ""
    return (f"coalesce((SELECT min({each}) FROM {found}{coding}), {least})",)


_CODINGS = "jsonb_path_query(element, '$.coding[*]') AS coding"
_TOKEN_TEXT: dict[Shape, str] = {
    Shape.CODE: "(element #>> '{}')",
    Shape.TRUTH: "(CASE element WHEN 'false' THEN '' ELSE 'true' END)",
    Shape.CONCEPT: "(coding ->> 'code')",
    Shape.CODING: "(element ->> 'code')",
    Shape.IDENTIFIER: "(element ->> 'value')",
}


def _beyond(keys: list[tuple[str, bool, str]]) -> str:
    """What comes after a row with these (name, descending, value) in their order."""
    ways = {descending for _, descending, _ in keys}
    if len(ways) == 1:
        sign = "<" if ways == {True} else ">"
        return f"({', '.join(name for name, _, _ in keys)}) {sign} ({', '.join(value for _, _, value in keys)})"
    alternatives = []
    for position, (name, descending, value) in enumerate(keys):
        equal = [f"{other} = {its}" for other, _, its in keys[:position]]
        after = f"{name} < {value}" if descending else f"{name} > {value}"
        alternatives.append(f"({' AND '.join([*equal, after])})")
    # The first key by itself, so that an index in its order is entered where the page starts.
    name, descending, value = keys[0]
    return f"{name} {'<=' if descending else '>='} {value} AND ({' OR '.join(alternatives)})"
