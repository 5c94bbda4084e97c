"""One POST to the endpoint of a Subscription, on whose address its maker has decided.

By http.client: what `requests` adds (redirects, proxies and passwords from the environment, a connection of its own
making) is what must not happen here.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from service.subscriptions.endpoints import Endpoints, Target


class Trouble(StrEnum):
    """Why an endpoint did not take a notification, in words for its subscriber."""

    NOT_ALLOWED = "its address may not be called"
    UNREACHABLE = "it cannot be reached"
    CERTIFICATE = "its certificate is not trusted"
    TIMEOUT = "it did not answer in time"
    REDIRECT = "it redirects, which is not followed"
    REFUSED = "it answered with an error"
    UNREADABLE = "its answer is no HTTP"


_Place = tuple[socket.AddressFamily, tuple[Any, ...]]
"""What `socket.connect` takes, for a family of addresses."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A notification may not have arrived."""

    trouble: Trouble
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.trouble} (HTTP {self.status})" if self.status else str(self.trouble)


@dataclass(frozen=True)
class RestHook:
    """Calls endpoints; may be shared by threads."""

    endpoints: Endpoints
    certificates: Path | None = None
    """Of the authorities that endpoints' certificates may be signed by (PEM); None: those that this machine trusts."""

    def post(self, url: str, headers: Iterable[tuple[str, str]], body: bytes, seconds: float) -> NotTaken | None:
        """Send `body`; None when the endpoint has taken it (2xx). Nothing of the answer but its status is read.

        Looking up the host's name is bounded by this machine's resolver, everything else together by `seconds`.
        """
        target = self.endpoints.target(url)
        places = [] if isinstance(target, str) else _places(target)
        if isinstance(target, str) or not all(self.endpoints.allows(str(address[0])) for _, address in places):
            return NotTaken(Trouble.NOT_ALLOWED)
        # The addresses that were looked at are called: a name may mean others the next time.
        call = _Call(target, places, ssl.create_default_context(cafile=self.certificates), time.monotonic() + seconds)
        try:
            status = call.ask(headers, body)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            return NotTaken(Trouble.TIMEOUT if call.is_late else _trouble(problem))
        finally:
            call.close()
        return NotTaken(Trouble.TIMEOUT) if call.is_late else _judged(status)


def _places(target: Target) -> list[_Place]:
    """Every address of the host; none when there is no such host."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(family, address) for family, *_, address in found]


def _judged(status: int) -> NotTaken | None:
    if 200 <= status < 300:
        return None
    return NotTaken(Trouble.REDIRECT if 300 <= status < 400 else Trouble.REFUSED, status)


def _trouble(problem: Exception) -> Trouble:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return Trouble.CERTIFICATE
    if isinstance(problem, TimeoutError):
        return Trouble.TIMEOUT
    unreadable = isinstance(problem, http.client.HTTPException) and not isinstance(problem, OSError)
    return Trouble.UNREADABLE if unreadable else Trouble.UNREACHABLE


class _Call(http.client.HTTPConnection):
    """A TLS connection to one of the addresses that were looked at, cut when its time is up: a timeout of the socket
    alone is for one read, and an endpoint may send a byte at a time.
    """

    default_port = http.client.HTTPS_PORT

    def __init__(self, target: Target, places: list[_Place], context: ssl.SSLContext, deadline: float) -> None:
        super().__init__(target.host, target.port)
        self._target, self._places, self._tls, self._deadline = target, places, context, deadline
        self._cutter: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def is_late(self) -> bool:
        """True when its time is up."""
        return time.monotonic() >= self._deadline

    def ask(self, headers: Iterable[tuple[str, str]], body: bytes) -> int:
        """Send it, and give the status of the answer."""
        self.putrequest("POST", self._target.path, skip_accept_encoding=True)
        for name, value in headers:
            self.putheader(name, value)
        self.putheader("Content-Length", str(len(body)))
        self.putheader("Connection", "close")
        self.endheaders(body)
        return self.getresponse().status

    def connect(self) -> None:
        """To the first of the addresses that answers; the certificate is that of the name."""
        problem: OSError | None = None
        for family, address in self._places:
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(self._left)
                plain.connect(address)
            except OSError as failed:
                plain.close()
                problem = failed
                continue
            with self._lock:
                self._cutter = plain.dup()
            self._timer = threading.Timer(self._left, self._cut)
            self._timer.daemon = True
            self._timer.start()
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.host)
            return
        raise problem or OSError("no address")

    def close(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()
        with self._lock:
            if self._cutter is not None:
                self._cutter.close()
                self._cutter = None

    @property
    def _left(self) -> float:
        return max(0.1, self._deadline - time.monotonic())

    def _cut(self) -> None:
        with self._lock:
            if self._cutter is not None:
                with contextlib.suppress(OSError):  # the endpoint has gone by itself
                    self._cutter.shutdown(socket.SHUT_RDWR)
