"""The service's real processes, which can be killed at any moment."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.web.served import PROJECT, environment, free_port

_PATIENCE = 60.0
SLUSS = ("-m", "service.cli")
INJECTED = ("-m", "tests.faults.injected")
"""The same, with what a test sets."""


@dataclass
class Process:
    """One process of the service and all that it starts."""

    name: str
    command: tuple[str, ...]
    settings: dict[str, str]
    folder: Path
    popen: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, or start it again."""
        with (self.folder / f"{self.name}.log").open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=PROJECT,
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it and its children can be killed by their group's id
            )

    def kill(self) -> None:
        """kill -9, children included."""
        if self.popen is not None and self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(20)

    def stop(self) -> None:
        """Ask it to end."""
        if self.popen is None or self.popen.poll() is not None:
            return
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self) -> str:
        """Everything that it has written."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


@dataclass
class Sluss:
    """A Sluss of some web processes and workers on one database, and one external server."""

    folder: Path
    database_url: str
    external_url: str
    webs: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def start(
        self, webs: int = 1, workers: int = 1, command: tuple[str, ...] = SLUSS, threads: int = 8, **settings: str
    ) -> None:
        """Start that many of each and wait until they answer."""
        settings |= {"SLUSS_DATABASE_URL": self.database_url, "SLUSS_FHIR_SERVER_URL": self.external_url}
        settings |= {"SLUSS_LOG_LEVEL": "warning", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        for number in range(webs):
            port = free_port()
            serve = (*command, "serve", "--port", str(port), "--threads", str(threads))
            self.webs.append(Process(f"web-{number}", serve, settings, self.folder))
            self.urls.append(f"http://127.0.0.1:{port}")
        for number in range(workers):
            self.workers.append(Process(f"worker-{number}", (*command, "worker"), settings, self.folder))
        for process in (*self.webs, *self.workers):
            process.start()
        self.wait()

    def wait(self) -> None:
        """Until every web process answers."""
        until = time.monotonic() + _PATIENCE
        for url, web in zip(self.urls, self.webs, strict=True):
            while not _is_ready(url):
                assert web.popen is not None
                assert web.popen.poll() is None, web.log()
                assert time.monotonic() < until, web.log()
                time.sleep(0.05)

    def stop(self) -> None:
        """End all of them."""
        for process in (*self.webs, *self.workers):
            process.stop()

    def logs(self) -> str:
        """The end of what each has written."""
        return "\n".join(f"--- {process.name}\n{process.log()[-3000:]}" for process in (*self.webs, *self.workers))


def _is_ready(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{url}/health/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False
