"""Who asks a process of the service to end does not wait for a database that does not answer, nor for a slow client."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.cli import LAST_REQUESTS
from service.store.database import Store
from tests.web.served import PROJECT, environment, free_port, new_database, served

CONNECTING = 5.0
"""Seconds that a connection to the database may take, and with it one that is just being made."""
SLACK = 3.0


class Silent:
    """A database server's address where connections are accepted, and nothing is ever said."""

    def __init__(self) -> None:
        self.heard = b""
        self._held: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._held.append(connection)
                self.heard += connection.recv(1024)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for one in (self._listening, *self._held):
            one.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.close()


def url_at(port: int) -> str:
    return f"postgresql://sluss@127.0.0.1:{port}/sluss?sslmode=disable"


@contextmanager
def started(log: Path, *command: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`sluss …` in a process group of its own, of which nothing is left afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", *command],
            stdout=out, stderr=subprocess.STDOUT, env=environment(**settings), cwd=PROJECT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 40
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def seconds_to_stop(process: "subprocess.Popen[bytes]", patience: float) -> float:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(patience)
    return time.monotonic() - began


def test_a_worker_whose_database_does_not_answer_ends_with_its_attempt_to_connect(
    silent: Silent, tmp_path: Path
) -> None:
    with started(tmp_path / "log", "worker", SLUSS_DATABASE_URL=url_at(silent.port)) as process:
        until(lambda: b"sluss-worker" in silent.heard)
        assert seconds_to_stop(process, 30) < CONNECTING + SLACK
        assert process.returncode == 0


def test_a_worker_whose_database_is_not_there_ends_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(log, "worker", SLUSS_DATABASE_URL=url_at(free_port())) as process:
        until(lambda: "psycopg.pool" in log.read_text())
        assert seconds_to_stop(process, 30) < SLACK
        assert process.returncode == 0


def test_a_web_process_that_is_still_starting_ends_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    url = url_at(free_port())
    with started(log, "serve", "--port", str(free_port()), SLUSS_DATABASE_URL=url) as process:
        until(lambda: "Spawning worker-1" in log.read_text())
        assert seconds_to_stop(process, 60) < SLACK
        assert process.returncode == 0


def test_the_worker_of_a_service_that_is_still_starting_ends_with_it(tmp_path: Path) -> None:
    command = ("serve", "--with-worker", "--port", str(free_port()))
    with started(tmp_path / "log", *command, SLUSS_DATABASE_URL=url_at(free_port())) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: children.read_text() != "")
        seconds_to_stop(process, 60)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def test_a_body_that_does_not_come_holds_up_the_end_for_so_long_and_no_longer(server_url: str, tmp_path: Path) -> None:
    url = new_database(server_url, f"stopping_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    head = b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000\r\n\r\n{"
    with served(tmp_path / "log", SLUSS_DATABASE_URL=url) as running, socket.socket() as connection:
        connection.connect(("127.0.0.1", urlsplit(running.url).port or 0))
        connection.sendall(head)
        time.sleep(0.5)
        assert seconds_to_stop(running.process, 60) < LAST_REQUESTS + SLACK
