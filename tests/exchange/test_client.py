"""The HTTP client: what each answer of the external server means, and what never gets into an outcome or a URL."""

import json
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
import requests
import responses
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from service.exchange.client import Answered, FhirClient, Found, Permanent, Reason, Transient, condition, token

BASE = "https://fhir.example/r4"
BUNDLE = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "POST", "url": "Task"}}]}
ANSWER = {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": {"status": "201 Created"}}]}
SECRET = "Test Testsson 199002222397"


@pytest.fixture
def client() -> FhirClient:
    return FhirClient(BASE + "/")


def outcome(code: str, text: str = SECRET, expression: str = "Task.status") -> dict[str, object]:
    issue = {"severity": "error", "code": code, "diagnostics": text, "expression": [expression]}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


@responses.activate
def test_a_transaction_is_posted_to_the_base_as_fhir_json(client: FhirClient) -> None:
    responses.post(BASE, json=ANSWER)
    assert client.transaction(BUNDLE) == Answered(ANSWER)
    sent = responses.calls[0].request
    assert sent.headers["Content-Type"] == "application/fhir+json"
    assert sent.headers["Cache-Control"] == "no-cache"
    assert json.loads(sent.body or "") == BUNDLE


@responses.activate
@pytest.mark.parametrize(("not_for", "proxies"), [("", {"https": "http://proxy.example:3128"}), ("fhir.example", {})])
def test_the_environment_says_through_which_proxy_and_with_which_certificates(
    not_for: str, proxies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", not_for)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/certificates/region.pem")
    responses.post(BASE, json=ANSWER)
    client = FhirClient(BASE)
    for _ in range(2):
        client.transaction(BUNDLE)
    for call in responses.calls:
        sent = call.request.req_kwargs  # type: ignore[attr-defined]
        assert (sent["proxies"], sent["verify"]) == (proxies, "/certificates/region.pem")


@responses.activate
@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_may_be_over_when_we_look_again(client: FhirClient, status: int) -> None:
    responses.post(BASE, json=outcome("conflict"), status=status)
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert (told.reason, told.status, told.unanswered) == (Reason.CONFLICT, status, False)


@responses.activate
@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_the_server_refuses_is_permanent(client: FhirClient, status: int) -> None:
    responses.post(BASE, json=outcome("invalid"), status=status)
    told = client.transaction(BUNDLE)
    assert isinstance(told, Permanent)
    assert told.reason is Reason.REFUSED


@responses.activate
@pytest.mark.parametrize("status", [500, 502, 504])
def test_after_a_server_error_nobody_knows_whether_it_was_carried_out(client: FhirClient, status: int) -> None:
    responses.post(BASE, body="<html>Bad gateway</html>", status=status)
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert (told.reason, told.unanswered) == (Reason.SERVER_ERROR, True)


@responses.activate
@pytest.mark.parametrize(
    ("status", "reason"), [(401, Reason.ACCESS), (403, Reason.ACCESS), (302, Reason.ADDRESS), (404, Reason.ADDRESS)]
)
def test_a_wrong_setting_concerns_everybody_and_makes_no_dead_letters_at_once(
    client: FhirClient, status: int, reason: Reason
) -> None:
    responses.post(BASE, status=status, headers={"Location": "https://elsewhere.example/"})
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert told.reason is reason
    assert len(responses.calls) == 1, "no redirect is followed: it would turn the POST into a GET"


@responses.activate
@pytest.mark.parametrize(("header", "wait"), [("120", 120), ("not a date", None), ("99999999999", None)])
def test_a_busy_server_may_say_when_to_come_back(client: FhirClient, header: str, wait: int | None) -> None:
    responses.post(BASE, status=429, headers={"Retry-After": header})
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert (told.reason, told.unanswered) == (Reason.BUSY, False)
    assert told.retry_after == (None if wait is None else timedelta(seconds=wait))


@responses.activate
def test_a_date_in_the_past_means_now(client: FhirClient) -> None:
    responses.post(BASE, status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert told.retry_after == timedelta()


@responses.activate
@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", '{"resourceType":"Patient"}', '{"resourceType":"Bundle","entry":[]}', '{"a":1,"a":2}']
)
def test_an_answer_that_cannot_be_read_may_follow_something_carried_out(client: FhirClient, body: str) -> None:
    responses.post(BASE, body=body)
    told = client.transaction(BUNDLE)
    assert isinstance(told, Transient)
    assert (told.reason, told.unanswered) == (Reason.UNREADABLE, True)


@responses.activate
@pytest.mark.parametrize(
    ("problem", "reason", "unanswered"),
    [
        (requests.ConnectTimeout(SECRET), Reason.TIMEOUT, False),
        (requests.ReadTimeout(SECRET), Reason.TIMEOUT, True),
        (
            requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", SECRET)),
            Reason.UNREACHABLE,
            True,
        ),
        (requests.exceptions.SSLError(SECRET), Reason.UNREACHABLE, False),
        (requests.exceptions.InvalidURL(SECRET), Reason.ADDRESS, False),
        (requests.exceptions.ChunkedEncodingError(SECRET), Reason.UNREADABLE, True),
    ],
)
def test_trouble_on_the_way_is_told_in_one_word(
    client: FhirClient, problem: Exception, reason: Reason, unanswered: bool
) -> None:
    responses.post(BASE, body=problem)
    assert client.transaction(BUNDLE) == Transient(reason, unanswered=unanswered)


def test_a_server_that_is_not_there_got_nothing() -> None:
    assert FhirClient("http://127.0.0.1:9/fhir", 2).transaction(BUNDLE) == Transient(Reason.UNREACHABLE)


@responses.activate
@pytest.mark.parametrize("status", [400, 409, 500])
def test_no_word_that_another_system_wrote_is_kept(client: FhirClient, status: int) -> None:
    told_by_server = outcome("invalid", expression=f"Patient.where(name='{SECRET}')")
    told_by_server["issue"][0] |= {"details": {"text": SECRET}, "severity": SECRET}  # type: ignore[index]
    responses.post(BASE, json=told_by_server, status=status)
    told = repr(client.transaction(BUNDLE))
    assert "Test" not in told
    assert "1990" not in told


@responses.activate
def test_codes_and_paths_of_an_outcome_are_kept(client: FhirClient) -> None:
    responses.post(BASE, json=outcome("code-invalid", expression="Bundle.entry[2].resource.status"), status=422)
    told = client.transaction(BUNDLE)
    assert isinstance(told, Permanent)
    assert [(i.severity, i.code, i.expression) for i in told.issues] == [
        ("error", "code-invalid", "Bundle.entry[2].resource.status")
    ]


@responses.activate
@pytest.mark.parametrize(
    "issue", [None, 5, "x", [5], [{}], [{"expression": 3}], [{"severity": ["x"], "code": {"a": 1}}]]
)
def test_a_broken_operation_outcome_breaks_nothing(client: FhirClient, issue: object) -> None:
    responses.post(BASE, json={"resourceType": "OperationOutcome", "issue": issue}, status=422)
    assert isinstance(client.transaction(BUNDLE), Permanent)


@responses.activate
def test_an_identifier_is_searched_for_in_the_body_and_not_in_the_url(client: FhirClient) -> None:
    hit = {"resourceType": "Patient", "id": "7"}
    extra = {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}}
    responses.post(
        f"{BASE}/Patient/_search",
        json={
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": hit, "search": {"mode": "match"}}, extra],
        },
    )
    assert client.search("Patient", [("identifier", "http://sys.example|199002222397")]) == Found((hit,))
    sent = responses.calls[0].request
    assert "199002222397" not in str(sent.url)
    assert isinstance(sent.body, bytes)
    assert parse_qsl(sent.body.decode()) == [("identifier", "http://sys.example|199002222397")]


@responses.activate
def test_the_letters_of_a_search_are_said_to_be_utf_8(client: FhirClient) -> None:
    responses.post(f"{BASE}/Task/_search", json={"resourceType": "Bundle", "type": "searchset"})
    client.search("Task", [("identifier", "https://sluss.example/gävleborg|Task/1")])
    sent = responses.calls[0].request
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert isinstance(sent.body, bytes)
    assert parse_qsl(sent.body.decode()) == [("identifier", "https://sluss.example/gävleborg|Task/1")]


@responses.activate
def test_what_a_search_finds_is_as_new_as_it_can_be_and_need_not_be_kept(client: FhirClient) -> None:
    responses.post(f"{BASE}/Task/_search", json={"resourceType": "Bundle", "type": "searchset"})
    client.search("Task", [("identifier", "a|b")])
    assert responses.calls[0].request.headers["Cache-Control"] == "no-cache, no-store"


@responses.activate
def test_a_search_tells_when_there_is_more(client: FhirClient) -> None:
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": "https://x.example"}]}
    responses.post(f"{BASE}/Task/_search", json=bundle)
    assert client.search("Task", [("identifier", "a|b")]) == Found((), more=True)


@responses.activate
def test_a_resource_that_is_gone_is_missing(client: FhirClient) -> None:
    responses.get(f"{BASE}/Task/7", json=outcome("deleted"), status=410)
    told = client.read("Task", "7")
    assert isinstance(told, Permanent)
    assert told.reason is Reason.MISSING


@responses.activate
def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, client: FhirClient) -> None:
    monkeypatch.setattr("service.exchange.client._LARGEST_ANSWER", 100)
    responses.post(BASE, body="x" * 101)
    assert client.transaction(BUNDLE) == Transient(Reason.UNREADABLE, unanswered=True)


@pytest.mark.parametrize("value", ["Åsa Öberg", "rött & grönt", "a|b", "a,b", "50 %", "a+b", "ä=1#x", "\\"])
def test_a_condition_reads_back_as_what_was_meant(value: str) -> None:
    query = condition("identifier", token("http://sys.example/å", value))
    assert query.isascii()
    assert not set(query) & set("|&# +åäö")
    ((name, decoded),) = parse_qsl(query, strict_parsing=True)
    assert name == "identifier"
    assert decoded == token("http://sys.example/å", value)


def test_the_bar_between_system_and_value_is_encoded_and_one_inside_a_value_escaped() -> None:
    assert condition("identifier", token("urn:x", "R|1")) == "identifier=urn%3Ax%7CR%5C%7C1"


@given(st.text(min_size=1).filter(lambda text: text.encode(errors="ignore").decode() == text), st.sampled_from("|,$\\"))
def test_no_value_can_become_a_second_choice_or_another_system(value: str, mark: str) -> None:
    escaped = token("urn:x", f"{value}{mark}").removeprefix("urn:x|")
    plain = escaped.replace("\\\\", "").replace("\\|", "").replace("\\,", "").replace("\\$", "")
    assert not set(plain) & set("|,$\\")
