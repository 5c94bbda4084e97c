"""The figures of the exchange: right, and no dearer the more is stored."""

import os
from typing import Any

import psycopg
import pytest

from service.store import statements
from service.store.connections import READER, Connections
from service.store.database import Store
from service.store.records import ExchangeFigures
from tests.store.examples import NOW
from tests.store.revisions import upgrade_to
from tests.web.served import new_database

_IN_ORDER = """
INSERT INTO exchange (referral_id, delivered_at)
SELECT 'd-' || n, %(now)s FROM generate_series(%(first)s::int, %(last)s::int) n;
"""
_COLLECTED = """
INSERT INTO collected (type, remote_id, remote_version, outcome, at)
SELECT 'Task', 't-' || n, '1', 'taken', %(now)s FROM generate_series(%(first)s::int, %(last)s::int) n
"""
_QUARANTINED = """
INSERT INTO quarantine (remote_id, id, told, since, tried_at, ended_at)
SELECT 'q-' || n, 'q-' || n, '', %(now)s, %(now)s, %(now)s FROM generate_series(%(first)s::int, %(last)s::int) n
"""
_NOT_IN_ORDER = """
INSERT INTO exchange (referral_id, attempts, next_attempt_at, waiting_since, dead_at, discarded_at)
SELECT 'w-' || n, 1, %(now)s, %(now)s::timestamptz - n * interval '1 minute', NULL::timestamptz, NULL::timestamptz
  FROM generate_series(1, 7) n
UNION ALL
SELECT 'x-' || n, 3, NULL, %(now)s::timestamptz - interval '1 day', %(now)s::timestamptz - n * interval '1 hour', NULL
  FROM generate_series(1, 3) n
UNION ALL SELECT 'y', 0, NULL, NULL, NULL, %(now)s
"""
_UNCOLLECTED = """
INSERT INTO collected (type, remote_id, remote_version, outcome, at)
VALUES ('Task', 'w', '1', 'waiting', %(now)s), ('Task', 's', '1', 'stuck', %(now)s),
       ('Task', 's2', '1', 'stuck', %(now)s)
"""
_UNREADABLE = "INSERT INTO quarantine (remote_id, id, told, since, tried_at) VALUES ('q', 'q', '', %(now)s, %(now)s)"
_LOOKED = "INSERT INTO collection (type, watermark, polled_at) VALUES ('Task', %(now)s, %(now)s)"


@pytest.fixture(scope="module")
def reader(database_url: str) -> Connections:
    return Connections(database_url, READER, 1, 1)


def _run(store: Store, *texts: str, **values: Any) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        for text in texts:
            connection.execute(text.encode(), {"now": NOW, **values})


def _pages(reader: Connections, sql: str) -> int:
    """Database pages that the statement touches, as a reader's plan has it."""
    with reader.connection() as connection:
        row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}".encode(), {"now": NOW}).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def test_what_waited_before_there_were_figures_is_in_them(server_url: str) -> None:
    url = new_database(server_url, f"before_figures_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    upgrade_to(url, "0003")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO exchange (referral_id, attempts, next_attempt_at, dead_at, unanswered_since) VALUES"
            " ('w', 2, %(now)s, NULL, %(now)s), ('d', 9, NULL, %(now)s, NULL), ('new', 0, %(now)s, NULL, NULL),"
            " ('shown', 0, NULL, NULL, NULL)",
            {"now": NOW},
        )
    upgrade_to(url, "head")
    store = Store(url)
    assert store.is_current()
    figures = store.view().exchange_figures()
    assert (figures.waiting, figures.oldest_waiting) == (2, NOW)
    assert (figures.dead_letters, figures.oldest_dead) == (1, NOW)
    store.close()


def test_an_exchange_in_order_has_nothing_to_tell(store: Store) -> None:
    _run(store, _IN_ORDER, first=1, last=3)
    assert store.view().exchange_figures() == ExchangeFigures(0, None, 0, None, 0, None, 0, 0, 0)


def test_what_is_not_in_order_is_counted_with_since_when(store: Store) -> None:
    _run(store, _NOT_IN_ORDER, _UNCOLLECTED, _UNREADABLE, _LOOKED)
    figures = store.view().exchange_figures()
    assert (figures.waiting, figures.dead_letters, figures.discarded) == (7, 3, 1)
    assert figures.oldest_waiting is not None
    assert figures.oldest_dead is not None
    assert (NOW - figures.oldest_waiting).total_seconds() == 7 * 60
    assert (NOW - figures.oldest_dead).total_seconds() == 3 * 3600
    assert (figures.uncollected, figures.stuck, figures.quarantined, figures.polled_at) == (1, 2, 1, NOW)
    assert [(mark.type, mark.watermark) for mark in store.view().watermarks()] == [("Task", NOW)]
    assert store.view().queue_figures(NOW).failing == 7


def test_figures_cost_the_same_over_1_000_and_100_000_referrals(store: Store, reader: Connections) -> None:
    _run(store, _NOT_IN_ORDER, _UNCOLLECTED, _UNREADABLE, _LOOKED)
    pages = []
    for first, last in ((1, 1_000), (1_001, 100_000)):
        _run(
            store,
            _IN_ORDER,
            _COLLECTED,
            _QUARANTINED,
            "ANALYZE exchange, collected, quarantine",
            first=first,
            last=last,
        )
        pages.append([_pages(reader, sql) for sql in (statements.EXCHANGE_FIGURES, statements.QUEUE_FIGURES)])
    small, large = pages
    assert all(after <= before + 12 for before, after in zip(small, large, strict=True)), pages
    assert max(large) < 100, pages
