"""The record is sealed as it is written, and a change of it shows."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from service.store.audit_records import Act, Agent, AuditEvent
from service.store.audit_seals import Seals
from service.store.audit_verify import Verdict, verify
from service.store.database import Store
from tests.audit.tampering import rows, tamper

READ = Act(Agent("therapist", teams=("gavle",), person="SE2321000198-P1"), "read", "R", "GET /fhir/Task/1")


def _write(store: Store, count: int = 1) -> None:
    for number in range(count):
        store.audit.record(AuditEvent(READ, about=(f"Task/{number}/_history/1",), patients=("Patient/1",)))


def _sealed(store: Store, *batches: int) -> Verdict:
    seals = Seals(store.url)
    for count in batches:
        _write(store, count)
        assert seals.seal() == count
    seals.close()
    return verify(store.url)


def _kinds(verdict: Verdict) -> list[str]:
    return sorted({finding.kind for finding in verdict.findings})


def test_what_is_sealed_and_left_alone_is_found_in_order(store: Store) -> None:
    verdict = _sealed(store, 3, 1, 5)
    assert (verdict.findings, verdict.seals, verdict.events, verdict.waiting, verdict.late) == ((), 3, 9, 0, 0)
    assert verify(store.url, verdict.head.hex()).findings == ()
    assert verify(store.url).head == verdict.head


def test_nothing_new_makes_no_seal(store: Store) -> None:
    head = _sealed(store, 2).head
    seals = Seals(store.url)
    assert seals.seal() == 0
    assert verify(store.url).head == head


def test_more_than_one_seal_takes_is_sealed_by_several(store: Store) -> None:
    tamper(
        store,
        "INSERT INTO audit_event (action, interaction, outcome, role, organisations, teams, about, versions, patients)"
        " SELECT 'R', 'read', 0, 'sluss', '{}', '{}', '{}', '{}', '{}' FROM generate_series(1, 2500)",
    )
    assert Seals(store.url).seal() == 2500
    verdict = verify(store.url)
    assert (verdict.findings, verdict.seals, verdict.events) == ((), 3, 2500)


def test_an_event_whose_transaction_commits_late_is_sealed_all_the_same(store: Store) -> None:
    seals = Seals(store.url)
    with psycopg.connect(store.url) as slow:
        slow.execute(
            "INSERT INTO audit_event (action, interaction, outcome, role, organisations, teams, about, versions,"
            " patients) VALUES ('R', 'read', 0, 'sluss', '{}', '{}', '{}', '{}', '{}')"
        )
        _write(store, 2)
        assert seals.seal() == 2
        _write(store, 1)
        assert seals.seal() == 1
    assert seals.seal() == 1
    verdict = verify(store.url)
    assert (verdict.findings, verdict.events) == ((), 4)


def test_ids_that_were_never_used_are_settled_after_a_minute(store: Store) -> None:
    now = datetime.now(UTC)
    seals = Seals(store.url)
    for minutes in range(3):
        _write(store)
        with psycopg.connect(store.url) as connection:  # rolled back: its id is never seen
            connection.execute("SELECT nextval('audit_event_id_seq')")
        seals.seal(now + timedelta(minutes=2 * minutes))
    ((ranges,),) = rows(store, "SELECT settled::text FROM audit_seal ORDER BY number DESC LIMIT 1")
    assert ranges == "{[0,4),[5,6)}"


def test_several_who_seal_at_once_make_one_chain(store: Store) -> None:
    _write(store, 200)
    workers = [Seals(store.url) for _ in range(4)]
    threads = [threading.Thread(target=worker.seal) for worker in workers]
    for thread in threads:
        thread.start()
    _write(store, 50)
    for thread in threads:
        thread.join()
    workers[0].seal()
    verdict = verify(store.url)
    assert (verdict.findings, verdict.events) == ((), 250)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit_event SET person = 'SE2321000198-P2' WHERE id = 4", "changed"),
        ("UPDATE audit_event SET recorded = recorded - interval '1 hour' WHERE id = 4", "changed"),
        ("UPDATE audit_event SET patients = '{}' WHERE id = 4", "changed"),
        ("DELETE FROM audit_event WHERE id = 4", "missing"),
        ("UPDATE audit_seal SET digests[1] = digests[2] WHERE number = 2", "seal"),
        ("UPDATE audit_seal SET at = at + interval '1 second' WHERE number = 2", "seal"),
        ("UPDATE audit_seal SET hash = sha256('1') WHERE number = 2", "seal"),
        ("UPDATE audit_seal SET about = '{}' WHERE number = 2", "seal"),
        ("DELETE FROM audit_seal WHERE number = 1", "seal"),
    ],
)
def test_whatever_is_changed_or_taken_out_shows(store: Store, statement: str, kind: str) -> None:
    _sealed(store, 3, 3, 3)
    tamper(store, statement)
    assert kind in _kinds(verify(store.url))


_PUT_IN = (
    "INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT %s, recorded, action, interaction, outcome, status,"
    " 'administrator', client, person, unit, organisations, teams, via, reason, token, address, request_id, tried,"
    " query, about, versions, patients FROM audit_event WHERE id = %s"
)


def test_another_event_in_the_place_of_one_shows(store: Store) -> None:
    _sealed(store, 3, 3)
    tamper(store, "DELETE FROM audit_event WHERE id = 2")
    tamper(store, _PUT_IN, 2, 3)
    assert _kinds(verify(store.url)) == ["changed"]


def test_an_event_with_an_id_that_nobody_had_used_shows(store: Store) -> None:
    now = datetime.now(UTC)
    seals = Seals(store.url)
    with psycopg.connect(store.url) as connection:
        connection.execute("SELECT nextval('audit_event_id_seq')")
    for minutes in range(2):
        _write(store)
        seals.seal(now + timedelta(minutes=2 * minutes))
    tamper(store, _PUT_IN, 1, 3)
    assert _kinds(verify(store.url)) == ["inserted"]


def test_what_was_never_sealed_is_told_once_it_should_have_been(store: Store) -> None:
    _sealed(store, 2)
    _write(store)
    assert (verify(store.url).findings, verify(store.url).waiting) == ((), 1)
    tamper(store, "UPDATE audit_event SET recorded = recorded - interval '2 minutes' WHERE id = 3")
    assert _kinds(verify(store.url)) == ["unsealed"]


def test_an_event_with_a_time_long_before_its_seal_is_counted(store: Store) -> None:
    _write(store, 2)
    tamper(store, "UPDATE audit_event SET recorded = recorded - interval '1 day' WHERE id = 2")
    Seals(store.url).seal()
    verdict = verify(store.url)
    assert (verdict.findings, verdict.late) == ((), 1)


def test_a_chain_that_was_cut_off_or_made_anew_does_not_lead_to_a_hash_that_was_noted(store: Store) -> None:
    head = _sealed(store, 3, 3).head.hex()
    assert verify(store.url, head.upper()).findings == ()
    tamper(store, "DELETE FROM audit_seal WHERE number = 2")
    tamper(store, "DELETE FROM audit_event WHERE id > 3")
    assert verify(store.url).findings == ()
    assert _kinds(verify(store.url, head)) == ["head"]
    tamper(store, "TRUNCATE audit_seal")
    Seals(store.url).seal()
    assert _kinds(verify(store.url, head)) == ["head"]
