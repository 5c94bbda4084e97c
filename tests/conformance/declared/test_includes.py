"""Each `_include` and `_revinclude` that the CapabilityStatement declares brings what a walk along the references of
all resources brings; each other one is refused. https://hl7.org/fhir/R4/search.html#include
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import pytest

from fhir_mappings.r4 import DEFINITIONS, SUPPORTED_TYPES
from fhir_mappings.records import Json
from tests.conformance.client import content, outcome
from tests.conformance.declared.here import Here
from tests.store import plain_search

TYPES = sorted(SUPPORTED_TYPES)
ALL = ("_count", "1000")
_LITERAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]+")


@pytest.fixture(scope="module")
def everything(here: Here) -> Mapping[str, Json]:
    """`Type/id` → what is stored now; nothing in this module writes."""
    return here.everything()


def _targets(here: Here, everything: Mapping[str, Json], resource: Json, name: str) -> Iterator[str]:
    """`Type/id` of everything stored that a reference of a resource leads to."""
    for element in here.elements(resource, name):
        if isinstance(element, str):
            yield from _by_url(everything, element)
            continue
        literal = element.get("reference", "").split("/_history/")[0]
        if _LITERAL.fullmatch(literal) and literal in everything:
            yield literal


def _by_url(everything: Mapping[str, Json], canonical: str) -> Iterator[str]:
    url, _, version = canonical.partition("|")
    for type_ in sorted(DEFINITIONS):
        for other in _of(everything, type_):
            if other.get("url") == url and version in ("", other.get("version")):
                yield f"{type_}/{other['id']}"


def _of(everything: Mapping[str, Json], type_: str) -> list[Json]:
    return [resource for resource in everything.values() if resource["resourceType"] == type_]


def _meant(type_: str, name: str, place: str) -> bool:
    """Whether the parameter may lead to a resource of that type at all (`patient` leads to Patients only)."""
    targets = plain_search.DEFINED[type_][name][2:]
    return not targets or place.partition("/")[0] in targets


def _around(here: Here, type_: str, include: str, *, reverse: bool = False) -> list[str]:
    asked = ("_revinclude" if reverse else "_include", include)
    return sorted(here.search(type_, [asked, ALL]))


def _expected(matches: Iterable[str], besides: Iterable[str]) -> list[str]:
    """Each once, whether it matches or is included."""
    return sorted({*matches, *besides})


@pytest.mark.parametrize("type_", TYPES)
def test_a_declared_include_brings_what_the_references_lead_to(
    here: Here, everything: Mapping[str, Json], type_: str
) -> None:
    matches = {f"{type_}/{resource['id']}": resource for resource in _of(everything, type_)}
    for include in here.declared[type_].get("searchInclude", ()):
        of, name = include.split(":")
        assert of == type_
        led = {t for r in matches.values() for t in _targets(here, everything, r, name) if _meant(type_, name, t)}
        assert _around(here, type_, include) == _expected(matches, led), include
        for target in sorted({place.split("/")[0] for place in led}):
            some = {place for place in led if place.startswith(f"{target}/")}
            assert _around(here, type_, f"{include}:{target}") == _expected(matches, some), (include, target)


@pytest.mark.parametrize("type_", TYPES)
def test_a_declared_reverse_include_brings_what_refers_to_the_matches(
    here: Here, everything: Mapping[str, Json], type_: str
) -> None:
    matches = {f"{type_}/{resource['id']}" for resource in _of(everything, type_)}
    for include in here.declared[type_].get("searchRevInclude", ()):
        of, name = include.split(":")
        led = {
            f"{of}/{resource['id']}"
            for resource in _of(everything, of)
            if not matches.isdisjoint(_targets(here, everything, resource, name))
        }
        assert _around(here, type_, include, reverse=True) == _expected(matches, led), include


def test_an_include_is_about_the_page_and_says_what_is_a_match(here: Here, everything: Mapping[str, Json]) -> None:
    asked = [("_include", "Task:focus"), ("_revinclude", "Communication:part-of"), ("_count", "7"), ("_sort", "_id")]
    page = content(here.ask("GET", "Task", asked))
    modes: dict[str, set[str]] = {"match": set(), "include": set()}
    for entry in page["entry"]:
        modes[entry["search"]["mode"]].add(f"{entry['resource']['resourceType']}/{entry['resource']['id']}")
    matches = [everything[place] for place in modes["match"]]
    assert len(matches) == 7
    led = {t for r in matches for t in _targets(here, everything, r, "focus")}
    for message in _of(everything, "Communication"):
        if not modes["match"].isdisjoint(_targets(here, everything, message, "part-of")):
            led.add(f"Communication/{message['id']}")
    assert modes["include"] == led - modes["match"]


ITERATED: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Task", (("_include:iterate", "Task:part-of"), ("_include:iterate", "Task:focus"))),
    ("Task", (("_include", "Task:owner"), ("_include:iterate", "HealthcareService:organization"))),
    ("Communication", (("_include", "Communication:part-of"), ("_include:iterate", "Task:focus"))),
    ("CarePlan", (("_revinclude", "Task:based-on"), ("_include:iterate", "Task:owner"))),
    ("ServiceRequest", (("_revinclude", "Task:focus"), ("_revinclude:iterate", "Task:part-of"))),
)


@pytest.mark.parametrize(("type_", "includes"), ITERATED)
def test_an_iterated_include_goes_on_from_what_was_included(
    here: Here, everything: Mapping[str, Json], type_: str, includes: tuple[tuple[str, str], ...]
) -> None:
    matches = set(sorted(f"{type_}/{r['id']}" for r in _of(everything, type_))[:40])
    found, new = set(matches), set(matches)
    while new:
        led: set[str] = set()
        for asked, include in includes:
            if new == matches or asked.endswith(":iterate"):
                led |= _one_step(here, everything, new, include, reverse=asked.startswith("_rev"))
        new = led - found
        found |= led
    ids = ",".join(place.split("/")[1] for place in matches)
    assert sorted(here.search(type_, [("_id", ids), *includes, ALL])) == sorted(found)


def _one_step(here: Here, everything: Mapping[str, Json], places: set[str], include: str, *, reverse: bool) -> set[str]:
    of, name = include.split(":")
    of_type = {f"{of}/{resource['id']}": resource for resource in _of(everything, of)}
    led = {place: set(_targets(here, everything, resource, name)) for place, resource in of_type.items()}
    if reverse:
        return {place for place, targets in led.items() if not targets.isdisjoint(places)}
    return {target for place, targets in led.items() if place in places for target in targets}


@pytest.mark.parametrize("type_", TYPES)
def test_an_include_that_is_not_declared_is_400_as_a_bad_value(here: Here, type_: str) -> None:
    every = {include for resource in here.declared.values() for include in resource.get("searchInclude", ())}
    mine = set(here.declared[type_].get("searchInclude", ()))
    others = [*sorted(every - mine)[:5], f"{type_}:nonsense", "*", f"{type_}:*", "Encounter:subject", f"{type_}:_id"]
    reverse = [*sorted(every - set(here.declared[type_].get("searchRevInclude", ()))), "*", "Task:nonsense"]
    for asked, values in (("_include", others), ("_revinclude", reverse)):
        for value in values:
            for headers in ({}, {"Prefer": "handling=strict"}):
                issues = outcome(here.ask("GET", type_, [(asked, value)], headers=headers), 400)
                assert issues[0]["code"] == "not-supported", (asked, value)
    for include in sorted(mine)[:1]:
        outcome(here.ask("GET", type_, [("_include", f"{include}:Medication")]), 400)
        outcome(here.ask("GET", type_, [("_include:recurse", include)]), 400)
