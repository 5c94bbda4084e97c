"""Web servers under measurement, each a process group of its own, and what they hold of memory."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SLUSS = (sys.executable, "-m", "service.cli", "serve")
UNGUARDED = (sys.executable, "-m", "tests.bench.unguarded")
BARE = (sys.executable, "-m", "tests.bench.bare")


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    def memory(self) -> list[float]:
        """RSS of each web process in MB, shared pages included."""
        return [_rss(pid) for pid in _children(self.process.pid) if _is_web_process(pid)]


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def sluss(database_url: str | None, processes: int, threads: int, **environ: str) -> Iterator[Server]:
    """`sluss serve`, answering."""
    port = free_port()
    options = ("--port", str(port), "--workers", str(processes), "--threads", str(threads))
    if database_url is not None:
        environ["SLUSS_DATABASE_URL"] = database_url
    with _running((*SLUSS, *options), port, environ) as server:
        yield server


@contextmanager
def bare(processes: int, threads: int, **environ: str) -> Iterator[Server]:
    """The bare application, answering."""
    port = free_port()
    with _running((*BARE, str(port), str(processes), str(threads)), port, environ) as server:
        yield server


@contextmanager
def unguarded(database_url: str, processes: int, threads: int) -> Iterator[Server]:
    """The service without authentication and record, answering."""
    port = free_port()
    command = (*UNGUARDED, str(port), str(processes), str(threads))
    with _running(command, port, {"SLUSS_DATABASE_URL": database_url}) as server:
        yield server


@contextmanager
def _running(command: tuple[str, ...], port: int, environ: dict[str, str]) -> Iterator[Server]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
    # it logs as it does in service, into a file
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={**kept, "SLUSS_AUTH": "off", "SLUSS_REQUESTS_PER_MINUTE": "0", **environ},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            _wait_until_alive(port, process)
            yield Server(port, process)
        except ChildProcessError as problem:
            log.seek(0)
            problem.add_note(log.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_alive(port: int, process: subprocess.Popen[bytes], patience: float = 60.0) -> None:
    """Returns when `/health/live` answers. Raises TimeoutError, or ChildProcessError when the server has ended."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ChildProcessError(f"the server ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise TimeoutError(f"no answer on port {port}")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_web_process(pid: int) -> bool:
    """A server also has small helpers of multiprocessing, and maybe PostgreSQL."""
    command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return "resource_tracker" not in command and "postgres" not in command and "service.cli worker" not in command


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
