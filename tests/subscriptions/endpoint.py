"""A subscriber's endpoint: a real https server on loopback that keeps what it is sent and answers as it is told."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json

CERTIFICATE = Path(__file__).with_name("endpoint.pem")
"""Certificate and key for `localhost`, `ehr.test` and 127.0.0.1, good for nothing else."""


@dataclass
class Answer:
    """What the endpoint does with one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    """Seconds until it answers."""
    drips: bool = False
    """It sends its headers a byte at a time, and never comes to an end."""
    body: int = 0
    """Bytes of its answer."""


@dataclass
class Told:
    """A request."""

    path: str
    headers: dict[str, str]
    bundle: Json

    @property
    def parameters(self) -> dict[str, str]:
        """The status in it, without its events."""
        parameters = self.bundle["entry"][0]["resource"]["parameter"]
        return {
            one["name"]: next(value for name, value in one.items() if name.startswith("value"))
            for one in parameters
            if "part" not in one
        }

    @property
    def type(self) -> str:
        return self.parameters["type"]

    @property
    def events(self) -> list[tuple[int, str | None]]:
        """Number and focus of every event."""
        parameters = self.bundle["entry"][0]["resource"]["parameter"]
        told = []
        for parameter in parameters:
            if parameter["name"] == "notification-event":
                parts = {part["name"]: part for part in parameter["part"]}
                focus = parts["focus"]["valueReference"]["reference"] if "focus" in parts else None
                told.append((int(parts["event-number"]["valueString"]), focus))
        return told


@dataclass
class Endpoint:
    """A running one. `always` is its answer unless `coming` has others first."""

    port: int
    told: list[Told] = field(default_factory=list)
    coming: list[Answer] = field(default_factory=list)
    always: Answer = field(default_factory=Answer)

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}/told?by=sluss"

    @property
    def events(self) -> list[tuple[int, str | None]]:
        """Of all that was told, in that order."""
        return [event for one in self.told for event in one.events]


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bundle = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert validate(bundle) == []
            endpoint.told.append(Told(self.path, {k.lower(): v for k, v in self.headers.items()}, bundle))
            answer = endpoint.coming.pop(0) if endpoint.coming else endpoint.always
            time.sleep(answer.after)
            if answer.drips:
                self._drip()
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b" " * answer.body)

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(400):
                self.wfile.write(b"a")
                self.wfile.flush()
                time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who calls may hang up."""


@contextmanager
def running_endpoint(port: int = 0) -> Iterator[Endpoint]:
    """An endpoint until the block ends; with a port, at that one."""
    endpoint = Endpoint(port)
    server = _Server(("127.0.0.1", port), _handler(endpoint))
    endpoint.port = server.server_address[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
