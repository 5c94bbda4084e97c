"""What goes out in heads, and what a client's words do there: nothing of theirs but what is encoded."""

import gzip
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from service.store.database import Store
from tests.web.caller import FHIR, Sluss, bundle, issues, single
from tests.web.served import Served, new_database, served

Rows = Callable[[], dict[str, int]]

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SPLITS = [
    "x\r\nSet-Cookie: a=b",
    "x\nLocation: http://evil.example",
    "x\r\n\r\n<script>",
    "x\u2028y",
    "å\x85\x0b",
    "\x7f",
]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/fhir/metadata"),
        ("GET", "/fhir/Task"),
        ("GET", "/fhir/Task/none"),
        ("POST", "/fhir"),
        ("GET", "/nowhere"),
        ("GET", "/openapi.json"),
        ("GET", "/health/live"),
        ("GET", "/cds-services"),
        ("POST", "/intake/referrals"),
        ("OPTIONS", "/fhir/Task"),
    ],
)
def test_every_answer_has_the_heads_that_make_it_harmless_and_none_that_opens_it(
    sluss: Sluss, method: str, path: str
) -> None:
    answer = sluss.call(method, path, headers={"Origin": "https://evil.example"})
    assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert not [name for name in answer.headers if name[0].lower().startswith("access-control-")], "no CORS"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/fhir//Patient?identifier=199002222397", "/fhir/Task//", "/fhir/metadata//"])
def test_nobody_is_redirected(sluss: Sluss, path: str) -> None:
    """A redirect would repeat in an address of ours whom somebody looked for, and lead wherever `Host` says."""
    answer = sluss.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "Location" not in answer.headers
    assert answer.content_type.startswith("application/fhir+json")


@pytest.mark.parametrize("text", SPLITS)
def test_nothing_of_a_client_breaks_a_head(sluss: Sluss, text: str) -> None:
    sent = quote(text, safe="")
    task = sluss.refer()["task"]["id"]
    answers = [
        sluss.get(f"/fhir/Task/{sent}"),
        sluss.get(f"/fhir/Task/{task}/_history/{sent}"),
        sluss.get(f"/fhir/Task?_id={sent}&{sent}={sent}"),
        sluss.get(f"/{sent}"),
        sluss.get(f"/fhir/{sent}"),
        sluss.post("/fhir/ServiceRequest", single(text)),
        sluss.put(f"/fhir/Task/{sent}", {"resourceType": "Task", "id": text}),
        sluss.post("/fhir/ServiceRequest", single("R-9"), {"If-None-Exist": sent}),
        sluss.get("/fhir/Task", {"X-Request-Id": sent, "Accept": sent, "Prefer": sent}),
        sluss.post("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": f"Task/{text}"}},
            {"request": {"method": "GET", "url": f"Task?_id={sent}"}},
        ]}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code < 500, answer.text
        for name, value in answer.headers:
            assert not {"\r", "\n"} & {*name, *value}
            if name in ("Location", "Content-Location"):
                assert urlsplit(value).netloc in ("", "localhost"), "it leads nowhere else"
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "../metadata",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5cwindows",
        "....//....//etc/passwd",
        "%c0%ae%c0%ae/",
        "file:///etc/passwd",
        "/etc/passwd",
        "~root",
        "$HOME",
        "`id`",
        ";id",
        "|id",
        "a" * 65,
        "a" * 5000,
        "%00",
        "con",
    ],
)
def test_an_id_is_an_id_and_no_path(sluss: Sluss, rows: Rows, path: str) -> None:
    before = rows()
    for type_ in ("Task", "ServiceRequest", "Patient", "Questionnaire", "Subscription"):
        for answer in (sluss.get(f"/fhir/{type_}/{path}"), sluss.get(f"/fhir/{type_}/{path}/_history/{path}")):
            assert answer.status_code in (400, 404, 405), (type_, path, answer.status_code)
            assert "root:" not in answer.text
    after = rows()
    assert {n: c for n, c in after.items() if "audit" not in n} == {n: c for n, c in before.items() if "audit" not in n}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, identity", "GZIP"])
@pytest.mark.parametrize("path", ["/fhir", "/fhir/ServiceRequest", "/intake/referrals", "/fhir/Task/_search"])
def test_a_compressed_body_is_never_unpacked(sluss: Sluss, rows: Rows, encoding: str, path: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    media = "application/json" if path.startswith("/intake") else FHIR
    media = "application/x-www-form-urlencoded" if path.endswith("_search") else media
    answer = sluss.post(path, bomb, {"Content-Type": media, "Content-Encoding": encoding})
    assert answer.status_code == 415
    assert answer.headers["Accept-Encoding"] == "identity"
    if path.startswith("/fhir"):
        assert issues(answer)[0]["code"] == "not-supported"


def test_identity_is_no_encoding(sluss: Sluss) -> None:
    assert sluss.post("/fhir", bundle(), {"Content-Encoding": "identity"}).status_code == 200


@pytest.fixture(scope="module")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("headers")
    url = new_database(server_url, f"headers_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    with served(folder / "log", SLUSS_DATABASE_URL=url) as running:
        yield running


def _raw(service: Served, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", urlsplit(service.url).port or 0), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 50",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 5",
        b"Content-Length: +5",
        b"Content-Length: 5 5",
        b"Transfer-Encoding : chunked",
    ],
)
def test_two_readers_cannot_see_two_requests_in_one(service: Served, head: bytes) -> None:
    """https://www.rfc-editor.org/rfc/rfc9112#section-11.2: what is smuggled behind is never answered."""
    smuggled = b"0\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = _raw(
        service,
        b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n"
        + head
        + b"\r\n\r\n"
        + smuggled,
    )
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert b'"openapi"' not in answer


def test_the_server_says_little_of_itself(service: Served) -> None:
    answer = _raw(service, b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"granian" not in head
    assert b"python" not in head
    assert b"werkzeug" not in head


def test_a_host_that_is_none_of_ours_is_only_told_to_who_sent_it(sluss: Sluss) -> None:
    answer = sluss.get("/fhir/metadata", {"Host": "evil.example"})
    assert json.loads(answer.data)["implementation"]["url"].startswith("http://evil.example")
    assert answer.headers["Cache-Control"] == "no-store", "so that nobody else is"
