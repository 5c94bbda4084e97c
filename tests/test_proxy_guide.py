"""docs/proxy.md is true: its nginx, in front of a running service, keeps out what it says."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.access.clients import Registration, registered
from service.store.client_records import ClientRow, Credentials
from service.store.database import Store
from service.web.admission import READING_FROM_ONE
from tests.building import need
from tests.web.caller import UNIT, bundle, single
from tests.web.served import Served, free_port, new_database, served

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "proxy.md").read_text(encoding="utf-8")
HOST = "remiss.example"
CLIENT = {
    NameOID.COUNTRY_NAME: "SE",
    NameOID.ORGANIZATION_NAME: "Region Gävleborg, Norr",
    NameOID.COMMON_NAME: "ehr.region.example",
    NameOID.SERIAL_NUMBER: "SE2321000198-F01",
}
SUBJECT = "serialNumber=SE2321000198-F01,CN=ehr.region.example,O=Region Gävleborg\\, Norr,C=SE"
BOSS = "CN=drift.region.example,C=SE"
FHIR = {"Content-Type": "application/fhir+json"}
WATCHER, ANYBODY = "127.0.0.2", "127.0.0.3"
"""Addresses that are on the network of who watches, and not."""


class Authority:
    """Signs certificates; what it makes lies in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._signed(self._name, self._key, authority=True))

    def make(self, name: str, subject: Mapping[x509.ObjectIdentifier, str]) -> tuple[Path, Path]:
        """Certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        parts = [x509.NameAttribute(oid, value) for oid, value in subject.items()]
        certificate.write_bytes(self._signed(x509.Name(parts), key))
        form = serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return certificate, private

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool = False) -> bytes:
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        )
        return built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Front:
    """The running nginx, and what is behind it."""

    port: int
    folder: Path
    service: Served
    trusted: Path
    known: tuple[Path, Path]
    """The certificate and key of a registered client."""
    stranger: tuple[Path, Path]
    """Of one that another authority has signed."""

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.trusted)
        if certificate is not None:
            made.load_cert_chain(*certificate)
        return made

    def connect(self, source: str = ANYBODY, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(source, 0))
        return (context or self.context()).wrap_socket(plain, server_hostname=HOST)

    def ask(
        self,
        path: str,
        *headers: tuple[str, str],
        body: bytes | None = None,
        certificate: tuple[Path, Path] | None = None,
        source: str = ANYBODY,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and body of the answer to a GET, or to a POST of `body`."""
        connection = http.client.HTTPConnection(HOST)
        connection.sock = self.connect(source, self.context(certificate))
        return _asked(connection, path, headers, body)

    def status(self, path: str, *headers: tuple[str, str], **how: str) -> int:
        return self.ask(path, *headers, **how)[0]  # type: ignore[arg-type]  # of a source

    @property
    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))


def _asked(
    connection: http.client.HTTPConnection, path: str, headers: tuple[tuple[str, str], ...], body: bytes | None
) -> tuple[int, http.client.HTTPMessage, str]:
    names = {name.lower() for name, _ in headers}
    connection.putrequest("GET" if body is None else "POST", path, skip_host="host" in names)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Type", FHIR["Content-Type"])
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body is not None:
        with suppress(OSError):  # it may be refused before it is all there
            connection.send(body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def example(folder: Path, port: int, service_port: int) -> str:
    """The guide's nginx with certificates of clients, at paths and ports of this machine."""
    (text,) = re.findall(r"```nginx\n(.*?)```", GUIDE, re.DOTALL)
    own = {
        "server 10.0.0.5:8080": f"server 127.0.0.1:{service_port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "allow 10.0.0.0/24": f"allow {WATCHER}",
        "# ssl_": "ssl_",
    }
    for written, meant in own.items():
        assert written in text
        text = text.replace(written, meant)
    return str(text)


@contextmanager
def nginx(folder: Path, port: int, service_port: int) -> Iterator[None]:
    """The guide's nginx, after its own check of its configuration."""
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy"))
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\npid {folder}/pid;\nworker_processes 1;\n"
        f"events {{}}\nhttp {{\n{temporary}{example(folder, port, service_port)}\n}}\n"
    )
    command = ("nginx", "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(configuration))
    checked = subprocess.run((*command, "-t"), capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def front(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    need("the proxy's example", "nginx")
    folder = tmp_path_factory.mktemp("proxy")
    url = new_database(server_url, f"proxy_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    store = Store(url)
    store.migrate()
    _register(store, "ehr", "referrer", SUBJECT, organisations=(UNIT,))
    _register(store, "boss", "administrator", BOSS)
    ours, theirs = Authority(folder, "clients-ca"), Authority(folder, "others-ca")
    ours.make("remiss", {NameOID.COMMON_NAME: HOST})
    settings = {
        "SLUSS_DATABASE_URL": url,
        "SLUSS_AUTH": "smart",
        "SLUSS_PUBLIC_URL": f"https://{HOST}",
        "SLUSS_TRUSTED_PROXIES": "127.0.0.1/32",
        "SLUSS_CLIENT_SUBJECT_HEADER": "X-Client-Subject",
    }
    with served(folder / "service.out", wait_for="/health/live", **settings) as running:
        port, there = free_port(), int(running.url.rpartition(":")[2])
        with nginx(folder, port, there):
            for kind in ("client_body", "proxy"):  # nobody can write a body there
                (folder / kind).rmdir()
            yield Front(port, folder, running, ours.path, ours.make("ehr", CLIENT), theirs.make("other", CLIENT))
    store.close()


def _register(store: Store, name: str, role: str, subject: str, **reach: tuple[str, ...]) -> None:
    made = registered(Registration(name, name, role, credentials=Credentials(subject=subject), **reach), (), _NOW)
    assert isinstance(made, ClientRow), made
    assert store.clients.add(made)


_NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


# ---------------------------------------------------------------- TLS


def test_it_answers_by_tls_for_good_and_does_not_tell_its_version(front: Front) -> None:
    for path, status in (("/health/live", 200), ("/fhir/Task", 401), ("/metrics", 403)):
        told, headers, _ = front.ask(path)
        assert told == status
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["Server"] == "nginx"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_older_than_1_2_is_not_spoken(front: Front) -> None:
    for version, spoken in (
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context = front.context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            front.connect(context=context).close()
        except ssl.SSLError:
            assert not spoken, version
        else:
            assert spoken, version


# ---------------------------------------------------------------- who calls


def test_a_client_is_known_by_the_certificate_that_nginx_has_verified(front: Front) -> None:
    sent = json.dumps(bundle("R-PROXY")).encode()
    status, _, text = front.ask("/fhir", body=sent, certificate=front.known)
    assert status == 200, text
    status, _, text = front.ask("/fhir/Task", certificate=front.known)
    assert status == 200
    assert json.loads(text)["entry"], "its own referral"
    assert front.status("/fhir/Task") == 401


def test_a_certificate_of_an_unknown_authority_gets_no_further(front: Front) -> None:
    assert front.ask("/fhir/Task", certificate=front.stranger)[0] == 400
    assert front.ask("/health/live", certificate=front.stranger)[0] == 400


@pytest.mark.parametrize("path", ["/fhir/Task", "/metrics", "/health/ready"])
@pytest.mark.parametrize("name", ["X-Client-Subject", "x-client-subject", "X_Client_Subject", "X-Client_Subject"])
def test_a_subject_that_a_client_writes_itself_counts_nowhere(front: Front, path: str, name: str) -> None:
    assert front.status(path, (name, BOSS), source=WATCHER) == 401
    assert front.status(path, (name, BOSS), (name, BOSS), source=WATCHER) == 401


def test_nor_does_it_replace_the_subject_of_the_certificate(front: Front) -> None:
    status, _, _ = front.ask("/metrics", ("X-Client-Subject", BOSS), certificate=front.known, source=WATCHER)
    assert status == 403, "a referrer's, who is no administrator"


def test_past_the_proxy_no_subject_counts(front: Front) -> None:
    there = int(front.service.url.rpartition(":")[2])
    for source, status in ((ANYBODY, 401), ("127.0.0.1", 200)):
        past = http.client.HTTPConnection("127.0.0.1", there, timeout=20, source_address=(source, 0))
        assert _asked(past, "/fhir/Task", (("X-Client-Subject", SUBJECT.replace("ä", "\\C3\\A4")),), None)[0] == status


def test_figures_are_for_the_network_of_who_watches(front: Front) -> None:
    assert front.status("/metrics") == 403
    assert front.status("/metrics", source=WATCHER) == 401, "and for who shows credentials"


# ---------------------------------------------------------------- what is passed on


def test_the_address_in_the_record_is_the_one_that_called_nginx(front: Front, server_url: str) -> None:
    name = f"proxy_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    forged = ("X-Forwarded-For", "203.0.113.9")
    assert front.ask("/fhir/Task?_count=0", forged, certificate=front.known, source="127.0.0.4")[0] == 200
    with psycopg.connect(server_url.replace("/postgres?", f"/{name}?")) as connection:
        rows = connection.execute("SELECT e::text FROM audit_event e").fetchall()
    recorded = "".join(text for (text,) in rows)
    assert "127.0.0.4" in recorded
    assert "203.0.113.9" not in recorded


def test_links_name_the_public_address_whatever_host_was_asked(front: Front) -> None:
    forged = (("Host", "evil.example"), ("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example"))
    status, headers, text = front.ask("/fhir/Task", *forged, certificate=front.known)
    assert status == 200
    assert f"https://{HOST}/fhir/Task" in text
    assert "evil.example" not in text + str(headers)


# ---------------------------------------------------------------- bodies


def _big(size: int) -> bytes:
    return json.dumps(single("R-BIG", note=[{"text": "x" * size}])).encode()


def test_a_body_of_a_megabyte_is_taken_and_lies_in_no_file(front: Front) -> None:
    status, _, text = front.ask("/fhir/ServiceRequest", body=_big(990_000), certificate=front.known)
    assert status == 201, text
    status, _, text = front.ask("/fhir/ServiceRequest", certificate=front.known)
    assert status == 200
    assert len(text) > 990_000


def test_a_larger_one_is_refused_by_sluss_and_a_much_larger_one_by_nginx(front: Front) -> None:
    status, _, text = front.ask("/fhir/ServiceRequest", body=_big(1_010_000), certificate=front.known)
    assert status == 413
    assert json.loads(text)["resourceType"] == "OperationOutcome"
    status, _, text = front.ask("/fhir/ServiceRequest", body=_big(1_100_000), certificate=front.known)
    assert status == 413
    assert "nginx" in text


def test_bodies_that_do_not_come_do_not_reach_sluss(front: Front) -> None:
    head = (
        f"POST /fhir HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000\r\n\r\n{{"
    )
    with ExitStack() as stack:
        for _ in range(READING_FROM_ONE + 4):
            stack.enter_context(front.connect()).sendall(head.encode())
        time.sleep(0.5)
        status, _, text = front.ask("/fhir", body=json.dumps(bundle("R-MEANWHILE")).encode(), certificate=front.known)
        assert status == 200, text


# ---------------------------------------------------------------- logs


def test_its_logs_hold_no_search(front: Front) -> None:
    path = "/fhir/Patient?identifier=199002222397"
    assert front.ask(path, certificate=front.known)[0] == 200
    front.service.process.terminate()
    front.service.process.wait(30)
    assert front.ask(path, certificate=front.known)[0] == 502
    assert "GET /fhir/Patient" in front.logs
    assert "199002222397" not in front.logs
