"""Every declared parameter, modifier and prefix finds what R4's own definition of it says, told by other means."""

from collections.abc import Iterator

import pytest

from fhir_mappings.records import Json
from service.store.database import Store
from service.store.query_values import PREFIXES
from service.store.records import Write
from service.store.search_parameters import BY_TYPE, STATUSES, Kind, SearchParameter, Shape
from tests.store import plain_search
from tests.store.examples import query
from tests.store.made_up import CODES, DATES, NUMBERS, SYSTEMS, TEXTS, UNITS, URLS, Maker

PER_TYPE = 24
_NOT_HERE = {("AuditEvent", "patient")}
"""Where Sluss means less than R4 and says so in its table."""


@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_every_parameter_is_of_r4s_kind_and_refers_to_no_other_types(type_: str) -> None:
    for name, parameter in BY_TYPE[type_].items():
        kind, _, *targets = plain_search.DEFINED[type_][name]
        assert parameter.kind == kind, name
        assert not targets or set(parameter.targets) <= set(targets), name
        assert (parameter.kind is Kind.REFERENCE) is bool(parameter.targets), name


def _asked(parameter: SearchParameter) -> Iterator[tuple[str, str]]:
    """(modifier, value) of everything that is asked about one parameter."""
    yield from (("missing", "true"), ("missing", "false"))
    match parameter.kind:
        case Kind.TOKEN:
            yield from _tokens(parameter)
        case Kind.REFERENCE:
            yield from _references(parameter)
        case Kind.DATE:
            prefixes = ("", *PREFIXES)
            yield from (("", prefix + written) for written in (*DATES, "2026-11-23T10:00") for prefix in prefixes)
            yield "", f"{DATES[2]},lt{DATES[-1]}"
        case Kind.QUANTITY:
            units = ("", f"|{SYSTEMS[0]}|{UNITS[0]}", f"||{UNITS[1]}")
            for number in (*map(str, NUMBERS), "2e1", "20.00"):
                yield from (("", f"{prefix}{number}{unit}") for prefix in ("", *PREFIXES) for unit in units)
            yield "", "20,5.40"
        case Kind.STRING:
            for text in (*TEXTS, "ås", "OBERG", "Öb", "sson"):
                yield from ((modifier, text) for modifier in ("", "exact", "contains"))
            yield "", "test,åsa"
        case Kind.URI:
            yield from (("", url) for url in (*URLS, ",".join(URLS[:2])))


def _tokens(parameter: SearchParameter) -> Iterator[tuple[str, str]]:
    texts = [*CODES, "true", "false", f"{CODES[0]},{CODES[1]}", TEXTS[0]]
    texts += STATUSES.get(parameter.type, ()) if parameter.name == "status" else ()
    if parameter.shape not in (Shape.CODE, Shape.TRUTH):
        texts += [f"{system}|{CODES[0]}" for system in (*SYSTEMS, "")] + [f"{SYSTEMS[0]}|"]
    yield from ((modifier, text) for text in texts for modifier in ("", "not"))


def _references(parameter: SearchParameter) -> Iterator[tuple[str, str]]:
    if parameter.shape is Shape.CANONICAL:
        yield from (("", url) for url in (*URLS, ",".join(URLS[1:3])))
        return
    for target in parameter.targets:
        yield "", f"{target}/{CODES[0]}"
        yield target, CODES[1]
    yield "", f"https://other.example/fhir/{parameter.targets[0]}/{CODES[0]}"
    yield "", f"{parameter.targets[0]}/{CODES[0]},{parameter.targets[0]}/{CODES[1]}"
    yield from (("", code) for code in CODES)
    for value in (CODES[0], f"{SYSTEMS[0]}|{CODES[1]}", f"|{CODES[2]}", f"{SYSTEMS[1]}|"):
        yield "identifier", value


@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_every_search_finds_what_the_definition_says(store: Store, type_: str) -> None:
    maker = Maker(seed=len(type_))
    resources: list[Json] = [maker.resource(type_, f"r-{number}") for number in range(PER_TYPE)]
    with store.change() as change:
        change.write([Write(resource) for resource in resources])
    view = store.view()
    wrong, discerning = [], set()
    for name, parameter in BY_TYPE[type_].items():
        if (type_, name) in _NOT_HERE:
            continue
        for turn, (modifier, value) in enumerate(_asked(parameter)):
            asked = f"{name}:{modifier}" if modifier else name
            wanted = {r["id"] for r in resources if plain_search.holds(r, name, modifier, value)}
            # In another order it goes another way; each fourth is enough to see that.
            for more in ((), (("_sort", "-_id"),))[: 2 if turn % 4 == 0 else 1]:
                page = view.search(query(type_, (asked, value), ("_count", "100"), *more))
                found = [stored.id for stored in page.matches]
                if sorted(found) != sorted(wanted):
                    wrong.append((asked, value, more, sorted(set(found) ^ wanted)))
            if wanted and len(wanted) < PER_TYPE:
                discerning.add(name)
    assert not wrong, wrong[:20]
    assert BY_TYPE[type_].keys() - discerning - {name for _, name in _NOT_HERE} == set()
