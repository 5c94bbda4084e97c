"""Disks that a test can fill."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.faults.database import Postgres

_MAY_MOUNT = 21
"""CAP_SYS_ADMIN: https://man7.org/linux/man-pages/man7/capabilities.7.html"""


class Disk(Protocol):
    """A folder, and a way to make it full."""

    folder: Path

    def full(self, postgres: Postgres, /) -> AbstractContextManager[None]:
        """There is no room for what that server writes until the block ends."""


@dataclass
class FileSystem:
    """A small file system of its own; something else takes all of it that is free."""

    folder: Path

    @contextmanager
    def full(self, _: Postgres, /) -> Iterator[None]:
        ballast = self.folder / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as out:
            while True:
                out.write(bytes(64 * 1024))
        yield
        ballast.unlink()


@dataclass
class FileSize:
    """A limit on the size of files: to PostgreSQL also a write that fails."""

    folder: Path

    @contextmanager
    def full(self, postgres: Postgres, /) -> Iterator[None]:
        _limit(postgres, str(1024 * 1024))
        yield
        _limit(postgres, "unlimited")


@contextmanager
def file_sizes(folder: Path) -> Iterator[Disk]:
    """The disk that `folder` is on."""
    yield FileSize(folder)


@contextmanager
def file_system(folder: Path, megabytes: int = 200) -> Iterator[Disk]:
    """One of that size at `folder`. Raises CalledProcessError where this user may not mount any."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    subprocess.run(mount, capture_output=True, check=True)
    try:
        yield FileSystem(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disks() -> tuple[Callable[[Path], AbstractContextManager[Disk]], ...]:
    """Those that can be had on this machine: the first on any, the second by who may mount."""
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return (file_sizes, file_system) if capabilities >> _MAY_MOUNT & 1 else (file_sizes,)


def _limit(postgres: Postgres, size: str) -> None:
    """For the server and all its processes; those that it starts get it from it."""
    pid = postgres.pid
    if pid is None:
        return
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    owner = postgres.folder.stat().st_uid  # without a capability, only who owns a process may limit it
    for each in (str(pid), *children):  # one may have ended meanwhile
        subprocess.run(["prlimit", "--pid", each, f"--fsize={size}:"], user=owner, capture_output=True, check=False)
