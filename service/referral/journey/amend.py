"""The referrer changes what it sent: a new version of the referral, new evidence, or a withdrawal (contract 3, 7).

Before acceptance the referral is assessed and routed anew; later it is kept and the therapist told by a note; after a
rejection or a cancellation a new Task begins on the same focus. The alert rules run every time, in every state.
"""

from dataclasses import replace

from fhir_mappings import task as tasks
from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.records import Assessment, Json, MessageCategory, Reference, Referral, Route, TaskKind
from service.access.caller import SLUSS, Caller, Role
from service.access.rights import Actor, actors, may_refer
from service.referral.case import Case, team_reference
from service.referral.conditions import as_they_exist, the_one_match
from service.referral.house import House
from service.referral.intake import Part, Submission, Unreadable, parts_of
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
from service.referral.journey.ratings import follow_ratings, is_computed
from service.referral.journey.receive import Receipt, judge, keep, outcomes
from service.referral.journey.rereading import as_it_stands, is_closed, reread
from service.referral.journey.treatment import hand_over_children
from service.referral.journey.withdrawal import is_withdrawn, withdraw
from service.referral.parties import Parties, settle
from service.referral.refusal import Kind, Refusal, forbidden
from service.referral.sights import sight_for
from service.referral.states import Denied, advance
from service.store.records import Stored

_BEFORE = ("requested", "received")
_ENDED_UNTREATED = ("rejected", "cancelled")


def amend(house: House, caller: Caller, sent: Json, order_id: str, if_match: frozenset[int] | None = None) -> Receipt:
    """A new version of a referral: `sent` is the whole ServiceRequest, or a transaction Bundle that PUTs it with new
    evidence. Raises Refusal: not found, stale, forbidden, invalid.
    """
    reference = Reference(f"ServiceRequest/{order_id}")
    with house.store.change() as change:
        case = open_case(house, change, caller, reference, "u")
        check_version(case, reference, if_match)
        if not may_refer(caller, case.row.organisation):  # type: ignore[arg-type]  # stored as text
            raise _not_yours(caller)
        order_part, beside, issues = parts_of(sent)
        if order_part is None or issues:
            raise Refusal(Kind.INVALID, issues)
        beside = as_they_exist(change.seen_by(sight_for(house, caller, "s")), beside, case.row.organisation)
        read = reread(case, order_part, beside)
        found = list(read.issues) if isinstance(read, Unreadable) else []
        found += _unchangeable(case, order_part, read)
        if isinstance(read, Unreadable) or any(map(is_error, found)):
            raise Refusal(Kind.INVALID, found)
        before = case.order
        if is_withdrawn(order_part.resource) and not beside and _same(order_part.resource, before):
            return _receipt(case, _as_decided(case))  # said before: nothing changes
        change.lock_key(case.row.patient_key)
        parties = settle(house, change, case.row, read)
        case.organisation = parties.organisation
        kept = keep(case, read, parties)
        case.amends([case.order_reference, *parties.became.values(), *kept.values()])
        if is_withdrawn(order_part.resource):
            withdraw(case, before)
            receipt = _alerted(case)
        elif is_closed(case, order_part.resource):
            case.record("closed-by-referrer")
            receipt = _alerted(case)
        else:
            case.record("amended")
            receipt = _reconsidered(case, "Remissen är ändrad av remittenten.", parties)
        became = {**parties.became, **kept}
        return replace(receipt, parts=outcomes(change, read, became, {*parties.made, *kept.values()}, {}))


def add_evidence(house: House, caller: Caller, sent: Json, if_none_exist: str | None = None) -> tuple[Stored, bool]:
    """New evidence for a referral: an Observation or a QuestionnaireResponse that is `basedOn` its ServiceRequest,
    from the referrer or from the team that treats the patient. Gives what is stored, and whether it is new: not where
    the search `if_none_exist` finds it among what the referring organisation has here. Raises Refusal.
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
        _may_add(case)
        if if_none_exist is not None:
            seen = change.seen_by(sight_for(house, caller, "s").within_unit(case.row.organisation))
            existing = the_one_match(seen, sent["resourceType"], if_none_exist)
            if existing is not None:
                return existing, False
        return _take_evidence(case, {**sent, "id": house.new_id()}), True


def change_evidence(house: House, caller: Caller, sent: Json, if_match: frozenset[int] | None = None) -> Stored:
    """A new version of evidence that is already here, by whoever may add it. Raises Refusal."""
    reference = Reference(f"{sent['resourceType']}/{sent['id']}")
    with house.store.change() as change:
        case = open_case(house, change, caller, reference, "u")
        check_version(case, reference, if_match)
        current = case.get(reference)
        if current is None or any(is_computed(version, case.canonical) for version in (current, sent)):
            raise forbidden(
                "Poängen är beräknad av Sluss. Ändra formuläret den kommer från.",
                "this Observation is computed by Sluss; change the QuestionnaireResponse that it is derived from",
            )
        _may_add(case)
        case.amends([reference])
        return _take_evidence(case, sent)


# ---------------------------------------------------------------- private


def _may_add(case: Case) -> None:
    """Evidence comes from the referrer, or from the team that treats the patient. Raises Refusal."""
    owner = team_of(case.house, tasks.owner_of(case.task))
    who = actors(
        case.caller,
        owner.id if owner else None,
        case.row.organisation,  # type: ignore[arg-type]  # stored as text
        case.house.pack.coordination,
    )
    if not _is_referrer(case) and Actor.OWNER not in who:
        raise _not_yours(case.caller)


def _is_referrer(case: Case) -> bool:
    return may_refer(case.caller, case.row.organisation)  # type: ignore[arg-type]  # stored as text


def _take_evidence(case: Case, resource: Json) -> Stored:
    reference = Reference(f"{resource['resourceType']}/{resource['id']}")
    part = Part(resource, resource["resourceType"], reference)
    read = reread(case, Part(case.order, "ServiceRequest"), [part])
    if isinstance(read, Unreadable):
        # what is wrong with the rest of the referral was accepted when it came; only the new evidence is judged here
        mine = [issue for issue in read.issues if (issue.expression or "").startswith(resource["resourceType"])]
        raise Refusal(Kind.INVALID, mine or read.issues)
    case.put(resource)
    follow_ratings(case, read.referral.madrs_s)
    case.record("evidence", resource=reference)
    if _is_referrer(case):
        case.change.lock_key(case.row.patient_key)
        _reconsidered(case, "Remittenten har lämnat nya uppgifter.", None)
    else:
        # the treating team's own follow-up is not a new referral, but its signs of risk alert like any other
        _alerted(case)
    stored = case.change.get(*reference.split("/"))
    assert stored is not None  # noqa: S101  just written
    return stored


def _reconsidered(case: Case, why: str, parties: Parties | None) -> Receipt:
    """Judge the referral as it is now and do what its state allows."""
    referral = as_it_stands(case)
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
        case.note(f"{why} Läs remissen igen; den är inte bedömd på nytt.")
        return _alerted(case)
    raise_alert(case, assessment, referral)
    return _receipt(case, assessment, route)


def _alerted(case: Case) -> Receipt:
    """Run the alert rules on the referral as it is now, where nothing else of it is judged any more."""
    referral = as_it_stands(case)
    assessment, _ = judge(case, referral)
    raise_alert(case, assessment, referral)
    return _receipt(case, _as_decided(case, assessment))


def _as_decided(case: Case, now: Assessment | None = None) -> Assessment:
    """The verdict and findings as they were decided, and what alerts `now`."""
    decided = stored_assessment(case.row, case.task, case.house)
    alerting = [f for f in (now.findings if now else ()) if f.alert and f not in decided.findings]
    return Assessment(decided.verdict, (*decided.findings, *alerting))


def _receipt(case: Case, assessment: Assessment, route: Route | None = None) -> Receipt:
    """Everything is written; what became of it."""
    written = case.save()
    order = written.get(case.order_reference) or case.change.get("ServiceRequest", case.row.service_request)
    task = written.get(Reference(f"Task/{case.task['id']}")) or case.change.get("Task", case.task["id"])
    assert order is not None  # noqa: S101  a referral is never without them
    assert task is not None  # noqa: S101
    return Receipt(order, task, assessment, case.team, route, ())


def _same(sent: Json, stored: Json) -> bool:
    return {**sent, "meta": None} == {**stored, "meta": None}


def _rejudge(case: Case, assessment: Assessment, route: Route, referral: Referral) -> None:
    """The same Task with a new verdict, and perhaps another team."""
    task = case.task
    if _routed_by_a_person(case):
        route = replace(route, team=case.team.id)
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
    unrouted = route.needs_routing and route.team == case.house.pack.coordination
    coded = business_status(assessment.verdict, unrouted)
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


def _routed_by_a_person(case: Case) -> bool:
    """True when somebody has chosen the team: what the rules say anew does not undo that."""
    people = (Role.THERAPIST, Role.ADMINISTRATOR)
    return any(
        entry.event == "rerouted" and entry.actor.partition(" ")[0] in people
        for entry in case.change.journal_of(case.row.id)
    )


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


def _not_yours(caller: Caller) -> Refusal:
    return forbidden(
        "Bara den enhet som skickade remissen får ändra den.",
        f"caller {caller.label!r} is not the requester's organisation",
    )
