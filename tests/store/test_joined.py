"""A Store within an open change: all of it is stored, or nothing."""

import pytest

from service.store.database import Store
from service.store.joined import Joined
from service.store.records import StaleVersion, Write

TASK = {"resourceType": "Task", "id": "t-1", "status": "requested"}


def test_what_is_done_through_it_is_seen_at_once_and_by_others_after_the_commit(store: Store) -> None:
    with store.change() as change:
        joined = Joined(store, change)
        with joined.change() as inner:
            inner.write([Write(TASK)])
        with joined.change() as inner:
            assert inner.get("Task", "t-1") is not None
            inner.write([Write({**TASK, "status": "received"}, expect=1)])
        seen = joined.view().get("Task", "t-1")
        assert seen is not None
        assert seen.version == 2
        assert store.view().get("Task", "t-1") is None
    stored = store.view().get("Task", "t-1")
    assert stored is not None
    assert stored.content["status"] == "received"
    assert {v.last_updated for v in store.view().history("Task", "t-1")} == {stored.last_updated}


def test_an_exception_in_any_part_leaves_nothing_of_all(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.change() as change:  # noqa: PT012
        joined = Joined(store, change)
        with joined.change() as inner:
            inner.write([Write(TASK)])
        with joined.change():
            raise ZeroDivisionError
    assert store.view().get("Task", "t-1") is None


def test_a_stale_version_is_told_where_it_was_written(store: Store) -> None:
    with pytest.raises(StaleVersion), store.change() as change:  # noqa: PT012
        joined = Joined(store, change)
        with joined.change() as inner:
            inner.write([Write(TASK, expect=3)])
        raise AssertionError("the block that wrote it has told nothing")
