"""Keys that clients and identity providers publish: fetched from the registered address, and from no other."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from service.access.keys import Header, KeySet, read_key_set

log = structlog.get_logger(__name__)

_SECONDS = 5.0
"""For a whole answer; somebody waits for a token meanwhile."""
_LARGEST = 64_000
_FRESH = 300.0
"""Seconds, where the answer does not say how long it may be kept."""
_LONGEST_FRESH = 3600.0
_AGAIN_AFTER = 60.0
"""Seconds between two looks for a key that is not among those that are known."""
_REST_AFTER_FAILURE = 10.0
"""Seconds in which an address that did not answer is not asked again."""
_MAX_AGE = re.compile(r"(?:^|[,\s])(?:s-maxage|max-age)\s*=\s*\"?(\d{1,9})")
_NOT_KEPT = re.compile(r"(?:^|[,\s])no-(?:store|cache)\b")


@dataclass
class _Known:
    """What one address has told."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: KeySet | None = None
    until: float = 0.0
    """Kept so long: seconds of `clock`."""
    looked_at: float = float("-inf")
    """When it was last asked because a key was missing."""
    rest_until: float = float("-inf")


class PublishedKeys:
    """Key sets by their address, kept as long as their Cache-Control allows. May be shared by threads.

    Only https, or a file for the address of an identity provider; no redirects. `certificates` (PEM) may have signed
    the servers' own; None: those that the machine trusts.
    """

    def __init__(self, certificates: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusted = certificates
        self._clock = clock
        self._by_address: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def get(self, address: str, header: Header) -> KeySet | str:
        """The keys at an address, looked up again when none of them is the one that the header names, at most once a
        minute; in English why there are none.
        """
        with self._lock:
            known = self._by_address.setdefault(address, _Known())
        with known.lock:
            now = self._clock()
            if known.keys is not None and now < known.until:
                if known.keys.matching(header) or now < known.looked_at + _AGAIN_AFTER:
                    return known.keys
                known.looked_at = now
            if now < known.rest_until:
                return "the keys could not be fetched a moment ago"
            return self._fetched(address, known, now)

    def _fetched(self, address: str, known: _Known, now: float) -> KeySet | str:
        try:
            text, kept_for = self._asked(address)
            keys = read_key_set(text)
        except (http.client.HTTPException, OSError, ValueError) as problem:
            # the kind only: its message may hold what the server said
            keys, kept_for = [f"they could not be fetched: {type(problem).__name__}"], 0.0
        if isinstance(keys, list):
            log.warning("keys_not_fetched", address=address, reason=keys[0])
            known.rest_until = now + _REST_AFTER_FAILURE
            return keys[0]
        known.keys, known.until = keys, now + kept_for
        return keys

    def _asked(self, address: str) -> tuple[bytes, float]:
        """What the address says, and for how many seconds it may be kept."""
        parts = urlsplit(address)
        if parts.scheme != "https":
            return Path(address).read_bytes(), _FRESH
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=_SECONDS, context=ssl.create_default_context(cafile=self._trusted)
        )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # the timeout of a socket is for one read, and a server may send a byte at a time
        held: list[socket.socket] = []
        until, end = time.monotonic() + _SECONDS, threading.Timer(_SECONDS, _cut, [connection, held])
        end.start()
        try:
            connection.connect()
            held.append(connection.sock)  # which the connection gives away with its answer
            connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": "Sluss"})
            answer = connection.getresponse()
            text = answer.read(_LARGEST + 1)
        finally:
            end.cancel()
            connection.close()
        if answer.status != http.HTTPStatus.OK or len(text) > _LARGEST or time.monotonic() > until:
            raise ValueError("another status than 200, too large or too slow")
        return text, _kept_for((answer.getheader("Cache-Control") or "").lower())


def _cut(connection: http.client.HTTPSConnection, held: list[socket.socket]) -> None:
    """End whatever is waited for."""
    for open_ in held or [connection.sock]:
        with contextlib.suppress(OSError):
            if open_ is not None:
                open_.shutdown(socket.SHUT_RDWR)


def _kept_for(cache_control: str) -> float:
    """Seconds that an answer may be kept. https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2"""
    if _NOT_KEPT.search(cache_control):
        return 0.0
    said = _MAX_AGE.search(cache_control)
    return min(float(said[1]), _LONGEST_FRESH) if said else _FRESH
