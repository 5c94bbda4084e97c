"""`sluss audit`: what whoever runs Sluss is told, and what they cannot do."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.store.audit_archive import Unsound, read_archive
from service.store.audit_records import Act, Agent, AuditEvent
from service.store.audit_seals import Seals
from service.store.audit_verify import verify
from service.store.database import Store
from tests.audit.conftest import Events
from tests.audit.tampering import rows, tamper
from tests.web.caller import UNIT, Sluss

Run = Callable[..., Result]
ADULT = "199002222397"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: Store) -> Run:
    for name in list(os.environ):
        if name.startswith("SLUSS_") and name != "SLUSS_TEST_CLUSTER":
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUSS_DATABASE_URL", store.url)
    return lambda *arguments: CliRunner().invoke(main, ["audit", *arguments])


# ---------------------------------------------------------------- verify


def test_a_whole_record_is_told_as_such_with_its_head(run: Run, sluss: Sluss, store: Store) -> None:
    sluss.refer()
    Seals(store.url).seal()
    told = run("verify")
    assert told.exit_code == 0, told.output
    assert "1 seals on" in told.output
    head = verify(store.url).head.hex()
    assert f"head {head}" in told.output
    assert run("verify", "--head", head).exit_code == 0
    assert run("verify", "--head", "00" * 31).exit_code == 3


def test_one_that_was_changed_needs_a_person(run: Run, sluss: Sluss, store: Store) -> None:
    sluss.refer()
    Seals(store.url).seal()
    ((id_,),) = rows(store, "SELECT max(id) FROM audit_event")
    tamper(store, "UPDATE audit_event SET role = 'platform' WHERE id = %s", id_)
    told = run("verify")
    assert (told.exit_code, f"changed: event {id_} was changed" in told.output) == (3, True)


# ---------------------------------------------------------------- extract


def test_a_patient_reads_who_has_looked_from_where_when_and_what_for(run: Run, sluss: Sluss, events: Events) -> None:
    task = sluss.acting(f"referrer {UNIT}").refer()["task"]
    sluss.acting("therapist gavle").read(f"Task/{task['id']}")
    sluss.acting("therapist gavle").search("Task?status=requested")
    sluss.acting("therapist norra-halsingland").get(f"/fhir/Task/{task['id']}")
    told = run("extract", "--patient", f"{ADULT[:8]}-{ADULT[8:]}")
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert any("remittenten" in line and UNIT in line and "lade in remissen" in line for line in lines)
    assert any("behandlare, " in line and "läste ärendet. Ändamål: vård." in line for line in lines)
    assert any("sökte fram" in line for line in lines)
    as_json = json.loads(run("extract", "--patient", ADULT, "--format", "json").output)
    # what the first extract recorded is in the second
    assert len(as_json) == len(lines) - 2 + 1
    assert as_json[-1]["what"].startswith("gjorde ett utdrag")
    assert all(set(one) == {"when", "who", "units", "what", "denied", "purpose"} for one in as_json)


def test_only_the_days_that_are_asked_for_are_in_it(run: Run, sluss: Sluss) -> None:
    sluss.refer()
    today = datetime.now(UTC)
    tomorrow = f"{today + timedelta(days=2):%Y-%m-%d}"
    assert run("extract", "--patient", ADULT, "--from", tomorrow).output.splitlines()[-1] == "0 händelser."
    assert (
        run("extract", "--patient", ADULT, "--to", f"{today - timedelta(days=2):%Y-%m-%d}").output.splitlines()[-1]
        == "0 händelser."
    )


def test_a_number_that_is_none_is_not_repeated(run: Run) -> None:
    told = run("extract", "--patient", "199002222398")
    assert told.exit_code == 2
    assert "199002222398" not in told.output


# ---------------------------------------------------------------- archive


@pytest.fixture
def old(store: Store) -> datetime:
    """Three seals of six years ago, and two of now; the day before which the first three are."""
    seals, then = Seals(store.url), datetime.now(UTC) - timedelta(days=6 * 366)
    act = Act(Agent("therapist", teams=("gavle",)), "read", "R")
    for turn in range(5):
        for _ in range(3):
            store.audit.record(AuditEvent(act, about=(f"Task/{turn}",), patients=("Patient/1",)))
        if turn < 3:
            tamper(store, "UPDATE audit_event SET recorded = %s WHERE recorded > now() - interval '1 day'", then)
        seals.seal(then + timedelta(minutes=turn) if turn < 3 else None)
    return then + timedelta(days=2)


def test_what_has_had_its_time_goes_into_a_file_and_the_rest_stays_verifiable(
    run: Run, store: Store, old: datetime, tmp_path: Path, events: Events
) -> None:
    head = verify(store.url).head.hex()
    told = run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    assert told.exit_code == 0, told.output
    (path,) = tmp_path.glob("*.jsonl")
    assert path.name == "record-1-3.jsonl"
    archived = read_archive(path)
    assert (archived.seals, archived.events) == (3, 9)
    assert archived.sha256 in told.output
    verdict = verify(store.url, head)
    assert (verdict.findings, verdict.seals) == ((), 2)
    (act,) = [event for event in events() if event.interaction == "administration"]
    assert act.tried is not None
    assert act.tried.startswith("sluss audit archive")
    Seals(store.url).seal()
    assert verify(store.url, head).findings == ()
    again = run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    assert (again.exit_code, again.output) == (0, "Nothing is that old.\n")


def test_nothing_younger_than_five_years_goes(run: Run, store: Store, old: datetime, tmp_path: Path) -> None:
    day = f"{datetime.now(UTC) - timedelta(days=4 * 365):%Y-%m-%d}"
    assert run("archive", "--before", day, "--to", str(tmp_path)).exit_code == 2
    tamper(store, "UPDATE audit_event SET recorded = now() - interval '4 years' WHERE id = 1")
    told = run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    assert told.exit_code == 1
    assert rows(store, "SELECT count(*) FROM audit_event WHERE id <= 9") == [(9,)]


def test_what_is_not_as_it_was_sealed_is_not_taken_out(run: Run, store: Store, old: datetime, tmp_path: Path) -> None:
    tamper(store, "UPDATE audit_event SET role = 'platform' WHERE id = 2")
    told = run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    assert (told.exit_code, "not what was sealed" in told.output) == (1, True)
    assert rows(store, "SELECT count(*) FROM audit_seal") == [(5,)]


@pytest.mark.parametrize(
    ("there", "instead"), [('"role":"therapist"', '"role":"platform"'), ('"number":2', '"number":7')]
)
def test_a_file_that_was_changed_shows_it(run: Run, old: datetime, tmp_path: Path, there: str, instead: str) -> None:
    run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text(path.read_text().replace(there, instead, 1))
    with pytest.raises(Unsound, match="beside it"):
        read_archive(path)
    import hashlib

    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(Unsound, match="seal"):
        read_archive(path)


def test_whoever_is_not_the_owner_takes_nothing_out(
    run: Run, store: Store, old: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.store.roles import grant

    role = f"sluss_reader_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    grant(store.url, role, create=True)
    monkeypatch.setenv("SLUSS_DATABASE_URL", store.url.replace("//postgres:@", f"//{role}:@"))
    told = run("archive", "--before", f"{old:%Y-%m-%d}", "--to", str(tmp_path))
    assert (told.exit_code, "permission denied" in told.output) == (1, True)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())
