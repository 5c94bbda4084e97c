"""What some clients do in ways of their own, and the service takes."""

import pytest

from fhir_mappings.records import Json
from tests.clients.conftest import Acting
from tests.clients.foreign import Foreign
from tests.clients.python import FhirPy
from tests.clients.roles import Refused
from tests.journeys.referrals import PLACER, UNIT, alone

pytestmark = pytest.mark.clients


def test_medplum_makes_a_referral_only_if_it_is_not_there(acting: Acting) -> None:
    ehr = acting("medplum", f"referrer {UNIT}")
    assert isinstance(ehr, Foreign)
    once = {"resource": alone("ONCE", "sleep"), "query": f"identifier={PLACER}|ONCE"}
    made, found = (ehr.ask("conditionalCreate", **once) for _ in range(2))
    assert made["id"] == found["id"]
    ehr.update({**found, "status": "revoked"})


def test_fhirclient_js_puts_what_a_task_refers_to_in_the_place_of_the_references(acting: Acting, task: Json) -> None:
    therapist = acting("fhirclient.js", "therapist gavle")
    assert isinstance(therapist, Foreign)
    whole = therapist.ask("whole", type="Task", id=task["id"], references=["focus", "for", "owner"])
    assert whole["focus"] == therapist.read(task["focus"]["reference"])
    assert whole["for"]["resourceType"] == "Patient"
    assert whole["owner"]["resourceType"] == "HealthcareService"


@pytest.mark.parametrize("name", ["fhir-kit-client", "medplum", "fhirclient.js"])
def test_the_history_of_a_task_is_read(name: str, acting: Acting, task: Json) -> None:
    therapist = acting(name, "therapist gavle")
    assert isinstance(therapist, Foreign)
    therapist.update({**task, "status": "received"}, "1")
    past = therapist.ask("history", type="Task", id=task["id"])
    assert [entry["resource"]["status"] for entry in past["entry"]] == ["received", "requested"]


@pytest.mark.parametrize("name", ["fhir-kit-client", "medplum", "fhirclient.js"])
def test_a_json_patch_is_carried_out_where_metadata_says_so_and_else_refused(
    name: str, acting: Acting, task: Json
) -> None:
    therapist = acting(name, "therapist gavle")
    assert isinstance(therapist, Foreign)
    tasks = next(r for r in therapist.capabilities()["rest"][0]["resource"] if r["type"] == "Task")
    operations = [
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "replace", "path": "/status", "value": "received"},
    ]
    patch = {"type": "Task", "id": task["id"], "operations": operations, "version": "1"}
    if {"code": "patch"} in tasks["interaction"]:
        assert therapist.ask("patch", **patch)["status"] == "received"
    else:
        with pytest.raises(Refused):
            therapist.ask("patch", **patch)
        assert therapist.read(f"Task/{task['id']}") == task


def test_fhirpy_counts_takes_the_first_and_reads_anew(acting: Acting, task: Json) -> None:
    client = acting("fhirpy", "therapist gavle")
    assert isinstance(client, FhirPy)
    tasks = client.client.resources("Task").search(focus=task["focus"]["reference"])
    assert tasks.count() == 1
    first = tasks.first()
    assert first is not None
    assert first["id"] == tasks.get()["id"] == task["id"]
    client.update({**task, "status": "received"})
    assert first.refresh()["status"] == "received"
    assert first.refresh()["status"] == "received"  # asks with If-None-Match, its version without quotes
