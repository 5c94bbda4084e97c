"""Whatever address stands in what is sent: Sluss asks nobody there, and Subscriptions reach nothing inside.

Which addresses an endpoint may have, and that the address that was looked up is the one that is called: see
tests/subscriptions.
"""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.web.caller import Sluss, bundle, content, single
from tests.web.test_subscriptions import wanted


@pytest.fixture
def trap() -> Iterator[tuple[str, list[Any]]]:
    """The base of a server on loopback, and who has called it."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                try:
                    connection, address = listening.accept()
                except TimeoutError:
                    continue
                came.append(address)
                connection.close()

        thread = threading.Thread(target=watch)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/fhir", came
        over.set()
        thread.join()


def test_absolute_references_wherever_they_stand_are_never_fetched(sluss: Sluss, trap: tuple[str, list[Any]]) -> None:
    base, came = trap
    there = {"reference": f"{base}/Patient/1"}
    sent: list[tuple[str, Json]] = [
        ("/fhir/ServiceRequest", single("R-1", supportingInfo=[{"reference": f"{base}/Observation/1"}])),
        ("/fhir/ServiceRequest", single("R-2", subject=there)),
        ("/fhir/ServiceRequest", single("R-3", requester={"reference": f"{base}/PractitionerRole/1"})),
        ("/fhir/ServiceRequest", single("R-4", instantiatesUri=[f"{base}/x"], instantiatesCanonical=[f"{base}/y"])),
        ("/fhir/ServiceRequest", single("R-5", meta={"profile": [f"{base}/StructureDefinition/x"]})),
        ("/fhir/ServiceRequest", single("R-6", implicitRules=f"{base}/rules")),
        ("/fhir/ServiceRequest", single("R-7", extension=[{"url": f"{base}/e", "valueReference": there}])),
        ("/fhir/ServiceRequest/$assess", single("R-8", reasonReference=[{"reference": f"{base}/Condition/1"}])),
        ("/fhir/QuestionnaireResponse/$extract", {"resourceType": "QuestionnaireResponse", "status": "completed",
                                                  "questionnaire": f"{base}/Questionnaire/1"}),
        ("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": f"{base}/Task"}},
            {"request": {"method": "GET", "url": "http://127.0.0.1/fhir/Task"}},
            {"fullUrl": f"{base}/Task/1", "request": {"method": "GET", "url": f"Task?patient={base}/Patient/1"}},
        ]}),
    ]  # fmt: skip
    full = bundle("R-9")
    for position, entry in enumerate(full["entry"]):
        if not position % 3:
            entry["resource"]["meta"] = {"source": f"{base}/x", "profile": [f"{base}/y"]}
    sent.append(("/fhir", full))
    for path, body in sent:
        assert sluss.post(path, body).status_code in (200, 201, 400, 422), path
    call = {
        "hook": "order-sign",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "fhirServer": base,
        "fhirAuthorization": {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "scope": "*",
                              "subject": "x"},
        "context": {"userId": "PractitionerRole/1", "patientId": "1", "draftOrders": {
            "resourceType": "Bundle", "type": "collection", "entry": [{"resource": single("R-10", subject=there)}]}},
    }  # fmt: skip
    answer = sluss.post("/cds-services/ikbt-order-sign", call, {"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 412)
    for path in (f"/fhir/Task?patient={base}/Patient/1", f"/fhir/Task/{base}/1", f"/fhir?_getpages={base}"):
        assert sluss.get(path).status_code < 500
    assert came == []


INSIDE = [
    "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/",
    "https://metadata.google.internal/", "https://0.0.0.0/", "https://2130706433/", "https://0x7f000001/",
    "https://127.1/", "https://[::ffff:127.0.0.1]/", "https://[fd00::1]/", "http://ehr.example/", "ftp://ehr.example/",
    "file:///etc/passwd", "gopher://127.0.0.1:25/", "https://ehr.example@127.0.0.1/", "https://ehr.example:22/",
    "https://ehr.example.evil.example/", "https://evil.example/?https://ehr.example/", "//ehr.example/", "ehr.example",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", INSIDE)
def test_a_subscription_to_an_inner_or_unnamed_address_is_refused(another: Any, endpoint: str) -> None:
    sluss = another(subscription_hosts=("ehr.example",)).acting("therapist gavle")
    sent = wanted(endpoint=endpoint)
    answer = sluss.post("/fhir/Subscription", sent)
    assert answer.status_code in (400, 422), answer.text
    assert "total" not in content(answer)
