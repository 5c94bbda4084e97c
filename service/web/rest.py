"""The FHIR REST interactions of contract 2. Each route reads, asks, answers; the rules live elsewhere."""

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.r4 import SUPPORTED_TYPES
from fhir_mappings.records import Json
from service.definitions.operations import OPERATIONS
from service.referral.conditions import with_what_exists
from service.referral.intake import Part, Submission, Unreadable, parts_of, read_submission
from service.referral.journey.amend import add_evidence, amend, change_evidence
from service.referral.journey.correspond import correspond
from service.referral.journey.delegate import add_task
from service.referral.journey.progress import progress
from service.referral.journey.receive import Receipt, already_here, authorise, reading_for, receive
from service.referral.lookup import usable_by
from service.referral.refusal import Kind, Refusal, not_found
from service.store.records import Stored
from service.web import replies
from service.web.measuring import count_received
from service.web.requests_in import (
    Body,
    caller,
    house,
    if_match,
    read_resource,
    version_in,
)

blueprint = Blueprint("fhir", __name__, url_prefix="/fhir")

TYPES = SUPPORTED_TYPES
"""What can be read, searched and have a history."""


@blueprint.get("/<type_>/<id_>")
def read(type_: str, id_: str) -> Response:
    """The interaction read."""
    known_type(type_)
    stored = house().store.view().get(type_, id_)
    if stored is None:
        raise not_found(type_, id_)
    return replies.resource(stored)


@blueprint.get("/<type_>/<id_>/_history/<int:version>")
def vread(type_: str, id_: str, version: int) -> Response:
    """The interaction vread."""
    known_type(type_)
    stored = house().store.view().version(type_, id_, version)
    if stored is None:
        raise not_found(type_, f"{id_}/_history/{version}")
    return replies.resource(stored)


@blueprint.get("/<type_>/<id_>/_history")
def history(type_: str, id_: str) -> Response:
    """history-instance"""
    known_type(type_)
    versions = house().store.view().history(type_, id_)
    if not versions:
        raise not_found(type_, id_)
    return replies.history(type_, id_, versions)


@blueprint.post("/<type_>")
def create(type_: str) -> Response:
    """create, for the types that somebody may make."""
    known_type(type_)
    make = _CREATE.get(type_)
    if make is None:
        raise MethodNotAllowed
    _raise_condition_in_address()
    return make(read_resource(type_))


@blueprint.put("/<type_>/<id_>")
def update(type_: str, id_: str) -> Response:
    """update; ids are given by Sluss, so an unknown one is 404."""
    known_type(type_)
    change = _UPDATE.get(type_)
    if change is None:
        raise MethodNotAllowed
    body = read_resource(type_)
    if body.resource.get("id") != id_:
        wrong = error(
            IssueCode.INVALID,
            f"{type_}.id",
            "Resursens id stämmer inte med adressen.",
            f"the body's id must be {id_!r}, as in the URL",
        )
        raise Refusal(Kind.UNREADABLE, [*body.issues, wrong])
    return change(body)


@blueprint.post("")
@blueprint.post("/", strict_slashes=False)
def transaction() -> Response:
    """transaction: one referral and what belongs to it."""
    body = read_resource("Bundle")
    order, beside, _ = parts_of(body.resource)
    size = 1 + len(beside)
    if order is not None and order.method == "PUT":
        target = _target(order)
        errors = [issue for issue in body.issues if is_error(issue)]
        if errors or isinstance(target, Issue):
            raise Refusal(Kind.UNREADABLE, [*errors, *([target] if isinstance(target, Issue) else [])])
        if_matching = version_in(order.if_match) if order.if_match else None
        given = amend(house(), caller(), body.resource, target, if_matching)
    else:
        submission = _submission(body)
        given = _receive(submission, submission.order.if_none_exist)
    return replies.transaction(given, order.position or 0 if order else 0, size)


# ---------------------------------------------------------------- per type


def _create_order(body: Body) -> Response:
    return replies.receipt(_receive(_submission(body), request.headers.get("If-None-Exist")))


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


def _update_order(body: Body) -> Response:
    _raise_unreadable(body)
    return replies.receipt(amend(house(), caller(), body.resource, body.resource["id"], if_match()))


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
    whole = with_what_exists(house(), read, reading_for(house()), usable_by(house(), caller()))
    if isinstance(whole, Unreadable):
        raise Refusal(Kind.INVALID, whole.issues)
    return whole


def _add_evidence(body: Body) -> Response:
    _raise_unreadable(body)
    stored, is_new = add_evidence(house(), caller(), body.resource, request.headers.get("If-None-Exist"))
    return replies.resource(stored, 201 if is_new else 200)


def _created(make: Callable[[Json], Stored]) -> Callable[[Body], Response]:
    def answer(body: Body) -> Response:
        _raise_unreadable(body)
        return replies.resource(make(body.resource), 201)

    return answer


def _changed(change: Callable[[Json, int | None], Stored]) -> Callable[[Body], Response]:
    def answer(body: Body) -> Response:
        _raise_unreadable(body)
        return replies.resource(change(body.resource, if_match()))

    return answer


_CREATE: Mapping[str, Callable[[Body], Response]] = {
    "ServiceRequest": _create_order,
    "Observation": _add_evidence,
    "QuestionnaireResponse": _add_evidence,
    "Communication": _created(lambda sent: correspond(house(), caller(), sent)),
    "Task": _created(lambda sent: add_task(house(), caller(), sent)),
}

_UPDATE: Mapping[str, Callable[[Body], Response]] = {
    "ServiceRequest": _update_order,
    "Task": _changed(lambda sent, version: progress(house(), caller(), sent, version)),
    "Observation": _changed(lambda sent, version: change_evidence(house(), caller(), sent, version)),
    "QuestionnaireResponse": _changed(lambda sent, version: change_evidence(house(), caller(), sent, version)),
}

_GENERAL = frozenset(("_format", "_pretty", "_summary", "_elements"))
"""Parameters of every interaction: https://hl7.org/fhir/R4/http.html#parameters"""

CREATABLE = frozenset(_CREATE)
UPDATABLE = frozenset(_UPDATE)


def known_type(type_: str) -> None:
    """Raise Refusal (not found) for a type that Sluss does not keep."""
    if type_ not in TYPES:
        raise Refusal(
            Kind.NOT_FOUND,
            [
                error(
                    IssueCode.NOT_SUPPORTED,
                    None,
                    "Sluss har inga resurser av den typen.",
                    "this resource type is not supported; see /fhir/metadata",
                )
            ],
        )


def methods_of(path: str) -> list[str] | None:
    """What may be done at an address of a known type, as `metadata` declares it; None for any other address."""
    base, *rest = path.strip("/").split("/")
    if base != "fhir" or not rest or rest[0] not in TYPES:
        return None
    match rest:
        case [type_]:
            return ["GET", "HEAD", *(["POST"] if type_ in CREATABLE else [])]
        case [_, "_search"]:
            return ["POST"]
        case [type_, operation] if operation.removeprefix("$") in OPERATIONS.get(type_, ()):
            return ["POST"]
        case [type_, _]:
            return ["GET", "HEAD", *(["PUT"] if type_ in UPDATABLE else [])]
    return ["GET", "HEAD"]


def _raise_condition_in_address() -> None:
    """`POST /Type?identifier=…` means a conditional create to some clients (fhirpy): taken as a create, it would double
    what is there without a word.
    """
    found = [name for name in request.args if name not in _GENERAL]
    if found:
        told = [
            error(
                IssueCode.NOT_SUPPORTED,
                f"http.{name}",
                "Villkor för att skapa en resurs anges i huvudet If-None-Exist, inte i adressen.",
                f"the query parameter {name!r} has no meaning in a create; a condition goes into If-None-Exist",
            )
            for name in found
        ]
        raise Refusal(Kind.UNREADABLE, told)


def _raise_unreadable(body: Body) -> None:
    errors = [issue for issue in body.issues if is_error(issue)]
    if errors:
        raise Refusal(Kind.UNREADABLE, errors)


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
    """The id that a PUT in a Bundle is for: `ServiceRequest/{id}`, the same in the resource. No conditional update."""
    id_ = order.resource.get("id")
    if isinstance(id_, str) and order.url.strip("/") == f"ServiceRequest/{id_}":
        return id_
    return error(
        IssueCode.VALUE,
        f"Bundle.entry[{order.position}].request.url",
        "En ändrad remiss ska ha samma id i request.url som i resursen: ServiceRequest/{id}.",
        f"request.url must be ServiceRequest/ and the resource's id, {id_!r}; conditional update is not supported",
    )
