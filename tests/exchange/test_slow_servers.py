"""An external server that sends on, and never ends: a call is over when its time is up, whatever part is slow."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest

from service.exchange.client import Answered, FhirClient, Reason, Transient
from tests.subscriptions.endpoint import CERTIFICATE

SECONDS = 1.0
PAUSE = 0.02
"""Between two bytes: no single read is ever slow."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
NOT_ANSWERED = Transient(Reason.TIMEOUT, unanswered=True)


@contextmanager
def dripping(at_once: bytes, again_and_again: bytes, *, by_tls: bool = False) -> Iterator[int]:
    """A server on loopback that answers with the first, then for ever with the second, a byte at a time; its port."""
    over = threading.Event()
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)

    def serve() -> None:
        with suppress(OSError):  # the caller hangs up, as it should
            plain, _ = listening.accept()
            with tls.wrap_socket(plain, server_side=True) if by_tls else plain as caller:
                caller.recv(65536)
                caller.sendall(at_once)
                while not over.wait(PAUSE):
                    for byte in again_and_again:
                        caller.sendall(bytes([byte]))
                        over.wait(PAUSE)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("at_once", "again_and_again"),
    [
        (b"HTTP/1.1 200 ", b"O"),
        (HEAD + b"X-Slow: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"Connection: close\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Slow: ", b"a"),
    ],
    ids=["status", "headers", "continue", "body", "body without a length", "chunks", "a chunk's length", "trailers"],
)
def test_an_answer_that_drips_is_over_when_the_time_of_the_call_is(at_once: bytes, again_and_again: bytes) -> None:
    with dripping(at_once, again_and_again) as port:
        began = time.monotonic()
        assert FhirClient(f"http://127.0.0.1:{port}/fhir", SECONDS).read("Task", "1") == NOT_ANSWERED
        assert SECONDS - 0.1 < time.monotonic() - began < SECONDS + 0.5


def test_so_is_one_that_drips_through_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b" ", by_tls=True) as port:
        began = time.monotonic()
        assert FhirClient(f"https://localhost:{port}/fhir", SECONDS).read("Task", "1") == NOT_ANSWERED
        assert time.monotonic() - began < SECONDS + 0.5


def test_a_body_that_stops_coming_is_told_as_what_it_is() -> None:
    with dripping(HEAD + b"Content-Length: 100000\r\n\r\n{", b"") as port:
        assert FhirClient(f"http://127.0.0.1:{port}/fhir", SECONDS).read("Task", "1") == NOT_ANSWERED


def test_what_is_slow_and_comes_in_time_is_an_answer() -> None:
    body = b'{"resourceType":"Task"}'
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    with dripping(head, body) as port:
        told = FhirClient(f"http://127.0.0.1:{port}/fhir", 5).read("Task", "1")
    assert told == Answered({"resourceType": "Task"})
