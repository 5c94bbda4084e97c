"""Keys that clients and identity providers publish: fetched from the registered address, and from no other."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests
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
        self._verify: str | bool = str(certificates) if certificates else True
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
        except (requests.RequestException, OSError, ValueError) as problem:
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
        if not address.startswith("https://"):
            return Path(address).read_bytes(), _FRESH
        until = time.monotonic() + _SECONDS
        with requests.Session() as session:
            session.trust_env = False
            with session.get(
                address,
                headers={"Accept": "application/json", "User-Agent": "Sluss"},
                timeout=(3.0, _SECONDS),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
            ) as answer:
                if answer.status_code != requests.codes.ok:
                    raise ValueError("another status than 200")
                text = b""
                for part in answer.iter_content(4096):
                    text += part
                    if len(text) > _LARGEST or time.monotonic() > until:
                        raise ValueError("too large or too slow")
                return text, _kept_for(answer.headers.get("Cache-Control", "").lower())


def _kept_for(cache_control: str) -> float:
    """Seconds that an answer may be kept. https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2"""
    if _NOT_KEPT.search(cache_control):
        return 0.0
    said = _MAX_AGE.search(cache_control)
    return min(float(said[1]), _LONGEST_FRESH) if said else _FRESH
