"""Settings: environment variables, read once, all checked at start (contract 1)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from service.secret_files import with_secret_files

DEFAULT_CANONICAL_BASE = "https://sluss.example/fhir"

_FEWEST_REQUESTS = 300
"""More than the entries of the largest Bundle, which could never be done otherwise."""

USER_CLAIM = "employeeHsaId"
UNIT_CLAIM = "healthCareUnitHsaId"
"""As Inera's identity provider names the person and the care unit of the assignment."""


class BadSettings(Exception):  # noqa: N818  what is wrong is the settings
    """One line per bad setting: its name and what it takes."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside."""

    database_url: str | None = field(default=None, repr=False)
    """PostgreSQL 15 or newer; None means the embedded one under `data_dir`."""
    data_dir: Path = Path("var")
    pack: str = "gavleborg"
    fhir_server_url: str | None = None
    """Base URL of the external FHIR server, without a trailing slash; None means that exchange is off."""
    canonical_base: str = DEFAULT_CANONICAL_BASE
    public_url: str | None = None
    """Base that clients see, without a trailing slash and without `/fhir`; None means from the request."""
    auth: str = "off"
    """`smart` or `off`; from the environment `smart` unless it says otherwise."""
    log_level: str = "info"
    collect_seconds: int = 10
    """How often the external server is asked what is new there."""
    wake_token: str | None = field(default=None, repr=False)
    """The secret with which the external server may say that something has changed there; None: it may not."""
    subscription_hosts: tuple[str, ...] = ()
    """Where subscribers may be told at: `ehr.example`, `ehr.example:8443`; none: there are no Subscriptions."""
    subscription_networks: tuple[str, ...] = ()
    """Inner networks that their endpoints may lie in, as CIDR."""
    subscription_ca: Path | None = None
    """Certificates (PEM) that endpoints' may be signed by; None: those that the machine trusts."""
    keys_ca: Path | None = None
    """The same for the addresses at which clients and the identity provider publish their keys."""
    idp_issuer: str | None = None
    """`iss` of the identity provider whose sign-ins count; None: there is none."""
    idp_jwks: str | None = None
    """Its keys: an https URL, or a file."""
    idp_audience: str | None = None
    """What its tokens must have in `aud`."""
    idp_user_claim: str = USER_CLAIM
    """Where they say who the person is."""
    idp_unit_claim: str = UNIT_CLAIM
    """Where they say which care unit the person works for."""
    idp_levels: tuple[str, ...] = ()
    """`acr` of the sign-ins that are strong enough; none: all that it vouches for."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR) of the proxies whose headers are believed."""
    client_subject_header: str | None = None
    """The header in which they pass on the subject of a client's certificate; None: nobody is known by one."""
    metrics_token: str | None = field(default=None, repr=False)
    """The secret with which `/metrics` and `/health/ready` may be asked; None: only by administrators."""

    requests_per_minute: int = 6000
    """Of one client, in each web process; 0: as many as it likes."""
    threads: int = 8
    """Requests that a web process works on at once."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Settings from `environ` (the process's by default). Raises BadSettings with every problem."""
        problems: list[str] = []
        env = with_secret_files(os.environ if environ is None else environ, problems)
        settings = cls(
            database_url=_database_url(env, problems),
            data_dir=Path(env.get("SLUSS_DATA_DIR") or "var"),
            pack=env.get("SLUSS_PACK") or "gavleborg",
            fhir_server_url=_url(env, "SLUSS_FHIR_SERVER_URL", problems),
            canonical_base=_url(env, "SLUSS_CANONICAL_BASE", problems) or DEFAULT_CANONICAL_BASE,
            # the FHIR base itself is often given, as other servers take it
            public_url=(_url(env, "SLUSS_PUBLIC_URL", problems) or "").removesuffix("/fhir") or None,
            auth=_auth(env, problems),
            log_level=_log_level(env, problems),
            collect_seconds=_collect_seconds(env, problems),
            wake_token=_secret(env, "SLUSS_WAKE_TOKEN", problems),
            subscription_hosts=_hosts(env, problems),
            subscription_networks=_networks(env, "SLUSS_SUBSCRIPTION_NETWORKS", problems),
            subscription_ca=_certificates(env, "SLUSS_SUBSCRIPTION_CA", problems),
            keys_ca=_certificates(env, "SLUSS_KEYS_CA", problems),
            idp_issuer=env.get("SLUSS_IDP_ISSUER") or None,
            idp_jwks=_idp_jwks(env, problems),
            idp_audience=env.get("SLUSS_IDP_AUDIENCE") or None,
            idp_user_claim=env.get("SLUSS_IDP_USER_CLAIM") or USER_CLAIM,
            idp_unit_claim=env.get("SLUSS_IDP_UNIT_CLAIM") or UNIT_CLAIM,
            idp_levels=_listed(env, "SLUSS_IDP_ACR"),
            trusted_proxies=_networks(env, "SLUSS_TRUSTED_PROXIES", problems),
            client_subject_header=_subject_header(env, problems),
            metrics_token=_secret(env, "SLUSS_METRICS_TOKEN", problems),
            requests_per_minute=_requests_per_minute(env, problems),
            threads=_threads(env, problems),
        )
        if problems:
            raise BadSettings(problems)
        return settings


def _database_url(env: Mapping[str, str], problems: list[str]) -> str | None:
    value = env.get("SLUSS_DATABASE_URL")
    if not value:
        return None
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        # the value may hold a password, so it is not repeated
        problems.append("SLUSS_DATABASE_URL takes a PostgreSQL URL: postgresql://user@host:5432/database")
    return value


def _url(env: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    value = env.get(name)
    if not value:
        return None
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        sound = False
    if not sound:
        problems.append(f"{name} takes an absolute http or https URL without query")
    return value.rstrip("/")


def _auth(env: Mapping[str, str], problems: list[str]) -> str:
    value = env.get("SLUSS_AUTH") or "smart"
    if value not in ("smart", "off"):
        problems.append("SLUSS_AUTH takes: smart, off (loopback only)")
    return value


def _collect_seconds(env: Mapping[str, str], problems: list[str]) -> int:
    value = env.get("SLUSS_COLLECT_SECONDS") or "10"
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 60):
        problems.append("SLUSS_COLLECT_SECONDS takes a number of seconds: 1 to 60")
        return 10
    return int(value)


def _requests_per_minute(env: Mapping[str, str], problems: list[str]) -> int:
    value = env.get("SLUSS_REQUESTS_PER_MINUTE") or "6000"
    read = int(value) if value.isascii() and value.isdecimal() and len(value) < 8 else -1
    if read != 0 and read < _FEWEST_REQUESTS:
        problems.append(f"SLUSS_REQUESTS_PER_MINUTE takes 0 (no limit) or a number from {_FEWEST_REQUESTS}")
    return read


def _threads(env: Mapping[str, str], problems: list[str]) -> int:
    value = env.get("SLUSS_THREADS") or "8"
    if not (value.isascii() and value.isdecimal() and len(value) < 4 and 1 <= int(value) <= 100):
        problems.append("SLUSS_THREADS takes a number: 1 to 100")
        return 8
    return int(value)


def _log_level(env: Mapping[str, str], problems: list[str]) -> str:
    value = (env.get("SLUSS_LOG_LEVEL") or "info").lower()
    if value not in ("debug", "info", "warning", "error"):
        problems.append("SLUSS_LOG_LEVEL takes: debug, info, warning, error")
    return value


def _secret(env: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    value = env.get(name) or None
    if value is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{32,200}", value):
        problems.append(f"{name} takes 32 to 200 letters, digits and . _ ~ + / = -")
    return value


def _idp_jwks(env: Mapping[str, str], problems: list[str]) -> str | None:
    given = [name for name in ("SLUSS_IDP_ISSUER", "SLUSS_IDP_JWKS", "SLUSS_IDP_AUDIENCE") if env.get(name)]
    if len(given) in (1, 2):
        problems.append(f"{given[0]} takes effect with the other two of SLUSS_IDP_ISSUER, _JWKS and _AUDIENCE only")
    value = env.get("SLUSS_IDP_JWKS") or None
    if value and not re.fullmatch(r"https://[^\s/?#@]+(/[^\s#]*)?", value) and not Path(value).is_file():
        problems.append("SLUSS_IDP_JWKS takes an https URL, or the path of a file")
    return value


def _subject_header(env: Mapping[str, str], problems: list[str]) -> str | None:
    value = env.get("SLUSS_CLIENT_SUBJECT_HEADER") or None
    if value and (not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,60}", value) or not _listed(env, "SLUSS_TRUSTED_PROXIES")):
        problems.append("SLUSS_CLIENT_SUBJECT_HEADER takes a header's name, together with SLUSS_TRUSTED_PROXIES")
    return value


def _hosts(env: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    hosts = _listed(env, "SLUSS_SUBSCRIPTION_HOSTS")
    if not all(re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", host) for host in hosts):
        problems.append("SLUSS_SUBSCRIPTION_HOSTS takes hosts separated by commas: ehr.example,ehr.example:8443")
    return hosts


def _networks(env: Mapping[str, str], name: str, problems: list[str]) -> tuple[str, ...]:
    networks = _listed(env, name)
    try:
        for network in networks:
            ip_network(network)
    except ValueError:
        problems.append(f"{name} takes networks separated by commas: 10.20.0.0/16")
    return networks


def _certificates(env: Mapping[str, str], name: str, problems: list[str]) -> Path | None:
    value = env.get(name)
    if value and not Path(value).is_file():
        problems.append(f"{name} takes the path of a file of certificates (PEM)")
    return Path(value) if value else None


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())
