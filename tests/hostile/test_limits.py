"""Too many requests of one client: 429, which says when to come back, and which costs nothing."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from service.store.database import Store
from service.web import limits
from service.web.limits import FAILED_PER_MINUTE
from tests.access.signing import claims, signed
from tests.web.authenticated import acting_with_token, ask, register
from tests.web.caller import Sluss, bundle, content, issues, plain
from tests.web.conftest import NOW

Another = Callable[..., Sluss]
Rows = Callable[[], dict[str, int]]
LIMIT = 300
ELSEWHERE = {"REMOTE_ADDR": "127.0.0.9"}
FAILED = 60
"""Failures of one address in a minute, in these tests but one."""


@pytest.fixture(autouse=True)
def _few_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAILED_PER_MINUTE", FAILED)


def _use_up(sluss: Sluss, count: int = LIMIT) -> None:
    for _ in range(count):
        assert sluss.get("/fhir/Task?_count=0").status_code == 200


def test_more_than_so_many_in_a_minute_are_429_with_the_seconds_to_wait(another: Another) -> None:
    sluss = another(requests_per_minute=LIMIT)
    _use_up(sluss)
    answer = sluss.get("/fhir/Task?_count=0")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert issues(answer)[0]["code"] == "throttled"
    typed_in = sluss.post("/intake/referrals", plain(), {"Content-Type": "application/json"})
    assert typed_in.status_code == 429
    assert typed_in.headers["Content-Type"] == "application/problem+json"
    assert content(typed_in)["status"] == 429


def test_another_client_and_whoever_watches_the_service_are_answered_all_the_same(another: Another) -> None:
    sluss = another(requests_per_minute=LIMIT)
    _use_up(sluss)
    assert sluss.get("/fhir/Task?_count=0").status_code == 429
    assert sluss.get("/fhir/Task?_count=0", environ_overrides=ELSEWHERE).status_code == 200
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert sluss.get(path).status_code == 200


def test_the_entries_of_a_batch_count_one_by_one(another: Another) -> None:
    sluss = another(requests_per_minute=LIMIT)
    entry = {"request": {"method": "GET", "url": "Task?_count=0"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry] * 199}
    assert {e["response"]["status"] for e in content(sluss.post("/fhir", batch))["entry"]} == {"200 OK"}
    told = [e["response"]["status"] for e in content(sluss.post("/fhir", batch))["entry"]]
    assert told == ["200 OK"] * 99 + ["429 Too Many Requests"] * 100


def test_a_transaction_that_is_cut_off_by_it_is_not_done_at_all(another: Another, rows: Rows) -> None:
    sluss = another(requests_per_minute=LIMIT)
    task = sluss.refer()["task"]
    _use_up(sluss, LIMIT - 5)
    before = rows()
    noted = {**task, "note": [*task.get("note", []), {"text": "Ring efter 15"}]}
    put = {"resource": noted, "request": {"method": "PUT", "url": f"Task/{task['id']}"}}
    reads = [{"request": {"method": "GET", "url": "Task?_count=0"}}] * 5
    answer = sluss.post("/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [put, *reads]})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"]
    after = rows()
    assert {name: after[name] for name in ("Task", "resource_history", "journal") if name in after} == {
        name: before[name] for name in ("Task", "resource_history", "journal") if name in before
    }


def test_what_is_throttled_is_not_recorded_one_by_one(another: Another, rows: Rows) -> None:
    sluss = another(requests_per_minute=LIMIT)
    _use_up(sluss)
    before = rows()
    for _ in range(20):
        assert sluss.get("/fhir/Task/some-id").status_code == 429
    assert rows() == before


@pytest.mark.parametrize(("method", "path"), [("GET", "/fhir/Task"), ("POST", "/fhir"), ("POST", "/auth/token")])
def test_an_address_that_shows_no_good_credentials_is_soon_told_429(another: Another, method: str, path: str) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT, public_url="https://sluss.example")
    form = {"Content-Type": "application/x-www-form-urlencoded"} if path == "/auth/token" else {}
    headers = {"Authorization": "Bearer guess"} if path != "/auth/token" else form

    def ask(**more: object) -> int:
        return sluss.call(method, path, b"" if method == "POST" else None, headers, **more).status_code

    assert {ask() for _ in range(FAILED)} <= {400, 401}
    assert ask() == 429
    assert ask(environ_overrides=ELSEWHERE) in (400, 401)
    assert sluss.get("/fhir/metadata").status_code == 200, "what anybody may ask is no attempt"


def test_many_workers_whose_tokens_end_together_are_told_so_and_not_429(
    another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FAILED_PER_MINUTE", FAILED_PER_MINUTE)
    sluss = another(auth="smart", requests_per_minute=LIMIT)
    assert _fail(sluss, 500) == {401}
    assert FAILED_PER_MINUTE == 600


def test_whoever_asks_for_tokens_too_often_is_told_so_as_oauth_says(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT, public_url="https://sluss.example")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/auth/token", "/auth/token/"):
        refused = [sluss.call("POST", path, b"grant_type=client_credentials", form) for _ in range(FAILED + 1)][-1]
        assert refused.status_code == 429
        assert refused.headers["Content-Type"] == "application/json"
        assert refused.headers["Cache-Control"] == "no-store"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert content(refused)["error"] == "temporarily_unavailable"
        assert set(content(refused)) == {"error", "error_description"}


def _fail(sluss: Sluss, count: int = FAILED, **more: Any) -> set[int]:
    """The answers to so many requests without good credentials."""
    return {sluss.get("/fhir/Task", {"Authorization": "Bearer guess"}, **more).status_code for _ in range(count)}


def _status(sluss: Sluss, **more: Any) -> int:
    return sluss.get("/fhir/Task?_count=0", **more).status_code


def test_good_credentials_are_served_from_an_address_whose_bad_ones_are_429(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT)
    known = acting_with_token(sluss, "referrer")
    register(sluss, "ehr", "referrer")
    assert _fail(sluss) == {401}
    for _ in range(2):
        refused = sluss.get("/fhir/Task")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert issues(refused)[0]["code"] == "throttled"
        assert _status(known) == 200
        assert known.post("/fhir/ServiceRequest/$assess", bundle()).status_code == 200
    new = ask(sluss, signed(claims(NOW)))
    assert new.status_code == 200, new.text


def test_what_a_known_client_is_refused_is_no_failed_authentication(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT)
    known = acting_with_token(sluss, "referrer")
    told = {known.get(path).status_code for path in ("/metrics", "/fhir/Task/none") for _ in range(FAILED)}
    assert told == {403, 404}
    assert _fail(sluss, 1) == {401}


def test_each_client_of_an_address_has_requests_of_its_own(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT)
    one, other = acting_with_token(sluss, "referrer"), acting_with_token(sluss, "therapist")
    _use_up(one)
    assert _status(one) == 429
    assert _status(one, environ_overrides=ELSEWHERE) == 429, "it is the client, wherever it calls from"
    assert _status(other) == 200


def test_the_addresses_of_one_customer_s_network_are_one(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT)
    for part in range(FAILED):
        assert _fail(sluss, 1, environ_overrides={"REMOTE_ADDR": f"2001:db8:0:1::{part:x}"}) == {401}
    assert _fail(sluss, 1, environ_overrides={"REMOTE_ADDR": "2001:db8:0:1:ffff::1"}) == {429}
    assert _fail(sluss, 1, environ_overrides={"REMOTE_ADDR": "2001:db8:0:2::1"}) == {401}


def test_behind_a_trusted_proxy_it_is_who_called_that_and_no_header_changes_who_calls_without(another: Another) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT, trusted_proxies=("10.1.2.0/24",))

    def fail(count: int, peer: str, forwarded: str) -> set[int]:
        headers = {"X-Forwarded-For": forwarded, "Authorization": "Bearer guess"}
        there = {"REMOTE_ADDR": peer}
        return {sluss.get("/fhir/Task", headers, environ_overrides=there).status_code for _ in range(count)}

    assert fail(FAILED, "10.1.2.3", "198.51.100.1") == {401}
    assert fail(1, "10.1.2.3", "198.51.100.1") == {429}
    assert fail(1, "10.1.2.3", "198.51.100.2") == {401}
    for part in range(FAILED):
        assert fail(1, "192.0.2.7", f"198.51.100.{part}") == {401}
    assert fail(1, "192.0.2.7", "203.0.113.1") == {429}


def test_of_failed_authentications_those_told_429_are_not_recorded_one_by_one(another: Another, store: Store) -> None:
    sluss = another(auth="smart", requests_per_minute=LIMIT)

    def recorded() -> int:
        with psycopg.connect(store.url) as connection:
            return int((connection.execute("SELECT count(*) FROM audit_event").fetchone() or (0,))[0])

    before = recorded()
    assert _fail(sluss) == {401}
    assert recorded() == before + FAILED
    assert _fail(sluss) == {429}
    assert recorded() == before + FAILED


def test_no_limit_when_it_is_switched_off(another: Another) -> None:
    sluss = another(requests_per_minute=0)
    _use_up(sluss, LIMIT + 1)
    known = another(auth="smart", requests_per_minute=0)
    assert _fail(known, FAILED + 1) == {401}
