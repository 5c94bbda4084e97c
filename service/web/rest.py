"""create, update and patch, also under conditions (contract 2). Each route reads, asks, answers; the rules live
elsewhere, and `addresses` lets through what is declared only. https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.json_patch import Failure, Unpatched, patched, read_patch
from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from fhir_mappings.records import Json, Reference
from fhir_mappings.strict_json import dump
from service.referral.conditions import the_one_match
from service.referral.journey.amend import add_evidence, amend, change_evidence
from service.referral.journey.correspond import correspond
from service.referral.journey.delegate import add_task
from service.referral.journey.progress import progress
from service.referral.refusal import Kind, Refusal, not_found, stale
from service.referral.together import concerned
from service.store.records import StaleVersion, Stored
from service.web import replies
from service.web.referrals import take_single
from service.web.requests_in import (
    MOST_BYTES,
    Body,
    caller,
    house,
    if_match,
    if_none_exist,
    in_one_change,
    read_bytes,
    read_resource,
    seen,
    with_own_references,
)
from service.web.scope_checks import check_making

blueprint = Blueprint("fhir", __name__, url_prefix="/fhir")

TYPES = SUPPORTED_TYPES
"""What can be read, searched and has a history, of each resource and of the type."""


@blueprint.post("/<type_>")
def create(type_: str) -> Response:
    """create, for the types that somebody may make; with If-None-Exist only if there is none."""
    _raise_condition_in_address()
    return _CREATE[type_](_sound(read_resource(type_)), if_none_exist())


@blueprint.put("/<type_>/<id_>")
def update(type_: str, id_: str) -> Response:
    """update; ids are given by Sluss, so an unknown one is 404."""
    change = _UPDATE[type_]
    body = read_resource(type_)
    if body.resource.get("id") != id_:
        raise Refusal(Kind.UNREADABLE, [*body.issues, _other_id(type_, id_)])
    body = _sound(body)
    if request.headers.get("If-None-Match") == "*" and seen("u").get(type_, id_) is not None:
        raise Refusal(Kind.STALE, [_IS_THERE])
    return change(body)


@blueprint.put("/<type_>")
def update_conditionally(type_: str) -> Response:
    """Conditional update: none that matches the search makes one, one is changed, several are 412."""
    change = _UPDATE[type_]
    body = _sound(read_resource(type_))
    condition = _condition()
    match = the_one_match(seen("s"), type_, condition, "http.query")
    sent_id = body.resource.get("id")
    if match is not None:
        if sent_id not in (None, match.id):
            raise Refusal(Kind.UNREADABLE, [_other_id(type_, match.id)])
        return change(Body({**body.resource, "id": match.id}, body.issues))
    if sent_id is not None:
        if seen("u").get(type_, sent_id) is not None:
            raise Refusal(Kind.CONFLICT, [_ANOTHER], location=f"{type_}/{sent_id}")
        raise not_found(type_, sent_id)
    check_making(caller(), type_)
    if type_ == "ServiceRequest":  # its own number keeps it from being doubled
        return _create_order(body, None)
    made = _CREATE[type_](body, condition)
    if made.status_code != 201:  # somebody has made it meanwhile, and it has not been changed
        raise StaleVersion(())
    return made


@blueprint.patch("/<type_>/<id_>")
def patch(type_: str, id_: str) -> Response:
    """JSON Patch of the current version, then the very same way as an update of what that makes."""
    return _patch(_UPDATE[type_], type_, id_)


@blueprint.patch("/<type_>")
def patch_conditionally(type_: str) -> Response:
    """Conditional patch of the one that matches the search; none is 404, several are 412."""
    change = _UPDATE[type_]
    match = the_one_match(seen("s"), type_, _condition(), "http.query")
    if match is None:
        raise not_found(type_, "?")
    return _patch(change, type_, match.id)


# ---------------------------------------------------------------- patch


def _patch(change: Callable[[Body], Response], type_: str, id_: str) -> Response:
    operations = read_patch(read_bytes())
    if isinstance(operations, Unpatched):
        raise _unpatched(operations)
    with in_one_change([Reference(f"{type_}/{id_}")]):
        current = seen("u").get(type_, id_)
        if current is None:
            raise not_found(type_, id_)
        versions = if_match()
        if versions is not None and current.version not in versions:
            raise stale(current.version)
        made = patched(current.content, operations, MOST_BYTES)
        try:
            body = _as_patched(current, made)
        except Refusal:
            _raise_for_strangers(change, current)
            _keep_as_meant(made)
            raise
        try:
            return change(body)
        except Refusal as refusal:
            if refusal.kind is not Kind.FORBIDDEN:
                _keep_as_meant(made)
            raise


def _as_patched(current: Stored, made: Json | Unpatched) -> Body:
    """What an update with the whole resource would have sent. Raises Refusal."""
    if isinstance(made, Unpatched):
        raise _unpatched(made)
    if (made.get("resourceType"), made.get("id")) != (current.type, current.id):
        raise Refusal(Kind.UNREADABLE, [_other_id(current.type, current.id)])
    body = _sound(Body(made, tuple(validate(made))))
    return Body(with_own_references(made), body.issues)


def _keep_as_meant(made: Json | Unpatched) -> None:
    """Signs of risk in a refused patch are looked for in what it makes of the resource, as they are in an update; for
    who may change it only, since the rest of it is not theirs.
    """
    if not isinstance(made, Unpatched):
        request.environ["sluss.raw"] = dump(made).encode()


def _raise_for_strangers(change: Callable[[Body], Response], current: Stored) -> None:
    """Who goes before what (contract 2), also where a patch cannot be carried out: whoever may not change the resource
    must not try out by patches what it holds. Nothing of this is stored.
    """
    try:
        change(Body(current.content, ()))
    except Refusal as refusal:
        if refusal.kind is Kind.FORBIDDEN:
            raise


def _unpatched(problem: Unpatched) -> Refusal:
    kinds = {
        Failure.MALFORMED: Kind.UNREADABLE,
        Failure.CONFLICT: Kind.CONFLICT,
        Failure.IMPOSSIBLE: Kind.INVALID,
    }
    return Refusal(kinds[problem.failure], problem.issues)


# ---------------------------------------------------------------- per type


def _create_order(body: Body, condition: str | None) -> Response:
    given = take_single(body, condition)
    return replies.receipt(given, 200 if given.replayed else 201)


def _update_order(body: Body) -> Response:
    return replies.receipt(amend(house(), caller(), body.resource, body.resource["id"], if_match()), 200)


def _add_evidence(body: Body, condition: str | None) -> Response:
    stored, is_new = add_evidence(house(), caller(), body.resource, condition)
    return replies.resource(stored, 201 if is_new else 200)


def _created(make: Callable[[Json], Stored]) -> Callable[[Body, str | None], Response]:
    def answer(body: Body, condition: str | None) -> Response:
        if condition is None:
            return replies.resource(make(body.resource), 201)
        with in_one_change(concerned(body.resource)):  # under its referral's lock, so that two cannot both find none
            type_ = body.resource["resourceType"]
            existing = the_one_match(seen("s"), type_, condition)
            stored = make(body.resource) if existing is None else existing
        return replies.resource(stored, 201 if existing is None else 200)

    return answer


def _changed(change: Callable[[Json, frozenset[int] | None], Stored]) -> Callable[[Body], Response]:
    def answer(body: Body) -> Response:
        return replies.resource(change(body.resource, if_match()))

    return answer


_CREATE: Mapping[str, Callable[[Body, str | None], Response]] = {
    "ServiceRequest": _create_order,
    "Observation": _add_evidence,
    "QuestionnaireResponse": _add_evidence,
    "Communication": _created(lambda sent: correspond(house(), caller(), sent)),
    "Task": _created(lambda sent: add_task(house(), caller(), sent)),
}

_UPDATE: Mapping[str, Callable[[Body], Response]] = {
    "ServiceRequest": _update_order,
    "Task": _changed(lambda sent, versions: progress(house(), caller(), sent, versions)),
    "Observation": _changed(lambda sent, versions: change_evidence(house(), caller(), sent, versions)),
    "QuestionnaireResponse": _changed(lambda sent, versions: change_evidence(house(), caller(), sent, versions)),
}

CREATABLE = frozenset(_CREATE)
"""What can be created, always also under If-None-Exist."""
UPDATABLE = frozenset(_UPDATE)
"""What can be updated and patched, by id or by a search."""

_GENERAL = frozenset(("_format", "_pretty", "_summary", "_elements"))
"""Parameters of every interaction: https://hl7.org/fhir/R4/http.html#parameters"""


# ---------------------------------------------------------------- what is wrong with a request


def _sound(body: Body) -> Body:
    """The body, valid R4. A new referral's own problems are told together with R4's, so it is read further."""
    errors = [issue for issue in body.issues if is_error(issue)]
    if errors and not (request.method == "POST" and body.resource["resourceType"] == "ServiceRequest"):
        raise Refusal(Kind.UNREADABLE, errors)
    return body


def _condition() -> str:
    """The search in the address."""
    return urlencode([(name, value) for name, value in request.args.items(multi=True) if name not in _GENERAL])


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


def _other_id(type_: str, id_: str) -> Issue:
    return error(
        IssueCode.INVALID,
        f"{type_}.id",
        "Resursens id stämmer inte med adressen.",
        f"the body's id must be {id_!r}, as in the URL or of what the condition matches",
    )


_IS_THERE = error(
    IssueCode.CONFLICT,
    "http.If-None-Match",
    "Resursen finns redan.",
    "If-None-Match: * and the resource exists",
)
_ANOTHER = error(
    IssueCode.CONFLICT,
    "http.query",
    "Resursen med det id:t passar inte in på villkoret.",
    "the resource with the body's id exists and does not match the condition",
)
