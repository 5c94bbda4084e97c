"""Tasks of every kind, there and back, and the changes to a stored one (contract 6)."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings import task as tasks
from fhir_mappings.r4 import validate
from fhir_mappings.records import Finding, Json, Priority, Reference, TaskKind, TaskRecord, Verdict
from tests.fhir_mappings.examples import CANONICAL, NOW, S

_WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30).filter(
    lambda text: text.strip() == text
)
_INSTANTS = st.integers(0, 10**6).map(lambda m: (NOW + timedelta(minutes=m)).isoformat(timespec="milliseconds"))
_REFERENCES = st.sampled_from(["Task", "ServiceRequest", "Communication"]).map(lambda type_: Reference(f"{type_}/x1"))
_STATUSES = st.sampled_from(
    ["requested", "received", "accepted", "in-progress", "on-hold", "completed", "rejected", "cancelled", "failed"]
)
_FINDINGS = st.builds(
    Finding,
    rule=st.sampled_from(["age-minimum", "madrs-s-item-9", "open-referral"]),
    verdict=st.sampled_from(Verdict),
    text=_WORDS,
    text_en=st.just(""),
    alert=st.booleans(),
)


@st.composite
def records(draw: st.DrawFn) -> TaskRecord:
    kind = draw(st.sampled_from(TaskKind))
    activity = draw(st.sampled_from(["first-call", "extra-contact"])) if kind is TaskKind.ACTIVITY else None
    authored = draw(_INSTANTS)
    return TaskRecord(
        id=draw(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)),
        kind=kind,
        status=draw(_STATUSES),
        owner=draw(st.sampled_from([Reference("HealthcareService/gavle"), Reference("PractitionerRole/gavle-1")])),
        patient=Reference("Patient/p1"),
        focus=draw(_REFERENCES),
        authored_on=authored,
        last_modified=tasks.later_of(authored, draw(_INSTANTS)),
        requester=draw(st.none() | st.just(Reference("Organization/o1"))),
        activity=activity,
        description=draw(_WORDS) if activity else draw(st.none() | _WORDS),
        business_status=draw(st.none() | st.sampled_from(sorted(tasks.BUSINESS_STATUS))),
        status_reason=draw(st.none() | st.tuples(st.sampled_from(["", "age-minimum"]), _WORDS)),
        priority=draw(st.sampled_from(Priority)),
        part_of=draw(st.none() | st.just(Reference("Task/t0"))),
        based_on=draw(st.none() | st.just(Reference("CarePlan/c1"))),
        findings=tuple(draw(st.lists(_FINDINGS, max_size=3))),
        route_rule=draw(st.none() | st.sampled_from(["unit-directory", "needs-routing"])),
        notes=tuple(draw(st.lists(st.tuples(_WORDS, _INSTANTS, _WORDS), max_size=2))),
        due=draw(st.none() | _INSTANTS),
        period=draw(st.none() | st.tuples(_INSTANTS, st.none())),
    )


@given(records())
def test_a_task_of_any_kind_is_valid_r4_and_reads_back_the_same(record: TaskRecord) -> None:
    written = tasks.to_fhir_task(record, CANONICAL)
    assert validate(written) == []
    assert tasks.from_fhir_task(written, CANONICAL) == record


def example(**changes: object) -> Json:
    record = TaskRecord(
        id="t1",
        kind=TaskKind.REFERRAL,
        status="requested",
        owner=Reference("HealthcareService/gavle"),
        patient=Reference("Patient/p1"),
        focus=Reference("ServiceRequest/s1"),
        requester=Reference("PractitionerRole/r1"),
        authored_on="2026-11-23T10:00:00.000+01:00",
        last_modified="2026-11-23T10:00:00.000+01:00",
        findings=(Finding("madrs-s-age", Verdict.ADVICE, "Skattningen är gammal.", ""),),
        route_rule="unit-directory",
        notes=(("Sluss", "2026-11-23T10:00:00.000+01:00", "Skattningen är gammal."),),
    )
    return tasks.to_fhir_task(record, CANONICAL) | changes


def test_the_referrals_task_has_what_the_contract_lists() -> None:
    assert example() == {
        "resourceType": "Task",
        "id": "t1",
        "identifier": [{"system": f"{S}/identifier/task", "value": "t1"}],
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": {
            "coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}],
            "text": "Remiss IKBT",
        },
        "focus": {"reference": "ServiceRequest/s1"},
        "for": {"reference": "Patient/p1"},
        "authoredOn": "2026-11-23T10:00:00.000+01:00",
        "lastModified": "2026-11-23T10:00:00.000+01:00",
        "requester": {"reference": "PractitionerRole/r1"},
        "owner": {"reference": "HealthcareService/gavle"},
        "note": [{"authorString": "Sluss", "time": "2026-11-23T10:00:00.000+01:00", "text": "Skattningen är gammal."}],
        "input": [
            {
                "type": {"coding": [{"system": f"{S}/CodeSystem/task-input", "code": "finding"}]},
                "valueCodeableConcept": {
                    "coding": [
                        {"system": f"{S}/CodeSystem/eligibility-rule", "code": "madrs-s-age"},
                        {"system": f"{S}/CodeSystem/ikbt-verdict", "code": "advice"},
                    ],
                    "text": "Skattningen är gammal.",
                },
            },
            {
                "type": {"coding": [{"system": f"{S}/CodeSystem/task-input", "code": "route"}]},
                "valueString": "unit-directory",
            },
        ],
    }


@pytest.mark.parametrize("kind", TaskKind)
def test_every_kind_is_known_by_its_code_and_never_by_text(kind: TaskKind) -> None:
    record = TaskRecord(
        id="t1",
        kind=kind,
        status="requested",
        owner=Reference("HealthcareService/gavle"),
        patient=Reference("Patient/p1"),
        focus=Reference("ServiceRequest/s1"),
        authored_on="2026-11-23T10:00:00+01:00",
        last_modified="2026-11-23T10:00:00+01:00",
        activity="first-call" if kind is TaskKind.ACTIVITY else None,
    )
    written = tasks.to_fhir_task(record, CANONICAL)
    assert written["code"]["coding"][0]["code"] == ("first-call" if kind is TaskKind.ACTIVITY else str(kind))
    assert tasks.kind_of(written, CANONICAL) is kind
    without_codes: Json = {**written, "code": {"text": written["code"].get("text", "x")}}
    assert tasks.kind_of(without_codes, CANONICAL) is None
    assert tasks.from_fhir_task(without_codes, CANONICAL) is None


@pytest.mark.parametrize(
    "coding",
    [
        {"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "approve"},
        {"system": f"{S}/CodeSystem/ikbt-task", "code": "fulfill"},
        {"system": f"{S}/CodeSystem/ikbt-task", "code": "activity"},
        {"system": "https://other.example", "code": "fulfill"},
        {"code": "fulfill"},
    ],
)
def test_a_code_of_another_kind_is_nobodys_guess(coding: Json) -> None:
    assert tasks.kind_of({"code": {"coding": [coding]}}, CANONICAL) is None


def test_an_output_is_coded() -> None:
    written = tasks.with_output(
        example(), "2026-11-23T11:00:00.000+01:00", tasks.output("progress", {"valueString": "Avsnitt 2"}, CANONICAL)
    )
    assert validate(written) == []
    (output,) = tasks.outputs_of(written, "progress", CANONICAL)
    assert output["type"]["coding"] == [{"system": f"{S}/CodeSystem/task-output", "code": "progress"}]
    assert tasks.outputs_of(written, "final-reply", CANONICAL) == []


def test_a_change_keeps_everything_else_and_what_was_there_before() -> None:
    before = example(extension=[{"url": "https://ehr.example/x", "valueCode": "y"}])
    after = tasks.changed(before, "2026-11-23T11:00:00.000+01:00", status="received", note=None)
    assert after == {
        **{name: value for name, value in before.items() if name != "note"},
        "status": "received",
        "lastModified": "2026-11-23T11:00:00.000+01:00",
    }
    assert before["status"] == "requested"
    assert validate(after) == []


@given(_INSTANTS, st.lists(_INSTANTS, min_size=1, max_size=5))
def test_last_modified_is_never_before_authored_on_whatever_the_clock_does(authored: str, moments: list[str]) -> None:
    task = example(authoredOn=authored)
    for at in moments:
        task = tasks.changed(task, at, status="received")
        assert datetime.fromisoformat(task["lastModified"]) >= datetime.fromisoformat(authored)
    assert validate(task) == []


def test_a_date_without_time_does_not_hold_a_change_back() -> None:
    assert tasks.later_of("2026-11-23", "2026-11-23T09:00:00+01:00") == "2026-11-23T09:00:00+01:00"
    assert tasks.later_of(None, "2026-11-23T09:00:00+01:00") == "2026-11-23T09:00:00+01:00"
    assert tasks.later_of("2026-11-23T09:30:00Z", "2026-11-23T10:00:00+01:00") == "2026-11-23T09:30:00Z"


def test_notes_are_added_after_those_that_are_there() -> None:
    task = example()
    for number in range(3):
        task = tasks.noted(task, "Sluss", f"2026-11-23T1{number}:00:00.000+01:00", f"Anteckning {number}")
    assert [note["text"] for note in task["note"]] == [
        "Skattningen är gammal.",
        "Anteckning 0",
        "Anteckning 1",
        "Anteckning 2",
    ]
    assert all(a["time"] <= b["time"] for a, b in pairwise(task["note"]))
    assert validate(task) == []


def test_a_new_assessment_replaces_findings_and_route_and_leaves_other_inputs() -> None:
    other = {"type": {"text": "eget"}, "valueString": "behandlarens"}
    task = example()
    task["input"] = [*task["input"], other]
    new = Finding("age-minimum", Verdict.RETURN, "För ung.", "", alert=True)
    after = tasks.reassessed(task, "2026-11-23T11:00:00.000+01:00", [new], "patient-municipality", CANONICAL)
    assert list(tasks.findings_of(after, CANONICAL)) == [new]
    assert tasks.route_rule_of(after, CANONICAL) == "patient-municipality"
    assert other in after["input"]
    assert len(after["input"]) == 3
    assert validate(after) == []


def test_another_route_leaves_the_findings() -> None:
    after = tasks.routed(example(), "2026-11-23T11:00:00.000+01:00", "needs-routing", CANONICAL)
    assert tasks.route_rule_of(after, CANONICAL) == "needs-routing"
    assert list(tasks.findings_of(after, CANONICAL)) == list(tasks.findings_of(example(), CANONICAL))
    assert len(after["input"]) == len(example()["input"])


@pytest.mark.parametrize("status", ["completed", "rejected", "cancelled", "failed", "entered-in-error"])
def test_an_ended_task_is_not_open(status: str) -> None:
    assert not tasks.is_open(example(status=status))


@pytest.mark.parametrize("status", ["requested", "received", "accepted", "in-progress", "on-hold"])
def test_a_task_that_goes_on_is_open(status: str) -> None:
    assert tasks.is_open(example(status=status))


@pytest.mark.parametrize("code", sorted(tasks.BUSINESS_STATUS))
def test_a_business_status_is_coded_and_said_in_swedish(code: str) -> None:
    status = tasks.business_status(code, CANONICAL)
    assert status["coding"] == [{"system": f"{S}/CodeSystem/ikbt-business-status", "code": code}]
    assert status["text"]
    assert validate(example(businessStatus=status)) == []


def test_sluss_own_reason_is_coded_apart_from_the_eligibility_rules() -> None:
    own = tasks.own_reason("withdrawn", "Återkallad.", CANONICAL)
    rule = tasks.rule_reason("age-minimum", "För ung.", CANONICAL)
    assert own["coding"] == [{"system": f"{S}/CodeSystem/ikbt-status-reason", "code": "withdrawn"}]
    assert rule["coding"] == [{"system": f"{S}/CodeSystem/eligibility-rule", "code": "age-minimum"}]
