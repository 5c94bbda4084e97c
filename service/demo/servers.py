"""Everything that the demonstration runs on: a database of its own, the external server's stand-in, web and worker.

All of it listens on this machine only and lives in one folder that is removed at the end, so that a demonstration
leaves nothing and disturbs nothing.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from service.exchange.stand_in import running_stand_in
from service.exchange.stand_in_memory import Memory
from service.store import embedded
from service.store.database import Store

_PROJECT = Path(__file__).resolve().parents[2]
_START_WITHIN = 60.0
_STOP_WITHIN = 20.0
_SHOWN_LINES = 30
_STOPS = (signal.SIGINT, signal.SIGTERM)


class NotStarted(Exception):  # noqa: N818  told to who runs the demonstration
    """A part of the demonstration did not start in time, or has ended by itself; the text holds its log's end."""


@dataclass
class StandIn:
    """The external FHIR server's stand-in, which can be switched off and on; what it holds stays."""

    port: int
    memory: Memory = field(default_factory=Memory)
    _running: ExitStack | None = None

    @property
    def url(self) -> str:
        """Its FHIR base URL."""
        return f"http://127.0.0.1:{self.port}/fhir"

    def switch_on(self) -> None:
        """Answer from now on."""
        running = ExitStack()
        running.enter_context(running_stand_in(self.port, self.memory))
        self._running = running

    def switch_off(self) -> None:
        """Refuse every connection from now on."""
        if self._running is not None:
            self._running.close()
            self._running = None


@dataclass
class Servers:
    """What runs, and where."""

    folder: Path
    url: str
    """Base URL of the web service, without `/fhir`."""
    stand_in: StandIn
    processes: dict[str, "Process"]

    def check_alive(self) -> None:
        """Raise NotStarted when a process has ended by itself."""
        for process in self.processes.values():
            process.check_alive()

    def logs(self) -> str:
        """The end of every process's log."""
        return "\n".join(process.log_end() for process in self.processes.values())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Who stops us now is heeded right afterwards: a process that has started must be known before, or it is left."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@dataclass
class Process:
    """One of our own processes, with its log in a file."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(cls, name: str, arguments: list[str], environment: dict[str, str], folder: Path) -> "Process":
        """Start `sluss …` in a session of its own, so that Ctrl-C reaches us first and we stop it in order."""
        log = folder / f"{name}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(  # noqa: S603  our own command, our own arguments
                [sys.executable, "-m", "service.cli", *arguments],
                cwd=_PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(name, popen, log)

    def check_alive(self) -> None:
        """Raise NotStarted when it has ended."""
        if self.popen.poll() is not None:
            raise NotStarted(f"{self.name} ended with status {self.popen.returncode}\n{self.log_end()}")

    def log_end(self) -> str:
        """The last lines of its log that are more than notes of what went well."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line for line in lines if '"level": "info"' not in line]
        return "\n".join([f"--- {self.log.name}", *telling[-_SHOWN_LINES:]])

    def stop(self) -> None:
        """End it by its own id: asked first, then, when the time is up, with all that it started."""
        if self.popen.poll() is not None:
            return
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)  # it leads a group of its own
            self.popen.wait(_STOP_WITHIN)


@contextmanager
def running(say: Callable[[str], None]) -> Iterator[Servers]:
    """Start all parts one after another, each waited for, and stop them and remove the folder at the end.

    `say` is told what is going on. Raises NotStarted, with the log, when a part does not come up.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="sluss-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        say("PostgreSQL (inbäddad) startar …")
        database = _database(folder, stack)
        stand_in = StandIn(free_port())
        stand_in.switch_on()
        stack.callback(stand_in.switch_off)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = _environment(database, stand_in.url, url)
        say("Webbtjänsten och arbetaren startar …")
        processes: dict[str, Process] = {}
        for name, arguments in (("web", ["serve", "--port", str(port)]), ("worker", ["worker"])):
            with _undisturbed():
                processes[name] = Process.start(name, arguments, environment, folder)
                stack.callback(processes[name].stop)
        servers = Servers(folder, url, stand_in, processes)
        _wait_until_ready(servers)
        yield servers


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _database(folder: Path, stack: ExitStack) -> str:
    try:
        server = embedded.start(folder / "postgres")
    except (OSError, RuntimeError, subprocess.SubprocessError) as problem:
        log = folder / "postgres" / "log"
        told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise NotStarted(f"the embedded PostgreSQL did not start: {problem}\n{told}") from None
    stack.callback(server.stop)
    store = Store(server.url)
    store.migrate()
    store.close()
    return server.url


def _environment(database: str, external: str, public: str) -> dict[str, str]:
    """Ours without the settings of a Sluss that may run here already."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
    return {
        **inherited,
        "SLUSS_DATABASE_URL": database,
        "SLUSS_FHIR_SERVER_URL": external,
        "SLUSS_PUBLIC_URL": public,
        "SLUSS_PACK": "gavleborg",
        "SLUSS_AUTH": "off",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }


def _wait_until_ready(servers: Servers) -> None:
    until = time.monotonic() + _START_WITHIN
    with requests.Session() as session:
        session.trust_env = False
        while True:
            servers.check_alive()
            try:
                if session.get(f"{servers.url}/health/ready", timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                pass  # not yet
            if time.monotonic() > until:
                raise NotStarted(f"the web service is not ready after {_START_WITHIN:.0f} s\n{servers.logs()}")
            time.sleep(0.1)
