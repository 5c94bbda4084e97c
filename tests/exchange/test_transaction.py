"""The Bundle of one delivery and what its answer tells."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.transaction import Receipt, found_copy, leading_to, receipts, to_transaction
from service.exchange.translate import Peers
from service.store.exchange_state import Copy
from service.store.records import Stored

CANONICAL = Canonical("https://sluss.example/fhir")
THERE = "https://fhir.example/r4"
TASK = Reference("Task/t1")


def stored(resource: Json, version: int = 1) -> Stored:
    return Stored(
        resource["resourceType"], resource["id"], version, datetime(2026, 11, 23, tzinfo=UTC), json.dumps(resource)
    )


PATIENT = stored(
    {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "http://electronichealth.se/identifier/personnummer", "value": "199002222397"}],
    }
)
CHANGED = stored({"resourceType": "Task", "id": "t1", "status": "requested", "for": {"reference": "Patient/p1"}}, 4)


def bundle(copies: dict[Reference, Copy], patients: tuple[Stored, ...] = ()) -> Json:
    peers = Peers(CANONICAL, leading_to(copies, (*patients, CHANGED), CANONICAL))
    return to_transaction((CHANGED,), patients, copies, peers, THERE)


def test_what_has_no_copy_is_created_unless_our_key_is_there() -> None:
    (entry,) = bundle({Reference("Patient/p1"): Copy(Reference("Patient/p1"), "90")})["entry"]
    assert entry["request"]["method"] == "POST"
    assert parse_qsl(entry["request"]["ifNoneExist"]) == [("identifier", f"{CANONICAL.resource_key}|Task/t1")]
    assert entry["fullUrl"].startswith("urn:uuid:")
    assert entry["resource"]["for"] == {"reference": "Patient/90"}


def test_what_has_a_copy_is_updated_under_its_id_there_and_only_the_version_we_know() -> None:
    (entry,) = bundle({TASK: Copy(TASK, "55", "7", 3)})["entry"]
    assert entry["request"] == {"method": "PUT", "url": "Task/55", "ifMatch": 'W/"7"'}
    assert entry["resource"]["id"] == "55"
    assert entry["fullUrl"] == f"{THERE}/Task/55"


def test_a_new_patient_comes_first_and_only_if_nobody_there_has_the_identifier() -> None:
    patient, task = bundle({}, (PATIENT,))["entry"]
    assert patient["request"]["method"] == "POST"
    ((name, value),) = parse_qsl(patient["request"]["ifNoneExist"])
    assert (name, value.split(",")[0]) == (
        "identifier",
        "http://electronichealth.se/identifier/personnummer|199002222397",
    )
    assert task["resource"]["for"] == {"reference": patient["fullUrl"]}


def told(copies: dict[Reference, Copy], **response: Any) -> Receipt:
    (receipt,) = receipts([CHANGED], copies, {"entry": [{"response": response}]})
    return receipt


@pytest.mark.parametrize(
    "location", ["Task/55/_history/1", f"{THERE}/Task/55/_history/1", "Task/55", "/Task/55/_history/1"]
)
def test_the_id_there_is_read_from_the_location_however_it_is_written(location: str) -> None:
    receipt = told({}, status="201 Created", location=location, etag='W/"1"')
    assert receipt == Receipt(TASK, Copy(TASK, "55", "1", 4))


def test_a_create_that_found_a_copy_does_not_tell_what_the_copy_says() -> None:
    assert told({}, status="200 OK", location="Task/55/_history/3") == Receipt(
        TASK, Copy(TASK, "55", "3", 0), existed=True
    )


def test_an_update_needs_no_location() -> None:
    known = {TASK: Copy(TASK, "55", "1", 3)}
    assert told(known, status="200", etag='W/"2"') == Receipt(TASK, Copy(TASK, "55", "2", 4))


@pytest.mark.parametrize(
    "response",
    [
        {"status": "201 Created"},
        {"status": "201 Created", "location": "Patient/55"},
        {"status": "201 Created", "location": "Task/a b"},
        {"status": "201 Created", "location": 5},
        {"status": "500", "location": "Task/55"},
        {},
    ],
)
def test_an_answer_that_does_not_tell_where_the_copy_is_makes_us_look(response: Json) -> None:
    assert told({}, **response).copy is None


def test_a_resource_without_a_usable_id_is_no_copy() -> None:
    assert found_copy(TASK, {"id": "a/b"}) is None
    assert found_copy(TASK, {"id": "7", "meta": {}}) == Copy(TASK, "7", None, 0)
