"""The CapabilityStatement says what works: everything in it does, and what is not in it does not (contract 2)."""

from collections.abc import Iterator

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.settings import Settings
from service.web.capability import capability_statement
from service.web.record import described
from tests.web.caller import FHIR, Sluss, content, issues, single

STATEMENT = capability_statement(Canonical(Settings().canonical_base), "http://localhost/fhir")
(REST,) = STATEMENT["rest"]
RESOURCES: list[Json] = REST["resource"]
TYPES = [resource["type"] for resource in RESOURCES]
CODES = {resource["type"]: {i["code"] for i in resource["interaction"]} for resource in RESOURCES}
READING = {"read", "vread", "history-instance", "history-type", "search-type"}
EVERY_INTERACTION = {*READING, "create", "update", "patch", "delete"}

VALUES = {
    "token": ["x", "http://example.org/s|x", "|x", "http://example.org/s|"],
    "reference": ["Patient/1", "1", "http://localhost/fhir/Patient/1"],
    "date": ["2026", "ge2026-11-23", "lt2026-11-23T10:00:00Z", "ap2026-11", "sa2026-11-23T10:00:00.123456+01:00"],
    "string": ["x", "å"],
    "uri": ["https://sluss.example/fhir/x"],
    "quantity": ["20", "ge20", "5.40", "le1e2|http://unitsofmeasure.org|{score}", "20||{score}"],
}
MODIFIERS = {
    "token": {"not", "missing"},
    "reference": {"identifier", "missing"},
    "date": {"missing"},
    "string": {"exact", "contains", "missing"},
    "uri": {"missing"},
    "quantity": {"missing"},
}


def _parameters() -> Iterator[tuple[str, str, str]]:
    for resource in RESOURCES:
        for parameter in resource["searchParam"]:
            yield resource["type"], parameter["name"], parameter["type"]


def _lacks(type_: str, name: str) -> set[str]:
    """A reference that is a URL has no identifier beside it."""
    from service.store.search_parameters import BY_TYPE, Shape

    return {"identifier"} if BY_TYPE[type_][name].shape is Shape.CANONICAL else set()


def _target(type_: str, name: str) -> str:
    from service.store.search_parameters import BY_TYPE

    return BY_TYPE[type_][name].targets[0]


def test_it_is_valid_r4_and_says_which_version_and_format() -> None:
    assert validate(STATEMENT) == []
    assert STATEMENT["fhirVersion"] == "4.0.1"
    assert STATEMENT["kind"] == "instance"
    assert set(STATEMENT["format"]) == {"json", FHIR}
    assert STATEMENT["status"] == "active"


def test_metadata_answers_with_it(sluss: Sluss) -> None:
    answer = sluss.get("/fhir/metadata")
    assert answer.status_code == 200
    told = content(answer)
    record = told["rest"][0]["resource"].pop()
    assert told == STATEMENT
    assert record == described()


@pytest.fixture
def stored(sluss: Sluss) -> dict[str, Json]:
    """One resource of each type that a referral and the pack leave behind."""
    told = sluss.refer()
    task = told["task"]
    accepted = sluss.acting("therapist gavle").put(f"/fhir/Task/{task['id']}", {**task, "status": "accepted"})
    assert accepted.status_code == 200, accepted.text
    order = f"/fhir/{task['focus']['reference']}"
    amended = sluss.put(order, {**content(sluss.get(order)), "note": [{"text": "Nås bäst efter klockan 15."}]})
    assert amended.status_code == 200, amended.text
    return {type_: found[0] for type_ in TYPES if (found := sluss.search(type_))}


def test_every_declared_interaction_works_on_every_type(sluss: Sluss, stored: dict[str, Json]) -> None:
    assert set(stored) == set(TYPES)
    for type_, resource in stored.items():
        place = f"/fhir/{type_}/{resource['id']}"
        assert CODES[type_] >= READING
        assert content(sluss.get(place)) == resource
        assert content(sluss.get(f"{place}/_history/{resource['meta']['versionId']}")) == resource
        assert content(sluss.get(f"{place}/_history"))["total"] >= 1
        assert content(sluss.get(f"/fhir/{type_}/_history"))["type"] == "history"
        assert sluss.get(f"/fhir/{type_}").status_code == 200
        # a body that is not even R4 gets as far as being read where the interaction exists, and no further
        empty = {"resourceType": type_, "id": resource["id"], "nonsense": 1}
        assert sluss.post(f"/fhir/{type_}", empty).status_code == (400 if "create" in CODES[type_] else 405)
        assert sluss.put(place, empty).status_code == (400 if "update" in CODES[type_] else 405)
        patch = sluss.call("PATCH", place, "{}", {"Content-Type": STATEMENT["patchFormat"][0]})
        assert patch.status_code == (400 if "patch" in CODES[type_] else 405)


def test_every_undeclared_interaction_is_405_and_allow_says_what_is_declared(
    sluss: Sluss, stored: dict[str, Json]
) -> None:
    for type_, resource in stored.items():
        place = f"/fhir/{type_}/{resource['id']}"
        for method, code in (("DELETE", "delete"), ("PATCH", "patch"), ("PUT", "update")):
            if code in CODES[type_]:
                continue
            media = {"Content-Type": STATEMENT["patchFormat"][0]} if method == "PATCH" else {}
            answer = sluss.call(method, place, {"resourceType": type_, "id": resource["id"]}, media)
            assert answer.status_code == 405
            assert ("PUT" in answer.headers["Allow"]) == ("update" in CODES[type_])
        assert CODES[type_] <= EVERY_INTERACTION - {"delete"}


@pytest.mark.parametrize(("type_", "name", "kind"), list(_parameters()))
def test_every_declared_parameter_is_searched_by(sluss: Sluss, type_: str, name: str, kind: str) -> None:
    strict = {"Prefer": "handling=strict"}
    values = VALUES[kind]
    if kind == "reference":
        values = [value.replace("Patient", _target(type_, name)) for value in values]
    for value in values:
        answer = sluss.get(f"/fhir/{type_}", strict, query_string={name: value})
        assert answer.status_code == 200, (value, answer.text)
        assert [parameter for parameter, _ in _asked(answer)] == [name]
    modifiers = set() if name in ("_id", "_lastUpdated") else MODIFIERS[kind] - _lacks(type_, name)
    for modifier in modifiers:
        value = {"missing": "true", "identifier": "http://example.org/s|x"}.get(modifier, "x")
        assert sluss.get(f"/fhir/{type_}", strict, query_string={f"{name}:{modifier}": value}).status_code == 200
    for modifier in {"above", "below", "in", "not-in", "text", "of-type", "nonsense", "not", "exact"} - modifiers:
        answer = sluss.get(f"/fhir/{type_}", query_string={f"{name}:{modifier}": "x"})
        assert answer.status_code == 400, modifier
        assert issues(answer)[0]["code"] == "not-supported"


def _asked(answer: object) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl, urlsplit

    link = content(answer)["link"][0]  # type: ignore[arg-type]  # a TestResponse
    assert link["relation"] == "self"
    return parse_qsl(urlsplit(link["url"]).query)


def test_every_declared_parameter_finds_what_has_its_value(sluss: Sluss, stored: dict[str, Json]) -> None:
    for type_, name, kind in _parameters():
        if name.startswith("_") or kind != "reference":
            continue
        present = sluss.search(f"{type_}?{name}:missing=false&_count=1000")
        absent = sluss.search(f"{type_}?{name}:missing=true&_count=1000")
        everything = sluss.search(f"{type_}?_count=1000")
        assert len(present) + len(absent) == len(everything), (type_, name)


@pytest.mark.parametrize("type_", TYPES)
def test_an_undeclared_parameter_is_passed_over_and_told(sluss: Sluss, type_: str) -> None:
    answer = content(sluss.get(f"/fhir/{type_}?favourite-colour=blue&_has:Task:x=1&_content=y"))
    assert validate(answer) == []
    (told,) = [entry for entry in answer["entry"] if entry["search"]["mode"] == "outcome"]
    assert "fullUrl" not in told
    assert len(told["resource"]["issue"]) == 3
    assert "favourite-colour" in told["resource"]["issue"][0]["diagnostics"]
    assert answer["link"][0]["url"] == f"http://localhost/fhir/{type_}"


@pytest.mark.parametrize("type_", TYPES)
def test_an_undeclared_parameter_is_refused_for_who_wants_strict_handling(sluss: Sluss, type_: str) -> None:
    answer = sluss.get(f"/fhir/{type_}?favourite-colour=blue", {"Prefer": "handling=strict"})
    assert answer.status_code == 400
    assert "favourite-colour" in issues(answer)[0]["diagnostics"]


@pytest.mark.parametrize("type_", TYPES)
def test_declared_includes_work_and_others_are_refused(sluss: Sluss, type_: str) -> None:
    (resource,) = [r for r in RESOURCES if r["type"] == type_]
    declared = resource.get("searchInclude", [])
    references = [f"{type_}:{p['name']}" for p in resource["searchParam"] if p["type"] == "reference"]
    assert declared == references
    for include in declared:
        assert sluss.get(f"/fhir/{type_}?_include={include}").status_code == 200
    other = "Task" if type_ != "Task" else "Communication"
    for include in (f"{type_}:nonsense", f"{other}:subject", f"{type_}:_id", "*", f"{type_}:*", ""):
        answer = sluss.get(f"/fhir/{type_}?_include={include}", {"Prefer": "handling=strict"})
        assert answer.status_code == (400 if include else 200), include


@pytest.mark.parametrize("type_", TYPES)
def test_declared_reverse_includes_work_and_others_are_refused(sluss: Sluss, type_: str) -> None:
    (resource,) = [r for r in RESOURCES if r["type"] == type_]
    declared = resource.get("searchRevInclude", [])
    every = {include for r in RESOURCES for include in r.get("searchInclude", ())}
    assert set(declared) <= every
    for include in declared:
        answer = sluss.get(f"/fhir/{type_}?_revinclude={include}", {"Prefer": "handling=strict"})
        assert answer.status_code == 200, (include, answer.text)
    for include in every - set(declared):
        answer = sluss.get(f"/fhir/{type_}?_revinclude={include}", {"Prefer": "handling=strict"})
        assert answer.status_code == 400, include


def test_every_parameter_names_its_definition_and_every_profiled_type_its_profile() -> None:
    for resource in RESOURCES:
        for parameter in resource["searchParam"]:
            assert parameter["definition"].startswith("http://hl7.org/fhir/SearchParameter/")
            assert parameter["definition"].endswith(f"-{parameter['name'].removeprefix('_')}")
    profiles = {r["type"]: r["supportedProfile"] for r in RESOURCES if "supportedProfile" in r}
    assert profiles.pop("Task") == ["https://sluss.example/fhir/StructureDefinition/ikbt-referral-task"]
    assert "Patient" in profiles


def test_an_include_brings_what_is_referred_to_once_and_says_why_it_is_there(
    sluss: Sluss, stored: dict[str, Json]
) -> None:
    answer = content(sluss.get("/fhir/Task?_include=Task:focus&_include=Task:patient&_include=Task:owner"))
    assert validate(answer) == []
    modes = {(e["resource"]["resourceType"], e["search"]["mode"]) for e in answer["entry"]}
    assert modes == {
        ("Task", "match"),
        ("ServiceRequest", "include"),
        ("Patient", "include"),
        ("HealthcareService", "include"),
    }
    assert len({e["fullUrl"] for e in answer["entry"]}) == len(answer["entry"])


def test_conditions_are_declared_where_they_work(sluss: Sluss, stored: dict[str, Json]) -> None:
    for resource in RESOURCES:
        type_ = resource["type"]
        assert resource["conditionalCreate"] is ("create" in CODES[type_])
        assert resource["conditionalUpdate"] is ("update" in CODES[type_])
        assert resource["updateCreate"] is False
        assert resource["conditionalRead"] == "full-support"
        assert resource["conditionalDelete"] == "not-supported"
        place = f"/fhir/{type_}/{stored[type_]['id']}"
        assert sluss.get(place, {"If-None-Match": f'W/"{stored[type_]["meta"]["versionId"]}"'}).status_code == 304
        # a search that is none gets as far as being read where conditions are known
        empty = {"resourceType": type_, "nonsense": 1}
        assert sluss.put(f"/fhir/{type_}?_id=x", empty).status_code == (400 if "update" in CODES[type_] else 405)
        assert sluss.call("DELETE", f"/fhir/{type_}?_id=x").status_code == 405


def test_what_is_declared_for_the_whole_server_works(sluss: Sluss) -> None:
    assert [i["code"] for i in REST["interaction"]] == ["transaction", "batch"]
    sluss.refer()
    operations = {o["name"]: r["type"] for r in RESOURCES for o in r.get("operation", ())}
    assert operations == {"assess": "ServiceRequest", "extract": "QuestionnaireResponse"}
    assert sluss.post("/fhir/ServiceRequest/$assess", single()).status_code == 200
    for undeclared in ("/fhir/Task/$assess", "/fhir/Task/$extract", "/fhir/$validate"):
        assert sluss.post(undeclared, single()).status_code in (404, 405)
    assert sluss.get("/fhir/_history").status_code == 404
