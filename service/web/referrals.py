"""A referral as it comes by FHIR: a ServiceRequest alone, or in a transaction Bundle with what belongs to it."""

from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.records import Json
from service.referral.conditions import with_what_exists
from service.referral.intake import Part, Submission, Unreadable, parts_of, read_submission
from service.referral.journey.amend import amend
from service.referral.journey.receive import Receipt, already_here, authorise, reading_for, receive
from service.referral.lookup import usable_by
from service.referral.refusal import Kind, Refusal
from service.web import replies
from service.web.measuring import count_received
from service.web.requests_in import Body, caller, house, seen, versions_in


def take_single(body: Body, if_none_exist: str | None) -> Receipt:
    """A ServiceRequest by itself. Raises Refusal."""
    return _receive(_submission(body), if_none_exist)


def take_bundle(body: Body) -> tuple[Receipt, list[Json]]:
    """The one referral of a transaction Bundle, new or amended, and an entry of the answer for each of its entries.
    Raises Refusal.
    """
    if any(text(child(entry, "request"), "method") == "PUT" for _, entry in children(body.resource, "entry")):
        order, beside, _ = parts_of(body.resource)
        if order is not None and order.method == "PUT":
            given = _amended(body, order)
            return given, replies.entry_responses(given, order.position or 0, 1 + len(beside))
    submission = _submission(body)
    given = _receive(submission, submission.order.if_none_exist)
    return given, replies.entry_responses(given, submission.order.position or 0, 1 + len(submission.parts))


def _amended(body: Body, order: Part) -> Receipt:
    target = _target(order)
    errors = [issue for issue in body.issues if is_error(issue)]
    if errors or isinstance(target, Issue):
        raise Refusal(Kind.UNREADABLE, [*errors, *([target] if isinstance(target, Issue) else [])])
    return amend(house(), caller(), body.resource, target, versions_in(order.if_match) if order.if_match else None)


def _receive(submission: Submission, if_none_exist: str | None) -> Receipt:
    """Take the referral in, unless the condition says that it is here."""
    if if_none_exist is not None:
        existing = already_here(house(), caller(), submission, if_none_exist)
        if existing is not None:
            return existing
    given = receive(house(), caller(), submission)
    if not given.replayed:
        count_received(str(given.assessment.verdict))
    return given


def _submission(body: Body) -> Submission:
    """The referral of a body; R4's problems and our own are told together (contract 2)."""
    read = read_submission(body.resource, reading_for(house()), usable_by(house(), caller()))
    against_r4 = [issue for issue in body.issues if is_error(issue)]
    if against_r4:
        own = read.issues if isinstance(read, Unreadable) else ()
        raise Refusal(Kind.UNREADABLE, _distinct([*against_r4, *own]))
    if isinstance(read, Unreadable):
        if read.unit:
            authorise(caller(), read.unit)
        raise Refusal(Kind.INVALID, read.issues)
    authorise(caller(), read.referral.requester.unit)
    whole = with_what_exists(seen("s"), read, reading_for(house()), usable_by(house(), caller()))
    if isinstance(whole, Unreadable):
        raise Refusal(Kind.INVALID, whole.issues)
    return whole


def _distinct(issues: list[Issue]) -> list[Issue]:
    """Each place and code once: R4's word and ours on the same missing element are one problem."""
    seen: set[tuple[str | None, IssueCode]] = set()
    told = []
    for issue in issues:
        key = (issue.expression, issue.code)
        if key not in seen:
            seen.add(key)
            told.append(issue)
    return told


def _target(order: Part) -> str | Issue:
    """The id that a PUT in a Bundle is for: `ServiceRequest/{id}`, the same in the resource."""
    id_ = order.resource.get("id")
    if isinstance(id_, str) and order.url.strip("/") == f"ServiceRequest/{id_}":
        return id_
    return error(
        IssueCode.VALUE,
        f"Bundle.entry[{order.position}].request.url",
        "En ändrad remiss ska ha samma id i request.url som i resursen: ServiceRequest/{id}.",
        f"request.url must be ServiceRequest/ and the resource's id, {id_!r}",
    )
