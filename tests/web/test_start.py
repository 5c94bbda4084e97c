"""What has to be right at the start, who may call, and a database that is away (contract 1, 2)."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from service.app import create_app
from service.opening import OldSchema
from service.settings import Settings
from service.store.database import Store
from tests.access.signing import claims, signed
from tests.web.authenticated import ask
from tests.web.caller import Sluss, bundle, content, issues, plain
from tests.web.served import Away, new_database


def _own(name: str) -> str:
    return f"{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.fixture
def away(server_url: str, tmp_path: Path) -> Away:
    """A current database that cannot be reached yet."""
    url = new_database(server_url, _own("away"))
    Store(url).migrate()
    return Away(url, tmp_path)


def _requests(sluss: Sluss) -> list[tuple[int, str | None, str | None]]:
    """What each kind of request is answered while nothing works."""
    answers = [
        sluss.get("/fhir/Task"),
        sluss.get("/fhir/Task/1"),
        sluss.get("/fhir/Task/1/_history"),
        sluss.post("/fhir", bundle()),
        sluss.post("/fhir/ServiceRequest/$assess", bundle()),
        sluss.post("/intake/referrals", plain(), {"Content-Type": "application/json"}),
    ]
    return [(a.status_code, a.headers.get("Retry-After"), a.headers["Content-Type"].split(";")[0]) for a in answers]


UNAVAILABLE = [(503, "5", "application/fhir+json")] * 5 + [(503, "5", "application/problem+json")]


def test_a_database_that_is_away_at_the_start_is_503_until_it_comes(away: Away) -> None:
    sluss = Sluss(create_app(replace(Settings(), database_url=away.url)))
    assert _requests(sluss) == UNAVAILABLE
    (issue,) = issues(sluss.get("/fhir/Task"))
    assert issue["code"] == "transient"
    ready = sluss.get("/health/ready")
    assert ready.status_code == 503
    assert content(ready)["database"] == "unavailable"
    assert sluss.get("/health/live").status_code == 200
    assert b"sluss_up 0.0" in sluss.get("/metrics").data
    away.come()
    assert sluss.post("/fhir", bundle()).status_code == 200
    assert sluss.get("/health/ready").status_code == 200
    assert len(sluss.search("HealthcareService")) > 0


def test_a_database_that_goes_away_later_is_503_until_it_comes_back(away: Away) -> None:
    away.come()
    sluss = Sluss(create_app(replace(Settings(), database_url=away.url)))
    stored = sluss.refer()
    for _ in range(2):
        away.go()
        assert _requests(sluss) == UNAVAILABLE
        assert sluss.get("/health/ready").status_code == 503
        assert sluss.get("/health/live").status_code == 200
        away.come()
        assert sluss.read(f"Task/{stored['task']['id']}") == stored["task"]
        assert sluss.get("/health/ready").status_code == 200


def test_a_token_that_cannot_be_given_now_is_refused_as_oauth_says(away: Away) -> None:
    settings = replace(Settings(), database_url=away.url, auth="smart", public_url="https://sluss.example")
    refused = ask(Sluss(create_app(settings)), signed(claims(datetime.now(UTC))))
    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/json")
    assert refused.headers["Retry-After"]
    assert content(refused)["error"] == "temporarily_unavailable"


def test_a_referral_that_could_not_be_stored_says_that_signs_of_risk_were_not_received(away: Away) -> None:
    sluss = Sluss(create_app(replace(Settings(), database_url=away.url)))
    sent = bundle()
    for entry in sent["entry"]:
        for item in entry["resource"].get("item", ()):
            if item["linkId"] == "item-9":
                item["answer"][0]["valueInteger"] = 6
    assert issues(sluss.post("/fhir", sent))[0]["diagnostics"].startswith("NOT received")


def test_a_database_with_an_old_schema_is_refused_with_the_command_that_helps(server_url: str) -> None:
    url = new_database(server_url, _own("old"))
    with pytest.raises(OldSchema, match="sluss db upgrade"):
        create_app(replace(Settings(), database_url=url))
    with psycopg.connect(url) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() or (1,)
    assert tables == 0, "nothing is changed without being asked"


def test_an_old_schema_that_shows_only_later_is_503_and_not_ready(server_url: str, tmp_path: Path) -> None:
    away = Away(new_database(server_url, _own("old")), tmp_path)
    sluss = Sluss(create_app(replace(Settings(), database_url=away.url)))
    away.come()
    assert _requests(sluss) == UNAVAILABLE
    ready = sluss.get("/health/ready")
    assert ready.status_code == 503
    assert "sluss db upgrade" in content(ready)["migrations"]
    Store(away.url).migrate()
    assert sluss.post("/fhir", bundle()).status_code == 200
    assert sluss.get("/health/ready").status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.4", "2001:db8::1", "::ffff:10.0.0.7", "", "unix:", None])
def test_without_authentication_only_this_machine_is_answered(sluss: Sluss, address: str | None) -> None:
    for path in ("/fhir/metadata", "/fhir/Task", "/health/ready", "/metrics", "/nowhere"):
        answer = sluss.get(path, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == 403
        assert issues(answer)[0]["code"] == "security"


def test_nothing_that_a_stranger_sends_is_stored(sluss: Sluss, rows: Callable[[], dict[str, int]]) -> None:
    before = rows()
    answer = sluss.post("/fhir", bundle(), environ_base={"REMOTE_ADDR": "10.0.0.7"})
    assert answer.status_code == 403
    assert rows() == before


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_answered_whichever_way_its_address_is_written(sluss: Sluss, address: str) -> None:
    assert sluss.get("/fhir/metadata", environ_base={"REMOTE_ADDR": address}).status_code == 200
