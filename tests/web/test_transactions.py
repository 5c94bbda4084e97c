"""POST of a Bundle: a referral and nothing else; whatever else is sent is refused in words (contract 2, 3)."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.web.caller import Sluss, bundle, content, issues, order_in, places, single

Rows = Callable[[], dict[str, int]]

ENCOUNTER = {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}}


def _entry(resource: Json | None, method: str, url: str, **more: Any) -> Json:
    given = {"resource": resource} if resource else {}
    return {**given, "request": {"method": method, "url": url, **more}}


def _of(*entries: Json, type_: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": type_, **({"entry": list(entries)} if entries else {})}


def test_the_answer_has_an_entry_for_each_entry_in_order(sluss: Sluss) -> None:
    sent = bundle()
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 200
    made = content(answer)
    assert validate(made) == []
    assert made["type"] == "transaction-response"
    for asked, told in zip(sent["entry"], made["entry"], strict=True):
        response = told["response"]
        type_ = asked["resource"]["resourceType"]
        assert response["location"].startswith(f"{type_}/")
        stored = content(sluss.get(f"/fhir/{response['location']}"))
        assert response["etag"] == f'W/"{stored["meta"]["versionId"]}"'
        assert response["lastModified"][:19] == stored["meta"]["lastUpdated"][:19]
        assert response["status"] in ("201 Created", "200 OK")


def test_the_verdict_stands_in_the_entry_and_in_the_header(sluss: Sluss) -> None:
    answer = sluss.post("/fhir", bundle())
    (told,) = [e["response"] for e in content(answer)["entry"] if "outcome" in e["response"]]
    assert told["location"].startswith("ServiceRequest/")
    assert told["outcome"]["issue"][0]["diagnostics"].startswith(f"verdict: {answer.headers['Sluss-Verdict']};")


def test_references_between_entries_become_those_of_what_is_stored(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    assert order["subject"]["reference"].startswith("Patient/")
    for reference in [order["subject"], order["requester"], *order["supportingInfo"], *order["reasonReference"]]:
        assert sluss.read(reference["reference"])


def test_a_referral_is_amended_in_a_bundle_with_new_evidence(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    sent = _of(_entry({**order, "priority": "urgent"}, "PUT", f"ServiceRequest/{order['id']}"))
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    assert content(answer)["entry"][0]["response"]["status"] == "200 OK"
    assert sluss.read(f"ServiceRequest/{order['id']}")["priority"] == "urgent"


@pytest.mark.parametrize("url", ["ServiceRequest", "ServiceRequest/another", "Task/{id}", "{id}", "/fhir/x"])
def test_an_amendment_must_name_the_referral_it_amends(sluss: Sluss, rows: Rows, url: str) -> None:
    order = sluss.refer()["order"]
    before = rows()
    answer = sluss.post("/fhir", _of(_entry(order, "PUT", url.format(id=order["id"]))))
    assert answer.status_code == 400
    assert "Bundle.entry[0].request.url" in places(answer)
    assert rows() == before


def test_a_stale_version_in_the_entry_is_412(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    sent = _of(_entry(order, "PUT", f"ServiceRequest/{order['id']}", ifMatch='W/"9"'))
    assert sluss.post("/fhir", sent).status_code == 412


@pytest.mark.parametrize("type_", ["document", "message", "searchset", "collection", "history"])
def test_a_bundle_of_another_type_is_refused_with_its_name(sluss: Sluss, rows: Rows, type_: str) -> None:
    before = rows()
    sent = {**bundle(), "type": type_}
    answer = sluss.post("/fhir", sent)
    assert answer.status_code in (400, 422)
    told = [issue for issue in issues(answer) if issue.get("expression") == ["Bundle.type"]]
    assert told
    assert told[0]["code"] == "not-supported"
    assert type_ in told[0]["diagnostics"]
    assert rows() == before


def test_a_referral_sent_as_a_batch_is_422_that_says_what_to_send_instead(sluss: Sluss, rows: Rows) -> None:
    before = rows()
    answer = sluss.post("/fhir", {**bundle(), "type": "batch"})
    assert answer.status_code == 422
    assert places(answer) == ["Bundle.type"]
    assert "transaction" in issues(answer)[0]["diagnostics"]
    assert rows() == before


@pytest.mark.parametrize(
    "entry",
    [
        _entry(ENCOUNTER, "POST", "Encounter"),
        _entry({"resourceType": "Task", "status": "requested", "intent": "order"}, "POST", "Task"),
        _entry({"resourceType": "Patient", "id": "1"}, "PUT", "Patient/1"),
        _entry({"resourceType": "Patient", "id": "1"}, "PUT", "Patient?identifier=x"),
        _entry(None, "DELETE", "Task/1"),
        _entry(None, "DELETE", "Task?status=requested"),
        _entry({"resourceType": "Patient"}, "POST", "Organization"),
        _entry({"resourceType": "Patient"}, "POST", "Patient/1"),
        _entry({"resourceType": "Patient"}, "POST", "https://elsewhere.example/fhir/Patient"),
    ],
)
def test_what_belongs_to_no_referral_is_refused_by_name_and_place(sluss: Sluss, rows: Rows, entry: Json) -> None:
    sent = bundle()
    sent["entry"].append(entry)
    before = rows()
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 422, answer.text
    place = f"Bundle.entry[{len(sent['entry']) - 1}]"
    assert any(told.startswith(place) for told in places(answer))
    assert rows() == before


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "POST"])
def test_an_entry_without_a_resource_is_refused(sluss: Sluss, rows: Rows, method: str) -> None:
    sent = bundle()
    sent["entry"].append(_entry(None, method, "Task/1"))
    before = rows()
    assert sluss.post("/fhir", sent).status_code in (400, 404, 422)
    assert rows() == before


def test_a_bundle_carries_exactly_one_referral(sluss: Sluss, rows: Rows) -> None:
    before = rows()
    two = bundle()
    two["entry"].append({"resource": single("R-2"), "request": {"method": "POST", "url": "ServiceRequest"}})
    for sent in (_of(_entry({"resourceType": "Patient"}, "POST", "Patient")), two):
        answer = sluss.post("/fhir", sent)
        assert answer.status_code == 422, answer.text
        assert any("exactly one ServiceRequest" in issue["diagnostics"] for issue in issues(answer))
    assert rows() == before


def test_a_reference_to_no_entry_is_told_and_nothing_is_stored(sluss: Sluss, rows: Rows) -> None:
    sent = bundle()
    order_in(sent)["supportingInfo"].append({"reference": "urn:uuid:00000000-0000-4000-8000-00000000dead"})
    before = rows()
    answer = sluss.post("/fhir", sent)
    assert answer.status_code in (400, 422)
    assert any("supportingInfo[3]" in place for place in places(answer))
    assert rows() == before


def test_a_bundle_of_200_entries_is_read_and_one_more_is_413(sluss: Sluss, rows: Rows) -> None:
    sent = bundle()
    more = 200 - len(sent["entry"])
    condition = next(e["resource"] for e in sent["entry"] if e["resource"]["resourceType"] == "Condition")
    sent["entry"] += [{"resource": condition, "request": {"method": "POST", "url": "Condition"}}] * more
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 200, answer.text[:500]
    assert len(content(answer)["entry"]) == 200
    before = rows()
    sent["entry"].append(sent["entry"][-1])
    for refused in (sluss.post("/fhir", sent), sluss.post("/fhir/ServiceRequest/$assess", sent)):
        assert refused.status_code == 413
        assert places(refused) == ["Bundle.entry"]
    assert rows() == before
