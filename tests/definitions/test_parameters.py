"""The published SearchParameters say what the server does: which there are, what they find, what a query may do."""

from typing import Any

import pytest

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.parameters import search_parameters
from service.store.asked import SearchQuery
from service.store.query import parse_query
from service.store.query_values import PREFIXES
from service.store.search_parameters import BY_TYPE
from service.web.capability import capability_of
from tests.store import plain_search
from tests.store.made_up import CODES, DATES, NUMBERS, TEXTS, URLS, Maker

CANONICAL = Canonical("https://sluss.example/fhir")
PUBLISHED = list(search_parameters(CANONICAL))
OF_TYPE: dict[str, dict[str, Json]] = {
    type_: {each["code"]: each for each in PUBLISHED if type_ in each["base"]} for type_ in BY_TYPE
}
MODIFIERS = {"missing", "exact", "contains", "not", "text", "in", "not-in", "below", "above", "identifier", "ofType"}
"""R4's, but that by a type: https://hl7.org/fhir/R4/valueset-search-modifier-code.html"""
VALUES: dict[str, str] = {
    "token": "x",
    "reference": "x",
    "date": "2026",
    "string": "x",
    "uri": "x",
    "quantity": "1",
}


def test_there_is_one_for_each_that_is_declared_and_no_other() -> None:
    declared = {
        resource["type"]: {(p["name"], p["definition"], p["type"]) for p in resource["searchParam"]}
        for resource in capability_of(CANONICAL)["rest"][0]["resource"]
    }
    for type_, parameters in declared.items():
        told = [(p["code"], p["derivedFrom"], p["type"]) for p in PUBLISHED if type_ in p["base"]]
        assert len(told) == len(parameters)
        assert set(told) == parameters
    assert OF_TYPE.keys() - declared.keys() == {"AuditEvent"}, "which the web adds to the statement"


def test_each_keeps_r4s_invariants_and_codes() -> None:
    """spd-1 to spd-3: https://hl7.org/fhir/R4/searchparameter.html"""
    for each in PUBLISHED:
        assert "xpath" not in each
        assert "chain" not in each or each["type"] == "reference"
        assert "comparator" not in each or each["type"] in ("date", "quantity")
        assert set(each.get("modifier", ())) <= MODIFIERS | {"type"}
        assert set(each.get("comparator", ())) <= set(PREFIXES)
        assert set(each.get("target", ())) <= plain_search_targets(each)
        assert each["url"] == f"{CANONICAL.base}/SearchParameter/{each['id']}"


def plain_search_targets(each: Json) -> set[str]:
    """The types that R4 allows; where it allows any, those that are meant here."""
    type_, *_ = each["base"]
    _, _, *targets = plain_search.DEFINED[type_].get(each["code"], ("", ""))
    return set(targets or each.get("target", ()))


def _takes(type_: str, name: str, value: str) -> bool:
    return isinstance(parse_query(type_, [(name, value)], strict=True), SearchQuery)


@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_a_query_may_do_what_is_said_and_nothing_else(type_: str) -> None:
    for name, each in OF_TYPE[type_].items():
        value = VALUES[each["type"]]
        told = set(each.get("modifier", ()))
        for modifier in MODIFIERS:
            asked = "true" if modifier == "missing" else value
            assert _takes(type_, f"{name}:{modifier}", asked) is (modifier in told), (name, modifier)
        for target in BY_TYPE:
            allowed = "type" in told and target in each["target"]
            assert _takes(type_, f"{name}:{target}", value) is allowed, (name, target)
        for prefix in PREFIXES:
            known = parse_query(type_, [(name, prefix + value)], strict=True)
            compares = each["type"] in ("date", "quantity") and isinstance(known, SearchQuery)
            assert (prefix in each.get("comparator", ())) is compares, (name, prefix)
        assert _takes(type_, name, f"{value},{value}") is each["multipleOr"], name
        assert isinstance(parse_query(type_, [(name, value)] * 2, strict=True), SearchQuery) is each["multipleAnd"]


@pytest.mark.parametrize("type_", sorted(BY_TYPE.keys() - {"AuditEvent"}))
def test_a_chain_leads_to_what_is_said_and_nowhere_else(type_: str) -> None:
    every = {"_id", "_lastUpdated", *(name for known in BY_TYPE.values() for name in known)}
    for name, each in OF_TYPE[type_].items():
        led = {last for last in every if any(_takes(type_, f"{name}.{last}", value) for value in ("x", "2026"))}
        assert led == set(each.get("chain", ())), name


@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_its_expression_finds_what_that_of_r4_finds(type_: str) -> None:
    maker = Maker(seed=len(type_))
    resources = [maker.resource(type_, f"r-{number}") for number in range(12)]
    found = 0
    for name in BY_TYPE[type_]:
        if (type_, name) == ("AuditEvent", "patient"):
            continue  # means less than R4's
        expression, defined = OF_TYPE[type_][name]["expression"], plain_search.DEFINED[type_][name]
        expression = expression.replace("Resource.", f"{type_}.")
        for resource in resources:
            ours = plain_search.found_by(expression, resource)
            for value in _values(defined):
                wanted = plain_search.holds(resource, name, "", value)
                assert plain_search.satisfied(ours, defined, "", value) is wanted, (name, resource, value)
                found += wanted
    assert found


def _values(defined: list[str]) -> list[Any]:
    kind, _, *targets = defined
    return {
        "token": [*CODES, "true", "false"],
        "reference": [*CODES, *(f"{target}/{CODES[0]}" for target in targets), *URLS],
        "date": DATES,
        "quantity": [str(number) for number in NUMBERS],
        "string": TEXTS,
        "uri": URLS,
    }[kind]
