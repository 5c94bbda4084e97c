"""How many requests are in the house at once. What is too much is told 503 at once, so that who is in is served soon.

Bodies are read before a place to work is taken: one that comes slowly holds up a thread, but nobody's work. A server of
WSGI cannot end a read, so slow ones are bounded in number, and by address; a proxy that buffers requests sees to the
rest (docs/proxy.md).
"""

import threading
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from fhir_mappings.issues import IssueCode, error, to_operation_outcome
from fhir_mappings.strict_json import dump
from service.web.measuring import REQUESTS
from service.web.requests_in import HOOKS, MOST_BYTES, TOKEN

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WAITING = 7
"""Times as many as are worked on may wait for a place."""
READING = 64
"""Bodies that are read at once."""
READING_FROM_ONE = 48
"""Of these from one address."""
PATIENCE = 10.0
"""Seconds that a request waits for a place at most."""
RETRY_AFTER = "2"

SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    # nothing here is a page; whoever makes a browser show it gets nothing that runs, loads, frames or tells of it
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Server", "sluss"),
)
"""Of every answer."""

_ALIVE = "/health/live"


def threads_for(at_once: int) -> int:
    """How many threads the server needs: for work, for waiting, for reading, and some to refuse the others."""
    return at_once * (1 + WAITING) + READING + 8


class Admission:
    """A WSGI application of which so many requests are worked on at once."""

    def __init__(self, app: "WSGIApplication", at_once: int) -> None:
        self._app = app
        self._places = threading.BoundedSemaphore(at_once)
        self._most = at_once * (1 + WAITING)
        self._lock = threading.Lock()
        self._inside = 0
        self._reading: Counter[str] = Counter()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answers, or refuses. Whether the process lives is told however full it is."""
        if environ.get("PATH_INFO") == _ALIVE:
            return self._app(environ, start_response)
        if self._has_read(environ) and self._may_enter():
            try:
                if self._places.acquire(timeout=PATIENCE):
                    try:
                        return self._app(environ, start_response)
                    finally:
                        self._places.release()
            finally:
                self._leave()
        return _refused(environ, start_response)

    def _may_enter(self) -> bool:
        with self._lock:
            if self._inside >= self._most:
                return False
            self._inside += 1
            return True

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1

    def _has_read(self, environ: "WSGIEnvironment") -> bool:
        """True when the body is here, or will be refused unread for its length; False when too many are read."""
        most = _to_read(environ)
        if most == 0:
            return True
        address = str(environ.get("REMOTE_ADDR"))
        with self._lock:
            if self._reading.total() >= READING or self._reading[address] >= READING_FROM_ONE:
                return False
            self._reading[address] += 1
        try:
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(most))
        finally:
            with self._lock:
                self._reading[address] -= 1
                if not self._reading[address]:
                    del self._reading[address]
        return True


def _to_read(environ: "WSGIEnvironment") -> int:
    """How many bytes to read of the body; of one that does not say how long it is one more than it may have."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length:
        return MOST_BYTES + 2 if "HTTP_TRANSFER_ENCODING" in environ else 0
    return (
        int(length) if length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MOST_BYTES else 0
    )


def _refused(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    REQUESTS.labels("any", "refused at the door", 503).inc()
    path = str(environ.get("PATH_INFO"))
    if path.rstrip("/") == TOKEN:
        type_, body = "application/json", _OAUTH
    elif path.startswith(("/intake/", HOOKS)):
        type_, body = "application/problem+json", _PLAIN
    else:
        type_, body = "application/fhir+json; charset=utf-8", _FHIR
    headers = [
        ("Content-Type", type_),
        ("Retry-After", RETRY_AFTER),
        *SAFE_HEADERS,
    ]
    start_response("503 Service Unavailable", headers)
    return [body]


_FULL = error(
    IssueCode.TRANSIENT,
    None,
    "Det är för många som frågar just nu, så inget av det som skickades har tagits emot. Försök igen om en stund.",
    "too many requests at once; nothing was done, retry later",
)
_FHIR = dump(to_operation_outcome([_FULL])).encode()
_PLAIN = dump(
    {
        "type": "about:blank",
        "title": _FULL.text,
        "status": 503,
        "errors": [{"code": str(_FULL.code), "text": _FULL.text, "detail": _FULL.diagnostics}],
    }
).encode()
_OAUTH = dump({"error": "temporarily_unavailable", "error_description": _FULL.diagnostics}).encode()
