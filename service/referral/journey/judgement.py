"""What a verdict leads to: the referral's Task, the message to the referrer, and the safety follow-up (contract 4)."""

from collections.abc import Mapping

from fhir_mappings import task as tasks
from fhir_mappings.issues import Severity
from fhir_mappings.records import (
    Assessment,
    Finding,
    Json,
    MessageCategory,
    Priority,
    Reference,
    Referral,
    Route,
    TaskKind,
    TaskRecord,
    Verdict,
)
from service.packs.texts import finding_lines, recalled, task_text
from service.referral.case import SLUSS_AUTHOR, Case, team_reference
from service.referral.evidence import risk_evidence
from service.referral.house import House
from service.store.records import NewReferral

STATUS = {
    Verdict.ELIGIBLE: "requested",
    Verdict.REVIEW: "requested",
    Verdict.INFORMATION: "on-hold",
    Verdict.RETURN: "rejected",
}
"""Task.status by verdict."""

MESSAGE = {
    Verdict.ELIGIBLE: MessageCategory.ACKNOWLEDGEMENT,
    Verdict.REVIEW: MessageCategory.ACKNOWLEDGEMENT,
    Verdict.INFORMATION: MessageCategory.INFORMATION_REQUEST,
    Verdict.RETURN: MessageCategory.RETURNED,
}
"""The message to the referrer by verdict."""

ITEM_9_LIMIT = "madrs-s-item-9"
"""The pack's limit for item 9 of MADRS-S."""


def open_task(case: Case, assessment: Assessment, route: Route, requester: Reference, referral: Referral) -> Reference:
    """The referral's Task as the verdict and the route make it, and the message to the referrer."""
    case.set(team=route.team, verdict=str(assessment.verdict))
    record = TaskRecord(
        id=_task_id(case),
        kind=TaskKind.REFERRAL,
        status=STATUS[assessment.verdict],
        business_status=business_status(assessment.verdict, route.needs_routing),
        status_reason=reason_of(assessment),
        owner=team_reference(route.team),
        patient=case.patient,
        focus=case.order_reference,
        requester=requester,
        priority=highest(referral.priority, assessment),
        findings=assessment.findings,
        route_rule=route.rule,
        authored_on=case.at,
        last_modified=case.at,
        notes=_notes(case, assessment, route, referral),
    )
    reference = case.put(tasks.to_fhir_task(record, case.canonical))
    if referral.start_call is not None and any(f.rule == "start-call-not-bookable" for f in route.findings):
        unbook(case, referral)
    answer(case, assessment, route)
    return reference


def answer(case: Case, assessment: Assessment, route: Route) -> None:
    """Tell the referrer the verdict."""
    category = MESSAGE[assessment.verdict]
    case.tell(category, findings=_worth_telling(category, assessment), start=route.start)


def raise_alert(
    case: Case, assessment: Assessment, referral: Referral, became: Mapping[str, Reference] | None = None
) -> bool:
    """A safety follow-up and a safety alert when the evidence shows signs of suicide risk that nobody was alerted to
    before. `became` maps what the submission calls its parts to what they are stored as.
    """
    keys = [_stored_key(key, became or {}) for key in risk_evidence(referral, _item_9_threshold(case))]
    # what no longer says so is forgotten, and alerts anew if it ever says so again
    standing = tuple(key for key in case.row.alerted if key in keys or "#" not in key)
    alerting = [finding for finding in assessment.findings if finding.alert]
    fresh = [key for key in keys or [finding.rule for finding in alerting] if key not in standing] if alerting else []
    if not fresh:
        if standing != case.row.alerted:
            case.set(alerted=standing)
        return False
    case.set(alerted=(*standing, *fresh))
    case.add_task(
        TaskKind.SAFETY_FOLLOW_UP,
        priority=Priority.STAT,
        findings=tuple(alerting),
        description=task_text(
            case.house.pack,
            "task-safety-follow-up",
            programme=case.house.pack.programmes[case.row.programme].title,
            reference=case.row.placer_value,
            findings=finding_lines(alerting, for_referrer=False),
        ),
    )
    case.tell(MessageCategory.SAFETY_ALERT, findings=alerting, priority=Priority.STAT)
    case.record("alerted", rules=[finding.rule for finding in alerting])
    task = case.task
    if task.get("priority") != Priority.STAT:
        case.put(tasks.changed(task, case.at, priority=str(Priority.STAT)))
    return True


def unbook(case: Case, referral: Referral) -> None:
    """An Appointment from somebody who may not book is stored as sent, then our next version is cancelled; the wished
    time stays as a note on the Task (contract 3, 5).
    """
    case.write_now()
    for appointment in case.all_of("Appointment"):
        if appointment["status"] not in ("cancelled", "entered-in-error"):
            case.put({**appointment, "status": "cancelled"})
    if referral.start_call is not None:
        case.note(f"Remittenten önskade startsamtal {_in_words(referral.start_call.start)}. Tiden är inte bokad.")


def business_status(verdict: Verdict, needs_routing: bool) -> str | None:
    """Task.businessStatus: what is asked for goes before who should have it; both wait for a person anyway."""
    if verdict is Verdict.INFORMATION:
        return "information-requested"
    return "needs-routing" if needs_routing and verdict is not Verdict.RETURN else None


def reason_of(assessment: Assessment) -> tuple[str, str] | None:
    """The statusReason of a returned referral: the gravest rule as coding, all in text."""
    if assessment.verdict is not Verdict.RETURN:
        return None
    grave = [finding for finding in assessment.findings if finding.verdict is Verdict.RETURN]
    return grave[0].rule, " ".join(finding.text for finding in grave)


def highest(priority: Priority, assessment: Assessment) -> Priority:
    """The higher of the ServiceRequest's priority and the alert's."""
    return Priority.STAT if assessment.alert else priority


def stored_assessment(row: NewReferral, task: Json, house: House) -> Assessment:
    """The verdict and findings as they stand on the Task, with what else the pack says of them."""
    findings = tuple(recalled(finding, house.pack) for finding in tasks.findings_of(task, house.canonical))
    return Assessment(Verdict(row.verdict), findings)


SEVERITY = {
    Verdict.ADVICE: Severity.INFORMATION,
    Verdict.ELIGIBLE: Severity.INFORMATION,
    Verdict.REVIEW: Severity.WARNING,
    Verdict.INFORMATION: Severity.WARNING,
    Verdict.RETURN: Severity.WARNING,
}
"""How grave a finding is as an issue of an OperationOutcome. Never error: the referral was received."""


def _task_id(case: Case) -> str:
    """The first Task has the id that the row reserved; a later one on the same focus gets its own."""
    if case.get(Reference(f"Task/{case.row.task}")) is None:
        return case.row.task
    fresh = case.house.new_id()
    case.set(task=fresh)
    return fresh


def _notes(case: Case, assessment: Assessment, route: Route, referral: Referral) -> tuple[tuple[str, str, str], ...]:
    """What people should read on the Task: the findings, whom the route passed over, and a booked start call."""
    texts = [finding.text for finding in assessment.findings]
    teams = case.house.pack.teams
    if route.instead_of:
        away = ", ".join(teams[team].name for team in route.instead_of)
        texts.append(f"Frånvarande i dag: {away}.")
    if referral.start_call is not None and not any(f.rule == "start-call-not-bookable" for f in route.findings):
        texts.append(f"Remittenten har bokat startsamtal {_in_words(referral.start_call.start)}.")
    return tuple((SLUSS_AUTHOR, case.at, text) for text in texts)


def _worth_telling(category: MessageCategory, assessment: Assessment) -> list[Finding]:
    """The findings that the message is about: a request names what is missing, a return why, a confirmation all."""
    if category is MessageCategory.INFORMATION_REQUEST:
        return [f for f in assessment.findings if f.verdict is Verdict.INFORMATION]
    if category is MessageCategory.RETURNED:
        return [f for f in assessment.findings if f.verdict is Verdict.RETURN]
    return list(assessment.findings)


def _stored_key(key: str, became: Mapping[str, Reference]) -> str:
    source, hash_, said = key.rpartition("#")
    return f"{became.get(source, source)}{hash_}{said}"


def _item_9_threshold(case: Case) -> int:
    return case.house.pack.limits[ITEM_9_LIMIT].value


def _in_words(start: str) -> str:
    """`2026-12-01T09:00:00+01:00` as `2026-12-01 kl. 09:00`."""
    day, _, time = start.partition("T")
    return f"{day} kl. {time[:5]}" if time else day
