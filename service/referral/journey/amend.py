"""The referrer changes what it sent: a new version of the referral, new evidence, or a withdrawal (contract 3, 7).

Before acceptance the referral is assessed and routed anew; later it is kept and the therapist told by a note; after a
rejection or a cancellation a new Task begins on the same focus. The alert rules run every time, in every state.
"""

from fhir_mappings import task as tasks
from fhir_mappings.bundle import rewrite_references
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.madrs_s import from_fhir_response, is_madrs_s_response, to_fhir_observation
from fhir_mappings.records import (
    Assessment,
    Json,
    MessageCategory,
    Reference,
    Referral,
    Route,
    TaskKind,
)
from service.access.caller import SLUSS, Caller
from service.access.rights import Actor, actors, may_refer
from service.packs.texts import task_text
from service.referral.case import Case, team_reference
from service.referral.house import House
from service.referral.intake import Part, Submission, Unreadable, parts_of, read_parts
from service.referral.journey.consequences import cancel_withdrawn
from service.referral.journey.judgement import (
    STATUS,
    answer,
    business_status,
    highest,
    open_task,
    raise_alert,
    reason_of,
    stored_assessment,
    unbook,
)
from service.referral.journey.opening import open_case
from service.referral.journey.ownership import team_of
from service.referral.journey.progress import check_version
from service.referral.journey.receive import Receipt, judge, keep, reading_for
from service.referral.journey.treatment import hand_over_children
from service.referral.parties import Parties, settle
from service.referral.refusal import Kind, Refusal, forbidden
from service.referral.states import Denied, advance
from service.store.records import Stored

WITHDRAWN = ("revoked", "entered-in-error")

_BEFORE = ("requested", "received")
_ENDED_UNTREATED = ("rejected", "cancelled")


def amend(house: House, caller: Caller, sent: Json, order_id: str, if_match: int | None = None) -> Receipt:
    """A new version of a referral: `sent` is the whole ServiceRequest, or a transaction Bundle that PUTs it with new
    evidence. Raises Refusal: not found, stale, forbidden, invalid.
    """
    reference = Reference(f"ServiceRequest/{order_id}")
    with house.store.change() as change:
        case = open_case(house, change, caller, reference)
        check_version(case, reference, if_match)
        if not may_refer(caller, case.row.organisation):  # type: ignore[arg-type]  # stored as text
            raise _not_yours(caller)
        order_part, beside, issues = parts_of(sent)
        if order_part is None or issues:
            raise Refusal(Kind.INVALID, issues)
        status = order_part.resource.get("status")
        if status in WITHDRAWN:
            return _withdraw(case, order_part)
        if status == "completed" and case.task["status"] == "completed":
            return _closed_by_referrer(case, order_part)
        read = _read(case, order_part, beside)
        found = list(read.issues) if isinstance(read, Unreadable) else []
        found += _unchangeable(case, order_part, read)
        if isinstance(read, Unreadable) or any(map(is_error, found)):
            raise Refusal(Kind.INVALID, found)
        change.lock_patient(case.row.patient_key)
        parties = settle(house, change, read)
        case.organisation = parties.organisation
        keep(case, read, parties)
        case.record("amended")
        return _reconsidered(case, "Remissen är ändrad av remittenten.", parties)


def add_evidence(house: House, caller: Caller, sent: Json) -> Stored:
    """New evidence for a referral: an Observation or a QuestionnaireResponse that is `basedOn` its ServiceRequest,
    from the referrer or from the team that treats the patient. Raises Refusal.
    """
    about = next(
        (
            literal
            for _, r in children(sent, "basedOn")
            if (literal := text(r, "reference")) and literal.startswith("ServiceRequest/")
        ),
        None,
    )
    if about is None:
        raise Refusal(
            Kind.INVALID,
            [
                error(
                    IssueCode.REQUIRED,
                    f"{sent['resourceType']}.basedOn",
                    "Ange vilken remiss uppgiften hör till.",
                    "basedOn must refer to the ServiceRequest that this is evidence for",
                )
            ],
        )
    with house.store.change() as change:
        case = open_case(house, change, caller, Reference(about))
        return _take_evidence(case, {**sent, "id": house.new_id()})


def change_evidence(house: House, caller: Caller, sent: Json, if_match: int | None = None) -> Stored:
    """A new version of evidence that is already here, by whoever may add it. Raises Refusal."""
    reference = Reference(f"{sent['resourceType']}/{sent['id']}")
    with house.store.change() as change:
        case = open_case(house, change, caller, reference)
        check_version(case, reference, if_match)
        current = case.get(reference)
        if current is None or _is_computed(current, case):
            raise forbidden(
                "Poängen är beräknad av Sluss. Ändra formuläret den kommer från.",
                "this Observation is computed by Sluss; change the QuestionnaireResponse that it is derived from",
            )
        return _take_evidence(case, sent)


# ---------------------------------------------------------------- private


def _take_evidence(case: Case, resource: Json) -> Stored:
    owner = team_of(case.house, tasks.owner_of(case.task))
    who = actors(
        case.caller,
        owner.id if owner else None,
        case.row.organisation,  # type: ignore[arg-type]  # stored as text
        case.house.pack.coordination,
    )
    from_referrer = may_refer(case.caller, case.row.organisation)  # type: ignore[arg-type]
    if not from_referrer and Actor.OWNER not in who:
        raise _not_yours(case.caller)
    reference = Reference(f"{resource['resourceType']}/{resource['id']}")
    part = Part(resource, resource["resourceType"], reference)
    read = _read(case, Part(case.order, "ServiceRequest"), [part])
    if isinstance(read, Unreadable):
        # what is wrong with the rest of the referral was accepted when it came; only the new evidence is judged here
        mine = [issue for issue in read.issues if (issue.expression or "").startswith(resource["resourceType"])]
        raise Refusal(Kind.INVALID, mine or read.issues)
    case.put({name: value for name, value in resource.items() if name != "meta"})
    _renew_computed(case, reference, resource)
    case.record("evidence", resource=reference)
    if from_referrer:
        case.change.lock_patient(case.row.patient_key)
        _reconsidered(case, "Remittenten har lämnat nya uppgifter.", None)
    else:
        # the treating team's own follow-up is not a new referral, but its signs of risk alert like any other
        referral = _current(case)
        raise_alert(case, _alone(case, referral), referral)
        case.save()
    stored = case.change.get(*reference.split("/"))
    assert stored is not None  # noqa: S101  just written
    return stored


def _read(case: Case, order: Part, beside: list[Part]) -> Submission | Unreadable:
    """The referral as the stored evidence, the given ServiceRequest and what comes with it make it."""
    new = {part.source for part in beside}
    stored = [
        Part(resource, "ServiceRequest", f"{resource['resourceType']}/{resource['id']}")
        for resource in case.all_of("Observation", "QuestionnaireResponse", "Condition", "Appointment")
        if f"{resource['resourceType']}/{resource['id']}" not in new and not _is_computed(resource, case)
    ]
    reading = reading_for(case.house)
    read = read_parts(order, [*beside, *stored], reading, _lookup(case))
    if isinstance(read, Unreadable):
        return read
    return Submission(
        referral=read.referral,
        order=read.order,
        parts=tuple(beside),
        evidence=read.evidence,
        advice=read.advice,
        fingerprint=read.fingerprint,
        subject=read.subject,
        requester_parts=read.requester_parts,
    )


def _current(case: Case) -> Referral:
    """The referral as it stands, new evidence included."""
    read = _read(case, Part(case.order, "ServiceRequest", case.order_reference), [])
    if isinstance(read, Unreadable):
        raise Refusal(Kind.INVALID, read.issues)
    return read.referral


def _lookup(case: Case) -> "StoredLookup":
    return StoredLookup(case)


class StoredLookup:
    """Finds stored resources: of this referral, and the parties that referrals share."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __call__(self, reference: str) -> Json | None:
        """The resource of `Type/id`, or None."""
        own = self.case.get(Reference(reference))
        if own is not None:
            return own
        type_, _, id_ = reference.partition("/")
        if type_ not in ("Patient", "Organization", "PractitionerRole", "Practitioner"):
            return None
        stored = self.case.change.get(type_, id_)
        return stored.content if stored else None


def _reconsidered(case: Case, why: str, parties: Parties | None) -> Receipt:
    """Judge the referral as it is now and do what its state allows."""
    referral = _current(case)
    task = case.task
    status = task["status"]
    before = status in _BEFORE or (status == "on-hold" and not case.has_started)
    if before:
        assessment, route = judge(case, referral)
        _rejudge(case, assessment, route, referral)
    elif status in _ENDED_UNTREATED and case.order["status"] == "active":
        assessment, route = judge(case, referral)
        requester = parties.requester if parties else Reference(task["requester"]["reference"])
        case.set(task=case.house.new_id())
        open_task(case, assessment, route, requester, referral)
    else:
        assessment, route = _alone(case, referral), None
        case.note(f"{why} Läs remissen igen; den är inte bedömd på nytt.")
    raise_alert(case, assessment, referral)
    written = case.save()
    order = written.get(case.order_reference) or case.change.get("ServiceRequest", case.row.service_request)
    stored_task = written.get(Reference(f"Task/{case.task['id']}")) or case.change.get("Task", case.task["id"])
    assert order is not None  # noqa: S101  a referral is never without them
    assert stored_task is not None  # noqa: S101
    return Receipt(order, stored_task, assessment, case.team, route, ())


def _alone(case: Case, referral: Referral) -> Assessment:
    """The assessment for its alerts: nothing else of it is used once the referral has been accepted."""
    assessment, _ = judge(case, referral)
    return assessment


def _rejudge(case: Case, assessment: Assessment, route: Route, referral: Referral) -> None:
    """The same Task with a new verdict, and perhaps another team."""
    task = case.task
    before, after = task["status"], STATUS[assessment.verdict]
    if before == "received" and after == "requested" and route.team == case.team.id:
        after = "received"
    if before != after:
        denied = advance(TaskKind.REFERRAL, before, after, actors(SLUSS, None, None, case.house.pack.coordination))
        assert not isinstance(denied, Denied)  # noqa: S101  the table has every move of Sluss's
        case.record("moved", task=f"Task/{task['id']}", **{"from": before, "to": after})
    previous = case.team
    case.set(team=route.team, verdict=str(assessment.verdict), programme=referral.programme)
    reason = reason_of(assessment)
    coded = business_status(assessment.verdict, route.needs_routing)
    stays = route.team == previous.id
    task = tasks.changed(
        tasks.reassessed(task, case.at, assessment.findings, route.rule, case.canonical),
        case.at,
        status=after,
        statusReason=tasks.rule_reason(*reason, case.canonical) if reason else None,
        businessStatus=tasks.business_status(coded, case.canonical) if coded else None,
        owner=task["owner"] if stays else {"reference": team_reference(route.team)},
        priority=str(highest(referral.priority, assessment)),
    )
    case.put(task)
    for finding in assessment.findings:
        if not any(note["text"] == finding.text for note in task.get("note", ())):
            case.note(finding.text)
    if any(finding.rule == "start-call-not-bookable" for finding in route.findings):
        unbook(case, referral)
    if not stays:
        hand_over_children(case, route.team)
        case.tell(MessageCategory.REROUTED, previous_team=previous)
    answer(case, assessment, route)


def _withdraw(case: Case, order: Part) -> Receipt:
    """The referrer takes the referral back: the Task is cancelled, or, once the treatment has started, the therapist
    is asked to abort it.
    """
    if case.order.get("status") in WITHDRAWN and order.resource.get("status") == case.order.get("status"):
        return _receipt(case)  # said before: nothing changes
    case.put(_as_sent(case, order))
    case.record("withdrawn", status=order.resource.get("status"))
    task = case.task
    if tasks.is_open(task):
        if case.has_started:
            _ask_to_abort(case)
        else:
            case.record("moved", task=f"Task/{task['id']}", **{"from": task["status"], "to": "cancelled"})
            cancel_withdrawn(case, "Återkallad av remittenten.")
            case.tell(MessageCategory.WITHDRAWAL_CONFIRMED)
    return _receipt(case)


def _ask_to_abort(case: Case) -> None:
    waiting = [t for t in case.tasks_of(TaskKind.ABORT) if t["status"] == "requested"]
    if waiting:
        return
    case.add_task(
        TaskKind.ABORT,
        part_of=Reference(f"Task/{case.task['id']}"),
        focus=Reference(f"Task/{case.task['id']}"),
        requester=case.organisation,
        description=task_text(case.house.pack, "task-abort", reference=case.row.placer_value),
    )
    case.put(
        tasks.changed(case.task, case.at, businessStatus=tasks.business_status("withdrawal-requested", case.canonical))
    )


def _closed_by_referrer(case: Case, order: Part) -> Receipt:
    """The referrer marks its own ServiceRequest completed after the final reply: kept, and nothing follows."""
    case.put(_as_sent(case, order))
    case.record("closed-by-referrer")
    return _receipt(case)


def _receipt(case: Case) -> Receipt:
    written = case.save()
    order = written.get(case.order_reference) or case.change.get("ServiceRequest", case.row.service_request)
    task = written.get(Reference(f"Task/{case.task['id']}")) or case.change.get("Task", case.task["id"])
    assert order is not None  # noqa: S101  a referral is never without them
    assert task is not None  # noqa: S101
    return Receipt(order, task, stored_assessment(case.row, task.content, case.canonical), case.team, None, ())


def _as_sent(case: Case, order: Part) -> Json:
    resource = rewrite_references(order.resource, {})
    return {**{k: v for k, v in resource.items() if k != "meta"}, "id": case.row.service_request}


def _unchangeable(case: Case, order: Part, read: Submission | Unreadable) -> list[Issue]:
    """Subject, organisation and placer identifier stay what they were (contract 3)."""
    if isinstance(read, Unreadable):
        return []
    referral, row = read.referral, case.row
    wrong = {
        "subject": referral.patient.identity.key != row.patient_key,
        "requester": referral.requester.unit != row.organisation,
        "identifier": (referral.placer.system, referral.placer.value) != (row.placer_system, row.placer_value),
    }
    names = {"subject": "patient", "requester": "remitterande enhet", "identifier": "remissnummer"}
    return [
        error(
            IssueCode.BUSINESS_RULE,
            f"{order.expression}.{element}",
            f"En remiss kan inte byta {names[element]}. Återkalla den och skicka en ny.",
            f"{element} cannot change; withdraw this referral and send another",
        )
        for element, changed in wrong.items()
        if changed
    ]


def _renew_computed(case: Case, reference: Reference, response: Json) -> None:
    """The Observation of a MADRS-S response follows it: made when there is none, amended when the answers change,
    entered-in-error with it.
    """
    if not is_madrs_s_response(response, case.canonical):
        return
    existing = next(
        (
            observation
            for observation in case.all_of("Observation")
            if any(text(r, "reference") == reference for _, r in children(observation, "derivedFrom"))
        ),
        None,
    )
    rating, _ = from_fhir_response(response, "QuestionnaireResponse", case.canonical, reference)
    if rating is None:
        if existing is not None and existing["status"] != "entered-in-error":
            case.put({**existing, "status": "entered-in-error"})
        return
    made = to_fhir_observation(rating, case.canonical, case.patient, case.order_reference, reference)
    if existing is None:
        case.put({**made, "id": case.house.new_id()})
    elif {**existing, "status": "", "id": "", "meta": {}} != {**made, "status": "", "id": "", "meta": {}}:
        case.put({**made, "status": "amended", "id": existing["id"]})


def _is_computed(resource: Json, case: Case) -> bool:
    """True for an Observation that Sluss made from a response of this referral."""
    if resource["resourceType"] != "Observation" or child(resource, "performer"):
        return False
    return any(
        case.get(Reference(text(r, "reference") or "")) is not None for _, r in children(resource, "derivedFrom")
    )


def _not_yours(caller: Caller) -> Refusal:
    return forbidden(
        "Bara den enhet som skickade remissen får ändra den.",
        f"caller {caller.label!r} is not the requester's organisation",
    )
