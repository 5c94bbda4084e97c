"""Keys that others publish: fetched from a real https server, kept as long as they may be, never from elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.access.keys import Header, KeySet
from service.access.published_keys import PublishedKeys
from tests.access.publisher import Publisher, running_publisher
from tests.access.signing import key_set, public_jwk
from tests.subscriptions.endpoint import CERTIFICATE


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with running_publisher() as running:
        yield running


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
