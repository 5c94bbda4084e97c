"""Bodies of a megabyte that are made to cost much: each is answered, in a few seconds at most, in a short answer."""

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from fhir_mappings.issues import MOST_TOLD
from fhir_mappings.records import Json
from service.web.bundles import MOST_SEARCHED
from service.web.hooks import MOST_DRAFTS
from tests.web.caller import Sluss, bundle, content, issues, order_in, plain, single

Rows = Callable[[], dict[str, int]]
JSON = {"Content-Type": "application/json"}

MOST_SECONDS = 8.0
"""Processor time of one megabyte, some four times of what it is; what grows by the square takes minutes."""
MOST_BYTES = 1_000_000
"""Of an answer: never more than what was sent."""


def url(number: int) -> str:
    return f"urn:uuid:{number:08d}-0000-4000-8000-000000000001"


def entry(number: int, resource: Json) -> Json:
    return {
        "fullUrl": url(number),
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def observation(**more: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def _with_entries(count: int, **more: Any) -> Json:
    sent = bundle()
    subject = {"reference": sent["entry"][0]["fullUrl"]}
    sent["entry"] += [entry(number, observation(subject=subject, **more)) for number in range(count)]
    return sent


def _ordered(**more: Any) -> Json:
    return bundle(change=lambda order: order.update(more))


def _questionnaire(item: list[Json]) -> Json:
    sent = bundle()
    for one in sent["entry"]:
        if one["resource"]["resourceType"] == "QuestionnaireResponse":
            one["resource"]["item"] = item
    return sent


def _full_urls(make: Callable[[int], str], text: str) -> Json:
    """Many names for entries, and a text in which each of them might stand."""
    sent = _with_entries(180)
    for number, one in enumerate(sent["entry"][-180:]):
        one["fullUrl"] = make(number)
    order_in(sent)["note"] = [{"text": text}]
    return sent


def _chain() -> Json:
    """Each refers to the next."""
    sent = _with_entries(190)
    for number, one in enumerate(sent["entry"][-190:]):
        one["resource"]["derivedFrom"] = [{"reference": url((number + 1) % 190)}]
    return sent


def _contained(count: int, *, referred: bool) -> Json:
    inner = [observation(id=f"o{number}") for number in range(count)]
    return _ordered(
        contained=inner,
        supportingInfo=[{"reference": f"#o{number}"} for number in range(count if referred else 1)],
    )


BOMBS: dict[str, Callable[[], Json]] = {
    "201 entries": lambda: _with_entries(200),
    "190 entries beside a referral": lambda: _with_entries(190),
    "entries that all refer to each other": lambda: _with_entries(
        60, derivedFrom=[{"reference": url(number)} for number in range(60)]
    ),
    "entries in a circle": _chain,
    "a reference of 900,000 characters": lambda: _ordered(supportingInfo=[{"reference": "http://x/" + "a" * 900_000}]),
    "25,000 references to nothing": lambda: _ordered(
        supportingInfo=[{"reference": f"Observation/{n}"} for n in range(25_000)]
    ),
    "20,000 references to the same": lambda: _ordered(supportingInfo=[{"reference": "Observation/1"}] * 20_000),
    "15,000 references that are searches": lambda: _ordered(
        supportingInfo=[{"reference": f"Observation?code=x{n}"} for n in range(15_000)]
    ),
    "15,000 absolute references": lambda: _ordered(
        supportingInfo=[{"reference": f"http://x.example/Observation/{n}"} for n in range(15_000)]
    ),
    "fullUrls that begin alike": lambda: _full_urls(
        lambda n: "http://x.example/" + "a" * 1000 + str(n), "http://x.example/" + "a" * 400_000
    ),
    "fullUrls that repeat themselves": lambda: _full_urls(lambda n: "a:" * (400 + n) + "b", "a:" * 200_000),
    "fullUrls of one letter": lambda: _full_urls(lambda n: "a" * (n + 1), "a" * 900_000),
    "10,000 contained resources": lambda: _contained(9_000, referred=False),
    "6,000 contained resources that are referred to": lambda: _contained(6_000, referred=True),
    "30,000 items, twice": lambda: _questionnaire([{"linkId": "x"}] * 30_000),
    "13,000 answers, twice": lambda: _questionnaire([{"linkId": "item-1", "answer": [{"valueInteger": 1}] * 13_000}]),
    "60,000 notes": lambda: _ordered(note=[{"text": "x"}] * 50_000),
    "40,000 elements that do not exist": lambda: {**single(), **{f"nonsense{n}": 1 for n in range(40_000)}},
    "200,000 nulls": lambda: single(note=[None] * 190_000),
    "a code of 900,000 characters": lambda: single(status="a" * 900_000),
    "an OID without end": lambda: single(instantiatesUri=["urn:oid:1" + ".1" * 450_000 + "x"]),
    "a time of 900,000 digits": lambda: single(authoredOn="2026-11-20T10:00:00." + "1" * 900_000 + "Z"),
    "a narrative nested 100,000 times": lambda: single(
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "<b>" * 100_000 + "x" + "</b>" * 100_000 + "</div>",
        }
    ),
    "a narrative of links": lambda: single(
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">x' + "<a href='urn:x'>x</a>" * 40_000 + "</div>",
        }
    ),
}


@pytest.mark.parametrize("what", list(BOMBS))
def test_a_megabyte_made_to_cost_much_is_answered_soon_and_in_short(sluss: Sluss, what: str) -> None:
    body = json.dumps(BOMBS[what](), separators=(",", ":"))
    assert len(body) <= 1_000_000, len(body)
    path = "/fhir" if body.startswith('{"resourceType":"Bundle"') else "/fhir/ServiceRequest"
    for target in (path, "/fhir/ServiceRequest/$assess"):
        began = time.process_time()
        answer = sluss.post(target, body)
        took = time.process_time() - began
        assert answer.status_code in (200, 201, 400, 412, 413, 422), answer.text[:500]
        assert took < MOST_SECONDS, took
        assert len(answer.data) < MOST_BYTES, len(answer.data)


UNREADABLE: dict[str, bytes] = {
    "a property 150,000 times": b"{" + b'"a":1,' * 150_000 + b'"b":2}',
    "40,000 properties twice": b"{" + b",".join(b'"a%d":1,"a%d":1' % (n, n) for n in range(40_000)) + b"}",
    "90,000 lone surrogates": b'{"a":[' + b",".join([b'"\\ud800"'] * 90_000) + b"]}",
    "300,000 empty objects": b'{"a":[' + b",".join([b"{}"] * 300_000) + b"]}",
    "500,000 levels": b"[" * 500_000,
    "a number of 900,000 digits": b'{"a":' + b"9" * 900_000 + b"}",
    "90,000 numbers of 100 digits": b'{"a":[' + b",".join([b"9" * 100] * 9_000) + b"]}",
    "900,000 escapes": b'{"a":"' + b"\\u0041" * 150_000 + b'"}',
}


@pytest.mark.parametrize("what", list(UNREADABLE))
@pytest.mark.parametrize("path", ["/fhir", "/intake/referrals", "/cds-services/ikbt-order-sign"])
def test_json_made_to_cost_much_is_refused_soon_and_in_short(sluss: Sluss, what: str, path: str) -> None:
    began = time.process_time()
    answer = sluss.post(path, UNREADABLE[what], JSON)
    assert time.process_time() - began < MOST_SECONDS
    assert answer.status_code in (400, 422)
    assert len(answer.data) < MOST_BYTES


def test_plain_json_with_very_many_fields_is_refused_soon_and_in_short(sluss: Sluss) -> None:
    sent = plain(
        **{f"field{n}": 1 for n in range(50_000)}, diagnoses=["x"] * 10, answers={f"q{n}": 1 for n in range(9)}
    )
    began = time.process_time()
    answer = sluss.post("/intake/referrals", sent, JSON)
    assert time.process_time() - began < MOST_SECONDS
    assert answer.status_code == 422
    assert len(content(answer)["errors"]) == MOST_TOLD + 1


def test_of_very_many_problems_the_first_are_told_and_that_there_are_more(sluss: Sluss) -> None:
    told = issues(sluss.post("/fhir/ServiceRequest", single(note=[None] * 10_000)))
    assert len(told) == MOST_TOLD + 1
    assert told[-1]["code"] == "too-costly"
    assert "more problems" in told[-1]["diagnostics"]


def test_a_batch_with_more_problems_than_are_told_is_refused_as_a_whole(sluss: Sluss, rows: Callable[[], Any]) -> None:
    """An entry whose problems are not among the first must not pass for sound."""
    bad = {"resource": single(note=[None] * (MOST_TOLD + 10)), "request": {"method": "POST", "url": "ServiceRequest"}}
    also = {"resource": single("R-2", nonsense=1), "request": {"method": "POST", "url": "ServiceRequest"}}
    before = rows()
    answer = sluss.post("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [bad, also]})
    assert answer.status_code == 400
    assert rows() == before


def test_a_transaction_asks_at_most_so_many_searches_by_its_references(sluss: Sluss, rows: Rows) -> None:
    def sent(count: int) -> Json:
        return _ordered(supportingInfo=[{"reference": f"Observation?code=x{n}"} for n in range(count)])

    before = rows()
    assert sluss.post("/fhir", sent(MOST_SEARCHED)).status_code == 412, "looked for, and not found"
    answer = sluss.post("/fhir", sent(MOST_SEARCHED + 1))
    assert answer.status_code == 413
    assert issues(answer)[0]["code"] == "too-costly"
    task = {"resource": {"resourceType": "Task"}, "request": {"method": "GET", "url": "Task?_count=0"}}
    apart = sent(MOST_SEARCHED + 1)
    apart["entry"].append({"request": task["request"]})
    assert sluss.post("/fhir", apart).status_code == 413, "in a transaction that reads as well"
    assert rows() == before


def test_a_hook_judges_at_most_so_many_drafts(sluss: Sluss) -> None:
    def call(count: int) -> Json:
        drafts = [{"resource": copy.deepcopy(single(f"R-{n}"))} for n in range(count)]
        return {
            "hook": "order-sign",
            "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
            "context": {
                "userId": "PractitionerRole/1",
                "patientId": "1",
                "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": drafts},
            },
        }

    assert sluss.post("/cds-services/ikbt-order-sign", call(MOST_DRAFTS), JSON).status_code == 200
    assert sluss.post("/cds-services/ikbt-order-sign", call(MOST_DRAFTS + 1), JSON).status_code == 413


@pytest.mark.parametrize("reference", ["http://[", "https://[::1", "HTTP://[x]/Observation/1", "http://]/"])
def test_a_reference_or_full_url_that_is_no_sound_url_is_kept_as_any_other(sluss: Sluss, reference: str) -> None:
    answer = sluss.post("/fhir", _ordered(supportingInfo=[{"reference": reference}]))
    assert answer.status_code == 200, answer.text
    sent = bundle("R-2")
    sent["entry"].append({**entry(1, observation()), "fullUrl": reference})
    assert sluss.post("/fhir", sent).status_code == 200


def test_a_patch_made_to_cost_much_is_refused_soon(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    patch = {"Content-Type": "application/json-patch+json"}
    costly: list[Any] = [
        [{"op": "copy", "from": "/note", "path": "/note/-"}] * 200,
        [{"op": "add", "path": "/note/-", "value": {"text": "x" * 4_000}}] * 200
        + [{"op": "copy", "from": "/note", "path": "/note/0/extension"}],
        [{"op": "remove", "path": "/a" * 400_000}],
        [{"op": "add", "path": "/note/" + "9" * 100_000, "value": 1}],
        [{"op": "test", "path": "", "value": {"x" * 9: list(range(100_000))}}],
        [{"op": "add", "path": "/x", "value": {}}] * 201,
    ]
    for operations in costly:
        began = time.process_time()
        answer = sluss.call("PATCH", f"/fhir/Task/{task['id']}", json.dumps(operations), patch)
        assert time.process_time() - began < MOST_SECONDS
        assert answer.status_code in (400, 409, 413, 422), answer.text[:300]
        assert len(answer.data) < MOST_BYTES
    assert sluss.read(f"Task/{task['id']}") == task


def test_patches_cannot_make_a_resource_larger_than_a_body_may_be(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    patch = {"Content-Type": "application/json-patch+json"}
    more = json.dumps([{"op": "add", "path": "/note/-", "value": {"text": "x" * 600_000}}])
    assert sluss.call("PATCH", f"/fhir/Task/{task['id']}", more, patch).status_code == 200
    answer = sluss.call("PATCH", f"/fhir/Task/{task['id']}", more, patch)
    assert answer.status_code == 422
    assert issues(answer)[0]["code"] == "too-costly"
