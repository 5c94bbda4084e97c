"""What those who run Sluss look at: liveness, readiness, figures (contract 2)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fhir_mappings.records import Json
from service.store.database import Store
from tests.web.caller import Sluss, content, plain

PERSONAL = ["199002222397", "19900222-2397", "Testsson", "070-1740605", "hemuppgifter", "R-PERSONAL"]


def _samples(sluss: Sluss) -> dict[tuple[str, str], float]:
    answer = sluss.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_live_says_that_the_process_answers(sluss: Sluss) -> None:
    answer = sluss.get("/health/live")
    assert (answer.status_code, content(answer)) == (200, {"status": "ok"})


def test_ready_says_that_database_and_migrations_are_fine_and_that_exchange_is_off(sluss: Sluss) -> None:
    answer = sluss.get("/health/ready")
    assert answer.status_code == 200
    assert content(answer) == {
        "status": "ok",
        "database": "ok",
        "migrations": "ok",
        "external_fhir_server": "off",
        "queue": "ok",
        "record": "ok",
    }


def _execute(store: Store, statement: str, *values: object) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def test_a_queue_that_nobody_works_on_is_degraded_but_ready(sluss: Sluss, store: Store) -> None:
    sluss.refer()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    _execute(store, "UPDATE procrastinate_jobs SET scheduled_at = %s", long_ago)
    answer = sluss.get("/health/ready")
    told = content(answer)
    assert answer.status_code == 200
    assert told["status"] == "degraded"
    assert told["queue"].startswith("degraded")


def test_an_external_server_that_fails_is_degraded_but_ready(another: Callable[..., Sluss], store: Store) -> None:
    sluss = another(fhir_server_url="http://127.0.0.1:9/fhir")
    assert content(sluss.get("/health/ready"))["external_fhir_server"] == "ok"
    sluss.refer()
    now = datetime.now(UTC)
    _execute(
        store,
        "INSERT INTO exchange (referral_id, attempts, next_attempt_at) SELECT id, 3, %s FROM referral"
        " ON CONFLICT (referral_id) DO UPDATE SET attempts = 3, next_attempt_at = excluded.next_attempt_at",
        now + timedelta(hours=1),
    )
    told: Json = content(sluss.get("/health/ready"))
    assert (told["status"], told["external_fhir_server"][:8]) == ("degraded", "degraded")
    _execute(store, "UPDATE exchange SET dead_at = %s", now)
    answer = sluss.get("/health/ready")
    assert answer.status_code == 200
    assert "dead letter" in content(answer)["external_fhir_server"]


def test_an_external_server_that_is_down_is_told_with_since_when_and_the_last_contact(
    another: Callable[..., Sluss], store: Store
) -> None:
    sluss = another(fhir_server_url="http://127.0.0.1:9/fhir")
    contact, since = datetime.now(UTC) - timedelta(hours=3), datetime.now(UTC) - timedelta(hours=2)
    _execute(
        store,
        "INSERT INTO external_server (failures, reason, down_since, last_contact) VALUES (5, 'unreachable', %s, %s)",
        since,
        contact,
    )
    answer = sluss.get("/health/ready")
    assert answer.status_code == 200
    told = content(answer)["external_fhir_server"]
    assert told.startswith(f"degraded: down since {since.isoformat(timespec='seconds')} (unreachable)")
    assert contact.isoformat(timespec="seconds") in told
    figures = _samples(sluss)
    assert 7190 < figures[("sluss_external_server_down_seconds", "[]")] < 7300
    last = figures[("sluss_external_server_last_contact_timestamp_seconds", "[]")]
    assert abs(last - contact.timestamp()) < 1


def test_what_waits_what_is_dead_and_how_far_is_collected_are_figures(
    another: Callable[..., Sluss], store: Store
) -> None:
    sluss = another(fhir_server_url="http://127.0.0.1:9/fhir")
    assert "never looked" in content(sluss.get("/health/ready"))["collection"]
    now = datetime.now(UTC)
    _execute(
        store,
        "INSERT INTO exchange (referral_id, attempts, next_attempt_at, waiting_since, dead_at, discarded_at) VALUES"
        " ('w', 1, %s, %s, NULL, NULL), ('d', 9, NULL, %s, %s, NULL), ('x', 0, NULL, NULL, NULL, %s)",
        *(now, now - timedelta(hours=2), now - timedelta(days=2), now - timedelta(days=1), now),
    )
    _execute(store, "INSERT INTO collection VALUES ('Task', %s, %s)", now - timedelta(minutes=7), now)
    figures = _samples(sluss)
    assert figures[("sluss_deliveries_waiting", "[]")] == 1
    assert figures[("sluss_dead_letters", "[]")] == 1
    assert figures[("sluss_deliveries_discarded", "[]")] == 1
    assert abs(figures[("sluss_deliveries_oldest_waiting_seconds", "[]")] - 7200) < 60
    assert abs(figures[("sluss_dead_letters_oldest_seconds", "[]")] - 86400) < 60
    assert abs(figures[("sluss_collection_last_look_timestamp_seconds", "[]")] - now.timestamp()) < 1
    reached = figures[("sluss_collection_watermark_timestamp_seconds", "[('type', 'Task')]")]
    assert abs(now.timestamp() - reached - 420) < 1
    assert figures[("sluss_workers", "[]")] == 0
    told = content(sluss.get("/health/ready"))
    assert told["collection"] == "ok"
    assert told["external_fhir_server"] == "degraded: 1 dead letters; see sluss exchange dead"


def test_what_is_stuck_or_unreadable_is_degraded_but_ready(another: Callable[..., Sluss], store: Store) -> None:
    sluss = another(fhir_server_url="http://127.0.0.1:9/fhir")
    now = datetime.now(UTC)
    _execute(store, "INSERT INTO collection VALUES ('Task', NULL, %s)", now - timedelta(minutes=6))
    assert content(sluss.get("/health/ready"))["collection"].startswith("degraded: last look ")
    _execute(
        store,
        "INSERT INTO collected (type, remote_id, remote_version, outcome, at) VALUES ('Task','1','1','stuck',%s)",
        now,
    )
    _execute(
        store, "INSERT INTO quarantine (remote_id, id, told, since, tried_at) VALUES ('1', '1', '', %s, %s)", now, now
    )
    answer = sluss.get("/health/ready")
    assert answer.status_code == 200
    assert content(answer)["collection"] == "degraded: 1 changes stuck, 1 unreadable referrals"
    figures = _samples(sluss)
    assert (figures[("sluss_collection_stuck", "[]")], figures[("sluss_quarantined_referrals", "[]")]) == (1, 1)


def test_figures_count_requests_by_route_and_referrals_by_verdict(sluss: Sluss) -> None:
    before = _samples(sluss)
    route = str([("method", "POST"), ("route", "/intake/referrals"), ("status", "201")])
    verdict = str([("verdict", "eligible")])
    for number in range(2):
        sent = plain(patient={"identifier": "199002222397", "name": "Test Testsson"})
        sent["referrer"]["reference"] = f"P-{number}"
        assert sluss.post("/intake/referrals", sent, {"Content-Type": "application/json"}).status_code == 201
    after = _samples(sluss)
    requests_total, referrals_total = ("sluss_http_requests_total", route), ("sluss_referrals_total", verdict)
    assert after[requests_total] - before.get(requests_total, 0) == 2
    made = sum(v for (name, _), v in after.items() if name == "sluss_referrals_total")
    assert made - sum(v for (name, _), v in before.items() if name == "sluss_referrals_total") == 2
    assert referrals_total[0] == "sluss_referrals_total"
    assert after[("sluss_up", "[]")] == 1.0
    assert after[("sluss_jobs_waiting", "[]")] >= 1.0
    assert after[("sluss_deadlines_overdue", "[]")] >= 0.0


def test_referrals_in_bundles_are_counted_too_and_repeated_ones_are_not(sluss: Sluss) -> None:
    def referrals() -> float:
        return sum(v for (name, _), v in _samples(sluss).items() if name == "sluss_referrals_total")

    before = referrals()
    sluss.refer("R-1")
    sluss.refer("R-1")
    assert referrals() - before == 1


def test_labels_hold_no_personal_data_whatever_is_asked(sluss: Sluss) -> None:
    sluss.refer("R-PERSONAL")
    sluss.get("/fhir/Patient?identifier=199002222397&name=Testsson")
    sluss.get("/fhir/Patient/199002222397")
    sluss.get("/199002222397/Testsson")
    sluss.call("199002222397", "/fhir/Patient")
    sluss.get("/fhir/Patient", {"Sluss-Caller": "199002222397"})
    text = sluss.get("/metrics").text
    assert not [word for word in PERSONAL if word in text]
    labels = set(re.findall(r'method="([^"]*)"', text))
    assert labels <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other", "any"}


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"]
)
def test_a_prometheus_server_gets_what_it_asks_for(sluss: Sluss, accept: str) -> None:
    assert sluss.get("/metrics", {"Accept": accept}).status_code == 200
