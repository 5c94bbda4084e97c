"""Where HTTP itself matters: two web processes of `sluss serve`, asked over sockets (contract 2, 8)."""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from fhir_mappings.records import Json
from service.store.database import Store
from tests.web.caller import UNIT, bundle, order_in, plain, single
from tests.web.served import Served, new_database, served

FHIR = {"Content-Type": "application/fhir+json"}
PERSONAL = [
    "199002222397",
    "900222-2397",
    "Testsson",
    "070-1740605",
    "hemuppgifter",
    "Nås bäst",
    "HEMLIGT",
    "R-PERSONAL",
    "198001019801",
]
"""Everything personal that the requests of this file hold."""


@pytest.fixture(scope="module")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    url = new_database(server_url, f"served_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    settings = {"SLUSS_DATABASE_URL": url, "SLUSS_LOG_LEVEL": "debug"}
    with served(folder / "log", "--workers", "2", **settings) as running:
        yield running
        assert requests.get(f"{running.url}/health/live", timeout=5).status_code == 200, "alive after all of it"


def _connection(service: Served) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", urlsplit(service.url).port or 0, timeout=20)


def _big(size: int) -> bytes:
    return json.dumps(single("BIG", note=[{"text": "x" * size}])).encode()


def test_a_chunked_body_is_read(service: Served) -> None:
    sent = json.dumps(single("R-CHUNKED")).encode()
    pieces = (sent[i : i + 100] for i in range(0, len(sent), 100))
    answer = requests.post(f"{service.url}/fhir/ServiceRequest", data=pieces, headers=FHIR, timeout=20)
    assert answer.status_code == 201, answer.text


def test_a_chunked_body_over_a_megabyte_is_413_before_all_of_it_is_there(service: Served) -> None:
    pieces = (b" " * 50_000 for _ in range(30))
    try:
        answer = requests.post(f"{service.url}/fhir/ServiceRequest", data=pieces, headers=FHIR, timeout=20)
    except requests.ConnectionError:  # refused and closed while it was still sent
        return
    assert answer.status_code == 413
    assert answer.json()["issue"][0]["code"] == "too-long"


def test_a_body_that_says_it_is_over_a_megabyte_is_413(service: Served) -> None:
    try:
        answer = requests.post(f"{service.url}/fhir", data=_big(1_000_001), headers=FHIR, timeout=20)
    except requests.ConnectionError:
        return
    assert answer.status_code == 413


def test_a_length_over_a_megabyte_is_refused_without_waiting_for_the_body(service: Served) -> None:
    connection = _connection(service)
    connection.putrequest("POST", "/fhir")
    connection.putheader("Content-Type", "application/fhir+json")
    connection.putheader("Content-Length", "50000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_of_a_megabyte_is_taken(service: Served) -> None:
    answer = requests.post(f"{service.url}/fhir/ServiceRequest", data=_big(990_000), headers=FHIR, timeout=20)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b"\x00", b'"x"', b"[" * 5000, b'{"a":' * 5000, b"NaN", b"\xef\xbb\xbf{}"]
)
def test_a_bad_body_is_400(service: Served, body: bytes) -> None:
    answer = requests.post(
        f"{service.url}/fhir", data=body, headers={**FHIR, "Content-Length": str(len(body))}, timeout=20
    )
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_body_that_breaks_off_harms_nobody(service: Served) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", urlsplit(service.url).port or 0), timeout=30) as connection:
            connection.sendall(
                b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
    assert requests.get(f"{service.url}/health/live", timeout=5).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /fhir/Task?_id=\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /fhir/Task/%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /fhir/Task HTTP/1.1\r\nHost: ]x[\r\n\r\n",
        b"GET /fhir/Task HTTP/1.1\r\nHost: x\r\nSluss-Caller: \xe5\xe4\r\n\r\n",
        b"GET /fhir/Task HTTP/1.1\r\nHost: x\r\nAccept: ;;;,,q=\r\n\r\n",
        b"GET /fhir/Task HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\xe5b\r\n\r\n",
        b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: -1\r\n\r\n",
        b"GET http://elsewhere/fhir/Task HTTP/1.1\r\nHost: x\r\n\r\n",
        b"199002222397 /fhir/Task HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ],
)
def test_a_request_that_is_hardly_http_is_no_internal_error(service: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(service.url).port or 0), timeout=30) as connection:
        connection.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        with suppress(OSError):  # the server may have closed it by now
            connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    assert not answer.startswith(b"HTTP/1.1 5"), answer


def test_head_has_the_headers_of_get_and_no_body(service: Served) -> None:
    connection = _connection(service)
    connection.request("HEAD", "/fhir/metadata")
    head = connection.getresponse()
    assert (head.status, head.read()) == (200, b"")
    assert int(head.getheader("Content-Length") or 0) > 1000
    connection.close()


def test_an_answer_without_a_body_leaves_the_connection_usable(service: Served) -> None:
    with requests.Session() as session:
        for number in range(3):
            answer = session.post(
                f"{service.url}/fhir/ServiceRequest",
                json=single(f"R-MINIMAL-{number}"),
                headers={**FHIR, "Prefer": "return=minimal"},
                timeout=20,
            )
            assert (answer.status_code, answer.content) == (201, b"")
            location = answer.headers["Location"]
            assert location.startswith(service.url)
            assert session.get(location, timeout=20).status_code == 200


def test_fifty_identical_requests_at_once_over_two_processes_make_one_referral(service: Served) -> None:
    sent = json.dumps(bundle("R-FIFTY"))

    def send(_: int) -> tuple[int, str]:
        answer = requests.post(f"{service.url}/fhir", data=sent, headers=FHIR, timeout=30)
        places = [e["response"]["location"] for e in answer.json()["entry"] if "outcome" in e["response"]]
        return answer.status_code, places[0].split("/_history")[0]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {status for status, _ in answers} == {200}
    ((_, order),) = set(answers)
    found = requests.get(f"{service.url}/fhir/Task?focus={order}", timeout=20).json()
    assert len(found["entry"]) == 1


def test_a_poller_misses_nothing_while_two_processes_write(service: Served) -> None:
    base = f"{service.url}/fhir/Communication?recipient:identifier=urn:oid:1.2.752.29.4.19|{UNIT}&status=completed"
    session = requests.Session()

    def newer(seen: str) -> list[Json]:
        answer = session.get(f"{base}&_lastUpdated=gt{seen}&_sort=_lastUpdated&_count=200", timeout=20)
        return [e["resource"] for e in answer.json().get("entry", [])]

    def write(writer: int) -> None:
        with requests.Session() as own:
            for number in range(10):
                answer = own.post(f"{service.url}/fhir", json=bundle(f"R-{writer}-{number}"), headers=FHIR, timeout=30)
                assert answer.status_code == 200

    earlier = newer("2000-01-01T00:00:00Z")
    began = seen = earlier[-1]["meta"]["lastUpdated"] if earlier else "2000-01-01T00:00:00Z"
    got: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, n) for n in range(4)]
        last_round = False
        while True:
            finished = all(writer.done() for writer in writers)
            found = newer(seen)
            got += [r["id"] for r in found]
            seen = found[-1]["meta"]["lastUpdated"] if found else seen
            if finished and last_round and not found:
                break
            last_round = finished
            time.sleep(0.01)
        for writer in writers:
            writer.result()
    assert got == [r["id"] for r in newer(began)]
    assert len(got) == 40


def test_figures_are_those_of_all_processes(service: Served) -> None:
    def asked() -> float:
        text = requests.get(f"{service.url}/metrics", timeout=20).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "sluss_http_requests_total" and sample.labels["route"] == "/health/live"
        )

    before = asked()
    for _ in range(20):  # each on a connection of its own, so that both processes get some
        requests.get(f"{service.url}/health/live", timeout=20)
    assert asked() - before == 20
    assert asked() - before == 20


def test_nothing_personal_is_written_to_the_log_even_at_debug_level(service: Served) -> None:
    """A journey with failures of every kind; then all that was written is searched for all that was sent."""
    base = service.url
    secret: Json = {"note": [{"text": "HEMLIGT: samtal om barndomen"}]}
    json_type = {"Content-Type": "application/json"}
    sent = bundle("R-PERSONAL", lambda order: order.update(secret))
    assert requests.post(f"{base}/fhir", json=sent, headers=FHIR, timeout=20).status_code == 200
    other = json.loads(json.dumps(sent))
    order_in(other)["note"] = [{"text": "HEMLIGT igen"}]
    broken = json.dumps(sent)[:-40]
    draft, no_task = single("R-PERSONAL", status="draft"), {"resourceType": "Task", "id": "Testsson"}
    refused = [
        requests.post(f"{base}/fhir", json=other, headers=FHIR, timeout=20),
        requests.post(f"{base}/fhir", data=broken, headers=FHIR, timeout=20),
        requests.post(f"{base}/fhir", json={**sent, "Testsson": 1}, headers=FHIR, timeout=20),
        requests.post(f"{base}/fhir/ServiceRequest", json=draft, headers=FHIR, timeout=20),
        requests.post(f"{base}/intake/referrals", json=plain(programme="HEMLIGT"), headers=json_type, timeout=20),
        requests.get(f"{base}/fhir/Patient/199002222397", timeout=20),
        requests.get(f"{base}/199002222397/Testsson", timeout=20),
        requests.get(f"{base}/fhir/Patient?birthdate=Testsson&identifier=199002222397", timeout=20),
        requests.get(f"{base}/fhir/Task", headers={"Sluss-Caller": "199002222397"}, timeout=20),
        requests.get(f"{base}/fhir/Task", headers={"Accept": "Testsson/199002222397"}, timeout=20),
        requests.post(f"{base}/fhir", data="Testsson", headers={"Content-Type": "text/Testsson"}, timeout=20),
        requests.put(f"{base}/fhir/Task/Testsson", json=no_task, headers=FHIR, timeout=20),
        requests.request("HEMLIGT", f"{base}/fhir/Task", timeout=20),
    ]  # fmt: skip
    assert all(400 <= answer.status_code < 500 for answer in refused), [a.status_code for a in refused]
    found = requests.get(f"{base}/fhir/Patient?identifier=199002222397&name=Testsson", timeout=20)
    assert len(found.json()["entry"]) >= 1
    request_id = {"X-Request-Id": "199002222397"}
    assert requests.get(f"{base}/fhir/Patient?family=Testsson", headers=request_id, timeout=20).status_code == 200
    time.sleep(0.2)
    written = service.written
    assert '"status": 422' in written, "the log says what happened"
    assert not [word for word in PERSONAL if word in written]
    assert "Traceback" not in written
    for line in written.splitlines():
        if line.startswith("{"):
            json.loads(line)
