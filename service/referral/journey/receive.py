"""A referral comes in: judged, routed, answered and stored in one transaction (contract 3, 4, 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from fhir_mappings.bundle import rewrite_references
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.madrs_s import to_fhir_observation
from fhir_mappings.records import Assessment, Finding, HsaId, Json, Reference, Referral, Route, Team
from service.access.caller import Caller
from service.access.rights import may_refer
from service.packs.vocabulary import OpenReferral
from service.referral.absences import entered_absences
from service.referral.case import Case
from service.referral.eligibility import assess
from service.referral.house import House
from service.referral.intake import Part, Reading, Submission
from service.referral.journey.judgement import open_task, raise_alert, stored_assessment
from service.referral.parties import Parties, settle
from service.referral.refusal import Kind, Refusal, forbidden
from service.referral.routing import choose_route
from service.store.change import Change
from service.store.query import MAX_COUNT, parse_query
from service.store.records import NewReferral, ReferralRow, Stored
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
        change.lock_patient(row.patient_key)
        parties = settle(house, change, submission)
        case.set(patient=parties.patient.partition("/")[2])
        case.organisation = parties.organisation
        kept = keep(case, submission, parties)
        assessment, route = judge(case, referral, possible_duplicate=_looks_repeated(change, row, submission))
        open_task(case, assessment, route, parties.requester, referral)
        raise_alert(case, assessment, referral, kept)
        case.record("received", channel=str(referral.channel), verdict=str(assessment.verdict), route=route.rule)
        written = case.save()
        return Receipt(
            service_request=written[case.order_reference],
            task=written[Reference(f"Task/{case.task['id']}")],
            assessment=assessment,
            team=case.team,
            route=route,
            advice=submission.advice,
            parts=_outcomes(change, submission, {**parties.became, **kept}, parties.made, written),
        )


def authorise(caller: Caller, unit: HsaId) -> None:
    """Only the referring organisation itself, or an administrator for it, sends its referrals. Raises Refusal."""
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


def judge(case: Case, referral: Referral, *, possible_duplicate: bool = False) -> tuple[Assessment, Route]:
    """The assessment and the route of a referral as it stands today, absences and earlier referrals included."""
    house = case.house
    today = house.today()
    route = choose_route(referral, house.pack, today, entered_absences(case.change))
    others = [row for row in case.change.open_referrals(case.row.patient_key) if row.id != case.row.id]
    assessment = assess(
        referral,
        house.pack,
        today,
        open_referral=whose(others, case.row.organisation),
        extra_findings=route.findings,
        possible_duplicate=possible_duplicate,
    )
    return assessment, route


def whose(others: list[ReferralRow], organisation: str) -> OpenReferral | None:
    """Whose open referral the patient has besides this one; another's goes before one's own, as only the team may
    know of it.
    """
    if not others:
        return None
    return "own" if all(row.organisation == organisation for row in others) else "other"


def keep(case: Case, submission: Submission, parties: Parties) -> dict[str, Reference]:
    """Take what was sent into the referral, as sent but for ids and references, and make the Observation of each
    MADRS-S that came as a response. Gives what each part has become.
    """
    own = [part for part in submission.parts if part.source not in parties.became]
    became: dict[str, Reference] = dict(parties.became)
    ids: dict[int, str] = {}
    for index, part in enumerate(own):
        ids[index] = case.house.new_id()
        if part.source is not None:
            became[part.source] = Reference(f"{part.type}/{ids[index]}")
    if submission.order.source is not None:
        became[submission.order.source] = case.order_reference
    keep_order(case, submission.order, became, parties)
    kept: dict[str, Reference] = {}
    for index, part in enumerate(own):
        resource = {**rewrite_references(part.resource, became), "id": ids[index]}
        kept[part.source or part.expression] = case.put(resource)
    for rating in submission.referral.madrs_s:
        if rating.from_response and rating.source is not None:
            source = became.get(rating.source) or (Reference(rating.source) if "/" in rating.source else None)
            observation = to_fhir_observation(rating, case.canonical, case.patient, case.order_reference, source)
            case.put({**observation, "id": case.house.new_id()})
    return kept


def keep_order(case: Case, order: Part, became: Mapping[str, Reference], parties: Parties) -> None:
    """The ServiceRequest as sent, found by the stored subject and requester even where these are contained."""
    resource: Json = {**rewrite_references(order.resource, became), "id": case.row.service_request}
    case.put(
        resource,
        indexed_as=(("subject", parties.patient), ("requester", parties.requester)),
    )


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
    location = f"ServiceRequest/{row.service_request}"
    if row.fingerprint != submission.fingerprint:
        raise Refusal(
            Kind.CONFLICT,
            [
                error(
                    IssueCode.DUPLICATE,
                    f"{submission.order.expression}.identifier",
                    f"Numret {placer.value} är redan använt för en annan remiss ({location}). "
                    "Ändra den med PUT, eller ge den nya ett eget nummer.",
                    f"placer identifier already used by {location} with other content; amend it by PUT",
                )
            ],
            location=location,
        )
    return receipt_of(house, view, row, submission.advice)


def receipt_of(house: House, view: View, row: ReferralRow, advice: tuple[Issue, ...] = ()) -> Receipt:
    """The receipt of a referral that is already here, as it stands now."""
    order = view.get("ServiceRequest", row.service_request)
    task = view.get("Task", row.task)
    assert order is not None  # noqa: S101  a referral row is never without them
    assert task is not None  # noqa: S101
    return Receipt(
        service_request=order,
        task=task,
        assessment=stored_assessment(row, task.content, house.canonical),
        team=house.pack.teams[row.team],
        route=None,
        advice=advice,
        replayed=True,
    )


def _outcomes(
    change: Change,
    submission: Submission,
    became: Mapping[str, Reference],
    made: set[Reference],
    written: Mapping[Reference, Stored],
) -> tuple[tuple[int | None, Stored, bool], ...]:
    """What each entry of the Bundle has become."""
    wanted = {part.position: became.get(part.source or part.expression) for part in submission.parts}
    missing = [reference for reference in wanted.values() if reference is not None and reference not in written]
    found = {**written, **change.get_many(missing)} if missing else written
    return tuple(
        (position, found[reference], reference in written or reference in made)
        for position, reference in wanted.items()
        if reference is not None
    )


def already_here(house: House, caller: Caller, submission: Submission, condition: str) -> Receipt | None:
    """If-None-Exist: the receipt of the one referral of the same organisation that matches the search `condition`,
    None when none does. Raises Refusal when several do, or the condition is no search.
    """
    unit = submission.referral.requester.unit
    authorise(caller, unit)
    view = house.store.view()
    rows = own_matches(view, "ServiceRequest", condition, unit)
    return receipt_of(house, view, rows[0], submission.advice) if rows else None


def own_matches(view: View, type_: str, condition: str, organisation: str) -> list[ReferralRow]:
    """The referrals of one organisation whose resource of a type matches a condition; at most one. Raises Refusal."""
    parameters = parse_qsl(condition.partition("?")[2] or condition, keep_blank_values=True)
    query = parse_query(type_, parameters, strict=True)
    if isinstance(query, list) or not (query.clauses or query.ids or query.last_updated):
        issues = query if isinstance(query, list) else []
        raise Refusal(
            Kind.UNREADABLE,
            issues
            or [
                error(
                    IssueCode.INVALID,
                    "http.If-None-Exist",
                    "If-None-Exist är ingen sökning.",
                    "If-None-Exist needs at least one search parameter",
                )
            ],
        )
    # only its own are looked through: another's matches must not fill the page
    matches = view.search(replace(query, organisation=organisation, count=MAX_COUNT)).matches
    own = [row for match in matches if (row := view.referral_of(match.type, match.id)) is not None]
    if len(own) > 1:
        raise Refusal(
            Kind.STALE,
            [
                error(
                    IssueCode.MULTIPLE_MATCHES,
                    "http.If-None-Exist",
                    "Flera remisser passar in på If-None-Exist.",
                    f"{len(own)} resources match If-None-Exist",
                )
            ],
        )
    return own
