"""The stand-in refuses what a real R4 server refuses."""

from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fhir_mappings import r4, strict_json
from fhir_mappings.records import Json
from service.exchange.stand_in import create_stand_in
from service.exchange.stand_in_memory import Memory

FHIR = "application/fhir+json"
TASK: Json = {"resourceType": "Task", "status": "requested", "intent": "order"}


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def http(memory: Memory) -> FlaskClient:
    return create_stand_in(memory).test_client()


def post(http: FlaskClient, resource: Json, path: str | None = None, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    at = f"/fhir/{resource['resourceType']}" if path is None else path
    return http.post(at, data=strict_json.dump(resource), content_type=FHIR, headers=named)


def transact(http: FlaskClient, *entries: Json) -> TestResponse:
    return post(http, {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}, "/fhir")


def entry(resource: Json, method: str = "POST", url: str | None = None, **more: Any) -> Json:
    request = {"method": method, "url": url or resource["resourceType"], **more.pop("request", {})}
    return {"resource": resource, "request": request, **more}


def test_a_created_resource_gets_an_id_of_its_own_and_can_be_read(http: FlaskClient) -> None:
    answer = post(http, {**TASK, "id": "mine"})
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["id"] != "mine"
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Location"].endswith(f"/fhir/Task/{answer.json['id']}/_history/1")
    assert http.get(f"/fhir/Task/{answer.json['id']}").json == answer.json


def test_its_own_capability_statement_and_answers_are_valid_r4(http: FlaskClient) -> None:
    post(http, TASK)
    for path in ("/fhir/metadata", "/fhir/Task", "/fhir/Task?status=completed", "/fhir/Task/none"):
        resource = http.get(path).json
        assert resource is not None
        assert r4.validate(resource) == [], path


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ({**TASK, "status": "nonsense"}, 400),
        ({**TASK, "unknown": 1}, 400),
        ({"resourceType": "Task", "intent": "order"}, 400),
        ({**TASK, "for": {"reference": "Patient/nobody"}}, 422),
    ],
)
def test_what_is_not_r4_or_points_nowhere_is_refused(http: FlaskClient, resource: Json, status: int) -> None:
    assert post(http, resource).status_code == status
    assert http.get("/fhir/Task").json == {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": "http://localhost/fhir/Task"}],
    }


def test_bodies_that_are_no_fhir_json_are_refused(http: FlaskClient) -> None:
    assert http.post("/fhir/Task", data="{}", content_type="text/plain").status_code == 415
    assert http.post("/fhir/Task", data="{", content_type=FHIR).status_code == 400
    assert post(http, TASK, "/fhir/Patient").status_code == 400
    assert http.patch("/fhir/Task/1").status_code == 405


def test_a_conditional_create_finds_one_or_refuses_several(http: FlaskClient) -> None:
    task = {**TASK, "identifier": [{"system": "urn:x", "value": "å ä|ö"}]}
    query = f"identifier={quote('urn:x|å ä' + chr(92) + '|ö', safe='')}"
    assert post(http, task, If_None_Exist=query).status_code == 201
    assert post(http, task, If_None_Exist=query).status_code == 200
    assert post(http, task).status_code == 201
    assert post(http, task, If_None_Exist=query).status_code == 412
    assert post(http, task, If_None_Exist="nonsense").status_code == 400


def test_an_update_needs_the_version_it_replaces_and_something_to_replace(http: FlaskClient) -> None:
    made = post(http, TASK).json
    assert made is not None

    def put(resource: Json, etag: str, at: str = made["id"]) -> int:
        body = strict_json.dump(resource)
        return http.put(f"/fhir/Task/{at}", data=body, content_type=FHIR, headers={"If-Match": etag}).status_code

    assert put({**made, "status": "accepted"}, 'W/"1"') == 200
    assert put({**made, "status": "rejected"}, 'W/"1"') == 412
    assert put({**made, "id": "other"}, 'W/"2"') == 400
    assert put({**made, "id": "other"}, 'W/"1"', "other") == 405
    first = http.get(f"/fhir/Task/{made['id']}/_history/1").json
    assert first is not None
    assert first["status"] == "requested"


def test_a_transaction_leads_references_to_what_its_entries_became(http: FlaskClient) -> None:
    answer = transact(
        http,
        entry(
            {**TASK, "for": {"reference": "urn:uuid:p"}, "partOf": [{"reference": "urn:uuid:t"}]}, fullUrl="urn:uuid:t"
        ),
        entry({"resourceType": "Patient"}, fullUrl="urn:uuid:p"),
    )
    assert answer.status_code == 200
    assert answer.json is not None
    task, person = [one["response"]["location"].partition("/_history")[0] for one in answer.json["entry"]]
    kept = http.get(f"/fhir/{task}").json
    assert kept is not None
    assert (kept["for"]["reference"], kept["partOf"][0]["reference"]) == (person, task)


def test_a_transaction_is_all_or_nothing(http: FlaskClient, memory: Memory) -> None:
    made = post(http, TASK).json
    assert made is not None
    good = entry({**TASK, "status": "draft"}, fullUrl="urn:uuid:1")
    stale = entry({**made, "status": "accepted"}, "PUT", f"Task/{made['id']}", request={"ifMatch": 'W/"9"'})
    astray = entry({**TASK, "for": {"reference": "Patient/nobody"}})
    for bad, status in ((stale, 412), (astray, 422), (entry({**TASK, "status": "x"}), 400), (good, 400)):
        assert transact(http, good, bad).status_code == status
    assert memory.of_type("Task") == [made]
    assert transact(http, entry(made, "DELETE", f"Task/{made['id']}")).status_code == 422
    assert transact(http, entry(made, "PUT", "Patient/1")).status_code == 400


def test_it_searches_by_what_it_says_and_refuses_the_rest(http: FlaskClient) -> None:
    person = post(http, {"resourceType": "Patient"}).json
    assert person is not None
    code = {"coding": [{"system": "urn:codes", "code": "fulfill"}]}
    tagged = {"tag": [{"system": "urn:tags", "code": "a"}]}
    about = {"reference": f"Patient/{person['id']}"}
    hit = post(http, {**TASK, "code": code, "for": about, "meta": tagged, "identifier": [{"value": "7"}]}).json
    post(http, {**TASK, "status": "draft"})
    assert hit is not None
    for query in (
        "code=fulfill",
        "code=urn:codes%7Cfulfill",
        "_tag=urn:tags%7Ca",
        "identifier=%7C7",
        "identifier=6,7",
        f"patient={person['id']}",
        f"patient=Patient/{person['id']}",
        f"_id={hit['id']}",
        "status=requested",
        "status=requested&_lastUpdated=gt2020-01-01T00:00:00Z",
    ):
        found = http.get(f"/fhir/Task?{query}").json
        assert found is not None
        assert [one["resource"]["id"] for one in found.get("entry", ())] == [hit["id"]], query
    for query in ("owner=x", "_sort=status", "_count=0", "_lastUpdated=sa2020-01-01T00:00:00Z"):
        assert http.get(f"/fhir/Task?{query}").status_code == 400, query


def test_pages_follow_one_another_without_the_query_in_their_links(http: FlaskClient) -> None:
    for _ in range(5):
        post(http, TASK)
    page = http.post("/fhir/Task/_search", data={"status": "requested", "_count": "2", "_sort": "-_lastUpdated"}).json
    seen: list[str] = []
    while page is not None:
        seen += [one["resource"]["id"] for one in page["entry"]]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        assert not any("requested" in url for url in following)
        page = http.get(following[0]).json if following else None
    assert len(seen) == len(set(seen)) == 5


def test_what_is_deleted_is_gone_unless_another_resource_refers_to_it(http: FlaskClient) -> None:
    parent = post(http, TASK).json
    assert parent is not None
    child = post(http, {**TASK, "partOf": [{"reference": f"Task/{parent['id']}"}]}).json
    assert child is not None
    assert http.delete(f"/fhir/Task/{parent['id']}").status_code == 409
    assert http.delete(f"/fhir/Task/{child['id']}").status_code == 204
    assert http.delete(f"/fhir/Task/{parent['id']}").status_code == 204
    assert http.get(f"/fhir/Task/{parent['id']}").status_code == 404
    assert http.delete(f"/fhir/Task/{parent['id']}").status_code == 204, "what is gone stays gone"
