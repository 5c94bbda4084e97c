"""What the hot searches cost does not grow with what is stored."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from service.store.asked import SearchQuery
from service.store.connections import READER, Connections
from service.store.database import Store
from service.store.includes import includes_of
from service.store.moments import instant
from service.store.records import Stored
from service.store.search import NARROW, page_of, probe_of, statement_for
from tests.store.examples import HSA, NOW, ORGANISATION, query

_FILL = """
INSERT INTO resource (type, id, version, last_updated, body)
SELECT type, prefix || n, 1, %(start)s::timestamptz + n * interval '1 second', '{"resourceType":"x"}'
FROM (VALUES ('Task', 't-'), ('Communication', 'c-'), ('ServiceRequest', 's-')) AS kind (type, prefix),
     generate_series(%(first)s::int, %(last)s::int) AS n;
"""
_INDEX = """
INSERT INTO search_value (type, param, value, status, last_updated, id)
SELECT type, param, value, CASE WHEN type = 'Task' THEN CASE WHEN n %% 5 = 0 THEN 'requested' ELSE 'completed' END
                           ELSE 'completed' END,
       %(start)s::timestamptz + n * interval '1 second', prefix || n
FROM generate_series(%(first)s::int, %(last)s::int) AS n, LATERAL (VALUES
    ('Task', 't-', 'owner', 'HealthcareService/gavle'),
    ('Task', 't-', 'focus', 'ServiceRequest/s-' || n),
    ('Communication', 'c-', 'recipient:identifier', %(recipient)s)) AS row (type, prefix, param, value)
"""


@pytest.fixture(scope="module")
def reader(database_url: str) -> Connections:
    return Connections(database_url, READER, 1, 1)


def _fill(store: Store, first: int, last: int) -> None:
    values = {"first": first, "last": last, "start": NOW, "recipient": f"{HSA}|{ORGANISATION}"}
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(_FILL, values)
        connection.execute(_INDEX, values)
        connection.execute("ANALYZE resource, search_value")


def _pages_read(plan: dict[str, Any]) -> int:
    """Database pages that a plan touched, its sub-plans included."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _explain(reader: Connections, sql: bytes, values: dict[str, Any]) -> dict[str, Any]:
    with reader.connection() as connection:
        row = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql, values).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def test_the_work_list_and_the_reply_poll_cost_the_same_over_1_000_and_100_000_rows(
    store: Store, reader: Connections
) -> None:
    work_list = query(
        "Task",
        ("owner", "HealthcareService/gavle,PractitionerRole/own"),
        ("status", "requested,received,accepted,in-progress,on-hold"),
        ("_sort", "-_lastUpdated"),
        ("_include", "Task:focus"),
        ("_include", "Task:patient"),
    )
    poll = query(
        "Communication",
        ("recipient:identifier", f"{HSA}|{ORGANISATION}"),
        ("status", "completed"),
        ("_lastUpdated", f"gt{instant(NOW)}"),
        ("_sort", "_lastUpdated"),
        ("_count", "200"),
    )
    unfiltered = query("Communication", ("_sort", "-_lastUpdated"))
    cost: dict[int, list[int]] = {}
    for first, last in ((1, 1_000), (1_001, 100_000)):
        _fill(store, first, last)
        pages = []
        for asked in (work_list, poll, unfiltered):
            statement = statement_for(asked)
            values = {**statement.parameters, "settled": NOW.replace(year=2030)}
            pages.append(_pages_read(_explain(reader, statement.sql, values)))
            with reader.connection() as connection:
                matches, _ = page_of(asked, connection.execute(statement.sql, values).fetchall())
            assert len(matches) == asked.count
            if included := includes_of(asked, [(found.type, found.id) for found in matches]):
                pages.append(_pages_read(_explain(reader, included.sql, included.parameters)))
        cost[last] = pages
    # A deeper index costs a page or two for each row that is fetched by its key, and nothing else.
    for small, large in zip(cost[1_000], cost[100_000], strict=True):
        assert large <= 2.5 * small + 10, cost

    assert max(cost[100_000]) < 2_500, cost


def test_what_is_known_by_its_id_is_looked_up_by_it_in_a_table_that_was_small_and_vacuumed(
    store: Store, reader: Connections
) -> None:
    """Such a table is where another index looks as good, and the plan is kept while the table grows."""
    _fill(store, 1, 200)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE resource, search_value")
    included = includes_of(query("Task", ("_include", "Task:focus")), [("Task", f"t-{n}") for n in range(1, 51)])
    assert included is not None
    by_row = [
        query("Task", ("focus", "ServiceRequest/s-7"), ("owner", "HealthcareService/gavle")),
        query("Task", ("owner", "HealthcareService/gavle"), ("patient:missing", "false")),
        query("Task", ("owner", "HealthcareService/gavle"), ("focus:ServiceRequest.status", "active")),
    ]
    values = {"settled": NOW.replace(year=2030)}
    for statement, alias in ((included, "s"), *((statement_for(asked), "f") for asked in by_row)):
        plan = _explain(reader, statement.sql, statement.parameters | values)
        entered = [node["Index Name"] for node in _nodes(plan) if node.get("Alias") == alias]
        assert set(entered) == {"search_value_of_resource"}, json.dumps(plan)


_EACH = """
INSERT INTO resource (type, id, version, last_updated, body, dated_from, dated_until)
SELECT type, prefix || n, 1, %(start)s::timestamptz + n * interval '1 second',
       format(body, n, to_char(at, 'YYYY-MM-DD"T"HH24:MI:SSOF":00"'), n %% 55, n / 4), at, at + interval '1 second'
FROM (VALUES
    ('Task', 't-', '{"resourceType":"Task","id":"t-%%1$s","authoredOn":"%%2$s","status":"completed"}'),
    ('ServiceRequest', 's-', '{"resourceType":"ServiceRequest","id":"s-%%1$s","authoredOn":"%%2$s","status":"active"}'),
    ('Observation', 'o-', '{"resourceType":"Observation","id":"o-%%1$s","effectiveDateTime":"%%2$s","status":"final",'
        '"code":{"coding":[{"system":"https://a.example/c","code":"total"}]},"valueQuantity":{"value":%%3$s}}')
) AS kind (type, prefix, body), generate_series(%(first)s::int, %(last)s::int) AS n,
LATERAL (SELECT %(start)s::timestamptz - n %% 5000 * interval '1 hour' - n * interval '1 second' AS at) AS written;
"""
_EACH_FOUND_BY = """
INSERT INTO search_value (type, param, value, status, last_updated, id)
SELECT type, param, value, status, %(start)s::timestamptz + n * interval '1 second', prefix || n
FROM generate_series(%(first)s::int, %(last)s::int) AS n, LATERAL (VALUES
    ('Task', 't-', 'owner', 'HealthcareService/gavle', 'completed'),
    ('Task', 't-', 'subject', 'Patient/p-' || n / 4, 'completed'),
    ('ServiceRequest', 's-', 'subject', 'Patient/p-' || n / 4, 'active'),
    ('ServiceRequest', 's-', 'identifier', 'https://a.example|' || n, 'active'),
    ('ServiceRequest', 's-', 'identifier:value', n::text, 'active'),
    ('Observation', 'o-', 'code', 'https://a.example/c|total', 'final'),
    ('Observation', 'o-', 'subject', 'Patient/p-' || n / 4, 'final')) AS row (type, prefix, param, value, status);
"""
_EACH_MEASURED = """
INSERT INTO measured (type, param, value, id)
SELECT 'Observation', 'value-quantity', n %% 55, 'o-' || n FROM generate_series(%(first)s::int, %(last)s::int) AS n;
"""
_PEOPLE = """
INSERT INTO search_value (type, param, value, status, last_updated, id)
SELECT 'Patient', 'identifier:value', n::text, '', %(start)s::timestamptz, 'p-' || n
FROM generate_series(%(first)s::int / 4, %(last)s::int / 4) AS n;
INSERT INTO resource (type, id, version, last_updated, body)
SELECT 'Patient', 'p-' || n, 1, %(start)s::timestamptz, '{"resourceType":"Patient"}'
FROM generate_series(%(first)s::int / 4 + 1, %(last)s::int / 4) AS n;
"""
_CODE = ("code", "https://a.example/c|total")

SEARCHES = {
    "a patient's referrals": ("ServiceRequest", [("patient", "p-7"), ("_sort", "-authored")]),
    "a patient's Tasks": ("Task", [("patient", "p-7")]),
    "a patient's Tasks by the patient's number": ("Task", [("patient.identifier", "7"), ("_sort", "-authored-on")]),
    "a referral by its number": ("ServiceRequest", [("identifier", "https://a.example|77")]),
    "a referral by its number alone": ("ServiceRequest", [("identifier", "77"), ("_sort", "-authored")]),
    "high scores, newest first": ("Observation", [_CODE, ("value-quantity", "ge20"), ("_sort", "-date")]),
    "one score, newest first": ("Observation", [_CODE, ("value-quantity", "54"), ("_sort", "-date"), ("_count", "5")]),
    "no such score": ("Observation", [_CODE, ("value-quantity", "gt54"), ("_sort", "-date")]),
    "a patient's scores": ("Observation", [("patient", "p-7"), _CODE, ("_sort", "-date")]),
    "the newest referrals": ("ServiceRequest", [("_sort", "-authored")]),
    "the referrals of a few days": ("ServiceRequest", [("authored", "ge2026-11-22")]),
    "a team's oldest Tasks": ("Task", [("owner", "HealthcareService/gavle"), ("_sort", "authored-on")]),
}


def _cost_of(reader: Connections, asked: SearchQuery) -> tuple[int, tuple[Stored, ...], str | None]:
    """Pages read for a search, its probe among them; the matches, and the token of the next page."""
    pages, narrow = 0, None
    if probe := probe_of(asked):
        statement, clauses = probe
        pages += _pages_read(_explain(reader, statement.sql, statement.parameters))
        with reader.connection() as connection:
            (counts,) = connection.execute(statement.sql, statement.parameters).fetchall()
        least, clause = min(zip(counts, clauses, strict=True), key=lambda counted: counted[0])
        narrow = clause if least <= NARROW else None
    statement = statement_for(asked, narrow)
    values = {**statement.parameters, "settled": NOW.replace(year=2030)}
    pages += _pages_read(_explain(reader, statement.sql, values))
    with reader.connection() as connection:
        return pages, *page_of(asked, connection.execute(statement.sql, values).fetchall())


def test_what_people_search_by_costs_the_same_over_4_000_and_100_000(store: Store, reader: Connections) -> None:
    cost: dict[str, list[int]] = {name: [] for name in SEARCHES}
    for first, last in ((1, 4_000), (4_001, 100_000)):
        with psycopg.connect(store.url, autocommit=True) as connection:
            for statement in (_EACH, _EACH_FOUND_BY, _EACH_MEASURED, *_PEOPLE.strip().split(";\n")):
                connection.execute(statement, {"first": first, "last": last, "start": NOW})
            connection.execute("ANALYZE resource, search_value, measured")
        for name, (type_, parameters) in SEARCHES.items():
            pages, matches, _ = _cost_of(reader, query(type_, *parameters))
            assert bool(matches) is (name != "no such score"), name
            cost[name].append(pages)
    for name, (small, large) in cost.items():
        # What is gathered and sorted is bounded: it may be more over many than over few, up to so much.
        assert large <= max(2.5 * small + 60, 12 * NARROW), (name, cost)


@pytest.mark.parametrize("sort", ["_lastUpdated", "-authored-on", "_id", "-_lastUpdated"])
def test_a_page_deep_in_a_result_costs_what_the_first_one_does(store: Store, reader: Connections, sort: str) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        for statement in (_EACH, _EACH_FOUND_BY):
            connection.execute(statement, {"first": 1, "last": 30_000, "start": NOW})
        connection.execute("ANALYZE resource, search_value")
    for more in ([], [("owner", "HealthcareService/gavle")]):
        parameters = [*more, ("_sort", sort), ("_count", "500")]
        costs, token = [], None
        for _ in range(40):
            asked = query("Task", *parameters, *([("_page", token)] if token else []))
            pages, _, token = _cost_of(reader, asked)
            costs.append(pages)
        assert token is not None
        assert costs[-1] <= 1.5 * costs[0] + 60, (more, costs)
