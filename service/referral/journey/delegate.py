"""A therapist adds a Task: a further activity, a take-over by another team, or a returned referral taken in after all.

Contract 4 (override), 6 (`extra-contact`), 7 (`take-over`).
"""

from fhir_mappings import task as tasks
from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, MessageCategory, Priority, Reference, TaskKind, TaskRecord
from fhir_mappings.service_request import unknown_modifier_extensions
from service.access.caller import Caller, Role
from service.access.rights import Actor, actors
from service.packs.texts import task_text
from service.referral.case import Case, team_reference
from service.referral.house import House
from service.referral.journey.opening import open_case
from service.referral.journey.ownership import team_of
from service.referral.journey.treatment import add_activity, join_plan, room_for
from service.referral.refusal import Kind, Refusal, forbidden
from service.referral.task_guard import forged
from service.store.records import Stored

_UNDERWAY = ("accepted", "in-progress", "on-hold")


def add_task(house: House, caller: Caller, sent: Json) -> Stored:
    """Store a Task that a therapist has made. Raises Refusal: not found, forbidden, invalid.

    Sluss keeps code, description, note, executionPeriod, priority and restriction as sent, the sender's identifiers
    beside its own, and sets the rest: owner, patient, CarePlan and times are those of the referral.
    """
    kind = tasks.kind_of(sent, house.canonical)
    parent, issues = _parent(sent, kind)
    if parent is None:
        if caller.role not in (Role.THERAPIST, Role.ADMINISTRATOR):
            raise _not_the_team(caller)
        raise Refusal(Kind.INVALID, issues)
    with house.store.change() as change:
        case = open_case(house, change, caller, parent)
        _may(case, kind)
        if issues:
            raise Refusal(Kind.INVALID, issues)
        match kind:
            case TaskKind.ACTIVITY:
                reference = _add_activity(case, sent, parent)
            case TaskKind.TAKE_OVER:
                reference = _ask_to_take_over(case, sent, parent)
            case _:
                reference = _override(case, sent)
        case.record("added", task=reference, kind=str(kind))
        return case.save()[reference]


def _parent(sent: Json, kind: TaskKind | None) -> tuple[Reference | None, list[Issue]]:
    """What the new Task hangs on: the referral's Task, or for an override the ServiceRequest in focus. With it every
    problem that can be told without the referral; they are told after who may do this at all.
    """
    focus = Reference(sent.get("focus", {}).get("reference", ""))
    expressions = {
        TaskKind.ACTIVITY: ("Task.partOf", tasks.part_of(sent)),
        TaskKind.TAKE_OVER: ("Task.partOf", tasks.part_of(sent)),
        TaskKind.REFERRAL: ("Task.focus", focus),
    }
    issues = [*unknown_modifier_extensions(sent, "Task"), *forged([note for _, note in children(sent, "note")])]
    if kind not in expressions:
        issues.append(
            error(
                IssueCode.CODE_INVALID,
                "Task.code",
                "En behandlare kan lägga till: en aktivitet, take-over, eller fulfill för en återsänd remiss.",
                "code must be an ikbt-activity, ikbt-task#take-over, or task-code#fulfill on a returned referral",
            )
        )
    if sent.get("status") != "requested":
        issues.append(
            error(IssueCode.VALUE, "Task.status", "En ny uppgift är requested.", "a new Task has status requested")
        )
    if sent.get("intent") != "order":
        issues.append(error(IssueCode.VALUE, "Task.intent", "En uppgift är en order.", "intent must be order"))
    expression, parent = expressions.get(kind, ("", None)) if kind else ("", None)
    if expression and not parent:
        issues.append(
            error(
                IssueCode.REQUIRED,
                expression,
                "Ange vilken remiss uppgiften hör till.",
                f"{expression} must refer to the referral's {'Task' if 'partOf' in expression else 'ServiceRequest'}",
            )
        )
    # what hangs on nothing, or on the wrong element, still names the referral that decides who may do this
    return parent or tasks.part_of(sent) or focus or None, issues


def _may(case: Case, kind: TaskKind | None) -> None:
    """Only the team that owns the referral adds to it; coordination may ask another team to take over as well."""
    owner = team_of(case.house, tasks.owner_of(case.task))
    who = actors(
        case.caller,
        owner.id if owner else None,
        case.row.organisation,  # type: ignore[arg-type]  # stored as text
        case.house.pack.coordination,
    )
    asks = kind is TaskKind.TAKE_OVER and Actor.COORDINATION in who
    if Actor.OWNER not in who and not asks:
        raise _not_the_team(case.caller)


def _not_the_team(caller: Caller) -> Refusal:
    return forbidden(
        "Bara teamet som har remissen lägger till uppgifter.",
        f"caller {caller.label!r} is not the team that owns the referral",
    )


def _must_be_underway(case: Case, parent: Reference) -> None:
    """On-hold before acceptance is not underway: then there is no CarePlan yet."""
    task, states = case.task, _UNDERWAY
    if parent != f"Task/{task['id']}" or task["status"] not in states or case.care_plan is None:
        raise Refusal(
            Kind.INVALID,
            [
                error(
                    IssueCode.BUSINESS_RULE,
                    "Task.partOf",
                    f"Remissen är {task['status']}. Det går när den är accepterad och i något av: {', '.join(states)}.",
                    f"partOf must be the referral's current Task, accepted, in one of: {', '.join(states)}",
                )
            ],
        )


def _add_activity(case: Case, sent: Json, parent: Reference) -> Reference:
    _must_be_underway(case, parent)
    activity, problem = room_for(case, tasks.activity_of(sent, case.canonical) or "")
    if activity is None or problem is not None:
        raise Refusal(Kind.INVALID, [problem] if problem else [])
    plan = case.care_plan
    reference = add_activity(case, activity, Reference(f"CarePlan/{plan['id']}") if plan else None)
    _keep_as_sent(case, reference, sent)
    join_plan(case, reference)
    return reference


def _ask_to_take_over(case: Case, sent: Json, parent: Reference) -> Reference:
    _must_be_underway(case, parent)
    owner = tasks.owner_of(sent)
    team = team_of(case.house, owner)
    if team is None or team.id == case.team.id or owner != team_reference(team.id):
        raise Refusal(
            Kind.INVALID,
            [
                error(
                    IssueCode.VALUE,
                    "Task.owner.reference",
                    "Ange det andra teamet som ägare.",
                    "owner must be another team's HealthcareService",
                )
            ],
        )
    reference = case.add_task(
        TaskKind.TAKE_OVER,
        owner=team_reference(team.id),
        part_of=parent,
        description=task_text(case.house.pack, "task-take-over", previous_team=case.team.name, team=team.name),
    )
    _keep_as_sent(case, reference, sent)
    return reference


def _override(case: Case, sent: Json) -> Reference:
    """A returned referral is taken in after all: a new Task on the same focus, with a note who and why."""
    old = case.task
    reasons = [n for _, n in children(sent, "note") if text(n, "text") and text(n, "authorString")]
    issues = []
    if old["status"] != "rejected":
        issues.append(
            error(
                IssueCode.BUSINESS_RULE,
                "Task.focus",
                f"Bara en återsänd remiss kan tas in ändå; den här är {old['status']}.",
                f"only a rejected referral can be overridden; this one is {old['status']}",
            )
        )
    if case.order["status"] != "active":
        issues.append(
            error(
                IssueCode.BUSINESS_RULE,
                "Task.focus",
                "Remittenten har återkallat remissen.",
                f"the ServiceRequest is {case.order['status']}; only an active one can be taken in",
            )
        )
    if not reasons:
        issues.append(
            error(
                IssueCode.REQUIRED,
                "Task.note",
                "Skriv vem som tar in remissen ändå och varför (note med authorString och text).",
                "an override needs a note with authorString (who) and text (why)",
            )
        )
    if issues:
        raise Refusal(Kind.INVALID, issues)
    fresh = case.house.new_id()
    record = TaskRecord(
        id=fresh,
        kind=TaskKind.REFERRAL,
        status="requested",
        owner=tasks.owner_of(old),
        patient=case.patient,
        focus=case.order_reference,
        requester=Reference(old["requester"]["reference"]),
        priority=Priority(old.get("priority", "routine")),
        findings=tuple(tasks.findings_of(old, case.canonical)),
        route_rule=tasks.route_rule_of(old, case.canonical),
        authored_on=case.at,
        last_modified=case.at,
        notes=tuple((n["authorString"], n.get("time", case.at), n["text"]) for n in reasons),
    )
    made = tasks.to_fhir_task(record, case.canonical)
    reference = case.put({**made, "identifier": _identified(made, sent)})
    case.set(task=fresh)
    case.record("overridden", before=f"Task/{old['id']}", after=reference)
    case.tell(MessageCategory.ACKNOWLEDGEMENT)  # the referrer has been told that it was returned
    return reference


def _keep_as_sent(case: Case, reference: Reference, sent: Json) -> None:
    """What the therapist may say about a Task of its own stays as sent."""
    made = case.get(reference)
    assert made is not None  # noqa: S101  just put
    kept: Json = {
        n: sent[n] for n in ("description", "note", "executionPeriod", "priority", "restriction") if n in sent
    }
    case.put({**made, **kept, "identifier": _identified(made, sent)})


def _identified(made: Json, sent: Json) -> list[Json]:
    """With the identifiers of who sent it, which a repeated create asks for (If-None-Exist)."""
    own = {identifier["system"] for identifier in made["identifier"]}
    return [*made["identifier"], *(i for _, i in children(sent, "identifier") if text(i, "system") not in own)]
