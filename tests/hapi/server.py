"""A real HAPI FHIR JPA server (R4) on loopback, built once with Maven from `pom.xml` beside this file.

Its settings are HAPI's own (`HapiServer.java` says which are not), its data H2 files in a directory of the caller's.
Needs `java` (17) and `mvn` on the path; the first build fetches about 300 MB of jars.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests import building

SOURCES = Path(__file__).resolve().parent
TOOLS = ("java", "mvn")
"""What a build and a start need on the path."""

# Fast to start rather than fast for ever: without the second compiler HAPI is up in half the processor time.
_JAVA = ("java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_START_SECONDS = 180
_STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Running:
    """A HAPI that answers."""

    url: str
    """The FHIR base, `http://127.0.0.1:<port>/fhir`."""
    process: subprocess.Popen[bytes]
    """Its JVM; a test may kill it, and start another one on the same data."""

    @property
    def port(self) -> int:
        """What to ask for so that the next one answers at the same address."""
        return int(self.url.removesuffix("/fhir").rpartition(":")[2])


def build() -> Path:
    """The server's jar, its dependencies in `lib` beside it. Raises RuntimeError with the end of Maven's output."""
    maven = ("mvn", "--quiet", "--batch-mode", "-T1", "package")
    return building.build(SOURCES, "target", maven, "pom.xml", "src") / "hapi.jar"


@contextmanager
def running_hapi(data_dir: Path, port: int = 0, database: str | None = None) -> Iterator[Running]:
    """A server with the data in `data_dir`, which is made if need be, on `port` of loopback (0: any free one).

    `database` is a JDBC URL of an empty or an earlier HAPI's PostgreSQL database, to use instead of H2. Its log is
    `hapi.log` in `data_dir`. Raises RuntimeError with the log's end when it ends or does not answer in time. It is
    stopped on leaving, and stops by itself when the process that started it is gone.
    """
    jar = build()
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    port_file, log = data_dir / "port", data_dir / "hapi.log"
    port_file.unlink(missing_ok=True)
    # An acknowledged write is on disk (H2 would wait half a second), and the database is closed by HAPI, not before it.
    h2 = f"jdbc:h2:file:{data_dir / 'h2'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
    settings = {"server.port": port, "hapi.database": database or h2, "hapi.port-file": port_file}
    command = (*_JAVA, "-jar", str(jar), *(f"--{name}={value}" for name, value in settings.items()))
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Running(_answering(process, port_file, log), process)
    finally:
        _stop(process)


def _answering(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> str:
    until = time.monotonic() + _START_SECONDS
    with requests.Session() as session:
        session.trust_env = False  # loopback needs no proxy
        while time.monotonic() < until and process.poll() is None:
            port = port_file.read_text() if port_file.exists() else ""
            url = f"http://127.0.0.1:{port}/fhir"
            if port and _answers(session, url):
                return url
            time.sleep(0.2)
    ended = "does not answer" if process.poll() is None else f"ended with {process.returncode}"
    raise RuntimeError(f"HAPI {ended}:\n{log.read_text(errors='replace')[-3000:]}")


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/metadata", timeout=60).status_code == 200
    except requests.RequestException:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
