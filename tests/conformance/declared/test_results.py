"""Order, paging, totals and parts of resources, for every type that the CapabilityStatement declares.

https://hl7.org/fhir/R4/search.html#return
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES
from fhir_mappings.records import Json
from tests.conformance.client import content, outcome
from tests.conformance.declared.here import Here
from tests.store import plain_search

TYPES = sorted(SUPPORTED_TYPES)


@pytest.fixture(scope="module")
def everything(here: Here) -> Mapping[str, Json]:
    """`Type/id` → what is stored now; nothing in this module writes."""
    return here.everything()


def _of(everything: Mapping[str, Json], type_: str) -> list[Json]:
    return [resource for place, resource in everything.items() if place.startswith(f"{type_}/")]


def _sortable(here: Here, type_: str) -> list[str]:
    declared = here.declared[type_]["searchParam"]
    return [p["name"] for p in declared if p["type"] != "reference"]


@pytest.mark.parametrize("type_", TYPES)
def test_every_order_has_each_row_once_also_those_without_the_value(
    here: Here, everything: Mapping[str, Json], type_: str
) -> None:
    matches = sorted(f"{type_}/{resource['id']}" for resource in _of(everything, type_))
    for turn, name in enumerate(_sortable(here, type_)):
        sign = "-" if turn % 2 or name == "_id" else ""
        size = str(max(2, len(matches) // 3)) if turn % 3 else "1000"
        found = here.search(type_, [("_sort", sign + name), ("_count", size)])
        assert sorted(found) == matches, (sign + name, len(found), len(set(found)))
        if name in ("_id", "_lastUpdated"):
            key = _BY[name]
            assert [key(everything[place]) for place in found] == sorted(
                map(key, _of(everything, type_)), reverse=bool(sign)
            )
    for reference in [p["name"] for p in here.declared[type_]["searchParam"] if p["type"] == "reference"]:
        outcome(here.ask("GET", type_, [("_sort", reference)]), 400)


_BY: Mapping[str, Any] = {"_id": lambda r: r["id"], "_lastUpdated": lambda r: r["meta"]["lastUpdated"]}


@pytest.mark.parametrize(("type_", "name"), [("Task", "authored-on"), ("Communication", "sent"), ("Task", "status")])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_order_is_by_the_value_with_those_that_lack_it_at_its_end(
    here: Here, everything: Mapping[str, Json], type_: str, name: str, sign: str
) -> None:
    found = [everything[place] for place in here.search(type_, [("_sort", sign + name), ("_count", "30")])]
    values = [_key(here, resource, name) for resource in found]
    lacking = [value is None for value in values]
    assert lacking == sorted(lacking, reverse=not sign)
    there = [value for value in values if value is not None]
    assert len(there) > 10
    for one, next_ in pairwise(there):
        assert one >= next_ if sign else one <= next_


def _key(here: Here, resource: Json, name: str) -> Any:
    elements = here.elements(resource, name)
    if not elements:
        return None
    kind = plain_search.DEFINED[resource["resourceType"]][name][0]
    return plain_search.span(elements[0])[0] if kind == "date" else elements[0]


def test_by_several_keys_the_later_orders_what_the_earlier_leaves_equal(
    here: Here, everything: Mapping[str, Json]
) -> None:
    found = [everything[p] for p in here.search("Task", [("_sort", "status,-_lastUpdated,_id"), ("_count", "25")])]
    assert len(found) == len(_of(everything, "Task"))
    for one, next_ in pairwise(found):
        assert one["status"] <= next_["status"]
        if one["status"] == next_["status"]:
            assert one["meta"]["lastUpdated"] >= next_["meta"]["lastUpdated"]


@pytest.mark.parametrize("type_", TYPES)
def test_totals_counts_summaries_and_elements(here: Here, everything: Mapping[str, Json], type_: str) -> None:
    total = len(_of(everything, type_))

    def ask(**asked: str) -> Json:
        answer = here.ask("GET", type_, [(f"_{name}", value) for name, value in asked.items()])
        assert answer.status_code == 200, answer.text
        return content(answer)

    assert ask(total="accurate", count="1")["total"] == total
    assert "total" not in ask(total="none", count="1")
    for nothing in (ask(count="0"), ask(summary="count")):
        assert nothing["total"] == total
        assert "entry" not in nothing
    assert len(ask(count="3", sort="_id")["entry"]) == 3
    by_age = [entry["resource"]["meta"]["lastUpdated"] for entry in ask(count="3")["entry"]]
    assert len(set(by_age[2:])) == 1, "more than asked for only where the stamps are equal"
    for summary in ("true", "text", "data", "false"):
        for entry in ask(summary=summary, count="3")["entry"]:
            resource = entry["resource"]
            whole = everything[f"{type_}/{resource['id']}"]
            assert set(resource) <= set(whole)
            subsetted = any(tag.get("code") == "SUBSETTED" for tag in resource["meta"].get("tag", ()))
            assert subsetted is (summary != "false")
            if summary == "data":
                assert set(resource) == set(whole) - {"text"}
            if summary == "false":
                assert resource == whole
    for entry in ask(elements="identifier,status", count="5")["entry"]:
        resource = entry["resource"]
        assert {"identifier", "status"} & set(everything[f"{type_}/{resource['id']}"]) <= set(resource)
        assert {"text", "contained", "note"}.isdisjoint(resource)
    pretty = here.ask("GET", type_, [("_count", "2"), ("_sort", "_id"), ("_pretty", "true")])
    plain = here.ask("GET", type_, [("_count", "2"), ("_sort", "_id")])
    assert "\n" in pretty.text
    assert content(pretty)["entry"] == content(plain)["entry"]
    for written in ("json", "application/json", "application/fhir+json"):
        assert here.ask("GET", type_, [("_format", written), ("_count", "1")]).status_code == 200
    outcome(here.ask("GET", type_, [("_format", "xml")]), 406)
    for bad in ("_total=some", "_count=-1", "_summary=all", "_pretty=yes", "_page=x", "_sort=nonsense"):
        outcome(here.ask("GET", f"{type_}?{bad}"), 400)
