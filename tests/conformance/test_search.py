"""What suites of others ask of a search: the same by GET and POST, strict or lenient, values and their forms.

https://hl7.org/fhir/R4/search.html. Each parameter by itself is tried in tests/web and tests/store.
"""

from urllib.parse import quote, urlencode

import pytest
import requests

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.conformance.client import Client, Referral, content, outcome, refer


@pytest.fixture(scope="module")
def two(fhir: Client) -> tuple[Referral, Referral]:
    return refer(fhir), refer(fhir)


def _post(fhir: Client, type_: str, form: str) -> requests.Response:
    media = {"Content-Type": "application/x-www-form-urlencoded"}
    return fhir.post(f"{type_}/_search", form.encode(), media)


def _ids(bundle: Json) -> list[str]:
    return [e["resource"]["id"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]


@pytest.mark.parametrize(
    "query",
    [
        "_id={task}",
        "focus={order}",
        "focus=ServiceRequest/{order}",
        "focus={base}/ServiceRequest/{order}",
        "patient={patient}",
        "patient=Patient/{patient}",
        "status=requested&intent=order",
        "status=requested,received",
        "status=http://hl7.org/fhir/task-status|requested",
        "status:not=cancelled",
        "_lastUpdated=gt2020-01-01&_sort=_lastUpdated",
        "authored-on=ge2020",
    ],
)
def test_get_and_post_find_the_same(fhir: Client, two: tuple[Referral, Referral], query: str) -> None:
    one = two[0]
    patient = one.order["subject"]["reference"].split("/")[1]
    asked = query.format(task=one.task["id"], order=one.order["id"], patient=patient, base=fhir.base)
    got = content(fhir.get(f"Task?{asked}&_count=1000"))
    posted = content(_post(fhir, "Task", f"{asked}&_count=1000"))
    assert validate(got) == []
    assert one.task["id"] in _ids(got)
    assert _ids(got) == _ids(posted)
    assert got["link"] == posted["link"]


@pytest.mark.parametrize("first", ["0001", "0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("last", ["9999", "9999-12-31", "9999-12-31T23:59:59", "9999-12-31T23:59:59.9999999Z"])
def test_the_first_and_last_moment_that_a_client_can_write_leave_an_end_open(
    fhir: Client, two: tuple[Referral, Referral], first: str, last: str
) -> None:
    one = two[0].task["id"]
    for name in ("authored-on", "modified", "_lastUpdated"):
        for lower, upper in (("ge", "le"), ("gt", "lt"), ("sa", "eb")):
            assert fhir.found(f"Task?_id={one}&{name}={lower}{first}&{name}={upper}{last}")
        assert not fhir.found(f"Task?_id={one}&{name}=lt{first}")
        assert not fhir.found(f"Task?_id={one}&{name}=gt{last}")
    history = content(fhir.get(f"Task/{one}/_history?_since={first}"))
    assert history["total"] == 1
    outcome(fhir.get(f"Task?modified=lt{last[:4]}-13-01"), 400)


@pytest.mark.parametrize("form", ["{id}", "ServiceRequest/{id}", "{base}/ServiceRequest/{id}"])
def test_a_reference_is_found_in_each_of_its_forms(fhir: Client, two: tuple[Referral, Referral], form: str) -> None:
    one = two[0]
    asked = form.format(id=one.order["id"], base=fhir.base)
    assert [t["id"] for t in fhir.found(f"Task?focus={asked}")] == [one.task["id"]]


def test_several_values_are_alternatives_and_several_parameters_all_hold(
    fhir: Client, two: tuple[Referral, Referral]
) -> None:
    one, other = two
    either = f"{one.order['id']},{other.order['id']}"
    assert {t["id"] for t in fhir.found(f"Task?focus={either}")} == {one.task["id"], other.task["id"]}
    assert [t["id"] for t in fhir.found(f"Task?focus={either}&_id={other.task['id']}")] == [other.task["id"]]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("eq", True), ("", True), ("ne", False), ("ge", True), ("le", True), ("gt", False), ("lt", False), ("ap", True)],
)
def test_a_day_is_compared_by_its_prefix(
    fhir: Client, two: tuple[Referral, Referral], prefix: str, found: bool
) -> None:
    one = two[0]
    day = one.order["authoredOn"][:10]
    query = f"ServiceRequest?_id={one.order['id']}&authored={prefix}{day}"
    assert bool(fhir.found(query)) is found


@pytest.mark.parametrize("form", ["{system}|{value}", "{value}", "{system}|"])
def test_a_token_is_found_with_and_without_its_system(fhir: Client, two: tuple[Referral, Referral], form: str) -> None:
    one = two[0]
    identifier = one.order["identifier"][0]
    asked = quote(form.format(**identifier))
    found = fhir.found(f"ServiceRequest?identifier={asked}&_count=1000")
    assert one.order["id"] in [order["id"] for order in found]
    other = quote(f"https://elsewhere.example|{identifier['value']}")
    assert fhir.found(f"ServiceRequest?identifier={other}") == []


def test_an_unknown_parameter_is_passed_over_and_told_or_refused_when_strict(
    fhir: Client, two: tuple[Referral, Referral]
) -> None:
    query = f"Task?_id={two[0].task['id']}&colour=blue"
    lenient = content(fhir.get(query))
    assert _ids(lenient) == [two[0].task["id"]]
    assert lenient["entry"][-1]["search"]["mode"] == "outcome"
    assert "colour" not in lenient["link"][0]["url"]
    assert "colour" in outcome(fhir.get(query, {"Prefer": "handling=strict"}), 400)[0]["diagnostics"]


@pytest.mark.parametrize(
    "query",
    ["status:above=x", "authored-on=yesterday", "_count=many", "_sort=nonsense", "_lastUpdated=gtx", "focus=a/b/c/d"],
)
def test_a_modifier_or_value_that_cannot_be_used_is_400(fhir: Client, query: str) -> None:
    outcome(fhir.get(f"Task?{query}"), 400)


def test_count_zero_is_the_total_only(fhir: Client, two: tuple[Referral, Referral]) -> None:
    answer = content(fhir.get("Task?_count=0"))
    assert answer["total"] >= 2
    assert "entry" not in answer


def test_next_is_followed_to_the_end_and_each_is_found_once(fhir: Client, two: tuple[Referral, Referral]) -> None:
    url: str | None = "Task?_count=1&" + urlencode({"focus": ",".join(r.order["id"] for r in two)})
    seen: list[str] = []
    while url:
        page = content(fhir.get(url))
        seen += _ids(page)
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links["next"].removeprefix(f"{fhir.base}/") if "next" in links else None
    assert sorted(seen) == sorted(r.task["id"] for r in two)


def test_what_finds_nothing_is_an_empty_bundle(fhir: Client) -> None:
    answer = content(fhir.get("Task?_id=nobody"))
    assert answer["resourceType"] == "Bundle"
    assert "entry" not in answer
