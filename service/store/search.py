# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""From a `SearchQuery` to SQL, and from rows to a page.

A search walks one index in the order of the answer and stops when the page is full. Which index: that of one clause
with indexed values (the driver), or that of the type by age. The other clauses are filters on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

from service.store.connections import Row
from service.store.filters import Parameters, age_conditions, filter_condition
from service.store.index_values import indexed
from service.store.moments import instant, parse_moment
from service.store.query import Clause, SearchQuery, TokenValue, page_token
from service.store.records import Stored
from service.store.search_parameters import STATUSES
from service.store.statements import STORED

SETTLED_UNTIL: LiteralString = "SELECT sluss_settled_until()"

_MOST_SELECTIVE = ("identifier", "focus", "based-on", "part-of", "subject", "actor")
"""Row names that few resources share, best first; any other comes after them."""

_NO_MOMENT = "'0001-01-01 00:00:00Z'::timestamptz"
"""The sort value of a resource without one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text, the same for all queries of one shape, and its values."""

    sql: bytes
    parameters: dict[str, Any] = field(default_factory=dict)


def statement_for(query: SearchQuery) -> Statement:
    """The statement that finds one page and at least one row more, if there is one (or counts, for `_count=0`).

    A query by `_lastUpdated` needs the further parameter `settled` (see `SETTLED_UNTIL`).
    """
    parameters = Parameters()
    driver = None if query.ids is not None else _driver(query)
    statuses, status_clauses = _statuses(query) if driver else (None, ())
    filters = [
        filter_condition(clause, parameters)
        for clause in query.clauses
        if clause is not driver and not any(clause is told for told in status_clauses)
    ]
    filters += _rights(query, parameters)
    by_age = query.sort is None or query.sort.parameter is None
    ages = age_conditions(query.last_updated, parameters)
    if query.by_last_updated:
        ages.append("{age} < %(settled)s")
    if query.page and by_age:
        beyond = ">" if not _descending(query) else "<"
        moment = parse_moment(query.page[0])
        ages.append(f"{{age}} {beyond} {parameters.add(moment.low if moment else None)}::timestamptz")
    if query.ids is not None:
        filters.append(f"r.id = ANY({parameters.add(list(query.ids), array=True)}::text[])")
    parameters.values["type"] = query.type
    if driver:
        _name_driver(driver, statuses or ("",), parameters)
    if query.count == 0:
        sql = _count(driver, filters, ages)
    elif not by_age:
        sql = _by_date(query, driver, filters, ages, parameters)
    elif driver:
        sql = _walk_values(query, filters, ages)
    else:
        sql = _walk_type(query, filters, ages)
    return Statement(sql.encode(), parameters.values)


def page_of(query: SearchQuery, rows: list[Row]) -> tuple[tuple[Stored, ...], str | None]:
    """The page in `rows` and the token of the next one. Ordered by age, it never ends between two equal stamps."""
    if query.sort is not None and query.sort.parameter is not None:
        matches = tuple(Stored(*row[:6]) for row in rows[: query.count])
        more = len(rows) > query.count
        return matches, page_token(instant(rows[query.count - 1][6]), matches[-1].id) if more else None
    found = [Stored(*row) for row in rows]
    if len(found) <= query.count:
        return tuple(found), None
    last: datetime = found[query.count - 1].last_updated
    matches = tuple(
        stored for position, stored in enumerate(found) if position < query.count or stored.last_updated == last
    )
    return matches, page_token(instant(last), "")


def includes_of(query: SearchQuery, matches: tuple[Stored, ...]) -> Statement | None:
    """The statement that finds what `_include` asks for besides the matches; None when nothing is asked for."""
    if not query.includes or not matches:
        return None
    sql = f"""
        SELECT DISTINCT ON (r.type, r.id) {STORED}
        FROM unnest(%(ids)b::text[]) AS found (id)
        CROSS JOIN unnest(%(params)b::text[], %(targets)b::text[]) AS asked (param, target)
        JOIN search_value s ON s.type = %(type)s AND s.id = found.id AND s.param = asked.param
             AND (asked.target = '' OR starts_with(s.value, asked.target || '/'))
        JOIN resource r ON r.type = split_part(s.value, '/', 1) AND r.id = split_part(s.value, '/', 2)
        ORDER BY r.type, r.id
    """
    asked = list(dict.fromkeys(_asked_for(query)))
    return Statement(
        sql.encode(),
        {
            "type": query.type,
            "ids": [stored.id for stored in matches],
            "params": [name for name, _ in asked],
            "targets": [target for _, target in asked],
        },
    )


def _asked_for(query: SearchQuery) -> Iterator[tuple[str, str]]:
    for include in query.includes:
        parameter = include.parameter
        target = include.target
        if target is None and parameter.indexed != parameter.name:
            # `patient` lies in the rows of `subject`, and asks for the Patients among them.
            target = parameter.targets[0]
        yield parameter.indexed or parameter.name, target or ""


def index_pairs(clause: Clause) -> list[tuple[str, str]] | None:
    """The (row name, value) pairs that answer a clause, or None when rows alone cannot."""
    parameter = clause.parameter
    if parameter.indexed is None or clause.modifier not in (None, "identifier"):
        return None
    name = parameter.indexed if clause.modifier is None else f"{parameter.indexed}:identifier"
    pairs = []
    for value in clause.values:
        if isinstance(value, str):
            pairs.append((name, indexed(value)))
        elif isinstance(value, TokenValue) and value.code and value.system is None:
            pairs.append((f"{name}:value", indexed(value.code)))
        elif isinstance(value, TokenValue) and value.code:
            pairs.append((name, indexed(f"{value.system}|{value.code}")))
        else:
            return None
    return pairs


def _driver(query: SearchQuery) -> Clause | None:
    usable = [clause for clause in query.clauses if index_pairs(clause)]

    def rank(clause: Clause) -> int:
        name = clause.parameter.indexed
        return _MOST_SELECTIVE.index(name) if name in _MOST_SELECTIVE else len(_MOST_SELECTIVE)

    return min(usable, key=rank, default=None)


def _name_driver(driver: Clause, statuses: tuple[str, ...], parameters: Parameters) -> None:
    pairs = list(dict.fromkeys(index_pairs(driver) or ()))
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
        named = {value.code for value in clause.values if isinstance(value, TokenValue)}
        left = [status for status in left if (status in named) is (clause.modifier is None)]
        told.append(clause)
    return tuple(left), tuple(told)


def _rights(query: SearchQuery, parameters: Parameters) -> list[str]:
    return [
        f"EXISTS (SELECT FROM referral o WHERE o.id = r.referral_id AND o.{column} = {parameters.add(value)})"
        for column, value in (("organisation", query.organisation), ("team", query.team))
        if value is not None
    ]


def _descending(query: SearchQuery) -> bool:
    return query.sort is not None and query.sort.descending


def _all(conditions: list[str], age: str) -> str:
    return "".join(f" AND {condition.replace('{age}', age)}" for condition in conditions)


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


def _walk_type(query: SearchQuery, filters: list[str], ages: list[str]) -> str:
    way = "DESC" if _descending(query) else "ASC"
    return f"""
        SELECT * FROM (
            SELECT {STORED} FROM resource r WHERE r.type = %(type)s{_all(ages + filters, "r.last_updated")}
            ORDER BY r.last_updated {way} FETCH FIRST {query.count + 1} ROWS WITH TIES
        ) page ORDER BY last_updated {way}, id
    """


def _candidates(driver: Clause | None) -> str:
    if driver is None:
        return "resource r WHERE r.type = %(type)s"
    return f"""(SELECT DISTINCT s.id FROM {_DRIVER} JOIN search_value s ON {_DRIVEN}) hit
        JOIN resource r ON r.type = %(type)s AND r.id = hit.id WHERE true"""


def _count(driver: Clause | None, filters: list[str], ages: list[str]) -> str:
    return f"SELECT count(*) FROM {_candidates(driver)}{_all(ages + filters, 'r.last_updated')}"


def _by_date(
    query: SearchQuery, driver: Clause | None, filters: list[str], ages: list[str], parameters: Parameters
) -> str:
    assert query.sort is not None and query.sort.parameter is not None  # noqa: S101, PT018 - the caller has looked
    way, beyond = ("DESC", "<") if query.sort.descending else ("ASC", ">")
    paths = parameters.add([f"$.{path}" for path in query.sort.parameter.paths], array=True)
    start = ""
    if query.page:
        moment = parse_moment(query.page[0])
        value, id_ = parameters.add(moment.low if moment else None), parameters.add(query.page[1])
        start = f"WHERE (key, id) {beyond} ({value}::timestamptz, {id_})"
    return f"""
        SELECT * FROM (
            SELECT {STORED}, coalesce((
                SELECT min(lower(sluss_covered(element)))
                FROM unnest({paths}::text[]) AS path
                CROSS JOIN jsonb_path_query(r.body::jsonb, path::jsonpath) AS element
            ), {_NO_MOMENT}) AS key
            FROM {_candidates(driver)}{_all(ages + filters, "r.last_updated")}
        ) candidate {start} ORDER BY key {way}, id {way} LIMIT {query.count + 1}
    """
