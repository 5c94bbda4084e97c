"""A referral whose requester is a Practitioner, amended by sending the stored order back (contract 3)."""

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import (
    FORM,
    HSA,
    ORDER,
    ORGANISATION,
    PATIENT,
    ROLE,
    UNIT,
    bundle,
    form,
    order,
    organisation,
    patient,
)
from tests.journeys.steps import refer, task_of, tasks_of

PRACTITIONER = "urn:uuid:10000000-0000-4000-8000-000000000021"


def written_by(practitioner: Json, role: Json) -> Json:
    """A referral to the stress programme that a person has signed."""
    return bundle(
        (PATIENT, patient()),
        (ORGANISATION, organisation()),
        (PRACTITIONER, practitioner),
        (ROLE, role),
        (FORM, form()),
        (
            ORDER,
            order("R-1", "stress", requester={"reference": PRACTITIONER}, supportingInfo=[{"reference": FORM}]),
        ),
    )


def hsa(value: str) -> list[Json]:
    return [{"system": HSA, "value": value}]


SENDERS: dict[str, tuple[Json, Json]] = {
    "with HSA-ids": (
        {"resourceType": "Practitioner", "identifier": hsa(f"{UNIT}P1")},
        {
            "resourceType": "PractitionerRole",
            "identifier": hsa(f"{UNIT}R1"),
            "practitioner": {"reference": PRACTITIONER},
            "organization": {"reference": ORGANISATION},
        },
    ),
    "without": (
        {"resourceType": "Practitioner", "name": [{"text": "Kim Exempel"}]},
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": PRACTITIONER},
            "organization": {"reference": ORGANISATION},
        },
    ),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_the_order_can_be_sent_back_without_its_role(service: Service, sender: str) -> None:
    received = refer(service, written_by(*SENDERS[sender]))
    requester = task_of(service, received)["requester"]
    roles = service.count("PractitionerRole")
    current = service.referrer().read(received)
    assert current["requester"]["reference"].startswith("Practitioner/")
    answer = service.referrer().put(received, {**current, "note": [{"text": "Nås bäst efter 15"}]})
    assert (answer.status_code, answer.headers.get("Sluss-Verdict")) == (200, "eligible"), answer.text
    assert task_of(service, received)["requester"] == requester
    assert service.count("PractitionerRole") == roles


@pytest.mark.parametrize("sender", SENDERS)
def test_the_order_can_be_withdrawn_without_its_role(service: Service, sender: str) -> None:
    received = refer(service, written_by(*SENDERS[sender]))
    current = service.referrer().read(received)
    answer = service.referrer().put(received, {**current, "status": "revoked"})
    assert answer.status_code == 200, answer.text
    assert [task["status"] for task in tasks_of(service, received, "fulfill")] == ["cancelled"]


def test_another_person_is_not_joined_by_the_stored_role(service: Service) -> None:
    received = refer(service, written_by(*SENDERS["with HSA-ids"]))
    current = service.referrer().read(received)
    stranger = {"resourceType": "Practitioner", "id": "p", "identifier": hsa(f"{UNIT}P2")}
    changed = {**current, "contained": [stranger], "requester": {"reference": "#p"}}
    answer = service.referrer().put(received, changed)
    assert answer.status_code == 422
    assert [issue["expression"] for issue in answer.json()["issue"]] == [["ServiceRequest.requester"]]
