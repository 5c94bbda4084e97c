"""A small TCP proxy that makes trouble on the way to the external server."""

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Trouble:
    """What may happen to one request, and how often (0 to 1)."""

    late: float = 0.0
    """Its answer comes `seconds` later."""
    late_there: float = 0.0
    """It gets there `seconds` later."""
    halved: float = 0.0
    """The connection is closed half way through the answer."""
    unanswered: float = 0.0
    """It is carried out, and the connection closed without an answer."""
    refused: float = 0.0
    """It is answered by 500, 503, 429, 409 or 412 and never gets there."""
    doubled: float = 0.0
    """It gets there twice at the same moment, as when something on the way repeats it; one of the answers is given."""
    forestalled: float = 0.0
    """Somebody else, who looks first, creates the same patient just before it gets there: an `If-None-Exist` that is
    lost.
    """
    seconds: float = 60.0


FINE = Trouble()
_STATUSES = (500, 503, 429, 409, 412)


@dataclass
class Proxy:
    """Passes HTTP requests on, one connection for each; `trouble` may be changed at any time."""

    target: str
    """Base URL of the server."""
    seed: float
    trouble: Trouble = FINE
    happened: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _listening: socket.socket | None = None
    _closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Our base URL."""
        return f"http://127.0.0.1:{self.port}{urlsplit(self.target).path}"

    def serve(self) -> None:
        """Accept until closed."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._listening, self.port = listening, listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def close(self) -> None:
        """Accept no more, and hold nothing back any longer."""
        self._closing.set()
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()

    def _accept(self, listening: socket.socket) -> None:
        number = 0
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            number += 1
            chance = random.Random(f"{self.seed}-{number}")  # noqa: S311 - a test's choice
            threading.Thread(target=self._pass_on, args=(client, chance), daemon=True).start()

    def _pass_on(self, client: socket.socket, chance: random.Random) -> None:
        with client, suppress(OSError):
            client.settimeout(90)
            request = _message(client)
            if not request:
                return
            what = self._meets(chance)
            if what != "fine":
                self.happened[what] += 1
            if what == "refused":
                status = chance.choice(_STATUSES)
                self.happened[str(status)] += 1
                client.sendall(f"HTTP/1.1 {status} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            if what == "late_there":
                self._closing.wait(self.trouble.seconds)
            if what == "doubled":
                threading.Thread(target=self._sent, args=(request,), daemon=True).start()
            if what == "forestalled" and (created := _patient_created_in(request)):
                self.happened["race lost"] += self._asked(created).split(b" ", 2)[1] == b"201"
            answer = self._asked(request)
            if what == "late":
                self._closing.wait(self.trouble.seconds)
            if what == "unanswered":
                return
            client.sendall(answer[: len(answer) // 2] if what == "halved" else answer)

    def _meets(self, chance: random.Random) -> str:
        drawn = chance.random()
        for name in (each.name for each in fields(Trouble) if each.name != "seconds"):
            drawn -= getattr(self.trouble, name)
            if drawn < 0:
                return name
        return "fine"

    def _sent(self, request: bytes) -> None:
        """Whatever comes of it."""
        with suppress(OSError):
            self._asked(request)

    def _asked(self, request: bytes) -> bytes:
        host = urlsplit(self.target)
        with socket.create_connection((host.hostname or "", host.port or 80), timeout=30) as server:
            server.sendall(request)
            parts = []
            while part := server.recv(65536):
                parts.append(part)
        return b"".join(parts)


def _message(client: socket.socket) -> bytes:
    """One request, told that the connection ends after it."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = client.recv(65536)
        if not part:
            return b""
        got += part
    head, _, rest = got.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    while len(rest) < length:
        part = client.recv(65536)
        if not part:
            return b""
        rest += part
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + rest


def _patient_created_in(request: bytes) -> bytes | None:
    """A request of somebody else's that creates the patient whom a transaction would create; None when it would not."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    if not line.startswith(b"POST ") or b'"transaction"' not in body:
        return None
    for entry in json.loads(body)["entry"]:
        one = entry["resource"]
        if one["resourceType"] == "Patient" and "ifNoneExist" in entry["request"]:
            theirs = {"resourceType": "Patient", "identifier": one["identifier"], "name": [{"text": "Annan Skrivning"}]}
            sent = json.dumps(theirs).encode()
            _, path, version = line.split(b" ")
            kept = [each for each in headers if not each.lower().startswith(b"content-length:")]
            kept.append(b"If-None-Exist: " + entry["request"]["ifNoneExist"].encode())
            place = b"POST %s/Patient %s" % (path.rstrip(b"/"), version)
            return b"\r\n".join([place, *kept, b"Content-Length: %d" % len(sent)]) + b"\r\n\r\n" + sent
    return None


@contextmanager
def proxied(target: str, seed: float, trouble: Trouble = FINE) -> Iterator[Proxy]:
    """A proxy before a server."""
    proxy = Proxy(target, seed, trouble)
    proxy.serve()
    try:
        yield proxy
    finally:
        proxy.close()
