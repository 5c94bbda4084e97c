"""A therapist takes in a returned referral after all (contract 4)."""

from typing import Any

import requests

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import SEVERE, S, referral
from tests.journeys.steps import TASK_CODE, accept, findings_of, notes_of, refer, task_of, tasks_of

WHY = {"authorString": "Behandlare i Gävle", "text": "Bedömd på nytt tillsammans med remittenten."}


def override(service: Service, received: str, team: str = "gavle", **changes: Any) -> requests.Response:
    sent: Json = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODE, "code": "fulfill"}]},
        "focus": {"reference": received},
        "note": [WHY],
        **changes,
    }
    return service.therapist(team).post("/fhir/Task", {k: v for k, v in sent.items() if v is not None})


def test_a_return_is_overridden_by_a_new_task_on_the_same_focus_with_who_and_why(service: Service) -> None:
    received = refer(service, referral(items=SEVERE))
    old = task_of(service, received)
    answer = override(service, received)
    assert answer.status_code == 201, answer.text
    new = task_of(service, received)
    assert new["id"] == answer.json()["id"] != old["id"]
    assert (new["status"], new["focus"], new["owner"]) == ("requested", {"reference": received}, old["owner"])
    assert WHY["text"] in notes_of(new)
    assert {n["authorString"] for n in new["note"]} >= {WHY["authorString"]}
    assert findings_of(new) == findings_of(old)
    assert service.administrator.read(f"Task/{old['id']}")["status"] == "rejected"
    assert accept(service, received)["status"] == "accepted"


def test_an_override_needs_who_and_why(service: Service) -> None:
    received = refer(service, referral(items=SEVERE))
    for note in (None, [{"text": "Utan namn"}], [{"authorString": "Någon", "text": " "}]):
        assert override(service, received, note=note).status_code in (400, 422)
    assert len(tasks_of(service, received, "fulfill")) == 1


def test_who_takes_it_in_after_all_is_not_sluss(service: Service) -> None:
    received = refer(service, referral(items=SEVERE))
    answer = override(service, received, note=[WHY, {**WHY, "authorString": "Sluss"}])
    assert answer.status_code == 422
    assert [issue["expression"] for issue in answer.json()["issue"]] == [["Task.note.authorString"]]
    assert len(tasks_of(service, received, "fulfill")) == 1


def test_only_a_returned_referral_is_overridden(service: Service) -> None:
    received = refer(service, referral())
    assert override(service, received).status_code == 422


def test_only_the_team_of_the_referral_overrides(service: Service) -> None:
    received = refer(service, referral(items=SEVERE))
    assert override(service, received, "norra-halsingland").status_code == 404
    sent = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODE, "code": "fulfill"}]},
        "focus": {"reference": received},
        "note": [WHY],
    }
    assert service.referrer().post("/fhir/Task", sent).status_code == 403
    assert S
