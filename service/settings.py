"""Settings: environment variables, read once, all checked at start (contract 1)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_CANONICAL_BASE = "https://sluss.example/fhir"


class BadSettings(Exception):  # noqa: N818  what is wrong is the settings
    """One line per bad setting: its name and what it takes."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside."""

    database_url: str | None = None
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

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Settings from `environ` (the process's by default). Raises BadSettings with every problem."""
        env = os.environ if environ is None else environ
        problems: list[str] = []
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
            wake_token=_wake_token(env, problems),
            subscription_hosts=_hosts(env, problems),
            subscription_networks=_networks(env, problems),
            subscription_ca=_certificates(env, problems),
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


def _log_level(env: Mapping[str, str], problems: list[str]) -> str:
    value = (env.get("SLUSS_LOG_LEVEL") or "info").lower()
    if value not in ("debug", "info", "warning", "error"):
        problems.append("SLUSS_LOG_LEVEL takes: debug, info, warning, error")
    return value


def _wake_token(env: Mapping[str, str], problems: list[str]) -> str | None:
    value = env.get("SLUSS_WAKE_TOKEN") or None
    if value is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{32,200}", value):
        problems.append("SLUSS_WAKE_TOKEN takes 32 to 200 letters, digits and . _ ~ + / = -")
    return value


def _hosts(env: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    hosts = _listed(env, "SLUSS_SUBSCRIPTION_HOSTS")
    if not all(re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", host) for host in hosts):
        problems.append("SLUSS_SUBSCRIPTION_HOSTS takes hosts separated by commas: ehr.example,ehr.example:8443")
    return hosts


def _networks(env: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    networks = _listed(env, "SLUSS_SUBSCRIPTION_NETWORKS")
    try:
        for network in networks:
            ip_network(network)
    except ValueError:
        problems.append("SLUSS_SUBSCRIPTION_NETWORKS takes networks separated by commas: 10.20.0.0/16")
    return networks


def _certificates(env: Mapping[str, str], problems: list[str]) -> Path | None:
    value = env.get("SLUSS_SUBSCRIPTION_CA")
    if value and not Path(value).is_file():
        problems.append("SLUSS_SUBSCRIPTION_CA takes the path of a file of certificates (PEM)")
    return Path(value) if value else None


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())
