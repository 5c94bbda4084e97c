"""Figures for Prometheus and one log line per request, neither with personal data.

Labels and lines carry the route's template, never the path or the query: those hold ids and identifiers.
"""

import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.store.database import Store
from service.store.records import ExchangeFigures, StoreUnavailable, Watermark
from service.store.subscription_records import SubscriptionFigures
from service.web.requests_in import CALLER

REQUEST_ID = "X-Request-Id"

_REQUEST_ID = re.compile(r"(?=.*[0-9])(?!\d{6,8}[-+]?[0-9A-Z]{4}\Z)[A-Za-z0-9._-]{1,64}")
"""What a client may call its request. It goes into the log: it is nobody's number, and has a digit, as no name has."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_registry = CollectorRegistry()
REQUESTS = Counter("sluss_http_requests_total", "Requests answered", ["method", "route", "status"], registry=_registry)
SECONDS = Histogram("sluss_http_request_seconds", "Time to answer", ["method", "route"], registry=_registry)
VERDICTS = Counter("sluss_referrals_total", "Referrals received, by verdict", ["verdict"], registry=_registry)

log = structlog.get_logger("sluss.web")


def register(app: Flask) -> None:
    """Count, time and log every request."""
    app.before_request(_begin)
    app.after_request(_end)


def exposition(store: Store) -> bytes:
    """All figures as Prometheus text: those of every web process on this machine, and the queue's as they are now."""
    registry = _registry
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # ships none
    of_now = CollectorRegistry()
    of_now.register(_Queue(store))
    return generate_latest(registry) + generate_latest(of_now)


def count_received(verdict: str) -> None:
    """A new referral has been taken in, whichever way."""
    VERDICTS.labels(verdict).inc()


class _Queue(Collector):
    """What waits, read when asked."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge each; only `sluss_up 0` when the database does not answer."""
        now = datetime.now(UTC)
        try:
            figures = self.store.view().queue_figures(now)
            exchange = self.store.view().exchange_figures()
            watermarks = self.store.view().watermarks()
            server = self.store.view().external_server()
            subscriptions = self.store.subscriptions.figures()
            unsealed_since = self.store.audit_view.unsealed_since()
        except StoreUnavailable:
            yield GaugeMetricFamily("sluss_up", "1 when the database answers", 0)
            return
        yield GaugeMetricFamily("sluss_up", "1 when the database answers", 1)
        yield GaugeMetricFamily("sluss_jobs_waiting", "Jobs that wait for a worker", figures.waiting)
        yield GaugeMetricFamily("sluss_jobs_running", "Jobs that a worker has", figures.running)
        yield GaugeMetricFamily("sluss_jobs_failed", "Jobs that failed", figures.failed)
        yield GaugeMetricFamily(
            "sluss_jobs_oldest_due_seconds", "Age of the oldest job that is due", _age(figures.oldest_due, now)
        )
        yield GaugeMetricFamily("sluss_workers", "Background workers that show themselves", figures.workers)
        yield GaugeMetricFamily("sluss_deliveries_failing", "Referrals whose delivery is retried", figures.failing)
        yield GaugeMetricFamily("sluss_dead_letters", "Referrals whose delivery needs a person", figures.dead_letters)
        yield from _exchange(exchange, now)
        yield from _collection(exchange, watermarks)
        yield from _subscriptions(subscriptions, now)
        yield GaugeMetricFamily(
            "sluss_record_unsealed_seconds", "Age of the oldest event that no seal covers", _age(unsealed_since, now)
        )
        yield GaugeMetricFamily(
            "sluss_external_server_down_seconds", "Time that it has not answered", _age(server.down_since, now)
        )
        if server.last_contact:
            last = server.last_contact.timestamp()
            yield GaugeMetricFamily(
                "sluss_external_server_last_contact_timestamp_seconds", "When it last answered", last
            )
        yield GaugeMetricFamily("sluss_deadlines_overdue", "Time limits that have passed", figures.overdue_deadlines)


def _exchange(figures: ExchangeFigures, now: datetime) -> Iterator[GaugeMetricFamily]:
    """What is on its way to the external server, or should be."""
    yield GaugeMetricFamily("sluss_deliveries_waiting", "Referrals whose delivery is scheduled", figures.waiting)
    yield GaugeMetricFamily(
        "sluss_deliveries_oldest_waiting_seconds",
        "Time since the delivery that waits longest first could not be made",
        _age(figures.oldest_waiting, now),
    )
    yield GaugeMetricFamily(
        "sluss_dead_letters_oldest_seconds", "Age of the oldest dead letter", _age(figures.oldest_dead, now)
    )
    yield GaugeMetricFamily("sluss_deliveries_discarded", "Referrals that a person left undelivered", figures.discarded)


def _collection(figures: ExchangeFigures, watermarks: Sequence[Watermark]) -> Iterator[GaugeMetricFamily]:
    """What comes from the external server."""
    yield GaugeMetricFamily("sluss_collection_waiting", "Changes there that are tried again", figures.uncollected)
    yield GaugeMetricFamily("sluss_collection_stuck", "Changes there that were tried too often", figures.stuck)
    yield GaugeMetricFamily("sluss_quarantined_referrals", "Referrals there that are unreadable", figures.quarantined)
    if figures.polled_at:
        at = figures.polled_at.timestamp()
        yield GaugeMetricFamily("sluss_collection_last_look_timestamp_seconds", "When it last answered a look", at)
    reached = GaugeMetricFamily(
        "sluss_collection_watermark_timestamp_seconds", "Newest change seen there, by its clock", labels=["type"]
    )
    for mark in watermarks:
        if mark.watermark:
            reached.add_metric([mark.type], mark.watermark.timestamp())
    yield reached


def _subscriptions(figures: SubscriptionFigures, now: datetime) -> Iterator[GaugeMetricFamily]:
    """Who is told of what happens here, and what they have not taken yet."""
    by_status = GaugeMetricFamily("sluss_subscriptions", "Subscriptions that others have here", labels=["status"])
    by_status.add_metric(["requested"], figures.requested)
    by_status.add_metric(["active"], figures.active)
    by_status.add_metric(["error"], figures.in_error)
    by_status.add_metric(["off"], figures.off)
    yield by_status
    yield GaugeMetricFamily("sluss_events_waiting", "Events that no endpoint has taken yet", figures.waiting)
    yield GaugeMetricFamily(
        "sluss_events_oldest_waiting_seconds", "Age of the oldest of them", _age(figures.oldest_waiting, now)
    )


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds from `since` to `now`; 0 without one, or when it is still to come."""
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _begin() -> None:
    if "sluss.request_id" in request.environ:
        return  # an entry of a Bundle is part of its request
    given = request.headers.get(REQUEST_ID, "")
    request.environ["sluss.request_id"] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    request.environ["sluss.began"] = time.perf_counter()


def _end(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "unknown"
    took = time.perf_counter() - request.environ.get("sluss.began", time.perf_counter())
    request_id = request.environ.get("sluss.request_id", "")
    # anybody can make up a method
    method = request.method if request.method in _METHODS else "other"
    REQUESTS.labels(method, route, response.status_code).inc()
    SECONDS.labels(method, route).observe(took)
    response.headers[REQUEST_ID] = request_id
    log.info(
        "request",
        method=method,
        route=route,
        status=response.status_code,
        ms=round(took * 1000, 1),
        request_id=request_id,
        role=_role(),
    )
    return response


def _role() -> str:
    """The caller's role; nothing that was written in a header."""
    known = request.environ.get(CALLER)
    return str(known.role) if known else "unknown"
