"""The treatment that follows acceptance: the CarePlan and its child Tasks (contract 6)."""

from collections.abc import Sequence
from datetime import date, timedelta

from fhir_mappings import task as tasks
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Activity, Programme, Reference, TaskKind, TreatmentPlan
from fhir_mappings.treatment import started, to_fhir_care_plan, with_activities, with_status
from service.referral.case import Case, team_reference


def programme_of(case: Case) -> Programme:
    """The programme that the referrer chose."""
    return case.house.pack.programmes[case.row.programme]


def plan_treatment(case: Case) -> None:
    """At acceptance: a CarePlan in draft with a child Task for each activity of the programme."""
    house = case.house
    programme = programme_of(case)
    plan_id = house.new_id()
    plan_reference = Reference(f"CarePlan/{plan_id}")
    children = [
        add_activity(case, activity, plan_reference) for activity in programme.activities for _ in range(activity.count)
    ]
    start, end = _period(case.moment.date(), programme)
    plan = TreatmentPlan(
        id=plan_id,
        status="draft",
        programme=case.canonical.plan_definition(house.pack.name, programme.code),
        title=programme.title,
        description=programme.description,
        patient=case.patient,
        referral=case.order_reference,
        author=_author(case),
        created=case.at,
        start=start,
        end=end,
        activities=tuple(children),
    )
    case.put(to_fhir_care_plan(plan, case.canonical))
    output = tasks.output("care-plan", {"valueReference": {"reference": plan_reference}}, case.canonical)
    case.put(tasks.with_output(case.task, case.at, output))


def add_activity(case: Case, activity: Activity, plan: Reference | None, **fields: object) -> Reference:
    """One child Task for an activity; the first start call gets the time that the referrer booked."""
    first = not any(tasks.activity_of(child, case.canonical) == activity.code for child in case.activities())
    booked = _booked_start(case) if first and activity.code == "first-call" else None
    return case.add_task(
        TaskKind.ACTIVITY,
        activity=activity.code,
        description=activity.title,
        part_of=Reference(f"Task/{case.task['id']}"),
        based_on=plan,
        period=booked,
        **fields,
    )


def join_plan(case: Case, child: Reference) -> None:
    """A child Task that came later becomes an activity of the CarePlan."""
    plan = case.care_plan
    if plan is not None:
        case.put(with_activities(plan, [child]))


def start_treatment(case: Case) -> None:
    """At the start: the CarePlan is active for the programme's longest duration from today."""
    plan = case.care_plan
    if plan is not None:
        case.put(started(plan, *_period(case.moment.date(), programme_of(case))))
    task = case.task
    if "start" not in task.get("executionPeriod", {}):
        case.put(tasks.changed(task, case.at, executionPeriod={**task.get("executionPeriod", {}), "start": case.at}))


def set_plan(case: Case, status: str) -> None:
    """The CarePlan follows its Task."""
    plan = case.care_plan
    if plan is not None and plan["status"] != status:
        case.put(with_status(plan, status))


def end_treatment(case: Case, plan_status: str, why: str) -> None:
    """With the Task its CarePlan ends, and the child Tasks that are still open are cancelled; so are an unanswered
    abort and take-over. A safety follow-up stays: only a person ends it.
    """
    set_plan(case, plan_status)
    cancel_open(case, (TaskKind.ACTIVITY, TaskKind.TAKE_OVER, TaskKind.ABORT), why)
    task = case.task
    period = task.get("executionPeriod", {})
    if "start" in period and "end" not in period:
        case.put(tasks.changed(task, case.at, executionPeriod={**period, "end": case.at}))


def cancel_open(case: Case, kinds: Sequence[TaskKind], why: str) -> None:
    """Cancel the child Tasks of these kinds that nobody has answered or done."""
    reason = tasks.own_reason("parent-ended", why, case.canonical)
    parent = f"Task/{case.task['id']}"
    for child in [task for kind in kinds for task in case.tasks_of(kind)]:
        if tasks.part_of(child) == parent and child["status"] == "requested":
            case.move(child, "cancelled", statusReason=reason)


def unready(case: Case) -> list[Issue]:
    """Why the treatment cannot start yet: activities of the pack that come before and are not completed."""
    missing = [a.title for a in programme_of(case).activities if a.before_start and not is_done(case, a.code)]
    return [_missing("Task.status", missing, "starta", "start")] if missing else []


def unfinished(case: Case) -> list[Issue]:
    """Why the reply cannot go yet: activities of the pack that come before the reply and are not completed."""
    missing = [a.title for a in programme_of(case).activities if a.before_reply and not is_done(case, a.code)]
    return [_missing("Task.status", missing, "avslutas", "be completed")] if missing else []


def out_of_turn(case: Case, code: str) -> list[Issue]:
    """Why an activity cannot be completed yet: those before the start are completed in the pack's order."""
    before = [a for a in programme_of(case).activities if a.before_start]
    codes = [a.code for a in before]
    if code not in codes:
        return []
    missing = [a.title for a in before[: codes.index(code)] if not is_done(case, a.code)]
    return [_missing("Task.status", missing, "slutföras", "be completed")] if missing else []


def room_for(case: Case, code: str) -> tuple[Activity | None, Issue | None]:
    """The pack's activity when one more child Task of it may be made; else why not."""
    activity = next((a for a in programme_of(case).activities if a.code == code), None)
    if activity is None:
        known = ", ".join(a.code for a in programme_of(case).activities)
        return None, error(
            IssueCode.CODE_INVALID,
            "Task.code",
            f"Aktiviteten {code} finns inte i programmet. Det finns: {known}.",
            f"activity {code!r} is not part of the programme; known: {known}",
        )
    taken = sum(
        1 for t in case.activities() if tasks.activity_of(t, case.canonical) == code and t["status"] not in _UNUSED
    )
    if taken >= activity.most:
        return None, error(
            IssueCode.BUSINESS_RULE,
            "Task.code",
            f"Det finns redan {taken} av {activity.title.lower()}, fler än {activity.most} görs inte.",
            f"there are already {taken} child Tasks of {code!r}; at most {activity.most}",
        )
    return activity, None


def is_done(case: Case, code: str) -> bool:
    """True when a child Task of that activity is completed."""
    return any(
        tasks.activity_of(child, case.canonical) == code and child["status"] == "completed"
        for child in case.activities()
    )


def close_with_reply(case: Case) -> None:
    """The activity that the final reply itself is, completed."""
    closing = {a.code for a in programme_of(case).activities if a.closes_with_reply}
    for child in case.activities():
        if tasks.activity_of(child, case.canonical) in closing and child["status"] == "requested":
            case.move(child, "completed")


def hand_over_children(case: Case, team: str) -> None:
    """Open Tasks of the referral follow it to another team; a reminder that went to coordination stays there."""
    coordination = team_reference(case.house.pack.coordination)
    for task in case.all_of("Task"):
        mine = task["id"] != case.task["id"] and tasks.is_open(task) and tasks.owner_of(task) != coordination
        if mine and tasks.kind_of(task, case.canonical) is not TaskKind.TAKE_OVER:
            case.put(tasks.changed(task, case.at, owner={"reference": team_reference(team)}))


_UNUSED = ("cancelled", "failed", "rejected")


def _author(case: Case) -> Reference:
    """The accepting PractitionerRole, else the Organization where the team is seated."""
    owner = tasks.owner_of(case.task)
    if owner.startswith("PractitionerRole/"):
        return owner
    hsa_id = case.team.hsa_id
    return case.change.natural("Organization", [hsa_id])[hsa_id]


def _period(day: date, programme: Programme) -> tuple[str, str]:
    return day.isoformat(), (day + timedelta(weeks=programme.weeks[1])).isoformat()


def _booked_start(case: Case) -> tuple[str, str | None] | None:
    """The time of a start call that the referrer was entitled to book and that still stands."""
    for appointment in case.all_of("Appointment"):
        if appointment["status"] in ("booked", "pending", "proposed") and "start" in appointment:
            return appointment["start"], appointment.get("end")
    return None


def _missing(expression: str, titles: list[str], verb: str, verb_en: str) -> Issue:
    listed = ", ".join(titles)
    return error(
        IssueCode.BUSINESS_RULE,
        expression,
        f"Kan inte {verb} förrän detta är gjort: {listed}.",
        f"cannot {verb_en} before these activities are completed in order: {listed}",
    )
