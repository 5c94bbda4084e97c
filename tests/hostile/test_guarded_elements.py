"""What a client may not set, it cannot set by a patch, by an update or by fields that nobody asked for."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir_mappings.records import Json
from service.referral.task_guard import COORDINATION_MAY, IGNORED, OWNER_MAY, REQUESTER_MAY
from tests.web.caller import UNIT, Sluss, content, plain

Rows = Callable[[], dict[str, int]]
PATCH = {"Content-Type": "application/json-patch+json"}
REFUSED = {400, 403, 404, 409, 412, 422}
OWNER, REQUESTER, STRANGER = "therapist gavle", f"referrer {UNIT}", "referrer SE2321000198-EX02"

CHANGED: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "another",
    "identifier": [{"system": "http://evil.example", "value": "1"}],
    "basedOn": [{"reference": "ServiceRequest/another"}],
    "partOf": [{"reference": "Task/another"}],
    "groupIdentifier": {"value": "x"},
    "status": "completed",
    "intent": "proposal",
    "priority": "stat",
    "code": {"text": "x"},
    "description": "x",
    "focus": {"reference": "ServiceRequest/another"},
    "for": {"reference": "Patient/another"},
    "encounter": {"reference": "Encounter/1"},
    "authoredOn": "2020-01-01",
    "requester": {"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000198-EX02"}},
    "performerType": [{"text": "x"}],
    "location": {"reference": "Location/1"},
    "reasonCode": {"text": "x"},
    "reasonReference": {"display": "x"},
    "insurance": [{"display": "x"}],
    "relevantHistory": [{"display": "x"}],
    "restriction": {"repetitions": 1},
    "input": [{"type": {"text": "x"}, "valueString": "x"}],
    "output": [{"type": {"text": "x"}, "valueString": "x"}],
    "owner": {"reference": "HealthcareService/vastra-gastrikland"},
    "businessStatus": {"text": "x"},
    "executionPeriod": {"start": "2020-01-01"},
    "instantiatesUri": "http://evil.example",
    "implicitRules": "http://evil.example",
    "language": "en",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "extension": [{"url": "http://evil.example", "valueString": "x"}],
    "modifierExtension": [{"url": "http://evil.example", "valueString": "x"}],
}
"""A sound other value for each element of a Task, also for those that it does not have."""


def _patch(sluss: Sluss, reference: str, *operations: Json) -> int:
    return sluss.call("PATCH", f"/fhir/{reference}", json.dumps(operations), PATCH).status_code


@pytest.mark.parametrize(
    ("caller", "may"), [(OWNER, OWNER_MAY), (REQUESTER, REQUESTER_MAY), ("administrator", COORDINATION_MAY)]
)
def test_every_guarded_element_of_a_task_is_refused_in_a_patch_and_in_an_update(
    sluss: Sluss, caller: str, may: frozenset[str]
) -> None:
    task = sluss.refer()["task"]
    acting = sluss.acting(caller)
    reference = f"Task/{task['id']}"
    guarded = {*CHANGED, *task} - may - IGNORED
    assert {"for", "focus", "identifier", "intent", "requester", "input", "code"} <= guarded
    for name in sorted(guarded):
        value = CHANGED[name]
        assert _patch(acting, reference, {"op": "add", "path": f"/{name}", "value": value}) in REFUSED, name
        assert acting.put(f"/fhir/{reference}", {**task, name: value}).status_code in REFUSED, name
        if name in task:
            assert _patch(acting, reference, {"op": "remove", "path": f"/{name}"}) in REFUSED, name
            note = {"op": "add", "path": "/note", "value": [{"text": "x"}]}
            assert _patch(acting, reference, note, {"op": "replace", "path": f"/{name}", "value": value}) in REFUSED
    whole = {"op": "replace", "path": "", "value": {**task, "for": CHANGED["for"]}}
    assert _patch(acting, reference, whole) in REFUSED
    assert sluss.read(reference) == task


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_sluss_sets_itself_is_set_by_nobody_else(sluss: Sluss, name: str) -> None:
    task = sluss.refer()["task"]
    forged = {"meta": {"versionId": "99", "lastUpdated": "2020-01-01T00:00:00Z"}, "lastModified": "2020-01-01"}[name]
    _patch(sluss.acting(OWNER), f"Task/{task['id']}", {"op": "add", "path": f"/{name}", "value": forged})
    stored = sluss.read(f"Task/{task['id']}")
    assert "2020-01-01" not in json.dumps(stored["meta"]) + stored["lastModified"]
    assert stored["meta"]["versionId"] in ("1", "2")


def test_notes_are_only_added_to(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    reference, acting = f"Task/{task['id']}", sluss.acting(OWNER)
    assert _patch(acting, reference, {"op": "add", "path": "/note/-", "value": {"text": "Ring efter 15"}}) == 200
    for operation in (
        {"op": "remove", "path": "/note"},
        {"op": "remove", "path": "/note/0"},
        {"op": "replace", "path": "/note/0/text", "value": "x"},
        {"op": "add", "path": "/note/0", "value": {"text": "x"}},
        {"op": "add", "path": "/note/0/time", "value": "2020-01-01"},
    ):
        assert _patch(acting, reference, operation) in REFUSED, operation


def test_whose_a_referral_is_never_changes(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    reference, acting = f"ServiceRequest/{order['id']}", sluss.acting(REQUESTER)
    for name, value in {
        "resourceType": "Task",
        "id": "another",
        "subject": {"identifier": {"system": "http://electronichealth.se/identifier/personnummer",
                                   "value": "198001019801"}},
        "requester": CHANGED["requester"],
        "identifier": [{**order["identifier"][0], "value": "R-2"}],
    }.items():  # fmt: skip
        assert _patch(acting, reference, {"op": "replace", "path": f"/{name}", "value": value}) in REFUSED, name
        assert _patch(acting, reference, {"op": "remove", "path": f"/{name}"}) in REFUSED, name
        assert acting.put(f"/fhir/{reference}", {**order, name: value}).status_code in REFUSED, name
    assert sluss.read(reference) == order


@pytest.mark.parametrize("type_", ["Observation", "QuestionnaireResponse"])
def test_whose_evidence_is_never_changes(sluss: Sluss, type_: str) -> None:
    sluss.refer()
    evidence = sluss.search(type_)[0]
    reference = f"{type_}/{evidence['id']}"
    for caller in (REQUESTER, STRANGER, OWNER):
        acting = sluss.acting(caller)
        for name, value in {
            "resourceType": "Task",
            "id": "another",
            "subject": {"reference": "Patient/another"},
        }.items():
            replaced = {"op": "replace", "path": f"/{name}", "value": value}
            assert _patch(acting, reference, replaced) in REFUSED, (caller, name)
    assert sluss.read(reference) == evidence


@pytest.mark.parametrize("name", ["Task", "ServiceRequest"])
def test_a_patch_tells_a_stranger_nothing_of_what_it_would_change(sluss: Sluss, name: str) -> None:
    stored = sluss.refer()
    resource = stored["task" if name == "Task" else "order"]
    stranger = sluss.acting(STRANGER)
    right = {"op": "test", "path": "/status", "value": resource["status"]}
    wrong = {"op": "test", "path": "/status", "value": "nonsense"}
    told = [
        stranger.call("PATCH", f"/fhir/{name}/{id_}", json.dumps([operation]), PATCH)
        for id_ in (resource["id"], "no-such-id")
        for operation in (right, wrong)
    ]
    assert {answer.status_code for answer in told} == {404}
    assert len({answer.text.replace(resource["id"], "no-such-id") for answer in told}) == 1


@pytest.mark.parametrize(
    "extra",
    [
        {"verdict": "eligible"},
        {"task": {"status": "accepted"}},
        {"team": "gavle"},
        {"owner": "gavle"},
        {"status": "completed"},
        {"id": "mine"},
        {"resourceType": "ServiceRequest"},
        {"alert": None},
        {"__class__": {}},
        {"__proto__": {"admin": True}},
        {"constructor": 1},
        {"_id": 1},
        {"Channel": "phone"},
        {"channel ": "phone"},
    ],
)
def test_a_field_that_nobody_asked_for_is_refused_and_named(sluss: Sluss, rows: Rows, extra: Json) -> None:
    before = {name: count for name, count in rows().items() if "audit" not in name}
    for place in (None, "referrer", "patient", "madrs_s"):
        sent = plain() if place else plain(**extra)
        if place:
            sent[place] = {**sent[place], **extra}
        answer = sluss.post("/intake/referrals", sent, {"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        field = ".".join(filter(None, (place, next(iter(extra)))))
        assert field in [told.get("field") for told in content(answer)["errors"]]
    assert {name: count for name, count in rows().items() if "audit" not in name} == before


@pytest.mark.parametrize("link_id", ["verdict", "__class__", "item-9", "team"])
def test_an_answer_to_a_question_that_nobody_asked_is_refused(sluss: Sluss, link_id: str) -> None:
    answer = sluss.post("/intake/referrals", plain(answers={link_id: True}), {"Content-Type": "application/json"})
    assert answer.status_code == 422
