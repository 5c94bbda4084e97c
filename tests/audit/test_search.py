"""`/fhir/AuditEvent`: what an administrator finds in the record."""

import os
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from fhir_mappings.audit_event import Recorded
from fhir_mappings.r4 import validate
from service.store.audit import COLUMNS
from service.store.audit_records import Act, Agent, AuditEvent
from service.store.audit_seals import FIRST, Seals, digest_of, hash_of
from service.store.audit_search import OF_PATIENT
from service.store.audit_verify import verify
from service.store.database import Store
from service.store.records import Write
from tests.audit.conftest import Events
from tests.audit.tampering import tamper
from tests.store.revisions import upgrade_to
from tests.web.caller import UNIT, Sluss, content, issues
from tests.web.served import new_database

PERSON, OTHER = "SE2321000198-P001", "SE2321000198-P002"
LONG_AGO, MUCH_LATER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
HSA = "urn:oid:1.2.752.29.4.19"


@pytest.fixture
def recorded(store: Store, sluss: Sluss) -> None:
    """Five events, a minute apart, of a record that is otherwise empty."""
    tamper(store, "TRUNCATE audit_event RESTART IDENTITY")
    gavle = Agent("therapist", "klient", PERSON, UNIT, teams=("gavle",), request_id="r-1", address="192.0.2.7")
    other = Agent("referrer", None, OTHER, organisations=("SE2321000198-EX02",))
    store.audit.record(AuditEvent(Act(gavle, "read", "R"), 0, 200, ("Task/1/_history/2",), ("Patient/1",)))
    store.audit.record(AuditEvent(Act(gavle, "search-type", "E", query="a=b"), 0, 200, (), ("Patient/1", "Patient/2")))
    store.audit.record(AuditEvent(Act(other, "update", "U"), 0, 200, ("Task/2/_history/3", "CarePlan/2/_history/1")))
    store.audit.record(AuditEvent(Act(other, "read", "R", "GET /fhir/Task/1"), 4, 404, ("Task/1",)))
    store.audit.record(AuditEvent(Act(other, "operation", "E"), 0, 200, (), ("personnummer|199002222397",)))
    tamper(store, "UPDATE audit_event SET recorded = '2026-11-23T10:00:00Z'::timestamptz + id * interval '1 minute'")


def found(sluss: Sluss, query: str) -> list[str]:
    return sorted(event["id"] for event in sluss.search(f"AuditEvent?_lastUpdated=lt2026-11-23T11:00:00Z&{query}"))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", "12345"),
        ("_id=2,4", "24"),
        ("_id=02,x", ""),
        ("_lastUpdated=lt2026-11-23T10:02:00Z,gt2026-11-23T10:04:00Z", "15"),
        ("date=2026-11-23", "12345"),
        ("date=2026-11-23T10:02Z", "2"),
        ("date=ge2026-11-23T10:02:00Z&date=lt2026-11-23T10:04:00Z", "23"),
        ("date=gt2026-11-23T10:04:00Z", "5"),
        ("date=ne2026-11-23T10:04Z", "1235"),
        ("patient=Patient/1", "12"),
        ("patient=2", "2"),
        ("patient=Patient/1,Patient/2", "12"),
        ("patient:identifier=http://electronichealth.se/identifier/personnummer|199002222397", "5"),
        ("patient:identifier=199002222397", "5"),
        ("patient:identifier=https://other.example|199002222397", ""),
        ("patient:missing=true", "34"),
        ("entity=Task/1", "14"),
        ("entity=CarePlan/2", "3"),
        ("entity=Patient/2", "2"),
        ("entity:identifier=r-1", "12"),
        (f"agent:identifier={HSA}|{PERSON}", "12"),
        (f"agent:identifier={HSA}|{UNIT}", "12"),
        ("agent:identifier=SE2321000198-EX02", "345"),
        ("agent:identifier=klient", "12"),
        (f"agent:identifier=https://other.example|{PERSON}", ""),
        ("agent:identifier=https://sluss.example/fhir/identifier/device|sluss", "12345"),
        ("agent=Practitioner/1", ""),
        ("action=R", "14"),
        ("action:not=R", "235"),
        ("action=http://hl7.org/fhir/audit-event-action|U,E", "235"),
        ("outcome=4", "4"),
        ("outcome=0&action=R", "1"),
        ("_tag=a", ""),
        ("type=rest", "12345"),
        ("type=http://terminology.hl7.org/CodeSystem/audit-event-type|rest", "12345"),
        ("type=https://other.example|rest", ""),
        ("type:not=rest", ""),
        ("subtype=read", "14"),
        ("subtype=http://hl7.org/fhir/restful-interaction|update,operation", "35"),
        ("subtype:not=read", "235"),
        ("subtype:missing=true", ""),
        ("entity-type=2", "1234"),
        ("entity-type=4", "3"),
        ("entity-type=XrequestId", "12"),
        ("entity-type:not=1", "34"),
        ("entity-role=24", "2"),
        ("entity-role=http://terminology.hl7.org/CodeSystem/object-role|4", "134"),
        ("address=192.0", "12"),
        ("address:exact=192.0.2.7", "12"),
        ("address:contains=SLUSS.EXAMPLE", "12345"),
        ("policy:missing=true", "12345"),
        ("source:identifier=sluss", "12345"),
        ("source:identifier=https://other.example/identifier/device|sluss", ""),
        ("agent:identifier=https://other.example/identifier/device|sluss", ""),
        ("source=Device/1", ""),
        ("_tag:missing=true", "12345"),
    ],
)
def test_events_are_found_by(sluss: Sluss, recorded: None, query: str, ids: str) -> None:
    assert "".join(found(sluss, query)) == ids


@pytest.mark.parametrize("sort", ["date", "-date", "_lastUpdated", "-_lastUpdated", "_id", "-_id", "action,-date"])
def test_pages_follow_each_other_in_the_order_that_is_asked_for(sluss: Sluss, recorded: None, sort: str) -> None:
    before = "AuditEvent?_lastUpdated=lt2026-11-23T11:00:00Z"
    whole = [event["id"] for event in sluss.search(f"{before}&_sort={sort}")]
    paged: list[str] = []
    path: str | None = f"/fhir/{before}&_sort={sort}&_count=2"
    while path:
        page = content(sluss.get(path))
        paged += [entry["resource"]["id"] for entry in page.get("entry", [])]
        path = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert paged == whole
    assert len(whole) == 5


def test_what_is_done_by_no_request_is_found_by_what_it_is(store: Store, sluss: Sluss, recorded: None) -> None:
    for interaction in ("delivery", "notification", "collection", "administration"):
        store.audit.record(AuditEvent(Act(Agent("sluss", token="a b"), interaction, "E")))
    store.audit.record(AuditEvent(Act(Agent("referrer", token="c"), "transaction", "C")))

    def found(query: str) -> list[str]:
        return [event["id"] for event in sluss.search(f"AuditEvent?_id=6,7,8,9,10&_sort=_lastUpdated&{query}")]

    assert found("type=110106") == ["6", "7"]
    assert found("type=http://dicom.nema.org/resources/ontology/DCM|110107,rest") == ["8", "10"]
    assert found("type:not=110106") == ["8", "9", "10"]
    assert found("type=http://dicom.nema.org/resources/ontology/DCM|") == ["6", "7", "8", "9"]
    assert found("subtype=create") == found("subtype=transaction") == ["10"]
    assert found("subtype=http://hl7.org/fhir/restful-interaction|") == ["10"]
    assert found("subtype=110131") == ["9"]
    assert found("subtype=delivery") == []
    assert found("subtype:missing=true") == ["6", "7", "8"]
    assert found("entity-type:missing=false") == []
    assert found("policy=a%2520b") == ["6", "7", "8", "9"]
    assert found("policy=a%20b") == []
    assert found("policy=c") == ["10"]


def test_a_stored_patient_is_found_by_an_identifier_of_theirs(store: Store, sluss: Sluss, recorded: None) -> None:
    system, value = "http://electronichealth.se/identifier/personnummer", "199002222397"
    with store.change() as change:
        change.write(
            [Write({"resourceType": "Patient", "id": "1", "identifier": [{"system": system, "value": value}]})]
        )
    assert found(sluss, f"patient.identifier={system}|{value}") == ["1", "2"]
    assert found(sluss, f"patient:Patient.identifier=nobodys,{value}&action=R") == ["1"]
    assert found(sluss, "patient.identifier=nobodys") == []


def test_how_many_there_are_is_told_when_it_is_asked_for(sluss: Sluss, recorded: None) -> None:
    before = "/fhir/AuditEvent?_lastUpdated=lt2026-11-23T11:00:00Z"
    assert content(sluss.get(f"{before}&_count=0"))["total"] == 5
    page = content(sluss.get(f"{before}&_count=2&_total=accurate"))
    assert (page["total"], len(page["entry"])) == (5, 2)


def test_each_is_r4_and_read_as_it_is_found(sluss: Sluss, recorded: None) -> None:
    for event in sluss.search("AuditEvent?_lastUpdated=lt2026-11-23T11:00:00Z"):
        assert validate(event) == []
        assert sluss.read(f"AuditEvent/{event['id']}") == event
    for nothing in ("0", "99999", "x", "01", "9" * 30):
        assert sluss.get(f"/fhir/AuditEvent/{nothing}").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "_include=AuditEvent:patient",
        "patient.name=Test",
        "patient.identifier:not=1",
        "patient.identifier:missing=true",
        "entity.identifier=1",
        "patient._lastUpdated=2026",
        "date=yesterday",
        "_sort=patient",
        "_sort=-date,subtype",
        "action:exact=R",
        "_page=WyIyMDI2LTExLTIzVDEwOjAwOjAwWiIsIngiXQ",
    ],
)
def test_what_it_cannot_do_is_refused(sluss: Sluss, recorded: None, query: str) -> None:
    assert issues(sluss.get(f"/fhir/AuditEvent?{query}"))
    assert sluss.get(f"/fhir/AuditEvent?{query}").status_code == 400


@pytest.mark.parametrize("caller", ["therapist gavle", "therapist samordning", f"referrer {UNIT}", "platform"])
def test_nobody_but_administrators_looks_at_it(sluss: Sluss, recorded: None, caller: str) -> None:
    answers = [sluss.acting(caller).get(f"/fhir/AuditEvent{path}") for path in ("", "/1", "/99999", "?_id=1")]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.get_data() for answer in answers}) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nobody_writes_it(sluss: Sluss, recorded: None, method: str) -> None:
    path = "/fhir/AuditEvent" if method == "POST" else "/fhir/AuditEvent/1"
    assert sluss.call(method, path, {"resourceType": "AuditEvent"}).status_code == 405


def test_a_look_at_the_record_is_in_the_record(sluss: Sluss, recorded: None, events: Events) -> None:
    events()
    sluss.search("AuditEvent?patient=Patient/1")
    sluss.read("AuditEvent/1")
    search, read = events()
    assert (search.interaction, search.role, search.query) == ("search-type", "administrator", "patient=Patient/1")
    assert (read.interaction, list(read.about)) == ("read", ["AuditEvent/1"])


def test_a_patient_is_found_through_seals_and_what_has_none_yet_too(store: Store, recorded: None) -> None:
    tamper(
        store,
        "INSERT INTO audit_event (action, interaction, outcome, role, organisations, teams, about, versions, patients)"
        " SELECT 'R', 'read', 0, 'sluss', '{}', '{}', '{}', '{}', ARRAY['Patient/x' || n %% 10000]"
        " FROM generate_series(1, 20000) AS n",
    )
    found = store.audit_view.of_patient("Patient/x7", LONG_AGO, MUCH_LATER)
    assert len(found) == 2
    seals = Seals(store.url)
    assert seals.seal() > 20000
    assert store.audit_view.of_patient("Patient/x7", LONG_AGO, MUCH_LATER) == found
    store.audit.record(AuditEvent(Act(Agent("sluss"), "read", "R"), patients=("Patient/x7",)))
    *before, newest = store.audit_view.of_patient("Patient/x7", LONG_AGO, MUCH_LATER)
    assert (before, newest.interaction) == (found, "read")
    seals.close()


def test_the_whole_record_is_not_read_for_one_patient(store: Store, recorded: None) -> None:
    tamper(
        store,
        "INSERT INTO audit_event (action, interaction, outcome, role, organisations, teams, about, versions, patients)"
        " SELECT 'R', 'read', 0, 'sluss', '{}', '{}', '{}', '{}', ARRAY['Patient/x' || n %% 10000]"
        " FROM generate_series(1, 50000) AS n",
    )
    tamper(
        store,
        "INSERT INTO audit_seal (number, at, before, hash, ids, digests, about, settled)"
        " SELECT id / 10, now(), '', '', array_agg(id), '{}', array_agg(DISTINCT patients[1]),"
        "        int8multirange(int8range(0, max(id) + 1))"
        " FROM audit_event WHERE id > 5 GROUP BY id / 10",
    )
    tamper(store, "ANALYZE audit_event, audit_seal")
    values = {"patients": ["Patient/x7"], "since": LONG_AGO, "until": MUCH_LATER}
    with psycopg.connect(store.url) as connection:
        plan = str(connection.execute(f"EXPLAIN {OF_PATIENT}".encode(), values).fetchall())
    assert "audit_seal_by_about" in plan, plan
    assert "Seq Scan on audit_event" not in plan, plan


def test_what_was_sealed_before_seals_told_whom_it_is_about_is_found(server_url: str) -> None:
    url = new_database(server_url, f"before_about_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    upgrade_to(url, "0013")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO audit_event (action, interaction, outcome, role, organisations, teams, about, versions,"
            " patients) SELECT 'R', 'read', 0, 'sluss', '{}', '{}', ARRAY['Task/å', 'Task/' || n], '{0,0}',"
            " ARRAY['Patient/' || n, 'Patient/1'] FROM generate_series(1, 3) AS n"
        )
        events = [Recorded(*row) for row in connection.execute(f"SELECT {COLUMNS} FROM audit_event ORDER BY id")]  # noqa: S608
        seal: dict[str, Any] = {
            "number": 1,
            "at": LONG_AGO,
            "before": FIRST,
            "ids": [1, 2, 3],
            "digests": list(map(digest_of, events)),
        }
        connection.execute(
            "INSERT INTO audit_seal (number, at, before, hash, ids, digests, settled)"
            " VALUES (%(number)s, %(at)s, %(before)s, %(hash)s, %(ids)s, %(digests)s, '{[0,4)}')",
            {**seal, "hash": hash_of(**seal)},
        )
    upgrade_to(url, "head")
    store = Store(url)
    assert store.audit_view.of_patient("Patient/2", LONG_AGO, MUCH_LATER) == [events[1]]
    assert store.audit_view.of_patient("Patient/1", LONG_AGO, MUCH_LATER) == events
    store.close()
    assert verify(url).findings == ()
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE audit_seal SET about = '{}'")
