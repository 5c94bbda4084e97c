"""The service as it is really run: `sluss serve` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import requests

PROJECT = Path(__file__).parents[2]
SLOW = 40.0
"""Seconds after which a start has failed; it takes two to three on a machine with nothing else to do."""


@dataclass
class Served:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    started_in: float
    """Seconds until it was ready."""

    @property
    def written(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text(errors="replace")


def environment(**settings: str) -> dict[str, str]:
    """The process's environment, of Sluss's only `settings` in it; without authentication unless they say so."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
    return {**others, "SLUSS_AUTH": "off", "SLUSS_REQUESTS_PER_MINUTE": "0", **settings}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(log: Path, *arguments: str, wait_for: str = "/health/ready", **settings: str) -> Iterator[Served]:
    """`sluss serve` on a free port, until the block ends; begins when `wait_for` answers 200."""
    port = free_port()
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), *arguments]
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment(**settings), cwd=PROJECT
        )
    running = Served(f"http://127.0.0.1:{port}", process, log, 0.0)
    try:
        _wait(running, wait_for)
        running.started_in = time.monotonic() - began
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(running: Served, path: str) -> None:
    end = time.monotonic() + SLOW
    while time.monotonic() < end:
        assert running.process.poll() is None, running.written
        try:
            if requests.get(running.url + path, timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready: {running.written}")


def new_database(server_url: str, name: str) -> str:
    """An empty database of this name; gives its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return server_url.replace("/postgres?", f"/{name}?")


class Away:
    """A way to a database that can be taken away and given back: a link to the server's socket directory."""

    def __init__(self, url: str, folder: Path) -> None:
        base, _, self._sockets = url.partition("host=")
        self._real = url
        self._link = folder / "pg"
        self.url = f"{base}host={self._link}"

    def come(self) -> None:
        """The database can be reached."""
        self._link.symlink_to(self._sockets)

    def go(self) -> None:
        """It cannot, and open connections break."""
        self._link.unlink()
        with psycopg.connect(self._real, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
