"""Who publishes keys: a real https server on loopback that answers as it is told."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.access.signing import key_set
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


@contextmanager
def running_publisher() -> Iterator[Publisher]:
    """One on loopback, until the block ends."""
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
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
