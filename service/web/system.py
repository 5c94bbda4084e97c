"""What those who run Sluss look at: capability, liveness, readiness, metrics (contract 2)."""

from datetime import UTC, datetime

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.store.records import StoreUnavailable
from service.web import replies
from service.web.capability import capability_statement
from service.web.measuring import exposition
from service.web.requests_in import base_url, house

blueprint = Blueprint("system", __name__)

LATE_SECONDS = 300
"""A job that has been due for longer than this makes the queue `degraded`."""


@blueprint.get("/fhir/metadata")
def metadata() -> Response:
    """The CapabilityStatement."""
    return replies.fhir(dump(capability_statement(house().canonical, base_url())))


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
    if current_app.config["FHIR_SERVER_URL"] is None:
        return {"external_fhir_server": "off", "queue": queue}
    server = house().store.view().external_server()
    if server.down_since is not None:
        contact = server.last_contact.isoformat(timespec="seconds") if server.last_contact else "never"
        since = server.down_since.isoformat(timespec="seconds")
        away = f"degraded: down since {since} ({server.reason}), last contact {contact}"
        return {"external_fhir_server": away, "queue": queue}
    if figures.dead_letters:
        return {"external_fhir_server": f"degraded: {figures.dead_letters} dead letters", "queue": queue}
    if figures.failing:
        return {"external_fhir_server": f"degraded: {figures.failing} deliveries being retried", "queue": queue}
    return {"external_fhir_server": "ok", "queue": queue}


def _json(body: Json, status: int = 200) -> Response:
    return Response(dump(body), status, content_type="application/json")
