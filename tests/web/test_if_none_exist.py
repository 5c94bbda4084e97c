"""If-None-Exist: none makes one, one answers with it, several are 412, and only one's own count (contract 3).

https://hl7.org/fhir/R4/http.html#ccreate
"""

from collections.abc import Callable

import pytest

from fhir_mappings.records import Json
from tests.web.caller import UNIT, Sluss, bundle, content, issues, single

Rows = Callable[[], dict[str, int]]
OTHER = "SE2321000198-EX02"
OTHERS_UNIT: Json = {
    "type": "Organization",
    "identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": OTHER},
}
BY_NUMBER = "identifier=https://ehr.example/referral|R-1"


def _post(sluss: Sluss, number: str, condition: str, **changes: object) -> tuple[int, Json]:
    answer = sluss.post("/fhir/ServiceRequest", single(number, **changes), {"If-None-Exist": condition})
    return answer.status_code, content(answer)


@pytest.mark.parametrize("condition", [BY_NUMBER, f"?{BY_NUMBER}", f"ServiceRequest?{BY_NUMBER}", "status=active"])
def test_no_match_makes_the_referral_and_one_match_answers_with_it(sluss: Sluss, rows: Rows, condition: str) -> None:
    status, made = _post(sluss, "R-1", condition)
    assert status == 201
    before = rows()
    status, found = _post(sluss, "R-2", condition)
    assert (status, found["id"]) == (200, made["id"])
    assert rows() == before


def test_an_answer_with_what_was_there_has_location_version_and_verdict(sluss: Sluss) -> None:
    made = sluss.post("/fhir/ServiceRequest", single("R-1"))
    found = sluss.post("/fhir/ServiceRequest", single("R-2"), {"If-None-Exist": BY_NUMBER})
    for name in ("Location", "ETag", "Last-Modified", "Sluss-Verdict"):
        assert found.headers[name] == made.headers[name]


def test_several_matches_are_412_and_nothing_is_made(sluss: Sluss, rows: Rows) -> None:
    _post(sluss, "R-1", BY_NUMBER)
    assert sluss.post("/fhir/ServiceRequest", single("R-2")).status_code == 201
    before = rows()
    answer = sluss.post("/fhir/ServiceRequest", single("R-3"), {"If-None-Exist": "status=active"})
    assert answer.status_code == 412
    assert issues(answer)[0]["code"] == "multiple-matches"
    assert rows() == before


def test_a_match_of_another_organisation_does_not_count(sluss: Sluss) -> None:
    assert _post(sluss, "R-1", BY_NUMBER)[0] == 201
    status, made = _post(sluss.acting(f"referrer {OTHER}"), "R-1", BY_NUMBER, requester=OTHERS_UNIT)
    assert status == 201
    status, own = _post(sluss.acting(f"referrer {UNIT}"), "R-2", BY_NUMBER)
    assert status == 200
    assert own["id"] != made["id"]


def test_ones_own_match_is_found_among_any_number_of_others(sluss: Sluss) -> None:
    for number in range(60):
        made = sluss.post("/fhir/ServiceRequest", single(f"X-{number}", requester=OTHERS_UNIT))
        assert made.status_code == 201
    assert _post(sluss, "R-1", "status=active")[0] == 201
    assert _post(sluss, "R-2", "status=active")[0] == 200


def test_a_match_by_id_or_age_is_a_condition_too(sluss: Sluss) -> None:
    _, made = _post(sluss, "R-1", BY_NUMBER)
    assert _post(sluss, "R-2", f"_id={made['id']}")[0] == 200
    assert _post(sluss, "R-2", "_lastUpdated=gt2020-01-01")[0] == 200
    assert _post(sluss, "R-2", "_id=another")[0] == 201


@pytest.mark.parametrize(
    "condition", ["", "?", "nonsense", "unknown=1", "status:above=active", "_sort=_lastUpdated", "status=%00", "%"]
)
def test_a_condition_that_is_no_search_is_400_and_nothing_is_made(sluss: Sluss, rows: Rows, condition: str) -> None:
    before = rows()
    status, _ = _post(sluss, "R-1", condition)
    assert status == 400
    assert rows() == before


def _with_condition(sent: Json) -> Json:
    for entry in sent["entry"]:
        if entry["resource"]["resourceType"] == "ServiceRequest":
            entry["request"]["ifNoneExist"] = BY_NUMBER
    return sent


def test_a_bundle_says_it_in_the_entry(sluss: Sluss, rows: Rows) -> None:
    assert sluss.post("/fhir", bundle("R-1")).status_code == 200
    before = rows()
    answer = sluss.post("/fhir", _with_condition(bundle("R-1")))
    assert answer.status_code == 200
    assert rows() == before
    (order,) = [e["response"] for e in content(answer)["entry"] if "outcome" in e["response"]]
    assert order["status"] == "200 OK"
    (stored,) = sluss.search("ServiceRequest")
    assert order["location"].startswith(f"ServiceRequest/{stored['id']}/")


def test_new_evidence_beside_a_referral_that_is_here_is_never_dropped_in_silence(sluss: Sluss, rows: Rows) -> None:
    assert sluss.post("/fhir", bundle("R-1")).status_code == 200
    before = rows()
    answer = sluss.post("/fhir", _with_condition(bundle("R-2")))
    assert answer.status_code == 409
    assert "NOT received" in issues(answer)[0]["diagnostics"]
    assert rows() == before


def test_a_caller_learns_nothing_by_asking_for_another_organisation(sluss: Sluss) -> None:
    _post(sluss, "R-1", BY_NUMBER)
    answer = sluss.acting(f"referrer {OTHER}").post("/fhir/ServiceRequest", single("R-2"), {"If-None-Exist": BY_NUMBER})
    assert answer.status_code == 403


@pytest.mark.parametrize("type_", ["ServiceRequest", "Communication", "Observation", "Task"])
def test_a_condition_in_the_address_is_400_and_nothing_is_made(sluss: Sluss, rows: Rows, type_: str) -> None:
    before = rows()
    body = single("R-1") if type_ == "ServiceRequest" else {"resourceType": type_}
    answer = sluss.post(f"/fhir/{type_}?{BY_NUMBER}", body)
    assert answer.status_code == 400
    assert issues(answer)[0]["expression"] == ["http.identifier"]
    assert "If-None-Exist" in issues(answer)[0]["diagnostics"]
    assert rows() == before


def test_how_an_answer_looks_may_be_said_in_the_address(sluss: Sluss) -> None:
    answer = sluss.post("/fhir/ServiceRequest?_format=json&_pretty=true", single("R-1"))
    assert answer.status_code == 201


@pytest.mark.parametrize("number", ["Räksmörgås", "日本", "a?b"])
def test_what_a_client_has_not_escaped_is_read_as_utf_8(sluss: Sluss, number: str) -> None:
    made = content(sluss.post("/fhir/ServiceRequest", single(number)))
    raw = f"identifier=https://ehr.example/referral|{number}".encode().decode("latin-1")
    assert _post(sluss, "R-2", raw) == (200, made)
