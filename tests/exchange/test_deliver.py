"""Deliveries to a real server over HTTP, from a real database."""

from collections.abc import Callable
from decimal import Decimal

from fhir_mappings.records import Json
from service.exchange.deliver import Result, State
from service.store.dead_letters import DeadLetters, Decision
from service.store.exchange_state import Copy
from tests.audit.looked_up import recorded
from tests.exchange.conftest import CANONICAL, Clock, House
from tests.store.examples import communication, patient

KEY = CANONICAL.resource_key
Asked = Callable[[], list[str]]


def by_key(shown: list[Json], reference: str) -> Json:
    (one,) = [r for r in shown if {"system": KEY, "value": reference} in r.get("identifier", ())]
    return one


def test_a_referral_arrives_whole_and_each_part_points_at_the_others(house: House) -> None:
    house.receive()
    assert house.deliver() == Result(State.DELIVERED)
    request, task = (
        by_key(house.shown("ServiceRequest"), "ServiceRequest/sr-1"),
        by_key(house.shown("Task"), "Task/t-1"),
    )
    (person,), (message,), (answers,) = (house.shown(t) for t in ("Patient", "Communication", "QuestionnaireResponse"))
    role, team = house.shown("PractitionerRole")[0], house.shown("HealthcareService")[0]
    unit = by_key(house.shown("Organization"), "Organization/o-1")
    seat = by_key(house.shown("Organization"), "Organization/seat")
    assert request["subject"] == {"reference": f"Patient/{person['id']}"}
    assert request["requester"] == {"reference": f"PractitionerRole/{role['id']}"}
    assert request["supportingInfo"] == [{"reference": f"QuestionnaireResponse/{answers['id']}"}]
    assert task["focus"] == {"reference": f"ServiceRequest/{request['id']}"}
    assert task["owner"] == {"reference": f"HealthcareService/{team['id']}"}
    assert message["partOf"] == [{"reference": f"Task/{task['id']}"}]
    assert message["recipient"][0]["reference"] == f"Organization/{unit['id']}"
    assert role["organization"] == {"reference": f"Organization/{unit['id']}"}
    assert team["providedBy"] == {"reference": f"Organization/{seat['id']}"}
    assert answers["meta"]["tag"] == [{"system": KEY, "code": "QuestionnaireResponse/q-1"}]
    assert task["id"] != "t-1"


def test_what_was_shown_to_the_server_is_in_the_record_once(house: House) -> None:
    house.receive()
    house.deliver()
    house.deliver()
    (event,) = recorded(house.store, "delivery")
    assert (event.role, event.action, event.outcome, len(event.patients)) == ("sluss", "E", 0, 1)


def test_delivering_again_asks_nothing_of_the_server(house: House, asked: Asked) -> None:
    house.receive()
    house.deliver()
    asked()
    assert house.deliver() == Result(State.NOTHING_TO_DO)
    assert asked() == []


def test_only_what_differs_is_sent_with_the_version_that_we_know(house: House, asked: Asked) -> None:
    house.receive()
    house.deliver()
    asked()
    house.change("Task", "t-1", status="accepted")
    house.write(communication("c-2", basedOn=[{"reference": "ServiceRequest/sr-1"}]), of="r-1")
    assert house.deliver() == Result(State.DELIVERED)
    assert asked() == ["POST /fhir"]
    (task,) = house.shown("Task")
    assert (task["status"], task["meta"]["versionId"]) == ("accepted", "2")
    assert house.shown("ServiceRequest")[0]["meta"]["versionId"] == "1"
    assert len(house.shown("Communication")) == 2
    assert house.copy("Task/t-1") == Copy(house.copy("Task/t-1").reference, task["id"], "2", 2)


def test_an_amended_referral_is_put_and_only_over_the_version_that_we_know(house: House) -> None:
    house.receive()
    house.deliver()
    house.change("ServiceRequest", "sr-1", priority="urgent")
    house.deliver()
    (request,) = house.shown("ServiceRequest")
    assert (request["priority"], request["meta"]["versionId"]) == ("urgent", "2")


def test_contained_and_logical_parties_are_pointed_at_the_delivered_ones(house: House) -> None:
    identified = {"system": "http://electronichealth.se/identifier/personnummer", "value": "199002222397"}
    house.receive(
        subject={"reference": "#pat"},
        requester={"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000198-EX01"}},
        contained=[{"resourceType": "Patient", "id": "pat", "identifier": [identified]}],
    )
    assert house.deliver().state is State.DELIVERED
    (request,) = house.shown("ServiceRequest")
    assert request["subject"] == {"reference": f"Patient/{house.shown('Patient')[0]['id']}"}
    assert request["requester"]["reference"] == f"PractitionerRole/{house.shown('PractitionerRole')[0]['id']}"
    assert "contained" not in request
    stored = house.store.view().get("ServiceRequest", "sr-1")
    assert stored is not None
    assert stored.content["subject"] == {"reference": "#pat"}, "what was sent stays as it was sent"


def test_decimals_arrive_with_their_digits(house: House) -> None:
    house.receive(quantityQuantity={"value": Decimal("1.00")})
    house.deliver()
    assert str(house.shown("ServiceRequest")[0]["quantityQuantity"]["value"]) == "1.00"


def test_a_referral_that_does_not_exist_is_not_delivered(house: House, asked: Asked) -> None:
    assert house.deliver("nobody") == Result(State.UNKNOWN)
    assert asked() == []


# ---------------------------------------------------------------- patients


def test_a_patient_who_is_there_is_referred_to_and_never_written(house: House) -> None:
    theirs = {**patient("x", name=[{"family": "Annan", "given": ["Skrivning"]}])}
    theirs.pop("id")
    _, known = house.memory.create(theirs)
    house.receive()
    house.deliver()
    house.change("Patient", "p-1", of=None, birthDate="1990-02-23")
    house.change("Task", "t-1", status="received")
    house.deliver()
    assert house.shown("Patient") == [known]
    assert house.shown("Task")[0]["for"] == {"reference": f"Patient/{known['id']}"}


def test_a_patient_is_looked_up_in_the_body_of_a_search_and_no_identifier_is_in_any_url(
    house: House, asked: Asked
) -> None:
    house.receive()
    house.deliver()
    lines = asked()
    assert "POST /fhir/Patient/_search" in lines
    assert "1990" not in "".join(lines)


def test_two_units_patients_who_are_one_person_become_one_patient_there(house: House) -> None:
    house.receive("1", "p-1")
    house.receive("2", "p-2")
    house.deliver("r-1")
    house.deliver("r-2")
    (person,) = house.shown("Patient")
    assert {task["for"]["reference"] for task in house.shown("Task")} == {f"Patient/{person['id']}"}


def test_a_patient_whom_that_server_has_twice_is_a_case_for_a_person(house: House) -> None:
    for _ in range(2):
        house.memory.create({n: v for n, v in patient().items() if n != "id"})
    house.receive()
    assert house.deliver() == Result(State.DEAD, "multiple-matches")
    assert house.shown("Task") == []
    assert len(house.shown("Patient")) == 2


def test_a_dead_letter_that_a_person_has_seen_to_is_delivered(
    house: House, clock: Clock, dead_letters: DeadLetters
) -> None:
    doubles = [house.memory.create({n: v for n, v in patient().items() if n != "id"})[1] for _ in range(2)]
    house.receive()
    house.deliver()
    del house.memory.versions["Patient", doubles[1]["id"]]
    assert house.deliver().state is State.DEAD, "it waits for the person, not for another change"
    seen_to = Decision("operator test", None, {}, clock())
    assert dead_letters.replay(["r-1"], seen_to) == ["r-1"]
    assert house.deliver() == Result(State.DELIVERED)
    assert dead_letters.replay(["r-1"], seen_to) == []
