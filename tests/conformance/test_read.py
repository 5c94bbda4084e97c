"""read and vread, whole and in part, with and without conditions. https://hl7.org/fhir/R4/http.html#read"""

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.subset import SUBSETTED
from tests.conformance.client import GAVLE, Client, Referral, content, outcome

OLD = "Mon, 01 Jan 2001 00:00:00 GMT"
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"


def test_a_read_has_etag_and_last_modified_that_agree_with_meta(fhir: Client, referral: Referral) -> None:
    answer = fhir.get(referral.task_place)
    assert content(answer) == referral.task
    assert validate(referral.task) == []
    assert answer.headers["ETag"] == f'W/"{referral.task["meta"]["versionId"]}"'
    assert answer.headers["Last-Modified"].endswith(" GMT")
    assert "Location" not in answer.headers


def test_every_version_is_still_there_as_it_was(fhir: Client, referral: Referral) -> None:
    fhir.acting(GAVLE).put(referral.task_place, {**referral.task, "status": "received"})
    first, second = (fhir.get(f"{referral.task_place}/_history/{v}") for v in (1, 2))
    assert content(first) == referral.task
    assert content(second)["status"] == "received"
    assert [a.headers["ETag"] for a in (first, second)] == ['W/"1"', 'W/"2"']


@pytest.mark.parametrize(
    "path", ["Task/nobody", "Task/nobody/_history/1", "Task/nobody/_history", "Task/a b", "Task/!"]
)
def test_what_is_not_known_is_404(fhir: Client, path: str) -> None:
    assert outcome(fhir.get(path), 404)[0]["code"] == "not-found"


@pytest.mark.parametrize("version", ["2", "0", "x", "99999999999999999999", "-1"])
def test_a_version_that_never_was_is_404(fhir: Client, referral: Referral, version: str) -> None:
    outcome(fhir.get(f"{referral.task_place}/_history/{version}"), 404)


def test_a_type_that_is_not_kept_is_404(fhir: Client) -> None:
    outcome(fhir.get("Encounter/1"), 404)
    outcome(fhir.get("Nonsense/1"), 404)


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/turtle", "application/xml", "image/png"])
def test_an_accept_that_cannot_be_met_is_406(fhir: Client, referral: Referral, accept: str) -> None:
    outcome(fhir.get(referral.task_place, {"Accept": accept}), 406)


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/fhir+json,application/json"},
        {"Accept": "application/fhir+json, */*; q=0.1"},
        {"Accept": "application/json"},
        {"Accept": "application/fhir+json", "Accept-Charset": "utf-8"},
        {"Accept": "*/*", "Accept-Charset": "iso-8859-1, utf-8;q=0.7", "Accept-Language": "sv"},
        {"Accept": "application/json;charset=utf-8"},
        {"Accept": "application/fhir+json", "X-Medplum": "extended", "Prefer": "return=presentation"},
    ],
)
def test_what_known_clients_ask_for_is_given(fhir: Client, referral: Referral, headers: dict[str, str]) -> None:
    assert content(fhir.get(referral.task_place, headers)) == referral.task


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize("etag", ['W/"1"', '"1"', "1", "*", 'W/"7", W/"1"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_version_already_gets_304_and_no_body(
    fhir: Client, referral: Referral, etag: str, method: str
) -> None:
    answer = fhir.call(method, referral.task_place, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("etag", ['W/"2"', "nonsense", 'W/"11"', ""])
def test_who_has_another_version_gets_the_resource(fhir: Client, referral: Referral, etag: str) -> None:
    assert content(fhir.get(referral.task_place, {"If-None-Match": etag})) == referral.task


def test_what_has_not_changed_since_is_304_and_what_has_is_given(fhir: Client, referral: Referral) -> None:
    modified = fhir.get(referral.task_place).headers["Last-Modified"]
    for since, status in ((modified, 304), (FUTURE, 304), (OLD, 200), ("nonsense", 200)):
        assert fhir.get(referral.task_place, {"If-Modified-Since": since}).status_code == status, since


def test_a_change_within_the_second_of_the_one_before_is_given(fhir: Client, referral: Referral) -> None:
    for _ in range(5):  # several are within one second, wherever that begins
        seen = fhir.get(referral.task_place)
        changed = {**content(seen), "note": [*content(seen).get("note", []), {"text": "Ringt."}]}
        assert fhir.acting(GAVLE).put(referral.task_place, changed).status_code == 200
        again = fhir.get(referral.task_place, {"If-Modified-Since": seen.headers["Last-Modified"]})
        assert again.status_code == 200
        assert content(again) != content(seen)


def test_the_version_goes_before_the_date(fhir: Client, referral: Referral) -> None:
    headers = {"If-None-Match": 'W/"9"', "If-Modified-Since": FUTURE}
    assert fhir.get(referral.task_place, headers).status_code == 200


def test_a_condition_does_not_make_something_of_nothing(fhir: Client) -> None:
    outcome(fhir.get("Task/nobody", {"If-None-Match": "*"}), 404)


# ---------------------------------------------------------------- in part


@pytest.mark.parametrize(
    ("asked", "there", "not_there"),
    [
        ("_summary=true", "focus", "note"),
        ("_summary=text", "status", "focus"),
        ("_summary=data", "note", "text"),
        ("_elements=note,priority", "priority", "focus"),
        ("_elements=Task.note", "note", "focus"),
    ],
)
def test_a_part_says_that_it_is_one(fhir: Client, referral: Referral, asked: str, there: str, not_there: str) -> None:
    answer = fhir.get(f"{referral.task_place}?{asked}")
    part = content(answer)
    assert SUBSETTED in part["meta"]["tag"]
    assert there in part
    assert not_there not in part
    assert {"status", "intent", "id"} <= set(part)
    assert answer.headers["ETag"] == 'W/"1"'


def test_the_whole_does_not_say_so(fhir: Client, referral: Referral) -> None:
    for asked in ("_summary=false", "_format=json", "unknown=1", "_elements="):
        assert content(fhir.get(f"{referral.task_place}?{asked}")) == referral.task


@pytest.mark.parametrize("version", ["01", "0", "2", "x"])
def test_what_is_no_versions_name_is_404(fhir: Client, referral: Referral, version: str) -> None:
    outcome(fhir.get(f"{referral.task_place}/_history/{version}"), 404)


@pytest.mark.parametrize("summary", ["count", "nonsense", ""])
def test_a_summary_that_a_read_has_not_is_400(fhir: Client, referral: Referral, summary: str) -> None:
    outcome(fhir.get(f"{referral.task_place}?_summary={summary}"), 400)


def test_pretty_is_the_same_in_lines(fhir: Client, referral: Referral) -> None:
    place = referral.task_place
    for path in (place, f"{place}/_history/1", f"{place}/_history", "metadata"):
        plain, pretty = fhir.get(path), fhir.get(f"{path}?_pretty=true")
        assert {**content(plain), "link": ""} == {**content(pretty), "link": ""}
        assert "\n" in pretty.text
        assert "\n" not in plain.text
