"""Which team gets the referral, and how the start call comes about (contract 5)."""

from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import BOOKING_UNIT, OTHER_UNIT, PATIENT, STRANGER, UNIT, located, referral
from tests.journeys.steps import findings_of, messages, notes_of, refer, route_of, task_of, text_of

BOOKED = "urn:uuid:10000000-0000-4000-8000-0000000000a1"


def appointment(**changes: Any) -> Json:
    """A start call that the referrer has booked, or wishes."""
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2026-12-01T09:00:00+01:00",
        "end": "2026-12-01T09:30:00+01:00",
        "participant": [{"actor": {"reference": PATIENT}, "status": "accepted"}],
        **changes,
    }


def sent(unit: str, requester_city: str | None = None, patient_city: str | None = None) -> Json:
    body = referral(unit=unit)
    body["entry"][0]["resource"]["address"] = [{"city": patient_city}] if patient_city else []
    if not patient_city:
        del body["entry"][0]["resource"]["address"]
    if requester_city:
        body["entry"][1]["resource"]["address"] = [{"city": requester_city}]
    return body


@pytest.mark.parametrize(
    ("unit", "team"),
    [
        (UNIT, "gavle"),
        (OTHER_UNIT, "vastra-gastrikland"),
        ("SE2321000198-EX04", "norra-halsingland"),
        ("SE2321000198-EX05", "sodra-halsingland"),
    ],
)
def test_a_unit_in_the_directory_goes_before_every_municipality(service: Service, unit: str, team: str) -> None:
    task = task_of(service, refer(service, sent(unit, "Ljusdal", "Bollnäs"), unit))
    assert (route_of(task), task["owner"]["reference"]) == ("unit-directory", f"HealthcareService/{team}")


def test_then_the_requesters_municipality(service: Service) -> None:
    task = task_of(service, refer(service, sent(STRANGER, "Ljusdal", "Bollnäs"), STRANGER))
    assert (route_of(task), task["owner"]["reference"]) == (
        "requester-municipality",
        "HealthcareService/norra-halsingland",
    )


@pytest.mark.parametrize("requester_city", [None, "Stockholm"])
def test_then_the_patients_municipality(service: Service, requester_city: str | None) -> None:
    task = task_of(service, refer(service, sent(STRANGER, requester_city, "Bollnäs"), STRANGER))
    assert (route_of(task), task["owner"]["reference"]) == (
        "patient-municipality",
        "HealthcareService/sodra-halsingland",
    )


def test_else_nobody_guesses_and_coordination_must_say(service: Service) -> None:
    task = task_of(service, refer(service, sent(STRANGER), STRANGER))
    assert route_of(task) == "needs-routing"
    assert task["owner"]["reference"] == f"HealthcareService/{service.house.pack.coordination}"
    assert task["businessStatus"]["coding"][0]["code"] == "needs-routing"


def test_a_person_reroutes_by_changing_the_owner(service: Service) -> None:
    received = refer(service, sent(STRANGER), STRANGER)
    task = task_of(service, received)
    coordination = service.therapist(service.house.pack.coordination)
    answer = coordination.put(
        f"Task/{task['id']}", {**task, "owner": {"reference": "HealthcareService/norra-halsingland"}}
    )
    assert answer.status_code == 200, answer.text
    after = task_of(service, received)
    assert after["owner"] == {"reference": "HealthcareService/norra-halsingland"}
    assert "businessStatus" not in after
    assert len(messages(service, received, "rerouted")) == 1


# ------------------------------------------------------------ the start call


def test_a_start_call_booked_by_who_may_book_stands(service: Service) -> None:
    answer = service.referrer(BOOKING_UNIT).post("/fhir", referral(unit=BOOKING_UNIT, extra=((BOOKED, appointment()),)))
    assert answer.status_code == 200, answer.text
    booked = service.administrator.read(located(answer.json()["entry"][5]))
    assert (booked["status"], booked["meta"]["versionId"]) == ("booked", "1")
    received = located(answer.json()["entry"][-1])
    assert findings_of(task_of(service, received)) == []
    assert "2026-12-01 kl. 09:00" in notes_of(task_of(service, received))
    assert answer.headers["Sluss-Verdict"] == "eligible"


def test_an_unbooked_start_call_of_who_may_book_is_advice_and_the_therapist_phones(service: Service) -> None:
    received = refer(service, referral(unit=BOOKING_UNIT), BOOKING_UNIT)
    assert findings_of(task_of(service, received)) == ["start-call-not-booked"]
    assert task_of(service, received)["status"] == "requested"
    assert "ringer" in text_of(messages(service, received)[0])


def test_from_who_may_not_book_the_appointment_is_kept_as_sent_then_cancelled_and_the_wish_noted(
    service: Service,
) -> None:
    answer = service.referrer().post("/fhir", referral(extra=((BOOKED, appointment()),)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Verdict"] == "eligible"
    reference = located(answer.json()["entry"][5])
    first = service.administrator.read(f"{reference}/_history/1")
    assert (first["status"], first["start"]) == ("booked", "2026-12-01T09:00:00+01:00")
    second = service.administrator.read(reference)
    assert (second["status"], second["meta"]["versionId"]) == ("cancelled", "2")
    received = located(answer.json()["entry"][-1])
    task = task_of(service, received)
    assert findings_of(task) == ["start-call-not-bookable"]
    assert "önskade startsamtal 2026-12-01 kl. 09:00" in notes_of(task)
    assert service.administrator.read(received)["meta"]["versionId"] == "1"


def test_a_repeat_with_an_appointment_points_at_it_as_it_stands(service: Service) -> None:
    body = referral(extra=((BOOKED, appointment()),))
    first = service.referrer().post("/fhir", body).json()
    again = service.referrer().post("/fhir", body).json()
    assert [located(e) for e in again["entry"]] == [located(e) for e in first["entry"]]
    assert again["entry"][5]["response"]["etag"] == 'W/"2"'


def test_an_amendment_after_an_unbooked_wish_says_nothing_twice(service: Service) -> None:
    received = refer(service, referral(extra=((BOOKED, appointment()),)))
    order = service.referrer().read(received)
    assert service.referrer().put(received, {**order, "note": [{"text": "x"}]}).status_code == 200
    assert notes_of(task_of(service, received)).count("önskade startsamtal") == 1
    (kept,) = service.all_of(received, "Appointment")
    assert kept["meta"]["versionId"] == "2"
