"""Clients that hold on to what they need not: slow heads, slow bodies, connections without a request. Others are served
meanwhile, and what a server can cut is cut.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from service.cli import SLOWEST_HEAD
from service.store.database import Store
from service.web.admission import READING_FROM_ONE
from tests.web.caller import single
from tests.web.served import Served, new_database, served

FHIR = {"Content-Type": "application/fhir+json"}
AT_ONCE = 8


@pytest.fixture(scope="module")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One process, so that nobody else can help out."""
    folder: Path = tmp_path_factory.mktemp("slow")
    url = new_database(server_url, f"slow_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    with served(folder / "log", "--threads", str(AT_ONCE), SLUSS_DATABASE_URL=url) as running:
        yield running


def _connect(service: Served, stack: ExitStack, source: str = "127.0.0.2") -> socket.socket:
    port = urlsplit(service.url).port or 0
    made = socket.create_connection(("127.0.0.1", port), timeout=3 * SLOWEST_HEAD, source_address=(source, 0))
    return stack.enter_context(made)


def _everybody_else_is_served(service: Served, number: str) -> None:
    began = time.monotonic()
    assert requests.get(f"{service.url}/health/live", timeout=5).status_code == 200
    assert requests.get(f"{service.url}/fhir/Task?_count=1", timeout=5).status_code == 200
    sent = json.dumps(single(number))
    answer = requests.post(f"{service.url}/fhir/ServiceRequest", data=sent, headers=FHIR, timeout=10)
    assert answer.status_code == 201, answer.text
    assert time.monotonic() - began < 10


def test_bodies_that_do_not_come_hold_up_nobody_else(service: Served) -> None:
    head = b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000\r\n\r\n{"
    with ExitStack() as stack:
        held = [_connect(service, stack) for _ in range(READING_FROM_ONE + 4)]
        for connection in held:
            connection.sendall(head)
        time.sleep(0.5)
        _everybody_else_is_served(service, "R-SLOW-BODIES")
        refused = 0
        for connection in held:
            connection.settimeout(0.2)
            try:
                refused += connection.recv(15) == b"HTTP/1.1 503 Se"
            except TimeoutError:
                continue
        assert refused == 4, "one address holds so many and no more"
    _everybody_else_is_served(service, "R-SLOW-BODIES-GONE")


def test_heads_that_do_not_come_and_connections_without_a_request_are_cut(service: Served) -> None:
    with ExitStack() as stack:
        silent = [_connect(service, stack) for _ in range(60)]
        slow = [_connect(service, stack) for _ in range(60)]
        kept = _connect(service, stack)
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        for connection in slow:
            connection.sendall(b"GET /fhir/Task HTTP/1.1\r\nHost: x\r\n")
        _everybody_else_is_served(service, "R-SLOW-HEADS")
        for number in range(SLOWEST_HEAD - 2):
            time.sleep(1)
            for connection in slow:
                connection.sendall(f"X-{number}: x\r\n".encode())
        for connection in (*silent, *slow, kept):
            while connection.recv(4096):  # a last word, and the end
                pass
        assert time.monotonic() - began < SLOWEST_HEAD + 10
    _everybody_else_is_served(service, "R-SLOW-HEADS-GONE")


def test_only_http_1_is_spoken(service: Served) -> None:
    with ExitStack() as stack:
        connection = _connect(service, stack)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert not connection.recv(4096).startswith(b"\0\0"), "no frame of HTTP/2"
        upgrade = _connect(service, stack)
        upgrade.sendall(
            b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert upgrade.recv(4096).startswith(b"HTTP/1.1 405"), "nothing else than HTTP"
