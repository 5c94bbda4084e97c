"""Which elements of a Task who may change (contract 7: 'every other element must equal what is stored')."""

from typing import Any

import pytest

from fhir_mappings.issues import Issue
from fhir_mappings.records import Json
from service.access.rights import Actor
from service.referral.task_guard import guard, is_move
from tests.fhir_mappings.examples import CANONICAL, S, where

O, R, S_, C = Actor.OWNER, Actor.REQUESTER, Actor.SLUSS, Actor.COORDINATION  # noqa: E741  the letters of the contract

NOTE = {"authorString": "Sluss", "time": "2026-11-23T10:00:00+01:00", "text": "Första"}
PLAN = {
    "type": {"coding": [{"system": f"{S}/CodeSystem/task-output", "code": "care-plan"}]},
    "valueReference": {"reference": "CarePlan/c1"},
}
STORED: Json = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "3"},
    "identifier": [{"system": f"{S}/identifier/task", "value": "t1"}],
    "status": "requested",
    "intent": "order",
    "priority": "routine",
    "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
    "focus": {"reference": "ServiceRequest/s1"},
    "for": {"reference": "Patient/p1"},
    "authoredOn": "2026-11-23T10:00:00+01:00",
    "lastModified": "2026-11-23T10:00:00+01:00",
    "requester": {"reference": "Organization/o1"},
    "owner": {"reference": "HealthcareService/gavle"},
    "note": [NOTE],
    "input": [{"type": {"text": "x"}, "valueString": "y"}],
    "output": [PLAN],
}

CHANGES: dict[str, Any] = {
    "status": "received",
    "statusReason": {"text": "skäl"},
    "businessStatus": {"text": "väntar"},
    "owner": {"reference": "PractitionerRole/gavle-internet-therapist-1"},
    "output": [PLAN, {"type": {"text": "eget"}, "valueString": "z"}],
    "note": [NOTE, {"text": "ny"}],
    "executionPeriod": {"start": "2026-12-01"},
    # everything else that a Task has
    "identifier": [],
    "instantiatesCanonical": "https://x.example",
    "instantiatesUri": "https://x.example",
    "basedOn": [{"reference": "CarePlan/c2"}],
    "groupIdentifier": {"value": "g"},
    "partOf": [{"reference": "Task/t0"}],
    "intent": "plan",
    "priority": "stat",
    "code": {"text": "annat"},
    "description": "annat",
    "focus": {"reference": "ServiceRequest/s2"},
    "for": {"reference": "Patient/p2"},
    "encounter": {"reference": "Encounter/e1"},
    "authoredOn": "2026-11-24T10:00:00+01:00",
    "requester": {"reference": "Organization/o2"},
    "performerType": [{"text": "x"}],
    "location": {"display": "x"},
    "reasonCode": {"text": "x"},
    "reasonReference": {"display": "x"},
    "insurance": [{"display": "x"}],
    "relevantHistory": [{"display": "x"}],
    "restriction": {"repetitions": 1},
    "input": [],
    "extension": [{"url": "https://x.example", "valueCode": "y"}],
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "text": {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>"},
    "language": "sv",
    "implicitRules": "https://x.example",
    "resourceType": "Communication",
    "id": "t2",
}

MAY = {
    O: {"status", "statusReason", "businessStatus", "owner", "output", "note", "executionPeriod"},
    R: {"status", "statusReason", "note"},
    C: {"status", "statusReason", "owner", "note"},
}


def problems(who: set[Actor], **changes: Any) -> list[Issue]:
    return guard(STORED, {n: v for n, v in (STORED | changes).items() if v is not None}, frozenset(who), CANONICAL)


@pytest.mark.parametrize("actor", [O, R, C])
@pytest.mark.parametrize("element", CHANGES)
def test_an_element_may_be_changed_by_whom_the_contract_says(element: str, actor: Actor) -> None:
    issues = problems({actor}, **{element: CHANGES[element]})
    if element in MAY[actor]:
        assert issues == []
    else:
        assert where(issues)[0] == ("business-rule", f"Task.{element}")
        assert "must equal what is stored" in issues[0].diagnostics


@pytest.mark.parametrize("element", ["priority", "requester", "input", "description"])
def test_an_element_may_not_be_taken_away_or_added_either(element: str) -> None:
    issues = problems({O}, **{element: None if element in STORED else CHANGES[element]})
    assert where(issues) == [("business-rule", f"Task.{element}")]


def test_what_sluss_sets_itself_is_left_aside() -> None:
    assert problems({O}, meta={"versionId": "1"}, lastModified="2020-01-01T00:00:00Z") == []
    assert problems({O}, meta=None, lastModified=None) == []
    assert not is_move(STORED, {**STORED, "meta": {}, "lastModified": "2020-01-01T00:00:00Z"})
    assert is_move(STORED, {**STORED, "status": "received"})


def test_every_forbidden_element_is_told_at_once() -> None:
    issues = problems({O}, priority="stat", focus={"reference": "ServiceRequest/s2"}, note=[])
    assert [expression for _, expression in where(issues)] == ["Task.focus", "Task.priority", "Task.note"]


def test_who_is_two_things_may_what_either_may() -> None:
    assert problems({O, R}, output=CHANGES["output"]) == []
    assert where(problems({R, C}, output=CHANGES["output"])) == [("business-rule", "Task.output")]


@pytest.mark.parametrize(
    "notes",
    [
        [],
        [{**NOTE, "text": "Ändrad"}],
        [{"text": "ny"}, NOTE],
        [{**NOTE, "authorString": "Någon annan"}, {"text": "ny"}],
    ],
)
def test_notes_are_append_only(notes: list[Json]) -> None:
    assert ("business-rule", "Task.note") in where(problems({O}, note=notes))


@pytest.mark.parametrize("author", ["Sluss", " SLUSS "])
@pytest.mark.parametrize("who", [O, R, C])
def test_nobody_writes_a_note_in_the_name_of_sluss(who: Actor, author: str) -> None:
    forged = {"authorString": author, "text": "Självmordsrisken är bedömd som låg."}
    assert where(problems({who}, note=[NOTE, {"text": "ny"}, forged])) == [("business-rule", "Task.note.authorString")]
    assert problems({Actor.SLUSS}, note=[NOTE, forged]) == []


def output(code: str, **value: Any) -> Json:
    return {"type": {"coding": [{"system": f"{S}/CodeSystem/task-output", "code": code}]}, **value}


@pytest.mark.parametrize("code", ["final-reply", "interim-reply", "progress", "madrs-s"])
def test_every_output_of_the_contract_may_be_added(code: str) -> None:
    assert problems({O}, output=[PLAN, output(code, valueString="text")]) == []


def test_an_output_with_an_unknown_modifier_is_refused_unless_it_was_here_before() -> None:
    modified = {
        "type": {"text": "eget"},
        "valueString": "z",
        "modifierExtension": [{"url": "https://x.example/not", "valueBoolean": True}],
    }
    sent = {**STORED, "output": [PLAN, modified]}
    assert where(guard(STORED, sent, frozenset({O}), CANONICAL)) == [
        ("extension", "Task.output[1].modifierExtension[0]")
    ]
    assert guard(sent, {**sent, "note": [NOTE, {"text": "ny"}]}, frozenset({O}), CANONICAL) == []


def test_an_unknown_output_of_ours_is_refused_and_one_of_others_is_not() -> None:
    issues = problems({O}, output=[PLAN, output("finalreply", valueString="x")])
    assert where(issues) == [("code-invalid", "Task.output[1].type.coding[0].code")]
    assert "final-reply" in issues[0].diagnostics
    other = {"type": {"coding": [{"system": "https://x.example", "code": "finalreply"}]}, "valueString": "x"}
    assert problems({O}, output=[PLAN, other]) == []


@pytest.mark.parametrize("outputs", [[], [output("care-plan", valueReference={"reference": "CarePlan/c2"})]])
def test_the_care_plan_is_set_by_sluss_alone(outputs: list[Json]) -> None:
    assert where(problems({O}, output=outputs)) == [("business-rule", "Task.output")]


@pytest.mark.parametrize("code", ["final-reply", "interim-reply"])
@pytest.mark.parametrize("value", [{}, {"valueString": "  "}, {"valueReference": {"reference": "Communication/c"}}])
def test_a_reply_has_words(code: str, value: Json) -> None:
    issues = problems({O}, output=[PLAN, output(code, **value)])
    assert where(issues) == [("required", "Task.output[1].valueString")]


def test_an_interim_reply_that_was_sent_is_never_edited_or_taken_away() -> None:
    sent = output("interim-reply", valueString="Halvvägs")
    stored = {**STORED, "output": [PLAN, sent]}
    for outputs in ([PLAN], [PLAN, output("interim-reply", valueString="Ändrat")]):
        assert where(guard(stored, {**stored, "output": outputs}, frozenset({O}), CANONICAL)) == [
            ("business-rule", "Task.output")
        ]
    more = {
        **stored,
        "output": [output("progress", valueString="p"), PLAN, sent, output("interim-reply", valueString="2")],
    }
    assert guard(stored, more, frozenset({O}), CANONICAL) == []


def test_a_business_status_of_ours_is_one_that_there_is() -> None:
    def status(code: str) -> Json:
        return {"coding": [{"system": f"{S}/CodeSystem/ikbt-business-status", "code": code}]}

    assert problems({O}, businessStatus=status("needs-routing")) == []
    assert where(problems({O}, businessStatus=status("needsrouting"))) == [
        ("code-invalid", "Task.businessStatus.coding[0].code")
    ]
