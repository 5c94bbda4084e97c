"""Each search parameter that the CapabilityStatement declares finds what R4's expression of it finds in all that is
stored, told in plain Python; each other one of R4 is passed over in words, or refused where that is asked for.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from fhir_mappings.records import Json
from tests.conformance.client import content, outcome
from tests.conformance.declared.asked import MODIFIERS, OF_R4, PREFIXES, Asked, asked_of
from tests.conformance.declared.here import Here
from tests.store import plain_search

STRICT = {"Prefer": "handling=strict"}
TYPES = sorted(SUPPORTED_TYPES)
_COLUMNS = ("_id", "_lastUpdated")
RESULT_PARAMETERS = ("_has:Task:focus:status", "_list", "_filter", "_type", "_contained", "_containedType", "_score")
"""Of R4's own parameters those that nothing here knows."""


def _declared(here: Here, type_: str) -> Iterator[str]:
    for parameter in here.declared[type_]["searchParam"]:
        name = parameter["name"]
        if name in _COLUMNS:
            continue
        assert name in plain_search.DEFINED[type_], f"{name} of {type_} is none of R4's"
        assert parameter["type"] == plain_search.DEFINED[type_][name][0]
        assert plain_search.DEFINED[type_][name][1], f"{name} of {type_} has no expression to compare with"
        yield name


def _asked(here: Here, resources: Sequence[Json], name: str) -> list[Asked]:
    kind, _, *targets = plain_search.DEFINED[resources[0]["resourceType"]][name]
    each = {json.dumps(e, default=str): e for r in resources for e in here.elements(r, name)}
    return list(dict.fromkeys(asked_of(kind, list(each.values()), targets, here.base)))


@pytest.mark.parametrize("type_", TYPES)
def test_every_declared_parameter_finds_what_its_definition_says(here: Here, type_: str) -> None:
    resources = list(here.stored(type_).values())
    wrong, discerning = [], set()
    for name in _declared(here, type_):
        for turn, (modifier, value) in enumerate(_asked(here, resources, name)):
            wanted = here.matching(resources, name, modifier, value.replace(f"{here.base}/", ""))
            asked = (f"{name}:{modifier}" if modifier else name, value)
            # every seventh in several pages, every fifth by POST
            size = str(max(1, len(wanted) // 3)) if turn % 7 == 3 else "1000"
            found = here.search(type_, [asked, ("_count", size)], post=turn % 5 == 2)
            if sorted(found) != sorted(f"{type_}/{id_}" for id_ in wanted):
                wrong.append((asked, sorted({f.split("/")[1] for f in found} ^ wanted)[:3], len(found), len(wanted)))
            if 0 < len(wanted) < len(resources):
                discerning.add(name)
    assert not wrong, wrong[:20]
    assert set(_declared(here, type_)) - discerning == set(), "of these nothing here tells whether they work"


def test_so_do_the_parameters_of_the_record_with_all_that_they_know(here: Here) -> None:
    entries = content(here.ask("GET", "AuditEvent", [("_count", "200")]))["entry"]
    events = [entry["resource"] for entry in entries]
    until = ("_lastUpdated", f"le{events[-1]['meta']['lastUpdated']}")  # each search makes another
    wrong, discerning = [], set()
    for name in _declared(here, "AuditEvent"):
        for turn, (modifier, value) in enumerate(_asked(here, events, name)):
            if name == "patient" and (modifier == "missing" or "r-1" in value):
                continue  # by R4's expression whatever is named without its type, as requests are, may be a patient
            wanted = here.matching(events, name, modifier, value.replace(f"{here.base}/", ""))
            asked = (f"{name}:{modifier}" if modifier else name, value)
            size = str(max(1, len(wanted) // 2)) if turn % 7 == 3 else "1000"
            found = here.search("AuditEvent", [asked, until, ("_count", size)], post=turn % 5 == 2)
            if sorted(found) != sorted(f"AuditEvent/{id_}" for id_ in wanted):
                wrong.append((asked, sorted({f.split("/")[1] for f in found} ^ wanted)[:3], len(found), len(wanted)))
            if 0 < len(wanted) < len(events):
                discerning.add(name)
    assert not wrong, wrong[:20]
    of_all = {"agent", "source", "_tag", "_security", "_profile", "_source"}
    assert set(_declared(here, "AuditEvent")) - discerning <= of_all, "of these nothing here tells whether they work"


MOST = 20
"""Values of one parameter that are asked for, where a type has many."""


def test_so_do_the_parameters_of_types_that_are_kept_apart(here: Here) -> None:
    for type_ in here.apart:
        known = here.stored(type_)
        for name in _declared(here, type_):
            asked = [one for one in _asked(here, list(known.values()), name) if not one[0]]
            for modifier, value in asked[:: 1 + len(asked) // MOST]:  # the record has hundreds of values
                wanted = here.matching(known.values(), name, modifier, value.replace(f"{here.base}/", ""))
                found = {place.split("/")[1] for place in here.search(type_, [(name, value), ("_count", "1000")])}
                assert found & known.keys() == wanted, (type_, name, value)


@pytest.mark.parametrize("modifier", ["not", "missing", "exact", "nonsense"])
def test_no_modifier_of_theirs_is_passed_over(here: Here, modifier: str) -> None:
    for name in [parameter["name"] for parameter in here.declared["Subscription"]["searchParam"]]:
        issues = outcome(here.ask("GET", "Subscription", [(f"{name}:{modifier}", "true")]), 400)
        assert issues[0]["code"] == "not-supported"


@pytest.mark.parametrize("type_", TYPES)
def test_ids_and_ages_find_what_is_stored(here: Here, type_: str) -> None:
    resources = here.stored(type_)
    declared = {parameter["name"] for parameter in here.declared[type_]["searchParam"]}
    assert declared >= set(_COLUMNS)
    one, other, *_ = sorted(resources)
    stamps = sorted(r["meta"]["lastUpdated"] for r in resources.values())
    middle = stamps[len(stamps) // 2]
    ages = {id_: r["meta"]["lastUpdated"] for id_, r in resources.items()}

    def ids(*parameters: tuple[str, str]) -> list[str]:
        return sorted(found.split("/")[1] for found in here.search(type_, [*parameters, ("_count", "1000")]))

    assert ids(("_id", one)) == [one]
    assert ids(("_id", f"{one},{other},nobody")) == sorted([one, other])
    assert ids(("_id", one), ("_id", other)) == []
    for prefix, wanted in (
        ("gt", {i for i, age in ages.items() if age > middle}),
        ("ge", {i for i, age in ages.items() if age >= middle}),
        ("lt", {i for i, age in ages.items() if age < middle}),
        ("le", {i for i, age in ages.items() if age <= middle}),
        ("eq", {i for i, age in ages.items() if age == middle}),
        ("ne", {i for i, age in ages.items() if age != middle}),
    ):
        assert ids(("_lastUpdated", f"{prefix}{middle}")) == sorted(wanted), prefix
    ends = [id_ for id_, age in ages.items() if age in (stamps[0], stamps[-1])]
    assert ids(("_lastUpdated", f"le{stamps[0]},ge{stamps[-1]}")) == sorted(ends)
    day = [(prefix, len(ids(("_lastUpdated", prefix + middle[:4])))) for prefix in PREFIXES]
    assert dict(day)["eq"] + dict(day)["ne"] == len(resources)


@pytest.mark.parametrize("type_", TYPES)
def test_several_parameters_all_hold(here: Here, type_: str) -> None:
    resources = list(here.stored(type_).values())
    pairs = []
    for name in _declared(here, type_):
        some = [a for a in _asked(here, resources, name) if a[0] in ("", "not", "exact") and "none" not in a[1]]
        pairs += [(name, *asked) for asked in islice(some, 1)]
    for (name, modifier, value), (name_2, modifier_2, value_2) in pairwise(pairs):
        first = here.matching(resources, name, modifier, value.replace(f"{here.base}/", ""))
        wanted = first & here.matching(resources, name_2, modifier_2, value_2.replace(f"{here.base}/", ""))
        asked = [(f"{n}:{m}" if m else n, v) for n, m, v in ((name, modifier, value), (name_2, modifier_2, value_2))]
        found = here.search(type_, [*asked, ("_count", "1000")])
        assert sorted(found) == sorted(f"{type_}/{id_}" for id_ in wanted), asked


@pytest.mark.parametrize("type_", TYPES)
def test_a_modifier_that_does_not_work_is_400_never_passed_over(here: Here, type_: str) -> None:
    wrong = []
    for turn, name in enumerate((*_declared(here, type_), *_COLUMNS)):
        kind, _, *targets = plain_search.DEFINED[type_].get(name, ["", ""])
        works = MODIFIERS.get(kind, set())
        # a third of them for each, so that every kind has all
        for modifier in sorted(OF_R4 | {"nonsense", "Medication"})[turn % 3 :: 3]:
            if modifier in works or (kind == "reference" and modifier in targets):
                continue
            answer = here.ask("GET", type_, [(f"{name}:{modifier}", "x")])
            if answer.status_code != 400 or outcome(answer, 400)[0]["code"] != "not-supported":
                wrong.append((name, modifier, answer.status_code))
    assert not wrong, wrong


@pytest.mark.parametrize("type_", [*TYPES, "Subscription"])
def test_a_parameter_of_r4_that_is_not_declared_is_passed_over_in_words_or_400_when_strict(
    here: Here, type_: str
) -> None:
    declared = {parameter["name"] for parameter in here.declared[type_]["searchParam"]}
    undeclared = [*sorted(plain_search.DEFINED[type_].keys() - declared), *RESULT_PARAMETERS]
    everything = {f"{type_}/{id_}" for id_ in here.stored(type_)}
    for name in undeclared:
        answer = here.ask("GET", type_, [(name, "x"), ("_count", "1000")])
        told = content(answer)
        shown = [e for e in told["entry"] if e["search"]["mode"] == "match"]
        outcomes = [e["resource"] for e in told["entry"] if e["search"]["mode"] == "outcome"]
        assert {f"{type_}/{e['resource']['id']}" for e in shown} == everything, name
        assert [name in o["issue"][0]["diagnostics"] for o in outcomes] == [True], name
        assert outcomes[0]["issue"][0]["severity"] == "warning"
        assert name not in told["link"][0]["url"], "self says what was used"
        issues = outcome(here.ask("GET", type_, [(name, "x")], headers=STRICT), 400)
        assert issues[0]["code"] == "not-supported"
        assert name in issues[0]["diagnostics"]


BAD = {
    "date": ("yesterday", "2026-13-01", "xx2026", "2026-11-23T25:00", ""),
    "quantity": ("many", "5.4|x", "xx5", "1e999"),
    "reference": ("a/b/c", "Task?x=1", "http"),
    "token": ("a|b|c", "|"),
}


@pytest.mark.parametrize("type_", TYPES)
def test_a_value_that_is_none_of_the_parameters_kind_is_400(here: Here, type_: str) -> None:
    for name in _declared(here, type_):
        kind = plain_search.DEFINED[type_][name][0]
        canonical = any(isinstance(e, str) for r in here.stored(type_).values() for e in here.elements(r, name))
        for value in () if kind == "reference" and canonical else BAD.get(kind, ()):
            answer = here.ask("GET", type_, [(name, value)])
            if value == "" or (kind, value) == ("reference", "http"):
                assert answer.status_code == 200, (name, value)
            else:
                assert outcome(answer, 400)[0]["code"] == "value", (name, value)
        outcome(here.ask("GET", type_, [(f"{name}:missing", "perhaps")]), 400)


@pytest.mark.parametrize("type_", ["Task", "Communication", "ServiceRequest"])
def test_an_answer_is_valid_and_says_what_was_asked(here: Here, type_: str) -> None:
    made_up = "one,two,three"
    asked = [("_id:not", made_up)]
    outcome(here.ask("GET", type_, asked), 400)
    real = [id_ for id_, resource in here.stored(type_).items() if validate(resource) == []][:20]
    parameters = [("_id", ",".join(real)), ("status:not", "nonsense"), ("_count", "50"), ("_total", "accurate")]
    told = content(here.ask("GET", type_, parameters))
    assert validate(told) == []
    assert told["total"] == len(real)
    assert [link["relation"] for link in told["link"]] == ["self"]
    assert "status%3Anot=nonsense" in told["link"][0]["url"]
    assert [e["fullUrl"] for e in told["entry"]] == [
        f"{here.base}/{type_}/{e['resource']['id']}" for e in told["entry"]
    ]
