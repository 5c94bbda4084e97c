"""Gap-free polling: who asks for what is newer than the last stamp they saw gets everything, in order."""

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest

from service.store.database import Store
from service.store.moments import instant
from service.store.records import StoreUnavailable, Write
from tests.store.examples import HSA, ORGANISATION, communication, query

LONG_AGO = "2000-01-01T00:00:00Z"


def _poll(store: Store, last_seen: str) -> list[tuple[str, datetime]]:
    page = store.view().search(
        query(
            "Communication",
            ("recipient:identifier", f"{HSA}|{ORGANISATION}"),
            ("status", "completed"),
            ("_lastUpdated", f"gt{last_seen}"),
            ("_sort", "_lastUpdated"),
            ("_count", "20"),
        )
    )
    return [(stored.id, stored.last_updated) for stored in page.matches]


def _plain_poll(store: Store, last_seen: str) -> list[tuple[str, datetime]]:
    """What a poll without the settled bound would show."""
    with psycopg.connect(store.url) as connection:
        return connection.execute(
            "SELECT id, last_updated FROM resource WHERE last_updated > %s ORDER BY last_updated", (last_seen,)
        ).fetchall()


def test_what_is_newer_than_an_open_change_is_held_back_until_it_ends(store: Store) -> None:
    with store.change() as slow:
        slow.write([Write(communication("first"))])
        with store.change() as quick:
            quick.write([Write(communication("second"))])
        # A plain poll sees the second, goes on from its stamp, and will never see the first.
        ((plain_id, plain_seen),) = _plain_poll(store, LONG_AGO)
        assert plain_id == "second"
        assert _poll(store, LONG_AGO) == []
        assert store.view().get("Communication", "second") is not None, "only polls wait"
    assert _plain_poll(store, instant(plain_seen)) == []
    assert [id_ for id_, _ in _poll(store, LONG_AGO)] == ["first", "second"]


def test_an_open_change_of_nobody_who_writes_holds_nobody_up(store: Store) -> None:
    with psycopg.connect(store.url, application_name="backup") as connection:
        connection.execute("SELECT 1")
        with store.change() as change:
            change.write([Write(communication("c-1"))])
        assert [id_ for id_, _ in _poll(store, LONG_AGO)] == ["c-1"]


def test_a_poller_gets_every_row_in_order_while_many_writers_hold_their_changes_open(store: Store) -> None:
    writers, each = 6, 15
    done = threading.Event()

    def write(writer: int) -> None:
        hold = random.Random(writer)  # noqa: S311 - a test's pace
        for number in range(each):
            with store.change() as change:
                change.write(
                    [Write(communication(f"c-{writer}-{number}")), Write(communication(f"d-{writer}-{number}"))]
                )
                change.flush()
                time.sleep(hold.uniform(0, 0.05))

    def follow(poll: object) -> list[str]:
        seen, last = [], LONG_AGO
        stamps = []
        while True:
            finished = done.is_set()
            rows = poll(store, last)  # type: ignore[operator]
            seen += [id_ for id_, _ in rows]
            stamps += [stamp for _, stamp in rows]
            if rows:
                last = instant(rows[-1][1])
            elif finished:
                assert stamps == sorted(stamps)
                return seen

    with ThreadPoolExecutor(writers + 2) as threads:
        gap_free, plain = threads.submit(follow, _poll), threads.submit(follow, _plain_poll)
        for writing in [threads.submit(write, writer) for writer in range(writers)]:
            writing.result()
        done.set()
    expected = {f"{letter}-{writer}-{number}" for letter in "cd" for writer in range(writers) for number in range(each)}
    assert sorted(gap_free.result()) == sorted(expected), "every row, and none twice"
    assert len(plain.result()) < len(expected), "the writers were slow enough for a plain poll to miss some"


def test_stamps_rise_whatever_the_clock_does(store: Store) -> None:
    """A floor in the future is what a clock that was set back looks like."""
    future = datetime.now().astimezone() + timedelta(hours=1)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("SELECT setval('sluss_stamp_floor', %s)", (int(future.timestamp() * 1_000_000),))
        stamps = []
        for _ in range(3):
            with store.change() as change:
                stamps.append(change.stamp)
                assert change.stamp == stamps[-1], "one for the whole change"
        assert future < stamps[0] < stamps[1] < stamps[2] < future + timedelta(seconds=1)
        with store.change() as change:
            change.write([Write(communication("c-1"))])
        assert _poll(store, LONG_AGO) == [], "late by the step, never lost"
        connection.execute("SELECT setval('sluss_stamp_floor', 0)")
        with store.change() as change:
            assert abs(change.stamp - datetime.now().astimezone()) < timedelta(minutes=1)


def test_a_stamp_is_given_once_and_is_exact_to_the_microsecond(store: Store) -> None:
    def stamps(_: int) -> list[datetime]:
        given = []
        for _ in range(25):
            with store.change() as change:
                given.append(change.stamp)
        return given

    with ThreadPoolExecutor(4) as threads:
        all_of_them = [stamp for given in threads.map(stamps, range(4)) for stamp in given]
    assert len(set(all_of_them)) == 100
    with psycopg.connect(store.url) as connection:
        row = connection.execute("SELECT last_value FROM sluss_stamp_floor").fetchone()
    assert row == (round(max(all_of_them).timestamp() * 1_000_000),)


def test_a_stamp_outlives_a_change_that_fails(store: Store) -> None:
    given = []
    for _ in range(2):
        with contextlib.suppress(RuntimeError), store.change() as change:
            given.append(change.stamp)
            raise RuntimeError
    assert given[0] < given[1]


def test_a_change_that_is_cancelled_while_it_waits_for_a_stamp_leaves_no_lock(store: Store) -> None:
    with psycopg.connect(store.url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(5701177002)")

        def cancel() -> None:
            time.sleep(0.1)
            holder.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(StoreUnavailable, match="QueryCanceled"), store.change() as change:
            change.write([Write(communication("c-1"))])
        thread.join()
    with store.change() as change:
        change.write([Write(communication("c-1"))])
    with psycopg.connect(store.url) as connection:
        held = connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
        assert held == (0,)
