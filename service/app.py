"""The application: settings in, a Flask app out. Everything that it needs is made here and nowhere else."""

import secrets
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address

import structlog
from flask import Flask, Response, request

from fhir_mappings import r4
from fhir_mappings.issues import IssueCode, error
from fhir_mappings.terminology import Canonical
from service import logs
from service.access.knowing import Knowing, Provider
from service.access.published_keys import PublishedKeys
from service.opening import open_store
from service.packs.loading import load
from service.referral.directory import publish
from service.referral.house import House
from service.referral.refusal import Kind, Refusal
from service.settings import Settings
from service.store.records import StoreUnavailable
from service.subscriptions.endpoints import Endpoints
from service.web import (
    bundles,
    errors,
    extraction,
    hooks,
    limits,
    measuring,
    openapi,
    operations,
    plain,
    reading,
    record,
    recording,
    rest,
    searching,
    subscriptions,
    system,
    tokens,
    wake,
)
from service.web.addresses import check_declared
from service.web.admission import SAFE_HEADERS, Admission
from service.web.identity import identify
from service.web.proxies import networks_of
from service.web.reasons import check_reason
from service.web.requests_in import MOST_BYTES, check_address, check_media

log = structlog.get_logger("sluss")


def create_app(settings: Settings, house: House | None = None) -> Flask:
    """The service as a WSGI application. `house` may be given by who has made one already (the tests).

    Raises BrokenPack for a pack with problems and OldSchema for a database that must be upgraded first. A database that
    does not answer stops nothing: requests get 503 until it does.
    """
    logs.set_up(settings.log_level)
    home = house or make_house(settings)
    app = Flask("sluss")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # else // is a redirect, to wherever Host says
    app.config.update(
        AUTH=settings.auth,
        METRICS_TOKEN=settings.metrics_token,
        TRUSTED_PROXIES=networks_of(settings.trusted_proxies),
        CLIENT_SUBJECT_HEADER=settings.client_subject_header,
        PUBLISHED_KEYS=(published := PublishedKeys(settings.keys_ca)),
        KNOWING=Knowing(home.store.clients, _provider(settings), published),
        PUBLIC_URL=settings.public_url,
        FHIR_SERVER_URL=settings.fhir_server_url,
        WAKE_TOKEN=settings.wake_token,
        SUBSCRIPTION_ENDPOINTS=Endpoints.of(settings.subscription_hosts, settings.subscription_networks),
        MAX_CONTENT_LENGTH=MOST_BYTES + 1,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.extensions["sluss"] = home
    measuring.register(app)
    errors.register(app)
    if settings.auth == "off":
        app.before_request(_only_loopback)
    for check in (check_address, identify, check_declared, check_media, check_reason):
        app.before_request(check)
    app.before_request(_Directory(home))
    for room in (
        system,
        subscriptions,
        record,
        operations,
        extraction,
        hooks,
        searching,
        reading,
        rest,
        bundles,
        plain,
        openapi,
        tokens,
        wake,
    ):
        app.register_blueprint(room.blueprint)
    app.after_request(_safe_headers)
    recording.register(app)
    limits.register(app, settings.requests_per_minute)
    app.wsgi_app = Admission(app.wsgi_app, settings.threads)  # type: ignore[method-assign]  # as Flask would have it
    r4.prepare()
    return app


def _provider(settings: Settings) -> Provider | None:
    """The identity provider of the settings."""
    issuer, audience, keys = settings.idp_issuer, settings.idp_audience, settings.idp_jwks
    if issuer is None or audience is None or keys is None:
        return None
    return Provider(issuer, audience, keys, settings.idp_user_claim, settings.idp_unit_claim, settings.idp_levels)


def make_house(settings: Settings, clock: Callable[[], datetime] | None = None) -> House:
    """Pack, store and canonical systems of the settings. The embedded database is started and brought up to date by
    itself; another one must be current.
    """
    pack = load(settings.pack)
    store = open_store(settings)
    return House(
        store=store,
        pack=pack,
        canonical=Canonical(settings.canonical_base),
        clock=clock or (lambda: datetime.now(UTC)),
        new_id=new_id,
    )


def new_id() -> str:
    """A UUID that begins with the time (version 7, https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7): what is
    stored together lies together in the database's indexes, where random ids would each touch a page of their own.
    """
    milliseconds = time.time_ns() // 1_000_000
    random_a, random_b = secrets.randbits(12), secrets.randbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | random_a << 64 | 2 << 62 | random_b))


class _Directory:
    """Publishes the pack's teams and programmes once per process: at start, or as soon as the database answers."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.published = False
        try:
            self()
        except StoreUnavailable:
            log.warning("directory_waits_for_the_database")

    def __call__(self) -> None:
        if self.published or _in_health_check():
            return
        if not self.house.store.is_current():
            # the database was away at the start, so nobody has looked yet
            raise StoreUnavailable("the database has not this version's schema; run: sluss db upgrade")
        publish(self.house)
        self.published = True


def _in_health_check() -> bool:
    """Liveness and readiness answer also while the database does not."""
    return bool(request) and request.path in ("/health/live", "/health/ready", "/metrics")


def _only_loopback() -> None:
    """Without authentication only this machine may call, whatever address a server was bound to."""
    if not _is_loopback(request.remote_addr):
        raise Refusal(
            Kind.FORBIDDEN,
            [
                error(
                    IssueCode.SECURITY,
                    None,
                    "Utan inloggning svarar Sluss bara på den egna datorn.",
                    "SLUSS_AUTH=off answers loopback addresses only",
                )
            ],
        )


def _is_loopback(address: str | None) -> bool:
    """True for 127.0.0.0/8 and ::1, also where IPv6 writes the former as ::ffff:127.0.0.1. A caller without an address
    (a server on a Unix socket behind a proxy) may be anybody.
    """
    try:
        read = ip_address(address or "")
    except ValueError:
        return False
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return (mapped or read).is_loopback


def _safe_headers(response: Response) -> Response:
    if response.status_code == 204:
        response.headers.pop("Content-Type", None)  # there is nothing of any type
    for name, value in SAFE_HEADERS:
        response.headers.setdefault(name, value)
    return response
