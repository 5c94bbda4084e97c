"""Resources and referrals as the store's tests need them. Synthetic."""

from datetime import datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from fhir_mappings.records import Json
from service.store.query import SearchQuery, parse_query
from service.store.records import NewReferral

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=ZoneInfo("Europe/Stockholm"))
ORGANISATION = "SE2321000198-EX01"
HSA = "urn:oid:1.2.752.29.4.19"
PATIENT_KEY = "personnummer|199002222397"

_numbers = count(1)


def task(id_: str | None = None, **elements: Any) -> Json:
    """A referral's Task at the team of Gävle."""
    number = next(_numbers)
    return {
        "resourceType": "Task",
        "id": id_ or f"task-{number}",
        "identifier": [{"system": "https://sluss.example/fhir/identifier/task", "value": f"T-{number}"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
        "focus": {"reference": "ServiceRequest/sr-1"},
        "for": {"reference": "Patient/p-1"},
        "requester": {"reference": "Organization/o-1"},
        "owner": {"reference": "HealthcareService/gavle"},
        "authoredOn": "2026-11-23T09:30:00+01:00",
        **elements,
    }


def communication(id_: str | None = None, **elements: Any) -> Json:
    """A completed message to the referring organisation."""
    number = next(_numbers)
    return {
        "resourceType": "Communication",
        "id": id_ or f"communication-{number}",
        "status": "completed",
        "subject": {"reference": "Patient/p-1"},
        "sender": {"reference": "HealthcareService/gavle"},
        "recipient": [
            {"reference": "Organization/o-1", "identifier": {"system": HSA, "value": ORGANISATION}},
        ],
        "sent": "2026-11-23T09:30:00+01:00",
        "payload": [{"contentString": "Remissen är mottagen."}],
        **elements,
    }


def service_request(id_: str = "sr-1", **elements: Any) -> Json:
    """A referral to the depression programme."""
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "identifier": [{"system": "https://ehr.example/referrals", "value": "PMO-2026-000123"}],
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p-1"},
        "authoredOn": "2026-11-23",
        **elements,
    }


def patient(id_: str = "p-1", **elements: Any) -> Json:
    """The test identity."""
    identifier = {"system": "http://electronichealth.se/identifier/personnummer", "value": "199002222397"}
    return {
        "resourceType": "Patient",
        "id": id_,
        "identifier": [identifier],
        "name": [{"family": "Testsson", "given": ["Test"]}],
        "birthDate": "1990-02-22",
        **elements,
    }


def referral(id_: str = "r-1", **fields: Any) -> NewReferral:
    """A new referral's row."""
    values: dict[str, Any] = {
        "organisation": ORGANISATION,
        "placer_system": "https://ehr.example/referrals",
        "placer_value": f"PMO-{id_}",
        "fingerprint": "f" * 64,
        "patient_key": PATIENT_KEY,
        "created_at": NOW,
        "programme": "depression",
        "service_request": "sr-1",
    }
    return NewReferral(id_, **(values | fields))


def query(type_: str, *parameters: tuple[str, str]) -> SearchQuery:
    """A query that is known to be well written."""
    parsed = parse_query(type_, parameters, strict=True)
    assert isinstance(parsed, SearchQuery), parsed
    return parsed
