"""A PostgreSQL of the tests' own, that can be killed, restarted and cut off."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from service.store import embedded
from service.store.database import Store
from service.store.embedded import Embedded


@dataclass
class Postgres:
    """A cluster in a folder; its address stays the same over restarts."""

    folder: Path
    server: Embedded = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start, or start again."""
        self.server = embedded.start(self.folder)

    @property
    def pid(self) -> int | None:
        """The postmaster's; None when it does not run."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        except FileNotFoundError:
            return None
        return pid if _is_alive(pid) else None

    def crash(self) -> None:
        """End it at once, as a power failure would as far as its clients can tell: without a checkpoint."""
        pid = self.pid
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        until = time.monotonic() + 20
        while _is_alive(pid):
            assert time.monotonic() < until
            time.sleep(0.02)

    def cut(self, url: str) -> int:
        """Cut every connection to a database; gives how many."""
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).rowcount

    def database(self, name: str) -> str:
        """A new database with the schema; its URL."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = self.server.url.replace("/postgres?", f"/{name}?")
        Store(url).migrate()
        return url

    def stop(self) -> None:
        """End it for good."""
        if self.pid is not None:
            self.server.stop()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
