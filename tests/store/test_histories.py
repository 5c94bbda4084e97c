"""Histories of a resource and of a type: newest first, in pages that hold still while others write."""

from datetime import timedelta

import pytest

from fhir_mappings.issues import Issue
from service.store.database import Store
from service.store.histories import HistoryPage, HistoryQuery, parse_history
from service.store.moments import instant
from service.store.records import Stored, Write


def _write(store: Store, id_: str, version: int) -> Stored:
    with store.change() as change:
        resource = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order"}
        (stored,) = change.write([Write(resource, expect=version - 1)])
    return stored


@pytest.fixture
def written(store: Store) -> list[Stored]:
    """Three Tasks with nine versions in all, oldest first."""
    return [_write(store, id_, version) for version in (1, 2, 3) for id_ in ("a", "b", "c")]


def _query(id_: str | None = None, **parameters: object) -> HistoryQuery:
    query = parse_history("Task", id_, [(f"_{name}", str(value)) for name, value in parameters.items()])
    assert isinstance(query, HistoryQuery), query
    return query


def _names(page: HistoryPage) -> list[str]:
    return [f"{stored.id}{stored.version}" for stored in page.versions]


def test_the_history_of_a_resource_is_newest_first_and_counted(store: Store, written: list[Stored]) -> None:
    page = store.view().history_page(_query("b"))
    assert _names(page) == ["b3", "b2", "b1"]
    assert (page.total, page.next) == (3, None)
    assert page.versions[0].body == written[7].body


def test_the_history_of_a_type_has_every_version_of_all(store: Store, written: list[Stored]) -> None:
    page = store.view().history_page(_query())
    assert _names(page) == ["c3", "b3", "a3", "c2", "b2", "a2", "c1", "b1", "a1"]
    assert page.total is None


@pytest.mark.parametrize("id_", [None, "a"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 9, 10])
def test_pages_have_every_version_once_while_others_write(
    store: Store, written: list[Stored], count: int, id_: str | None
) -> None:
    wanted = [n for n in ("c3", "b3", "a3", "c2", "b2", "a2", "c1", "b1", "a1") if id_ in (None, n[0])]
    seen: list[str] = []
    token: str | None = ""
    version = 4
    while token is not None:
        page = store.view().history_page(_query(id_, count=count, **({"page": token} if token else {})))
        assert len(page.versions) <= count
        seen += _names(page)
        token = page.next
        _write(store, "a", version)
        version += 1
    assert seen == wanted


def test_versions_with_one_stamp_are_divided_between_pages(store: Store) -> None:
    with store.change() as change:
        for version in range(3):
            change.write(
                [
                    Write({"resourceType": "Task", "id": id_, "status": "requested"}, expect=version)
                    for id_ in ("a", "b")
                ]
            )
    seen: list[str] = []
    token: str | None = ""
    while token is not None:
        page = store.view().history_page(_query(count=1, **({"page": token} if token else {})))
        seen += _names(page)
        token = page.next
    assert seen == ["b3", "b2", "b1", "a3", "a2", "a1"]


def test_since_takes_what_was_made_then_or_later(store: Store, written: list[Stored]) -> None:
    since = instant(written[4].last_updated)
    assert _names(store.view().history_page(_query(since=since))) == ["c3", "b3", "a3", "c2", "b2"]
    assert _names(store.view().history_page(_query("b", since=since))) == ["b3", "b2"]
    later = instant(written[-1].last_updated + timedelta(seconds=5))
    assert _names(store.view().history_page(_query(since=later))) == []


def test_at_takes_what_was_current_then(store: Store, written: list[Stored]) -> None:
    at = instant(written[4].last_updated)  # b2
    assert _names(store.view().history_page(_query(at=at))) == ["b2", "a2", "c1"]
    page = store.view().history_page(_query("b", at=at))
    assert (_names(page), page.total) == (["b2"], 1)
    before = instant(written[0].last_updated - timedelta(seconds=5))
    assert _names(store.view().history_page(_query(at=before))) == []
    assert len(_names(store.view().history_page(_query(at=written[0].last_updated.year)))) == 9


def test_the_history_of_a_type_waits_for_open_writers_and_that_of_a_resource_does_not(
    store: Store, written: list[Stored]
) -> None:
    with store.change() as change:
        assert change.stamp
        _write(store, "a", 4)
        assert _names(store.view().history_page(_query()))[0] == "c3"
        assert _names(store.view().history_page(_query("a")))[0] == "a4"
    assert _names(store.view().history_page(_query()))[0] == "a4"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_since", "yesterday"),
        ("_at", "2026-13-01"),
        ("_count", "0"),
        ("_count", "-1"),
        ("_count", "many"),
        ("_count", "١"),
        ("_page", "x"),
        ("_page", "W10"),
        ("_page", "WyIyMDI2IiwiYSIsdHJ1ZV0"),
        ("_page", "é"),
    ],
)
def test_a_bad_value_is_told(name: str, value: str) -> None:
    answer = parse_history("Task", None, [(name, value)])
    assert isinstance(answer, list)
    assert name in answer[0].diagnostics


def test_an_unknown_parameter_is_passed_over_unless_strict() -> None:
    query = parse_history("Task", "a", [("colour", "blue"), ("_count", "5"), ("_format", "json")])
    assert isinstance(query, HistoryQuery)
    assert query.used == (("_count", "5"), ("_format", "json"))
    answer = parse_history("Task", "a", [("colour", "blue")], strict=True)
    assert isinstance(answer, list)
    assert all(isinstance(issue, Issue) for issue in answer)


def test_a_long_history_of_a_type_is_walked_along_its_index(store: Store, written: list[Stored]) -> None:
    import psycopg

    from service.store.histories import statement_of

    sql, values = statement_of(_query(count=2, since="2020"), written[-1].last_updated)
    with psycopg.connect(store.url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + sql, values))
    assert "history_by_age" in plan
    assert "resource_by_age" in plan
