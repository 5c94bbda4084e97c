"""The load generator: a process of its own, a few keep-alive connections over loopback, for a given time.

Speaks plain HTTP/1.1 over sockets, since a client library would cost as much as the server.
`python -m tests.bench.load` reads a Load from standard input and writes a Figure to standard output, both as JSON.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import count

from tests.bench import referrals

MOST_REQUESTS = 100_000
RETURNING = 10
"""Every so many referrals the patient is one that the unit has referred before."""


@dataclass(frozen=True)
class Load:
    """What to ask of whom, for how long."""

    port: int
    seconds: float
    connections: int
    paths: tuple[str, ...] = ()
    """GETs, taken in turn; none: referrals are posted."""
    caller: str | None = None
    token: str | None = None
    """Of a client; None: without authentication."""
    templates: tuple[str, ...] = ()
    """Bundles with marks."""
    first: int = 0
    """Number of the first referral: no two loads may share numbers."""
    most: int = MOST_REQUESTS


@dataclass(frozen=True)
class Figure:
    """What came of it. Times in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failures: list[str] = field(default_factory=list)
    bytes_each: int = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def run(load: Load) -> Figure:
    """The load, in a process of its own. Raises CalledProcessError when that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(asdict(load)).encode(),
        capture_output=True,
        check=True,
        timeout=load.seconds + 60,
    )
    return Figure(**json.loads(done.stdout))


def _requests(load: Load) -> Callable[[int], bytes]:
    """The bytes of the n-th request."""
    caller = f"Sluss-Caller: {load.caller}\r\n" if load.caller else ""
    caller += f"Authorization: Bearer {load.token}\r\n" if load.token else ""
    if load.paths:
        asked = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n{caller}\r\n".encode() for path in load.paths]
        return lambda number: asked[number % len(asked)]
    people = list(referrals.identities())
    templates = [template.encode() for template in load.templates]
    head = f"POST /fhir HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nContent-Type: application/fhir+json\r\n{caller}"

    def post(number: int) -> bytes:
        person = number - 7 * RETURNING if number % RETURNING == 0 else number
        body = referrals.body(
            templates[number % len(templates)], f"B-{number}", people[person % len(people)], number % referrals.ROLES
        )
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    return post


def _work(load: Load) -> Figure:
    request_of = _requests(load)
    numbers = count(load.first)
    took: list[float] = []
    failures: list[str] = []
    sizes: list[int] = []
    end = time.perf_counter() + load.seconds

    def client() -> None:
        with socket.create_connection(("127.0.0.1", load.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < end and len(took) < load.most:
                request = request_of(next(numbers))
                began = time.perf_counter()
                connection.sendall(request)
                status, body = _answer(connection)
                took.append(time.perf_counter() - began)
                sizes.append(len(body))
                if status != 200:
                    failures.append(f"{status}: {body[:300].decode(errors='replace')}")

    clients = [threading.Thread(target=client) for _ in range(load.connections)]
    began = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    seconds = time.perf_counter() - began
    if len(took) < 2:
        return Figure(len(took), seconds, 0, 0, failures or ["hardly any answers"])
    took.sort()
    return Figure(
        len(took),
        seconds,
        took[len(took) // 2] * 1000,
        took[min(len(took) - 1, len(took) * 99 // 100)] * 1000,
        failures[:3],
        sum(sizes) // len(sizes),
    )


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer. Raises ConnectionError when the server hangs up."""
    received = b""
    for piece in _pieces(connection):
        received += piece
        if b"\r\n\r\n" in received:
            break
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    parts = [body]
    missing = length - len(body)
    while missing > 0:
        piece = next(_pieces(connection))
        parts.append(piece)
        missing -= len(piece)
    return int(head[9:12]), b"".join(parts)


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    while piece := connection.recv(1 << 18):
        yield piece
    raise ConnectionError("the server hung up")


if __name__ == "__main__":
    spec = json.load(sys.stdin)
    for name in ("paths", "templates"):
        spec[name] = tuple(spec[name])
    json.dump(asdict(_work(Load(**spec))), sys.stdout)
