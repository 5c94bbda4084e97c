"""docs/operations.md is true: its metrics, commands, SQL and requests exist and do what it says."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from service.app import create_app
from service.cli import LAST_REQUESTS, main
from service.exchange import backoff, breaker, worker, workload
from service.exchange.outcomes import Reason
from service.exchange.stand_in import running_stand_in
from service.settings import Settings
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from tests.exchange.conftest import Clock
from tests.exchange.gateway import Gateway

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def gateway(store: Store) -> Iterator[Gateway]:
    exchange = ExchangeState(store.url)
    with running_stand_in() as there:
        between = Gateway.between(store, exchange, there.url, Clock())
        yield between
    between.collector.state.close()
    exchange.close()


def test_every_metric_it_names_is_there_and_every_one_there_is_named(gateway: Gateway, store: Store) -> None:
    row = gateway.receive()
    gateway.deliver(row)
    gateway.collect()
    app = create_app(Settings(fhir_server_url=gateway.region.base), gateway.house)
    app.test_client().get("/health/live")
    text = app.test_client().get("/metrics").get_data(as_text=True)
    there = set(re.findall(r"^# TYPE (sluss_\w+) ", text, re.MULTILINE))
    made_by_the_library = {name for name in there if name.endswith("_created")}
    assert set(re.findall(r"`(sluss_\w+)", GUIDE)) == there - made_by_the_library


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"sluss ((?:exchange|db|pack) \w+|worker|serve)", GUIDE))
    assert len(named) > 8
    for command in named:
        assert CliRunner().invoke(main, [*command.split(), "--help"]).exit_code == 0, command
    for option in ("--why", "--all", "--by", "--json"):
        assert option in GUIDE
        assert option in CliRunner().invoke(main, ["exchange", "replay", "--help"]).output


def test_its_sql_runs(store: Store) -> None:
    found = re.findall(r'psql "\$SLUSS_DATABASE_URL" -c "(.*?)"', GUIDE)
    assert len(found) == 2
    with psycopg.connect(store.url) as connection:
        for sql in found:
            connection.execute(sql.encode())


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    table = GUIDE.partition("## A dead letter")[2].partition("```sh")[0]
    explained = set(re.findall(r"`([a-z-]+)`", table))
    # a server that cannot be reached makes no dead letters
    assert {str(reason) for reason in Reason} - {"unreachable"} <= explained


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"failed {backoff.MOST_ATTEMPTS} times" in GUIDE
    assert breaker.MOST_FAILURES == 3
    assert f"in {workload._MOST_ATTEMPTS} attempts" in GUIDE
    assert worker._RECONCILE_AT == "17 1 * * *"
    assert f"get {worker._STOP_WITHIN:.0f} s to end, requests {LAST_REQUESTS} s" in GUIDE
    named = set(re.findall(r"^\| `(\w+)` \| (?:at|every|01)", GUIDE, re.MULTILINE))
    assert named == {"deliver_referral", "sweep", "timers", "collect", "find_undelivered", "reconcile"}


def test_what_it_asks_for_shows_coordination_the_unreadable_referrals(gateway: Gateway) -> None:
    posted = gateway.region.post(
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "code": {"coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-programme", "code": "sleep"}]},
            "subject": {"display": "Okänd"},
            "authoredOn": (datetime.now(UTC) - timedelta(days=400)).isoformat(timespec="seconds"),
        }
    )
    assert gateway.collect().set_aside == 1
    (path,) = re.findall(r"""curl -s -H "Authorization: Bearer \$COORDINATION" 'localhost:8080(.*?)'""", GUIDE)
    client = create_app(Settings(), gateway.house).test_client()
    answer = client.get(path, headers={"Sluss-Caller": "therapist samordning"})
    assert answer.status_code == 200
    assert answer.json is not None
    (task,) = [entry["resource"] for entry in answer.json["entry"]]
    assert task["code"]["coding"][0]["code"] == "unreadable-referral"
    assert task["focus"]["reference"].endswith(f"ServiceRequest/{posted['id']}")
