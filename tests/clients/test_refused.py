"""What clients offer and the service refuses on purpose: said so, and nothing has happened (docs/clients.md has the
reasons).
"""

import pytest
import requests
from fhirclient.models.task import Task
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from fhir_mappings.records import Json
from tests.clients.conftest import Acting, Plainly
from tests.clients.foreign import Foreign
from tests.clients.python import FhirClientPy, FhirPy
from tests.clients.roles import CLIENTS, Refused
from tests.journeys.conftest import Client as Plain
from tests.journeys.referrals import UNIT, S

pytestmark = pytest.mark.clients


def _unchanged(plain: Plain, task: Json) -> bool:
    return plain.read(f"Task/{task['id']}") == task


@pytest.mark.parametrize("name", ["fhir-kit-client", "medplum", "fhirclient.js", "hapi"])
def test_nothing_is_deleted(name: str, acting: Acting, plain: Plainly, task: Json) -> None:
    client = acting(name, "administrator")
    assert isinstance(client, Foreign)
    with pytest.raises(Refused) as refused:
        client.ask("remove", type="Task", id=task["id"])
    assert refused.value.issues[0]["code"] == "not-supported"
    assert _unchanged(plain(None), task)


def test_nothing_is_deleted_by_the_python_clients(acting: Acting, plain: Plainly, task: Json) -> None:
    fhirpy, fhirclient = acting("fhirpy", "administrator"), acting("fhirclient", "administrator")
    assert isinstance(fhirpy, FhirPy)
    with pytest.raises(OperationOutcome, match="not-supported"):
        fhirpy.client.delete("Task", task["id"])
    assert isinstance(fhirclient, FhirClientPy)
    with pytest.raises(requests.HTTPError, match="405"):
        Task.read(task["id"], fhirclient.server).delete(fhirclient.server)
    assert _unchanged(plain(None), task)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_patient_comes_with_a_referral_and_not_alone(name: str, acting: Acting) -> None:
    with pytest.raises(Refused) as refused:
        acting(name, f"referrer {UNIT}").create({"resourceType": "Patient", "name": [{"text": "Test Testsson"}]})
    assert refused.value.issues[0]["code"] == "not-supported"


def test_fhirpy_patches_by_merging_which_is_no_fhir(acting: Acting, plain: Plainly, task: Json) -> None:
    client = acting("fhirpy", "therapist gavle")
    assert isinstance(client, FhirPy)
    found = client.client.reference("Task", task["id"]).to_resource()
    with pytest.raises(OperationOutcome, match="not-supported"):
        found.patch(status="accepted")
    assert _unchanged(plain(None), task)


def test_fhirpy_puts_the_condition_of_a_create_into_the_address(acting: Acting, plain: Plainly, task: Json) -> None:
    client = acting("fhirpy", "therapist gavle")
    assert isinstance(client, FhirPy)
    message = client.client.resource(
        "Communication",
        identifier=[{"system": "https://ehr.example/message", "value": "1"}],
        status="completed",
        partOf=[{"reference": f"Task/{task['id']}"}],
        category=[{"coding": [{"system": f"{S}/CodeSystem/ikbt-message", "code": "information"}]}],
        payload=[{"contentString": "Hej"}],
    )
    with pytest.raises(OperationOutcome, match="If-None-Exist"):
        client.client.resources("Communication").search(identifier="https://ehr.example/message|1").get_or_create(
            message
        )
    assert plain(None).search("Communication", **{"part-of": f"Task/{task['id']}", "category": "information"}) == []


def test_fhirpy_asks_for_a_validation_that_is_not_offered(acting: Acting, task: Json) -> None:
    client = acting("fhirpy", "therapist gavle")
    assert isinstance(client, FhirPy)
    with pytest.raises(ResourceNotFound, match="not-supported"):
        client.client.reference("Task", task["id"]).to_resource().is_valid()


def test_fhirclient_writes_comparisons_as_they_were_before_fhir_had_versions(acting: Acting) -> None:
    client = acting("fhirclient", "therapist gavle")
    assert isinstance(client, FhirClientPy)
    asked = Task.where({"_lastUpdated": {"$gt": "2026-01-01"}})
    with pytest.raises(requests.HTTPError, match="400"):
        list(asked.perform_resources_iter(client.server))
    as_in_r4 = Task.where({"_lastUpdated": "gt2100-01-01"})
    assert list(as_in_r4.perform_resources_iter(client.server)) == []
