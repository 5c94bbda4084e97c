"""Creating and updating: where it is possible, the order of checks, and what is answered (contract 2)."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from fhir_mappings.records import Json
from tests.fhir_mappings.r4 import samples
from tests.web.caller import UNIT, Sluss, bundle, content, issues, order_in, places, single

Rows = Callable[[], dict[str, int]]
GAVLE = "therapist gavle"
REFERRER = f"referrer {UNIT}"
STRANGER = "referrer SE2321000198-EX02"
ONLY_SEES = "platform"
"""Sees the referrals whose replies it fetches, and changes none."""

MAY_BE_MADE = {"ServiceRequest", "Task", "Communication", "Observation", "QuestionnaireResponse"}
MAY_BE_CHANGED = {"ServiceRequest", "Task", "Observation", "QuestionnaireResponse"}


# ---------------------------------------------------------------- what can be done where


@pytest.mark.parametrize("type_", sorted(SUPPORTED_TYPES - MAY_BE_MADE))
def test_a_type_that_nobody_makes_is_405_and_says_what_is_possible(sluss: Sluss, type_: str) -> None:
    answer = sluss.post(f"/fhir/{type_}", {"resourceType": type_})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert issues(answer)[0]["code"] == "not-supported"


@pytest.mark.parametrize("type_", sorted(SUPPORTED_TYPES - MAY_BE_CHANGED))
def test_a_type_that_nobody_changes_is_405_and_says_what_is_possible(sluss: Sluss, type_: str) -> None:
    answer = sluss.put(f"/fhir/{type_}/1", {"resourceType": type_, "id": "1"})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


JSON_PATCH = {"Content-Type": "application/json-patch+json"}


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "POST", "OPTIONS"])
def test_other_methods_on_a_resource_are_405(sluss: Sluss, method: str) -> None:
    for type_ in SUPPORTED_TYPES - (MAY_BE_CHANGED if method == "PATCH" else set()):
        answer = sluss.call(method, f"/fhir/{type_}/1", "[]", JSON_PATCH)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == ("GET, HEAD, PUT, PATCH" if type_ in MAY_BE_CHANGED else "GET, HEAD")


def test_other_methods_on_a_type_are_405(sluss: Sluss) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        for type_ in SUPPORTED_TYPES - (set() if method == "DELETE" else MAY_BE_CHANGED):
            headers = JSON_PATCH if method == "PATCH" else {}
            answer = sluss.call(method, f"/fhir/{type_}", {"resourceType": type_}, headers)
            assert answer.status_code == 405
            made = ["POST"] if type_ in MAY_BE_MADE else []
            changed = ["PUT", "PATCH"] if type_ in MAY_BE_CHANGED else []
            assert answer.headers["Allow"] == ", ".join(["GET", "HEAD", *made, *changed])


@pytest.mark.parametrize("type_", sorted(SUPPORTED_TYPES))
def test_nothing_is_ever_deleted(sluss: Sluss, rows: Rows, type_: str) -> None:
    before = rows()
    for path in (type_, f"{type_}/1", f"{type_}?status=active", f"{type_}/1/_history", f"{type_}/1/_history/1"):
        assert sluss.call("DELETE", f"/fhir/{path}").status_code == 405
    assert rows() == before


def test_the_base_takes_bundles_only(sluss: Sluss) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = sluss.call(method, "/fhir")
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_writing_a_type_that_sluss_does_not_keep_is_404(sluss: Sluss, method: str) -> None:
    path = "/fhir/Encounter" + ("/1" if method == "PUT" else "")
    assert sluss.call(method, path, {"resourceType": "Encounter", "id": "1"}).status_code == 404


def test_a_body_of_another_type_than_the_address_is_400(sluss: Sluss) -> None:
    for path in ("/fhir/Task", "/fhir", "/fhir/Communication"):
        answer = sluss.post(path, single())
        assert answer.status_code == 400
        assert "ServiceRequest" in places(answer)


@pytest.mark.parametrize("id_", [None, "another", 7, ""])
def test_a_body_whose_id_is_not_that_of_the_address_is_400(sluss: Sluss, id_: object) -> None:
    task = sluss.refer()["task"]
    sent = {**task, "id": id_} if id_ is not None else {k: v for k, v in task.items() if k != "id"}
    answer = sluss.put(f"/fhir/Task/{task['id']}", sent)
    assert answer.status_code == 400
    assert "Task.id" in places(answer)


@pytest.mark.parametrize("type_", sorted(MAY_BE_CHANGED))
def test_sluss_gives_the_ids_so_an_unknown_one_is_404(sluss: Sluss, rows: Rows, type_: str) -> None:
    sent = {**_sample(type_), "id": "made-by-the-client"}
    before = rows()
    answer = sluss.put(f"/fhir/{type_}/made-by-the-client", sent)
    assert answer.status_code == 404, answer.text
    assert rows() == before


# ---------------------------------------------------------------- the order of checks


def _sample(type_: str) -> Json:
    made: dict[str, Json] = {
        "Task": {"resourceType": "Task", "status": "requested", "intent": "order"},
        "ServiceRequest": single(),
    }
    return made.get(type_) or {**samples.resource_of(type_), "subject": {"display": "Test Testsson"}}


def test_not_r4_goes_before_not_found(sluss: Sluss) -> None:
    answer = sluss.put("/fhir/Task/nobody", {"resourceType": "Task", "id": "nobody", "status": "nonsense"})
    assert answer.status_code == 400


@pytest.mark.parametrize("etag", ['W/"1"', "nonsense", ""])
def test_not_found_goes_before_stale(sluss: Sluss, etag: str) -> None:
    sent = {**_sample("Task"), "id": "nobody"}
    assert sluss.put("/fhir/Task/nobody", sent, {"If-Match": etag}).status_code == 404


def test_stale_goes_before_who(sluss: Sluss) -> None:
    told = sluss.refer()
    for kind, sent in (("ServiceRequest", told["order"]), ("Task", told["task"])):
        place = f"/fhir/{kind}/{sent['id']}"
        assert sluss.acting(ONLY_SEES).put(place, sent, {"If-Match": 'W/"7"'}).status_code == 412
        assert sluss.acting(ONLY_SEES).put(place, sent).status_code == 403
        for condition in ({"If-Match": 'W/"7"'}, {}):
            assert sluss.acting(STRANGER).put(place, sent, condition).status_code == 404


def test_stale_and_who_go_before_what_also_in_a_bundle(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    entry = {"resource": order, "request": {"method": "PUT", "url": f"ServiceRequest/{order['id']}"}}
    odd: Json = {"resource": {"resourceType": "Encounter"}, "request": {"method": "POST", "url": "Encounter"}}
    odd["resource"] |= {"status": "planned", "class": {"code": "AMB"}}
    sent: Json = {"resourceType": "Bundle", "type": "transaction", "entry": [entry, odd]}
    assert sluss.acting(ONLY_SEES).post("/fhir", sent).status_code == 403
    assert sluss.acting(STRANGER).post("/fhir", sent).status_code == 404
    assert sluss.post("/fhir", sent).status_code == 422
    entry["request"]["ifMatch"] = 'W/"7"'
    assert sluss.acting(ONLY_SEES).post("/fhir", sent).status_code == 412


def test_who_goes_before_what(sluss: Sluss) -> None:
    told = sluss.refer()
    task, order = told["task"], told["order"]
    wrong_task = {**task, "status": "completed", "priority": "asap"}
    wrong_order = {**order, "identifier": [{"system": "https://ehr.example/referral", "value": "another"}]}
    stranger = sluss.acting(ONLY_SEES)
    assert stranger.put(f"/fhir/Task/{task['id']}", wrong_task).status_code == 403
    assert stranger.put(f"/fhir/ServiceRequest/{order['id']}", wrong_order).status_code == 403
    assert sluss.acting(GAVLE).put(f"/fhir/Task/{task['id']}", wrong_task).status_code == 422
    assert sluss.put(f"/fhir/ServiceRequest/{order['id']}", wrong_order).status_code == 422


def test_a_referral_for_another_unit_is_403_whatever_else_is_wrong_with_it(sluss: Sluss, rows: Rows) -> None:
    sent = single(status="draft")
    before = rows()
    assert sluss.acting(STRANGER).post("/fhir/ServiceRequest", sent).status_code == 403
    assert sluss.acting(STRANGER).post("/fhir", bundle(change=lambda o: o.update(status="draft"))).status_code == 403
    assert sluss.post("/fhir/ServiceRequest", sent).status_code == 422
    assert sluss.acting(STRANGER).post("/fhir/ServiceRequest", {**sent, "priority": "soon"}).status_code == 400
    assert rows() == before


def test_what_r4_and_what_sluss_have_against_a_referral_is_told_in_one_400(sluss: Sluss, rows: Rows) -> None:
    before = rows()
    sent = single(priority="soon", status="draft", authoredOn="2027-01-01", unknown=1)
    sent["code"] = {"coding": [{"system": f"{samples.S}/CodeSystem/ikbt-programme", "code": "hypnosis"}]}
    del sent["identifier"]
    answer = sluss.post("/fhir/ServiceRequest", sent)
    assert answer.status_code == 400
    told = places(answer)
    for place in ("priority", "unknown", "status", "authoredOn", "identifier", "code.coding[0].code"):
        assert f"ServiceRequest.{place}" in told
    assert rows() == before


def test_our_own_rules_alone_are_422_with_every_problem(sluss: Sluss) -> None:
    sent = bundle(change=lambda order: order.update(status="draft", intent="plan", doNotPerform=True))
    place = f"Bundle.entry[{[e['resource'] for e in sent['entry']].index(order_in(sent))}].resource"
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 422
    assert {f"{place}.status", f"{place}.intent", f"{place}.doNotPerform"} <= set(places(answer))


def test_a_caller_header_that_cannot_be_read_is_told(sluss: Sluss) -> None:
    for header in ("nobody", "referrer", "therapist gävle", "referrer a b", "", "sluss"):
        for answer in (
            sluss.acting("x").get("/fhir/Task", {"Sluss-Caller": header}),
            sluss.post("/fhir", bundle(), {"Sluss-Caller": header}),
        ):
            assert answer.status_code == 400
            assert places(answer) == ["http.Sluss-Caller"]


# ---------------------------------------------------------------- If-Match


@pytest.mark.parametrize("etag", [None, 'W/"1"', '"1"', "1", ' W/"1" ', "*"])
def test_if_match_is_optional_and_takes_the_current_version(sluss: Sluss, etag: str | None) -> None:
    task = sluss.refer()["task"]
    headers = {} if etag is None else {"If-Match": etag}
    answer = sluss.acting(GAVLE).put(f"/fhir/Task/{task['id']}", {**task, "status": "received"}, headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == 'W/"2"'


@pytest.mark.parametrize("etag", ['W/"2"', 'W/"0"', "W/1x", "nonsense", "", 'W/"99999999999"', 'W/"-1"', 'W/"١"'])
@pytest.mark.parametrize("kind", ["task", "order"])
def test_any_other_if_match_is_412_and_nothing_happens(sluss: Sluss, rows: Rows, etag: str, kind: str) -> None:
    told = sluss.refer()[kind]
    before = rows()
    place = f"/fhir/{told['resourceType']}/{told['id']}"
    answer = sluss.acting(GAVLE if kind == "task" else REFERRER).put(
        place,
        {**told, "status": "received" if kind == "task" else "revoked"},
        {"If-Match": etag.encode().decode("latin1")},
    )
    assert answer.status_code == 412
    assert issues(answer)[0]["code"] == "conflict"
    assert rows() == before


def test_a_stale_if_match_of_an_answer_to_a_form_is_412(sluss: Sluss) -> None:
    sluss.refer()
    for type_ in ("Observation", "QuestionnaireResponse"):
        (*_, evidence) = sluss.search(type_)
        answer = sluss.put(f"/fhir/{type_}/{evidence['id']}", evidence, {"If-Match": 'W/"9"'})
        assert answer.status_code == 412


# ---------------------------------------------------------------- Prefer


def _writes(sluss: Sluss) -> dict[str, Callable[[dict[str, str]], Any]]:
    told = sluss.refer()
    task, order = told["task"], told["order"]
    note = {
        "resourceType": "Communication",
        "status": "completed",
        "basedOn": [{"reference": f"ServiceRequest/{order['id']}"}],
        "payload": [{"contentString": "Patienten har flyttat."}],
    }
    therapist, referrer = sluss.acting(GAVLE), sluss.acting(REFERRER)
    received = {**task, "status": "received"}
    return {
        "create ServiceRequest": lambda h: referrer.post("/fhir/ServiceRequest", single("R-2"), h),
        "update ServiceRequest": lambda h: referrer.put(f"/fhir/ServiceRequest/{order['id']}", order, h),
        "create Communication": lambda h: referrer.post("/fhir/Communication", note, h),
        "update Task": lambda h: therapist.put(f"/fhir/Task/{task['id']}", received, h),
    }


WRITES = ["create ServiceRequest", "update ServiceRequest", "create Communication", "update Task"]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("prefer", [None, "return=representation", "handling=lenient", "return=nonsense"])
def test_a_write_answers_with_the_resource_as_it_is_stored(sluss: Sluss, write: str, prefer: str | None) -> None:
    answer = _writes(sluss)[write]({"Prefer": prefer} if prefer else {})
    assert answer.status_code == (201 if write.startswith("create") else 200), answer.text
    stored = content(answer)
    assert sluss.read(f"{stored['resourceType']}/{stored['id']}") == stored
    assert answer.headers["ETag"] == f'W/"{stored["meta"]["versionId"]}"'
    assert answer.headers["Last-Modified"].endswith(" GMT")
    if write.startswith("create"):
        place = f"{stored['resourceType']}/{stored['id']}/_history/1"
        assert answer.headers["Location"] == f"http://localhost/fhir/{place}"
        assert content(sluss.get(f"/fhir/{place}")) == stored


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("prefer", ["return=minimal", "respond-async, return=minimal", 'return="minimal"'])
def test_a_client_that_prefers_minimal_gets_headers_only(sluss: Sluss, write: str, prefer: str) -> None:
    answer = _writes(sluss)[write]({"Prefer": prefer})
    assert answer.status_code in (200, 201)
    assert answer.data == b""
    assert answer.headers["ETag"]


@pytest.mark.parametrize("write", WRITES)
def test_a_client_that_prefers_an_outcome_gets_one(sluss: Sluss, write: str) -> None:
    answer = _writes(sluss)[write]({"Prefer": "return=OperationOutcome"})
    assert answer.status_code in (200, 201)
    outcome = content(answer)
    assert validate(outcome) == []
    assert {issue["severity"] for issue in outcome["issue"]} <= {"information", "warning"}
    if "ServiceRequest" in write:
        assert outcome["issue"][0]["diagnostics"].startswith("verdict: ")


def test_an_outcome_of_a_single_referral_has_a_coded_issue_for_each_finding(sluss: Sluss) -> None:
    answer = sluss.post("/fhir/ServiceRequest", single(), {"Prefer": "return=OperationOutcome"})
    assert answer.headers["Sluss-Verdict"] == "information"
    codes = [c["code"] for i in content(answer)["issue"] for c in i["details"].get("coding", ())]
    assert "madrs-s-required" in codes


def test_links_of_a_write_follow_the_public_address(another: Callable[..., Sluss]) -> None:
    answer = another(public_url="https://remiss.example").post("/fhir/ServiceRequest", single())
    assert answer.headers["Location"].startswith("https://remiss.example/fhir/ServiceRequest/")


# ---------------------------------------------------------------- what the server decides


def test_ids_and_versions_that_a_client_makes_up_are_not_kept(sluss: Sluss) -> None:
    meta = {"versionId": "77", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"code": "kept"}]}
    stored = content(sluss.post("/fhir/ServiceRequest", single(id="mine", meta=meta)))
    assert stored["id"] != "mine"
    assert stored["meta"]["versionId"] == "1"
    assert not stored["meta"]["lastUpdated"].startswith("2001")
    assert stored["meta"]["tag"] == [{"code": "kept"}]


@pytest.mark.parametrize("status", ["revoked", "entered-in-error"])
def test_a_withdrawal_answers_with_the_verdict_that_the_referral_had(sluss: Sluss, status: str) -> None:
    given = sluss.post("/fhir/ServiceRequest", single())
    order = content(given)
    answer = sluss.put(f"/fhir/ServiceRequest/{order['id']}", {**order, "status": status})
    assert answer.status_code == 200
    assert answer.headers["Sluss-Verdict"] == given.headers["Sluss-Verdict"] == "information"
