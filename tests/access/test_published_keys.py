"""Keys that others publish: fetched from a real https server, kept as long as they may be, never from elsewhere."""

import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.access.keys import Header, KeySet
from service.access.published_keys import PublishedKeys
from tests.access.signing import key_set, public_jwk
from tests.subscriptions.endpoint import CERTIFICATE


@dataclass
class Publisher:
    """Who publishes keys."""

    port: int = 0
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    drips: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/keys"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher(body=key_set().encode())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            time.sleep(made.after)
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            for at in range(0, len(made.body), 64 if made.drips else len(made.body) or 1):
                self.wfile.write(made.body[at : at + (64 if made.drips else len(made.body))])
                self.wfile.flush()
                time.sleep(0.5 if made.drips else 0)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who calls may hang up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def published(clock: Clock) -> PublishedKeys:
    return PublishedKeys(CERTIFICATE, clock)


KNOWN = Header("ES384", "k1")
UNKNOWN = Header("ES384", "new")


def test_keys_are_fetched_once_and_kept(published: PublishedKeys, publisher: Publisher, clock: Clock) -> None:
    for _ in range(3):
        found = published.get(publisher.url, KNOWN)
        assert isinstance(found, KeySet)
        assert found.matching(KNOWN)
        clock.now += 90
    assert len(publisher.asked) == 1
    clock.now += 100
    published.get(publisher.url, KNOWN)
    assert len(publisher.asked) == 2, "after five minutes, where nothing is said"


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [("max-age=60", 60), ("public, max-age=600", 600), ("max-age=999999", 3600), ("max-age=0", 0), ("no-store", 0)],
)
def test_they_are_kept_as_long_as_cache_control_says_and_never_longer(
    published: PublishedKeys, publisher: Publisher, clock: Clock, cache_control: str, seconds: int
) -> None:
    publisher.headers = {"Cache-Control": cache_control}
    published.get(publisher.url, KNOWN)
    if seconds:
        clock.now += seconds - 1
        published.get(publisher.url, KNOWN)
        assert len(publisher.asked) == 1
        clock.now += 1
    published.get(publisher.url, KNOWN)
    assert len(publisher.asked) == 2


def test_an_unknown_key_is_looked_for_once_a_minute(
    published: PublishedKeys, publisher: Publisher, clock: Clock
) -> None:
    publisher.headers = {"Cache-Control": "max-age=3000"}
    published.get(publisher.url, KNOWN)
    for _ in range(5):
        found = published.get(publisher.url, UNKNOWN)
        assert isinstance(found, KeySet)
        assert not found.matching(UNKNOWN)
    assert len(publisher.asked) == 2
    publisher.body = key_set(public_jwk(kid="new")).encode()
    clock.now += 60
    found = published.get(publisher.url, UNKNOWN)
    assert isinstance(found, KeySet)
    assert found.matching(UNKNOWN), "a key that was published since"
    assert len(publisher.asked) == 3


def test_a_redirect_is_not_followed(published: PublishedKeys, publisher: Publisher) -> None:
    publisher.status, publisher.headers = 302, {"Location": "/other"}
    assert isinstance(published.get(publisher.url, KNOWN), str)
    assert publisher.asked == ["/keys"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys":[]}', b"<html/>", b'{"keys":[' + b" " * 70_000 + b"]}"])
def test_what_is_no_key_set_or_too_large_is_none(published: PublishedKeys, publisher: Publisher, body: bytes) -> None:
    publisher.body = body
    assert isinstance(published.get(publisher.url, KNOWN), str)


def test_an_answer_that_comes_too_slowly_is_given_up(published: PublishedKeys, publisher: Publisher) -> None:
    publisher.drips, publisher.body = True, publisher.body + b" " * 2000
    began = time.monotonic()
    assert isinstance(published.get(publisher.url, KNOWN), str)
    assert time.monotonic() - began < 9


def test_an_address_that_failed_is_left_alone_for_a_moment(
    published: PublishedKeys, publisher: Publisher, clock: Clock
) -> None:
    publisher.status = 500
    for _ in range(3):
        assert isinstance(published.get(publisher.url, KNOWN), str)
    assert len(publisher.asked) == 1
    publisher.status = 200
    clock.now += 10
    assert isinstance(published.get(publisher.url, KNOWN), KeySet)


def test_keys_that_may_not_be_kept_any_longer_are_not_used_when_the_address_fails(
    published: PublishedKeys, publisher: Publisher, clock: Clock
) -> None:
    publisher.headers = {"Cache-Control": "max-age=60"}
    published.get(publisher.url, KNOWN)
    publisher.status = 500
    clock.now += 61
    assert isinstance(published.get(publisher.url, KNOWN), str)


def test_a_server_that_nobody_has_vouched_for_is_not_believed(publisher: Publisher) -> None:
    assert isinstance(PublishedKeys().get(publisher.url, KNOWN), str)
    assert publisher.asked == []


def test_only_https_and_files_are_read(published: PublishedKeys, publisher: Publisher, tmp_path: Path) -> None:
    assert isinstance(published.get(publisher.url.replace("https", "http"), KNOWN), str)
    assert publisher.asked == []
    file = tmp_path / "keys.json"
    file.write_text(key_set())
    assert isinstance(published.get(str(file), KNOWN), KeySet)
