"""What the hot searches cost does not grow with what is stored."""

from typing import Any

import psycopg
import pytest

from service.store.connections import READER, Connections
from service.store.database import Store
from service.store.includes import includes_of
from service.store.moments import instant
from service.store.search import page_of, statement_for
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
