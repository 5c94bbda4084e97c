"""Events are derived from what is committed: every change once, in order, however many write and record."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from service.store.database import Store
from service.store.records import Write
from service.store.subscription_events import SubscriptionEvents
from service.store.subscription_records import Changed, Event, NewSubscription, Owner, SubscriptionRow
from tests.store.examples import communication

TYPES = ["Communication", "Task"]
_LARGEST = 2**31 - 1


@pytest.fixture
def recorder(store: Store) -> Iterator[SubscriptionEvents]:
    events = SubscriptionEvents(store.url)
    yield events
    events.close()


def subscribe(store: Store, id_: str = "s-1") -> SubscriptionRow:
    new = NewSubscription(id_, "reply-sent", '{"meta":{}}', Owner("platform"), "https://sluss.example/fhir", None, None)
    row = store.subscriptions.create(new, 20)
    assert row is not None
    return row


def everything(_: SubscriptionRow, changed: Changed) -> bool:
    return changed.type == "Communication"


def write(store: Store, *ids: str, expect: int = 0, **elements: Any) -> None:
    with store.change() as change:
        change.write([Write(communication(id_, **elements), expect=expect) for id_ in ids])


def told(store: Store, id_: str = "s-1") -> list[Event]:
    return store.subscriptions.events(id_, 1, _LARGEST, _LARGEST)


def test_what_was_stored_before_the_subscription_is_no_event(store: Store, recorder: SubscriptionEvents) -> None:
    write(store, "before")
    subscribe(store)
    write(store, "after")
    recorder.record(TYPES, everything)
    assert [event.focus for event in told(store)] == ["Communication/after"]


def test_without_subscriptions_nothing_is_looked_at(store: Store, recorder: SubscriptionEvents) -> None:
    write(store, "c-1")
    assert recorder.record(TYPES, everything) is None


def test_what_is_younger_than_an_open_change_waits_for_it(store: Store, recorder: SubscriptionEvents) -> None:
    subscribe(store)
    with store.change() as slow:
        slow.write([Write(communication("first"))])
        write(store, "second")
        assert recorder.record(TYPES, everything) is None
    recorder.record(TYPES, everything)
    assert [(event.number, event.focus) for event in told(store)] == [
        (1, "Communication/first"),
        (2, "Communication/second"),
    ]


def test_a_subscription_that_is_just_being_made_misses_nothing_that_comes_after_it(
    store: Store, recorder: SubscriptionEvents
) -> None:
    """Its stamp is taken, it is not committed, and others' later changes are."""
    subscribe(store, "older")
    with store.change() as making:
        making.connection.execute(
            "INSERT INTO subscription (id, last_updated, since, topic, content, role, base) "
            "SELECT 's-1', stamp, stamp, 'reply-sent', '{}', 'platform', 'x' FROM (SELECT sluss_stamp() AS stamp) taken"
        )
        write(store, "later")
        assert recorder.record(TYPES, everything) is None
    recorder.record(TYPES, everything)
    assert [event.focus for event in told(store)] == ["Communication/later"]


def test_versions_that_were_replaced_before_anybody_looked_are_told_too(
    store: Store, recorder: SubscriptionEvents
) -> None:
    subscribe(store)
    write(store, "c-1", status="preparation")
    write(store, "c-1", expect=1)
    write(store, "c-1", expect=2, status="entered-in-error")
    seen: list[tuple[str, str | None]] = []

    def judge(_: SubscriptionRow, changed: Changed) -> bool:
        seen.append((changed.content["status"], changed.before["status"] if changed.before else None))
        return True

    recorder.record(TYPES, judge)
    assert seen == [("preparation", None), ("completed", "preparation"), ("entered-in-error", "completed")]
    assert [event.number for event in told(store)] == [1, 2, 3]


def test_of_what_one_change_wrote_twice_only_the_last_was_ever_seen(store: Store, recorder: SubscriptionEvents) -> None:
    subscribe(store)
    with store.change() as change:
        change.write([Write(communication("c-1", status="preparation"))])
        change.write([Write(communication("c-1"), expect=1)])
    seen: list[tuple[int, bool]] = []

    def judge(_: SubscriptionRow, changed: Changed) -> bool:
        seen.append((changed.version, changed.before is None))
        return True

    recorder.record(TYPES, judge)
    assert seen == [(2, True)]


def test_a_batch_never_ends_between_what_one_change_wrote(store: Store, recorder: SubscriptionEvents) -> None:
    subscribe(store)
    write(store, "a-1", "a-2", "a-3")
    write(store, "b-1", "b-2")
    assert recorder.record(TYPES, everything, most=2) == 3
    assert recorder.record(TYPES, everything, most=2) == 2
    assert recorder.record(TYPES, everything, most=2) is None
    assert [event.number for event in told(store)] == [1, 2, 3, 4, 5]


def test_an_error_on_the_way_leaves_no_number_out(store: Store, recorder: SubscriptionEvents) -> None:
    subscribe(store)
    write(store, "c-1", "c-2")

    def fails(_: SubscriptionRow, changed: Changed) -> bool:
        assert changed.id == "c-1"
        return True

    with pytest.raises(AssertionError):
        recorder.record(TYPES, fails)
    recorder.record(TYPES, everything)
    assert [(event.number, event.focus) for event in told(store)] == [
        (1, "Communication/c-1"),
        (2, "Communication/c-2"),
    ]


def test_many_writers_and_recorders_make_every_change_one_event_in_order_and_without_a_gap(
    store: Store, recorder: SubscriptionEvents
) -> None:
    subscribe(store)
    writers, each = 6, 15
    done = threading.Event()

    def writing(writer: int) -> None:
        hold = random.Random(writer)  # noqa: S311 - a test's pace
        for number in range(each):
            with store.change() as change:
                change.write([Write(communication(f"c-{writer}-{number}"))])
                change.flush()
                time.sleep(hold.uniform(0, 0.05))

    def recording() -> None:
        while not done.is_set():
            recorder.record(TYPES, everything, most=3)

    with ThreadPoolExecutor(writers + 3) as threads:
        recorders = [threads.submit(recording) for _ in range(3)]
        for writer in [threads.submit(writing, number) for number in range(writers)]:
            writer.result()
        done.set()
        for one in recorders:
            one.result()
    while recorder.record(TYPES, everything):
        pass
    events = told(store)
    assert [event.number for event in events] == list(range(1, writers * each + 1))
    assert {event.focus for event in events} == {
        f"Communication/c-{writer}-{number}" for writer in range(writers) for number in range(each)
    }
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_what_recording_reads_does_not_grow_with_what_is_stored(store: Store, recorder: SubscriptionEvents) -> None:
    """Among 50,000 resources, one new one is found by walking along the index."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO resource (type, id, version, last_updated, body) "
            "SELECT 'Communication', 'old-' || n, 1, '2020-01-01Z'::timestamptz + n * interval '1 second', '{}'"
            " FROM generate_series(1, 50000) AS n"
        )
        connection.execute("ANALYZE resource")
        subscribe(store)
        write(store, "new")
        before = _pages(connection)
        assert recorder.record(TYPES, everything) == 1
        assert _pages(connection) - before < 200


def _pages(connection: psycopg.Connection[Any]) -> int:
    """Pages of `resource` and its indexes that anybody has looked at."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(
        "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit FROM pg_statio_user_tables"
        " WHERE relname = 'resource'"
    ).fetchone()
    assert row is not None
    return int(row[0])
