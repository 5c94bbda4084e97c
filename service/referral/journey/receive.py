"""A referral comes in: judged, routed, answered and stored in one transaction (contract 3, 4, 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_mappings.bundle import rewrite_references
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Assessment, Finding, HsaId, Json, Reference, Referral, Route, Team
from service.access.caller import Caller
from service.access.rights import may_refer
from service.access.seeing import lacks_reason
from service.referral.absences import as_absences
from service.referral.case import Case
from service.referral.conditions import the_one_match
from service.referral.eligibility import assess
from service.referral.house import House
from service.referral.intake import Part, Reading, Submission, names_of
from service.referral.journey.judgement import open_task, raise_alert, stored_assessment
from service.referral.journey.ratings import follow_ratings
from service.referral.lookup import EVIDENCE
from service.referral.parties import Parties, settle
from service.referral.refusal import Kind, Refusal, forbidden, needs_reason
from service.referral.routing import choose_route
from service.referral.sights import sight_for
from service.store.change import Change
from service.store.records import NewReferral, ReferralRow, Stored, Surroundings
from service.store.view import View


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a referral, told at once to whoever sent it."""

    service_request: Stored
    task: Stored
    assessment: Assessment
    team: Team
    route: Route | None
    advice: tuple[Issue, ...]
    parts: tuple[tuple[int | None, Stored, bool], ...] = ()
    """(position in the Bundle, what is stored for it, whether it is new) for every part."""
    replayed: bool = False
    """True when the same referral had come before: nothing was made."""

    @property
    def told(self) -> tuple[Finding, ...]:
        """The findings that the referrer may know."""
        return tuple(finding for finding in self.assessment.findings if not finding.team_only)


def receive(house: House, caller: Caller, submission: Submission) -> Receipt:
    """Take in a new referral, or say that it is already here.

    Raises Refusal: forbidden for another organisation's caller, conflict where the placer identifier is taken by
    different content.
    """
    referral = submission.referral
    authorise(caller, referral.requester.unit)
    with house.store.change() as change:
        row = change.open_referral(_new_row(house, submission))
        if row is None:
            return _repeated(house, change, submission)
        case = Case(house, change, row, caller, new=True)
        parties = settle(house, change, row, submission)
        case.set(patient=parties.patient.partition("/")[2])
        case.organisation = parties.organisation
        kept = keep(case, submission, parties)
        repeated = parties.surroundings.others_open and _looks_repeated(change, row, submission)
        assessment, route = judge(case, referral, parties.surroundings, possible_duplicate=repeated)
        open_task(case, assessment, route, parties.requester, referral)
        raise_alert(case, assessment, referral, kept)
        became = {**parties.became, **kept}
        case.record(
            "received",
            channel=str(referral.channel),
            verdict=str(assessment.verdict),
            route=route.rule,
            entries=[[part.position, became[key_of(part)]] for part in submission.parts if key_of(part) in became],
        )
        written = case.save()
        return Receipt(
            service_request=written[case.order_reference],
            task=written[Reference(f"Task/{case.task['id']}")],
            assessment=assessment,
            team=case.team,
            route=route,
            advice=submission.advice,
            parts=outcomes(change, submission, became, parties.made, written),
        )


def authorise(caller: Caller, unit: HsaId) -> None:
    """Only the referring organisation itself, or an administrator for it, sends its referrals. Raises Refusal."""
    if lacks_reason(caller):
        raise needs_reason()
    if not may_refer(caller, unit):
        raise forbidden(
            "Du får bara skicka remisser för din egen enhet.",
            f"caller {caller.label!r} may not refer for {unit}",
        )


def reading_for(house: House, **changes: object) -> Reading:
    """How this house reads submissions now."""
    return replace(
        Reading(house.canonical, house.pack, house.now(), house.today()),
        **changes,  # type: ignore[arg-type]  # names of Reading's own fields
    )


def judge(
    case: Case, referral: Referral, surroundings: Surroundings | None = None, *, possible_duplicate: bool = False
) -> tuple[Assessment, Route]:
    """The assessment and the route of a referral as it stands today, absences and earlier referrals included.
    `surroundings` are given by who has asked for them already, under the patient's lock.
    """
    house = case.house
    today = house.today()
    around = surroundings or case.change.surroundings((), case.row.patient_key, case.row.id)
    route = choose_route(referral, house.pack, today, as_absences(around.absences))
    others = (
        [row for row in case.change.open_referrals(case.row.patient_key) if row.id != case.row.id]
        if around.others_open
        else []
    )
    units = {row.organisation for row in others}
    assessment = assess(
        referral,
        house.pack,
        today,
        open_referral="own" if case.row.organisation in units else "other" if units else None,
        open_elsewhere=not units <= {case.row.organisation},
        extra_findings=route.findings,
        possible_duplicate=possible_duplicate,
    )
    return assessment, route


def keep(case: Case, submission: Submission, parties: Parties) -> dict[str, Reference]:
    """Take what was sent into the referral, as sent but for ids and references, and make the Observation of each
    MADRS-S that came as a response. Gives what each part has become.
    """
    kept: dict[str, Reference] = {}
    for part in submission.parts:
        if key_of(part) not in parties.became:
            kept[key_of(part)] = part.existing or Reference(f"{part.type}/{case.house.new_id()}")
    became: dict[str, Reference] = {}
    for part in submission.parts:
        reference = kept.get(key_of(part)) or parties.became[key_of(part)]
        became |= dict.fromkeys(names_of(part), reference)
    if submission.order.source is not None:
        became |= dict.fromkeys(names_of(submission.order), case.order_reference)
    case.name({**became, key_of(submission.order): case.order_reference})
    keep_order(case, submission.order, became, parties)
    for part in submission.parts:
        if key_of(part) in kept and part.existing is None:
            id_ = kept[key_of(part)].partition("/")[2]
            case.put({**rewrite_references(part.resource, became), "id": id_})
    follow_ratings(case, submission.referral.madrs_s, became)
    return kept


def keep_order(case: Case, order: Part, became: Mapping[str, Reference], parties: Parties) -> None:
    """The ServiceRequest as sent, found by the stored subject and requester even where these are contained."""
    resource: Json = {**rewrite_references(order.resource, became), "id": case.row.service_request}
    case.put(
        resource,
        indexed_as=(("subject", parties.patient), ("requester", parties.requester)),
    )


def key_of(part: Part) -> str:
    """What a part is called when what has become of it is told."""
    return part.source or part.expression


def _new_row(house: House, submission: Submission) -> NewReferral:
    referral = submission.referral
    return NewReferral(
        id=house.new_id(),
        organisation=referral.requester.unit,
        placer_system=referral.placer.system,
        placer_value=referral.placer.value,
        fingerprint=submission.fingerprint,
        patient_key=referral.patient.identity.key,
        created_at=house.now(),
        programme=referral.programme,
        service_request=house.new_id(),
        task=house.new_id(),
        unit_reach=str(house.pack.reach_of(referral.requester.unit, referral.channel)),
    )


def _looks_repeated(change: Change, row: NewReferral, submission: Submission) -> bool:
    """A letter or call without a number of its own, when the same unit already has an open referral of the same
    patient to the same programme.
    """
    if not submission.made_reference:
        return False
    return any(
        other.id != row.id and other.organisation == row.organisation and other.programme == row.programme
        for other in change.open_referrals(row.patient_key)
    )


def _repeated(house: House, view: View, submission: Submission) -> Receipt:
    """The same placer identifier again: what is stored, or a conflict."""
    placer = submission.referral.placer
    row = view.referral_by_placer(submission.referral.requester.unit, placer.system, placer.value)
    if row is None:  # the other transaction was rolled back after all
        raise Refusal(
            Kind.UNAVAILABLE,
            [error(IssueCode.TRANSIENT, None, "Försök igen.", "a concurrent request for the same referral failed")],
        )
    if row.fingerprint != submission.fingerprint:
        location = f"ServiceRequest/{row.service_request}"
        raise _conflict(
            row,
            f"{submission.order.expression}.identifier",
            f"Numret {placer.value} är redan använt för en annan remiss ({location}). "
            "Ändra den med PUT, eller ge den nya ett eget nummer.",
            f"placer identifier already used by {location} with other content; amend it by PUT",
        )
    return receipt_of(house, view, row, submission)


def _conflict(row: ReferralRow, expression: str, text: str, diagnostics: str) -> Refusal:
    location = f"ServiceRequest/{row.service_request}"
    return Refusal(Kind.CONFLICT, [error(IssueCode.DUPLICATE, expression, text, diagnostics)], location=location)


def receipt_of(house: House, view: View, row: ReferralRow, submission: Submission) -> Receipt:
    """The receipt of a referral that is already here, as it stands now."""
    order = view.get("ServiceRequest", row.service_request)
    task = view.get("Task", row.task)
    assert order is not None  # noqa: S101  a referral row is never without them
    assert task is not None  # noqa: S101
    return Receipt(
        service_request=order,
        task=task,
        assessment=stored_assessment(row, task.content, house),
        team=house.pack.teams[row.team],
        route=None,
        advice=submission.advice,
        parts=_as_received(view, row) if row.fingerprint == submission.fingerprint else (),
        replayed=True,
    )


def _as_received(view: View, row: ReferralRow) -> tuple[tuple[int | None, Stored, bool], ...]:
    """What each entry of the Bundle became when it first came."""
    first = next(entry for entry in view.journal_of(row.id) if entry.event == "received")
    entries: list[tuple[int, str]] = first.detail.get("entries", [])
    found = view.get_many(reference for _, reference in entries)
    return tuple((position, found[Reference(ref)], False) for position, ref in entries if ref in found)


def outcomes(
    view: View,
    submission: Submission,
    became: Mapping[str, Reference],
    made: set[Reference],
    written: Mapping[Reference, Stored],
) -> tuple[tuple[int | None, Stored, bool], ...]:
    """What each entry of the Bundle has become."""
    wanted = {part.position: became.get(key_of(part)) for part in submission.parts}
    missing = [reference for reference in wanted.values() if reference is not None and reference not in written]
    found = {**written, **view.get_many(missing)} if missing else written
    return tuple(
        (position, found[reference], reference in written or reference in made)
        for position, reference in wanted.items()
        if reference is not None
    )


def already_here(house: House, caller: Caller, submission: Submission, condition: str) -> Receipt | None:
    """If-None-Exist: the receipt of the one referral of the same organisation that matches the search `condition`,
    None when none does. Raises Refusal when several do, when the condition is no search, and when new evidence stands
    beside the order: it would belong to nothing, and is never dropped in silence.
    """
    unit = submission.referral.requester.unit
    authorise(caller, unit)
    view = house.store.view()
    match = the_one_match(view.seen_by(sight_for(house, caller, "s").within_unit(unit)), "ServiceRequest", condition)
    row = view.referral_of(match.type, match.id) if match else None
    if row is None:
        return None
    if row.fingerprint != submission.fingerprint and any(p.type in EVIDENCE for p in submission.parts):
        location = f"ServiceRequest/{row.service_request}"
        raise _conflict(
            row,
            f"{submission.order.expression}",
            f"Remissen finns redan ({location}). Det som följde med den här gången är INTE mottaget: ändra remissen "
            "med PUT, eller skicka uppgifterna för sig.",
            f"If-None-Exist matches {location}; the evidence beside it was NOT received: PUT the order with it",
        )
    return receipt_of(house, view, row, submission)
