"""The order of a search, and its pages: nothing twice, nothing lost, whatever is missing and whoever writes."""

import threading
from decimal import Decimal
from itertools import product

import pytest

from fhir_mappings.records import Json
from service.store.asked import SearchQuery
from service.store.database import Store
from service.store.query import parse_query
from service.store.records import Write
from service.store.search_parameters import BY_TYPE, Kind
from tests.store import plain_search
from tests.store.examples import query, task
from tests.store.made_up import Maker


def _store(store: Store, *resources: Json) -> None:
    with store.change() as change:
        change.write([Write(resource) for resource in resources])


def _starts(element: object) -> bool:
    return not isinstance(element, dict) or "end" not in element or "start" in element


def _walk(store: Store, type_: str, *parameters: tuple[str, str]) -> list[str]:
    """The ids on all pages, in their order."""
    ids: list[str] = []
    token: str | None = ""
    while token is not None:
        page = store.view().search(query(type_, *parameters, *([("_page", token)] if token else [])))
        ids += [stored.id for stored in page.matches]
        token = page.next
    return ids


@pytest.mark.parametrize("type_", ["Task", "Observation", "Patient", "CarePlan", "Questionnaire"])
def test_whatever_a_search_is_sorted_by_every_resource_is_there_once(store: Store, type_: str) -> None:
    resources = [Maker(7).resource(type_, "r-x"), *(Maker(n).resource(type_, f"r-{n}") for n in range(15))]
    _store(store, *resources)
    everything = sorted(r["id"] for r in resources)
    for name, parameter in BY_TYPE[type_].items():
        if parameter.kind is Kind.REFERENCE:
            continue
        # A Period that has no start starts before all others, as what is missing does.
        present = [r["id"] for r in resources if any(map(_starts, plain_search.elements(r, name)))]
        lacking = len(resources) - len(present)
        for sort in (name, f"-{name}"):
            ids = _walk(store, type_, ("_sort", sort), ("_count", "4"))
            assert sorted(ids) == everything, sort
            if parameter.kind is not Kind.TOKEN:
                # Of tokens, one may be there and have no code.
                without = ids[:lacking] if sort == name else ids[len(present) :]
                assert not set(without) & set(present), sort


def test_several_keys_sort_one_after_the_other(store: Store) -> None:
    made = [
        task(f"t-{status}-{day}-{n}", status=status, authoredOn=f"2026-11-{day}")
        for status, day, n in product(("accepted", "requested"), (21, 22), (1, 2))
    ]
    _store(store, *made)
    for sort, keys in {
        # What is equal is in the order of ids, the way of the last key.
        "status,-authored-on": lambda t: (t["status"], -int(t["authoredOn"][-2:]), -int(t["id"][-1])),
        "-authored-on,status": lambda t: (-int(t["authoredOn"][-2:]), t["status"], t["id"]),
        "authored-on,status,_id": lambda t: (t["authoredOn"], t["status"], t["id"]),
        "_lastUpdated,status": lambda t: (t["status"], t["id"]),
    }.items():
        expected = [t["id"] for t in sorted(made, key=keys)]
        for count in ("1", "3", "50"):
            assert _walk(store, "Task", ("_sort", sort), ("_count", count)) == expected, (sort, count)


def test_numbers_and_dates_are_sorted_as_what_they_are_not_as_text(store: Store) -> None:
    def observation(id_: str, value: str, effective: str) -> Json:
        quantity = {"value": Decimal(value), "unit": "score"}
        return {"resourceType": "Observation", "id": id_, "valueQuantity": quantity, "effectiveDateTime": effective}

    _store(
        store,
        observation("a", "9", "2026-11-23T10:00:00+02:00"),
        observation("b", "10.5", "2026-11-23T08:30:00Z"),
        observation("c", "-3", "2026-11-23"),
        {"resourceType": "Observation", "id": "d"},
    )
    assert _walk(store, "Observation", ("_sort", "value-quantity"), ("_count", "1")) == ["d", "c", "a", "b"]
    assert _walk(store, "Observation", ("_sort", "-value-quantity"), ("_count", "3")) == ["b", "a", "c", "d"]
    assert _walk(store, "Observation", ("_sort", "date"), ("_count", "2")) == ["d", "c", "a", "b"]
    assert _walk(store, "Observation", ("_sort", "-date"), ("_count", "1")) == ["b", "a", "c", "d"]


@pytest.mark.parametrize(
    "parameters",
    [
        [("_sort", "-authored-on")],
        [("_sort", "authored-on,-_id")],
        [("_sort", "code,-_id")],
        [("_sort", "_id")],
        [("_sort", "_id"), ("owner", "gavle")],
        [("_sort", "-authored-on"), ("owner", "gavle")],
        [("authored-on", "ge2026-11-01")],
        [],
    ],
)
def test_what_was_there_is_given_once_while_others_write(store: Store, parameters: list[tuple[str, str]]) -> None:
    there = [task(f"t-{n:02}", authoredOn=f"2026-11-{1 + n % 9:02}") for n in range(40)]
    _store(store, *there)
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set() and number < 300:
            _store(store, task(f"new-{number}", authoredOn=f"2026-11-{1 + number % 28:02}"))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        ids = _walk(store, "Task", *parameters, ("_count", "3"))
    finally:
        done.set()
        writer.join(timeout=30)
    assert len(ids) == len(set(ids))
    assert {t["id"] for t in there} <= set(ids)


def test_a_token_of_another_search_is_refused() -> None:
    first = query("Task", ("_sort", "_id"))
    assert isinstance(first, SearchQuery)
    token = "WyJhIiwgImIiXQ"  # ["a", "b"]
    assert isinstance(parse_query("Task", [("_sort", "_id"), ("_page", token)]), SearchQuery)
    for sort in ("_lastUpdated", "authored-on", "status,code", "-_lastUpdated,_id"):
        assert isinstance(parse_query("Task", [("_sort", sort), ("_page", token)]), list), sort


def test_how_many_there_are_is_told_when_asked_for_or_when_one_page_holds_them(store: Store) -> None:
    for number in range(5):
        _store(store, task(f"t-{number}"))
    view = store.view()
    assert view.search(query("Task")).total == 5
    assert view.search(query("Task", ("_count", "2"))).total is None
    for total in ("accurate", "estimate"):
        page = view.search(query("Task", ("_count", "2"), ("_total", total), ("owner", "gavle")))
        assert (len(page.matches), page.total) == (2, 5)
    assert view.search(query("Task", ("_total", "none"))).total is None
    assert view.search(query("Task", ("_count", "0"), ("authored-on", "lt2026"))).total == 0
