"""What those who run Sluss look at: capability, liveness, readiness, metrics (contract 2)."""

from datetime import UTC, datetime

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.store.records import ExchangeFigures, ServerRow, StoreUnavailable
from service.web import replies, subscriptions, tokens
from service.web.capability import capability_statement
from service.web.measuring import exposition
from service.web.record import described
from service.web.requests_in import base_url, house

blueprint = Blueprint("system", __name__)

UNSEALED_SECONDS = 60
"""An event that no seal covers for longer than this makes the record `degraded`: the worker seals it within one."""

LATE_SECONDS = 300
"""A job that has been due for longer than this makes the queue `degraded`, a look that long ago the collection."""


@blueprint.get("/fhir/metadata")
def metadata() -> Response:
    """The CapabilityStatement; Subscriptions are in it where somebody may be told."""
    statement = capability_statement(house().canonical, base_url())
    if current_app.config["AUTH"] != "off":
        statement["rest"][0]["security"] = tokens.security()
    statement["rest"][0]["resource"].append(described())
    if subscriptions.endpoints().hosts:
        statement["rest"][0]["resource"].append(subscriptions.described(house().canonical))
    return replies.fhir(dump(statement))


@blueprint.get("/health/live")
def live() -> Response:
    """The process answers."""
    return _json({"status": "ok"})


@blueprint.get("/health/ready")
def ready() -> Response:
    """503 without the database or with an old schema; the external server and the queue are told, still 200."""
    store = house().store
    try:
        migrated = store.is_current()
    except StoreUnavailable:
        return _json({"status": "unavailable", "database": "unavailable", "migrations": "unknown"}, 503)
    if not migrated:
        return _json({"status": "unavailable", "database": "ok", "migrations": "pending: run sluss db upgrade"}, 503)
    parts = {"database": "ok", "migrations": "ok", **_degradable()}
    degraded = any(value.startswith("degraded") for value in parts.values())
    return _json({"status": "degraded" if degraded else "ok", **parts})


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus text."""
    return Response(exposition(house().store), content_type=CONTENT_TYPE_LATEST)


def _degradable() -> dict[str, str]:
    """The external server and the queue, as far as the database knows."""
    now = datetime.now(UTC)
    figures = house().store.view().queue_figures(now)
    late = figures.oldest_due is not None and (now - figures.oldest_due).total_seconds() > LATE_SECONDS
    queue = "degraded: jobs wait; does a worker run?" if late else "ok"
    record = _record(house().store.audit_view.unsealed_since(), now)
    if current_app.config["FHIR_SERVER_URL"] is None:
        return {"external_fhir_server": "off", "queue": queue, "record": record}
    view = house().store.view()
    server, exchange = view.external_server(), view.exchange_figures()
    return {
        "external_fhir_server": _delivery(server, exchange, figures.failing),
        "collection": _collection(exchange, now),
        "queue": queue,
        "record": record,
    }


def _record(unsealed_since: datetime | None, now: datetime) -> str:
    if unsealed_since is None or (now - unsealed_since).total_seconds() <= UNSEALED_SECONDS:
        return "ok"
    return f"degraded: not sealed since {unsealed_since.isoformat(timespec='seconds')}; does a worker run?"


def _delivery(server: ServerRow, exchange: ExchangeFigures, failing: int) -> str:
    if server.down_since is not None:
        contact = server.last_contact.isoformat(timespec="seconds") if server.last_contact else "never"
        since = server.down_since.isoformat(timespec="seconds")
        waiting = f", {exchange.waiting} referrals wait" if exchange.waiting else ""
        return f"degraded: down since {since} ({server.reason}), last contact {contact}{waiting}"
    if exchange.dead_letters:
        return f"degraded: {exchange.dead_letters} dead letters; see sluss exchange dead"
    if failing:
        return f"degraded: {failing} deliveries being retried"
    return "ok"


def _collection(exchange: ExchangeFigures, now: datetime) -> str:
    """What somebody must look at comes before what may only be late."""
    if exchange.stuck or exchange.quarantined:
        return f"degraded: {exchange.stuck} changes stuck, {exchange.quarantined} unreadable referrals"
    if exchange.polled_at is None:
        return "degraded: never looked; does a worker run?"
    if (now - exchange.polled_at).total_seconds() > LATE_SECONDS:
        return f"degraded: last look {exchange.polled_at.isoformat(timespec='seconds')}"
    return "ok"


def _json(body: Json, status: int = 200) -> Response:
    return Response(dump(body), status, content_type="application/json")
