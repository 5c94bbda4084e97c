"""The HAPI that Sluss is tried against does what a region's would: so these tests say what its own journeys rest on."""

import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.hapi import server
from tests.hapi.server import Running

pytestmark = pytest.mark.hapi

FHIR_JSON = "application/fhir+json"


class Client:
    """Requests with FHIR's media type, never through a proxy."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False

    def send(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> requests.Response:
        headers = {"Content-Type": FHIR_JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.session.request(method, self.base + path, json=body, headers=headers, timeout=60)

    def created(self, resource: dict[str, Any]) -> dict[str, Any]:
        answer = self.send("POST", f"/{resource['resourceType']}", resource)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def errors(self, resource: dict[str, Any]) -> list[str]:
        """What `$validate` holds to be wrong, best practice apart."""
        outcome = self.send("POST", f"/{resource['resourceType']}/$validate", resource).json()
        assert outcome["resourceType"] == "OperationOutcome"
        return [issue["diagnostics"] for issue in outcome["issue"] if issue["severity"] in ("error", "fatal")]


@pytest.fixture
def client(hapi: Running) -> Client:
    return Client(hapi.url)


def a_patient() -> dict[str, Any]:
    """Always the same person, but of a system of its own, so that no test meets another's."""
    system = f"https://sluss.example/{uuid4()}"
    return {"resourceType": "Patient", "identifier": [{"system": system, "value": "199002222397"}]}


def search_for(patient: dict[str, Any]) -> str:
    identifier = patient["identifier"][0]
    return f"identifier={identifier['system']}|{identifier['value']}"


def a_service_request(subject: str) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": subject},
        "authoredOn": "2026-11-23T10:00:00+01:00",
    }


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def test_a_patient_is_created_and_read_and_its_history_kept(client: Client) -> None:
    created = client.created(a_patient())
    path = f"/Patient/{created['id']}"
    read = client.send("GET", path)
    assert read.headers["ETag"] == 'W/"1"'
    assert read.json()["identifier"] == created["identifier"]
    assert client.send("PUT", path, created | {"active": True}, If_Match='W/"1"').status_code == 200
    versions = client.send("GET", f"{path}/_history").json()["entry"]
    assert [entry["resource"]["meta"]["versionId"] for entry in versions] == ["2", "1"]


def test_an_identifier_is_searched_for_without_appearing_in_the_address(client: Client) -> None:
    created = client.created(a_patient())
    form = dict([search_for(created).split("=", 1)])
    found = client.session.post(f"{client.base}/Patient/_search", data=form, timeout=60).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [created["id"]]


def test_a_transaction_creates_a_patient_only_where_there_is_none(client: Client) -> None:
    patient, urn = a_patient(), f"urn:uuid:{uuid4()}"
    create = {"method": "POST", "url": "Patient", "ifNoneExist": search_for(patient)}
    order = {"method": "POST", "url": "ServiceRequest"}
    bundle = transaction(
        {"fullUrl": urn, "resource": patient, "request": create},
        {"fullUrl": f"urn:uuid:{uuid4()}", "resource": a_service_request(urn), "request": order},
    )
    answers = [client.send("POST", "", bundle).json()["entry"] for _ in range(2)]
    statuses = [[entry["response"]["status"][:3] for entry in entries] for entries in answers]
    assert statuses == [["201", "201"], ["200", "201"]]
    patients = {entries[0]["response"]["location"].split("/_history")[0] for entries in answers}
    orders = [client.send("GET", f"/{entries[1]['response']['location']}").json() for entries in answers]
    assert {order["subject"]["reference"] for order in orders} == patients
    assert len(patients) == 1


def test_a_transaction_with_a_version_that_has_passed_changes_nothing(client: Client) -> None:
    created = client.created(a_patient())
    path = f"Patient/{created['id']}"
    assert client.send("PUT", f"/{path}", created | {"active": True}).status_code == 200
    stale = {"method": "PUT", "url": path, "ifMatch": 'W/"1"'}
    other = a_patient()
    bundle = transaction(
        {"resource": other, "request": {"method": "POST", "url": "Patient"}},
        {"resource": created | {"active": False}, "request": stale},
    )
    # HAPI says 409 where FHIR has 412.
    assert client.send("POST", "", bundle).status_code == 409
    assert client.send("GET", f"/{path}").json()["active"] is True
    assert client.send("GET", f"/Patient?{search_for(other)}").json()["total"] == 0


def test_a_reference_to_nothing_is_refused(client: Client) -> None:
    answer = client.send("POST", "/ServiceRequest", a_service_request("Patient/999999"))
    assert answer.status_code == 400
    assert "Patient/999999 not found" in answer.text


def test_resources_are_validated_against_the_definitions_of_r4(client: Client) -> None:
    patient = f"Patient/{client.created(a_patient())['id']}"
    assert client.errors(a_service_request(patient)) == []
    assert client.errors(a_service_request(patient) | {"subjects": []}) != []
    assert any("subject" in error for error in client.errors({"resourceType": "ServiceRequest"}))
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "authoredOn": "2026-11-23T10:00:00+01:00",
        "lastModified": "2026-11-22T10:00:00+01:00",
    }
    assert any("inv-1" in error for error in client.errors(task))


def test_a_subscriber_is_called_when_a_communication_comes(client: Client) -> None:
    with listening() as (endpoint, calls):
        channel = {"type": "rest-hook", "endpoint": endpoint, "payload": FHIR_JSON}
        criteria = {"status": "requested", "reason": "reply", "criteria": "Communication?status=completed"}
        asked = client.created({"resourceType": "Subscription", **criteria, "channel": channel})
        until = time.monotonic() + 60
        while client.send("GET", f"/Subscription/{asked['id']}").json()["status"] != "active":
            assert time.monotonic() < until
            time.sleep(0.5)
        created = client.created({"resourceType": "Communication", "status": "completed"})
        assert calls.get(timeout=60) == f"/hook/Communication/{created['id']}"
        assert client.send("DELETE", f"/Subscription/{asked['id']}").status_code == 200


def test_what_is_built_already_is_not_built_again(hapi: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_maven(*command: object, **options: object) -> None:
        raise AssertionError(f"{command} was run")

    monkeypatch.setattr(subprocess, "run", no_maven)
    assert server.build().is_file()


@contextmanager
def listening() -> Iterator[tuple[str, "queue.Queue[str]"]]:
    """An endpoint on loopback, and the paths that are called there."""
    calls: queue.Queue[str] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.put(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    endpoint = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{endpoint.server_port}/hook", calls
    finally:
        endpoint.shutdown()
        endpoint.server_close()
