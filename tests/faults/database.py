"""A PostgreSQL of the tests' own, that can be killed, restarted, cut off and starved."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

    @contextmanager
    def no_file_grows_beyond(self, size: int) -> Iterator[None]:
        """To PostgreSQL a file-size limit, in bytes, is what a full disk is: a write that fails. Processes that it
        starts meanwhile have the limit too.
        """
        assert self.pid is not None
        _, most = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        self._limit(size, most)
        try:
            yield
        finally:
            self._limit(most, most)

    def _limit(self, size: int, most: int) -> None:
        pid = self.pid
        for each in () if pid is None else (pid, *_children(pid)):
            try:
                resource.prlimit(each, resource.RLIMIT_FSIZE, (size, most))
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        """End it for good."""
        if self.pid is not None:
            self.server.stop()


def may_mount(folder: Path) -> bool:
    """Whether this user may mount file systems."""
    with small_disk(folder, 1) as mounted:
        return mounted


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A file system of that size at `folder`; False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
