"""Tasks of every kind: records to FHIR and back, and the few changes that Sluss makes to a stored one.

A stored Task may carry what a therapist's client put there, so a change takes the stored resource and gives a new one
with only the changed elements replaced. https://hl7.org/fhir/R4/task.html
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_mappings.records import Finding, Json, Priority, Reference, TaskKind, TaskRecord, Verdict
from fhir_mappings.terminology import Canonical, Systems

BUSINESS_STATUS = {
    "information-requested": "Komplettering begärd",
    "needs-routing": "Behöver fördelas av en person",
    "withdrawal-requested": "Återkallelse begärd",
    "start-call-booked": "Startsamtal bokat av remittenten",
}
"""CodeSystem `ikbt-business-status`."""

KIND_TITLES = {
    TaskKind.REFERRAL: "Remiss IKBT",
    TaskKind.ABORT: "Begäran om att avbryta påbörjad behandling",
    TaskKind.SAFETY_FOLLOW_UP: "Uppföljning av suicidrisk",
    TaskKind.RELAY_MESSAGE: "Vidarebefordra meddelande",
    TaskKind.TAKE_OVER: "Övertagande av behandling",
    TaskKind.REMINDER: "Påminnelse",
    TaskKind.UNREADABLE_REFERRAL: "Remiss som inte kan tas emot",
}

OUTPUT_TITLES = {
    "final-reply": "Slutsvar",
    "interim-reply": "Delsvar",
    "progress": "Behandlingens gång",
    "madrs-s": "MADRS-S",
    "care-plan": "Vårdplan",
}
"""CodeSystem `task-output`."""

STATUS_REASONS = {
    "withdrawn": "Remissen är återkallad",
    "parent-ended": "Avslutad med remissen",
    "no-longer-waiting": "Det som väntade är gjort",
}
"""CodeSystem `ikbt-status-reason`."""

FINAL_STATES = frozenset({"completed", "rejected", "cancelled", "failed", "entered-in-error"})
"""Nothing follows these (contract 7)."""


def to_fhir_task(record: TaskRecord, canonical: Canonical) -> Json:
    """The Task as FHIR R4, without `meta` (contract 6)."""
    task: Json = {
        "resourceType": "Task",
        "id": record.id,
        "identifier": [{"system": canonical.identifier("task"), "value": record.id}],
        "basedOn": [{"reference": record.based_on}] if record.based_on else None,
        "partOf": [{"reference": record.part_of}] if record.part_of else None,
        "status": record.status,
        "statusReason": _reason(record, canonical),
        "businessStatus": business_status(record.business_status, canonical) if record.business_status else None,
        "intent": "order",
        "priority": str(record.priority),
        "code": _code(record, canonical),
        "description": record.description,
        "focus": {"reference": record.focus},
        "for": {"reference": record.patient},
        "executionPeriod": _period(record.period),
        "authoredOn": record.authored_on,
        "lastModified": record.last_modified,
        "requester": {"reference": record.requester} if record.requester else None,
        "owner": {"reference": record.owner},
        "note": [annotation(author, time, text) for author, time, text in record.notes],
        "restriction": {"period": {"end": record.due}} if record.due else None,
        "input": inputs(record.findings, record.route_rule, canonical),
    }
    return {name: value for name, value in task.items() if value not in (None, [])}


def from_fhir_task(task: Json, canonical: Canonical) -> TaskRecord | None:
    """The record of a Task that Sluss or a therapist made; None for a kind that Sluss does not know.

    Findings come back with what the Task carries: rule, verdict, alert and Swedish text.
    """
    kind = kind_of(task, canonical)
    if kind is None:
        return None
    reason = task.get("statusReason") or {}
    period = task.get("executionPeriod")
    return TaskRecord(
        id=task.get("id", ""),
        kind=kind,
        status=task["status"],
        owner=owner_of(task),
        patient=Reference(task.get("for", {}).get("reference", "")),
        focus=Reference(task.get("focus", {}).get("reference", "")),
        authored_on=task.get("authoredOn", ""),
        last_modified=task.get("lastModified", ""),
        requester=_optional_reference(task.get("requester")),
        activity=activity_of(task, canonical),
        description=task.get("description"),
        business_status=business_status_of(task, canonical),
        status_reason=(_first_code(reason), reason.get("text", "")) if reason else None,
        priority=Priority(task.get("priority", "routine")),
        part_of=part_of(task),
        based_on=_optional_reference((task.get("basedOn") or [None])[0]),
        findings=tuple(findings_of(task, canonical)),
        route_rule=route_rule_of(task, canonical),
        notes=tuple((n.get("authorString", ""), n.get("time", ""), n["text"]) for n in task.get("note", ())),
        due=task.get("restriction", {}).get("period", {}).get("end"),
        period=(period["start"], period.get("end")) if period and "start" in period else None,
    )


# ---------------------------------------------------------------- reading


def kind_of(task: Json, canonical: Canonical) -> TaskKind | None:
    """Which kind of Task it is by its code; None when no coding of it is one that Sluss keeps."""
    for coding in task.get("code", {}).get("coding", ()):
        match coding.get("system"), coding.get("code"):
            case (Systems.TASK_CODE, "fulfill"):
                return TaskKind.REFERRAL
            case (Systems.TASK_CODE, "abort"):
                return TaskKind.ABORT
            case (canonical.activity, _):
                return TaskKind.ACTIVITY
            case (canonical.task_kind, code) if code in OWN_KINDS:
                return TaskKind(code)
    return None


OWN_KINDS = frozenset(
    {
        TaskKind.SAFETY_FOLLOW_UP,
        TaskKind.RELAY_MESSAGE,
        TaskKind.TAKE_OVER,
        TaskKind.REMINDER,
        TaskKind.UNREADABLE_REFERRAL,
    },
)
"""CodeSystem `ikbt-task`."""


def activity_of(task: Json, canonical: Canonical) -> str | None:
    """The activity code of a child Task (`first-call`), or None."""
    return _coded(task.get("code"), canonical.activity)


def business_status_of(task: Json, canonical: Canonical) -> str | None:
    """The code of `businessStatus` in our CodeSystem, or None."""
    return _coded(task.get("businessStatus"), canonical.business_status)


def owner_of(task: Json) -> Reference:
    """The owner's literal reference, empty when there is none."""
    return Reference(task.get("owner", {}).get("reference", ""))


def part_of(task: Json) -> Reference | None:
    """The first Task that this one is part of."""
    return _optional_reference((task.get("partOf") or [None])[0])


def is_open(task: Json) -> bool:
    """True while something may still happen to the Task."""
    return task["status"] not in FINAL_STATES


def findings_of(task: Json, canonical: Canonical) -> Iterator[Finding]:
    """The findings that the Task carries as inputs."""
    for item in task.get("input", ()):
        if _coded(item.get("type"), canonical.task_input) == "finding":
            concept = item.get("valueCodeableConcept", {})
            rule = _coded(concept, canonical.rule) or ""
            verdict = _coded(concept, canonical.code_system("ikbt-verdict")) or Verdict.ADVICE
            alert = _coded(concept, canonical.code_system("ikbt-alert")) is not None
            yield Finding(rule, Verdict(verdict), concept.get("text", ""), "", alert=alert)


def inputs_but(task: Json, findings: Collection[Finding], canonical: Canonical) -> list[Json]:
    """Task.input without these of its findings."""
    return [
        item
        for item in task.get("input", ())
        if not any(finding in findings for finding in findings_of({"input": [item]}, canonical))
    ]


def route_rule_of(task: Json, canonical: Canonical) -> str | None:
    """The routing rule that chose the team."""
    for item in task.get("input", ()):
        if _coded(item.get("type"), canonical.task_input) == "route":
            value = item.get("valueString")
            return str(value) if value is not None else None
    return None


def outputs_of(task: Json, code: str, canonical: Canonical) -> list[Json]:
    """The outputs of one type of CodeSystem `task-output`, oldest first."""
    return [item for item in task.get("output", ()) if _coded(item.get("type"), canonical.task_output) == code]


# ---------------------------------------------------------------- building blocks


def inputs(findings: Sequence[Finding], route_rule: str | None, canonical: Canonical) -> list[Json]:
    """Task.input: one `finding` each, and the `route`."""
    made: list[Json] = [
        {
            "type": {"coding": [{"system": canonical.task_input, "code": "finding"}]},
            "valueCodeableConcept": finding_concept(finding, canonical),
        }
        for finding in findings
    ]
    if route_rule:
        made.append(
            {"type": {"coding": [{"system": canonical.task_input, "code": "route"}]}, "valueString": route_rule}
        )
    return made


def finding_concept(finding: Finding, canonical: Canonical) -> Json:
    """The rule, its verdict and whether it alerts, coded, with the Swedish text."""
    coding = [
        {"system": canonical.rule, "code": finding.rule},
        {"system": canonical.code_system("ikbt-verdict"), "code": str(finding.verdict)},
    ]
    if finding.alert:
        coding.append({"system": canonical.code_system("ikbt-alert"), "code": "suicide-risk"})
    return {"coding": coding, "text": finding.text}


def annotation(author: str, time: str, text: str) -> Json:
    """A note for people."""
    return {"authorString": author, "time": time, "text": text}


def business_status(code: str, canonical: Canonical) -> Json:
    """`businessStatus` with its code and Swedish text."""
    return {"coding": [{"system": canonical.business_status, "code": code}], "text": BUSINESS_STATUS[code]}


def rule_reason(rule: str, text: str, canonical: Canonical) -> Json:
    """`statusReason` where an eligibility rule is the reason."""
    return {"coding": [{"system": canonical.rule, "code": rule}], "text": text}


def own_reason(code: str, text: str, canonical: Canonical) -> Json:
    """`statusReason` where Sluss's own doing is the reason (withdrawn, closed with its parent …)."""
    return {"coding": [{"system": canonical.status_reason, "code": code}], "text": text}


def output(code: str, value: Json, canonical: Canonical) -> Json:
    """One Task.output; `value` is the value[x] element, for example `{"valueString": "…"}`."""
    return {"type": {"coding": [{"system": canonical.task_output, "code": code}]}, **value}


# ---------------------------------------------------------------- changes to a stored Task


def changed(task: Json, at: str, **elements: Any) -> Json:
    """A new Task with `elements` replaced (None removes one), last modified `at`, but never
    before it was authored (R4 invariant inv-1).
    """
    new = {name: value for name, value in task.items() if name not in elements}
    new |= {name: value for name, value in elements.items() if value not in (None, [])}
    new["lastModified"] = later_of(task.get("authoredOn"), at)
    return new


def later_of(authored_on: str | None, at: str) -> str:
    """`at`, unless the Task was authored later still (a clock that stepped back). Both are instants that Sluss wrote
    in the same form, or dateTimes of a client; they are compared as instants where both have a time.
    """
    if authored_on is None or "T" not in authored_on:
        return at
    return at if datetime.fromisoformat(at) >= datetime.fromisoformat(authored_on) else authored_on


def noted(task: Json, author: str, at: str, text: str) -> Json:
    """A new Task with one more note; older notes stay."""
    return changed(task, at, note=[*task.get("note", ()), annotation(author, at, text)])


def with_output(task: Json, at: str, *outputs: Json) -> Json:
    """A new Task with more outputs; older ones stay."""
    return changed(task, at, output=[*task.get("output", ()), *outputs])


def reassessed(task: Json, at: str, findings: Sequence[Finding], route_rule: str | None, canonical: Canonical) -> Json:
    """A new Task whose findings and route are those of a new assessment; other inputs stay."""
    ours = ("finding", "route") if route_rule else ("finding",)
    kept = [i for i in task.get("input", ()) if _coded(i.get("type"), canonical.task_input) not in ours]
    return changed(task, at, input=[*inputs(findings, route_rule, canonical), *kept])


def routed(task: Json, at: str, route_rule: str, canonical: Canonical) -> Json:
    """A new Task whose team was chosen by another routing rule; other inputs stay."""
    kept = [i for i in task.get("input", ()) if _coded(i.get("type"), canonical.task_input) != "route"]
    return changed(task, at, input=[*kept, *inputs((), route_rule, canonical)])


# ---------------------------------------------------------------- private


def _code(record: TaskRecord, canonical: Canonical) -> Json:
    if record.kind is TaskKind.ACTIVITY:
        return {"coding": [{"system": canonical.activity, "code": record.activity}], "text": record.description}
    system = Systems.TASK_CODE if record.kind in (TaskKind.REFERRAL, TaskKind.ABORT) else canonical.task_kind
    return {"coding": [{"system": str(system), "code": str(record.kind)}], "text": KIND_TITLES[record.kind]}


def _reason(record: TaskRecord, canonical: Canonical) -> Json | None:
    if record.status_reason is None:
        return None
    code, text = record.status_reason
    return rule_reason(code, text, canonical) if code else {"text": text}


def _period(period: tuple[str, str | None] | None) -> Json | None:
    if period is None:
        return None
    start, end = period
    return {"start": start, "end": end} if end else {"start": start}


def _optional_reference(element: Json | None) -> Reference | None:
    reference = (element or {}).get("reference")
    return Reference(reference) if reference else None


def _first_code(concept: Json) -> str:
    for coding in concept.get("coding", ()):
        if coding.get("code"):
            return str(coding["code"])
    return ""


def _coded(concept: Json | None, system: str) -> str | None:
    for coding in (concept or {}).get("coding", ()):
        if coding.get("system") == system and coding.get("code"):
            return str(coding["code"])
    return None
