"""One entry of a batch or transaction as the request that it stands for, and its answer as an entry."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException, NotFound

from fhir_mappings.bundle import Entry, rewrite_references
from fhir_mappings.elements import text
from fhir_mappings.issues import Issue, IssueCode, error, to_operation_outcome
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.referral.conditions import with_real_references
from service.referral.refusal import Kind, Refusal
from service.store.moments import parse_moment
from service.web import replies
from service.web.recording import entry_recorded, entry_refused, note
from service.web.requests_in import base_url, prefers, seen

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ENTRY = "sluss.entry"
"""In the WSGI environment of a request that stands for an entry."""

READS = frozenset({"GET", "HEAD"})

_ITS_OWN = ("HTTP_IF_", "HTTP_ACCEPT", "HTTP_TRANSFER_ENCODING", "werkzeug.", "sluss.raw", "sluss.acting")
"""What an entry does not have of the Bundle's environment."""

_RANKS = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}
_FHIR_JSON = "application/fhir+json"


def rank(entry: Entry) -> int:
    """R4's order of verbs: DELETE, POST, PUT and PATCH, then GET and HEAD."""
    return _RANKS.get(entry.method or "", 3)


def path_of(entry: Entry) -> str:
    """`Type/id` of the entry's URL, without the base and the query."""
    url = (entry.url or "").removeprefix(base_url())
    return url.partition("?")[0].strip("/")


def carried_out(entry: Entry, known: Mapping[str, str]) -> Response:
    """The answer to an entry of a transaction; `known` is what other entries have become. Raises Refusal and
    HTTPException.
    """
    resource = entry.resource
    if resource is not None:
        resource = rewrite_references(resource, known, entry.full_url)
        resource = with_real_references(seen("s"), resource, entry.expression)
    try:
        with current_app.request_context(_environ(entry, resource)):
            answer = note(_dispatched())
    except Exception:
        entry_refused(f"{entry.method} /fhir/{path_of(entry)}")
        raise
    entry_recorded()
    return answer


def as_entry(entry: Entry, against: Sequence[Issue]) -> Response:
    """The answer to an entry of a batch, a refusal included. `against` is what R4 has against the entry."""
    with current_app.request_context(_environ(entry, entry.resource)):
        try:
            outside = [issue for issue in against if not (issue.expression or "").startswith(entry.expression)]
            if entry.method == "POST" and path_of(entry).endswith("/_search"):
                raise Refusal(Kind.UNREADABLE, [_SEARCH_BY_GET])
            if outside or entry.method is None:
                raise Refusal(Kind.UNREADABLE, outside or against)
            answer = _dispatched()
        except Exception as problem:
            answer = current_app.make_response(current_app.handle_user_exception(problem))
        answer = note(answer)
    entry_recorded()
    return answer


_SEARCH_BY_GET = error(
    IssueCode.NOT_SUPPORTED,
    None,
    "I en batch söker man med GET.",
    "a search in a batch is a GET: request.method GET, request.url Type?parameter=value",
)


def _dispatched() -> Response:
    stopped = current_app.preprocess_request()
    return current_app.make_response(current_app.dispatch_request() if stopped is None else stopped)


def answered(entry: Entry, answer: Response) -> str:
    """The entry of the answering Bundle, as JSON text."""
    status = f"{answer.status_code} {HTTPStatus(answer.status_code).phrase}"
    response: Json = {"status": status}
    stored = answer.stored if isinstance(answer, replies.Answer) else None
    if stored is not None:
        response = replies.entry_response(stored, status)
        if entry.method in READS:
            del response["location"]
    body = answer.get_data(as_text=True)
    written = stored is not None and entry.method not in READS
    shown = "" if entry.method == "HEAD" else body
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        return f'{{"response":{_with_outcome(response, body)}}}'
    if written:
        shown = stored.body if stored and prefers("minimal") == "representation" else ""
        given = answer.receipt if isinstance(answer, replies.Answer) else None
        if given is not None:
            response["outcome"] = replies.receipt_outcome(given)
        elif prefers("minimal") == "OperationOutcome":
            response["outcome"] = to_operation_outcome([])
    return (f'{{"resource":{shown},' if shown else "{") + f'"response":{dump(response)}}}'


def _with_outcome(response: Json, body: str) -> str:
    return dump(response)[:-1] + (f',"outcome":{body}}}' if body else "}")


@contextmanager
def refused_at(entry: Entry) -> Iterator[None]:
    """Whatever refuses the entry refuses the transaction, and says at which entry."""
    try:
        yield
    except Refusal as refusal:
        told = [_at(issue, entry) for issue in refusal.issues]
        raise Refusal(refusal.kind, told, refusal.location) from refusal
    except HTTPException as problem:
        kind = Kind.NOT_FOUND if isinstance(problem, NotFound) else Kind.NOT_SUPPORTED
        place = f"Bundle.entry[{entry.position}].request"
        said = f"{entry.method} is not possible here: {problem.code} {problem.name}"
        told = [error(IssueCode.NOT_SUPPORTED, place, "Det går inte att göra så här i en transaction.", said)]
        raise Refusal(kind, told) from problem


def _at(issue: Issue, entry: Entry) -> Issue:
    """The issue with its place in the Bundle."""
    place = issue.expression or ""
    if place.startswith("Bundle."):
        return issue
    if place.startswith("http."):
        named = re.sub(r"^http\.", "", place).replace("-", "")
        member = next((m for m in _CONDITIONS.values() if m.lower() == named.lower()), "url")
        return replace(issue, expression=f"Bundle.entry[{entry.position}].request.{member}")
    return issue.at(entry.expression) if place else replace(issue, expression=f"Bundle.entry[{entry.position}]")


_CONDITIONS = {
    "HTTP_IF_NONE_EXIST": "ifNoneExist",
    "HTTP_IF_MATCH": "ifMatch",
    "HTTP_IF_NONE_MATCH": "ifNoneMatch",
    "HTTP_IF_MODIFIED_SINCE": "ifModifiedSince",
}


def _environ(entry: Entry, resource: Json | None) -> "WSGIEnvironment":
    """The outer request's environment with the entry's own method, address, conditions and body."""
    _, _, query = (entry.url or "").partition("?")
    kept: dict[str, Any] = {name: value for name, value in request.environ.items() if not name.startswith(_ITS_OWN)}
    sent = {
        "HTTP_IF_NONE_EXIST": entry.if_none_exist,
        "HTTP_IF_MATCH": entry.if_match,
        "HTTP_IF_NONE_MATCH": entry.if_none_match,
        "HTTP_IF_MODIFIED_SINCE": _http_date(entry.if_modified_since),
    }
    conditions = {name: value.encode().decode("latin-1") for name, value in sent.items() if value is not None}
    media, body = _body(entry, resource)
    return {
        **kept,
        **conditions,
        ENTRY: True,
        "REQUEST_METHOD": entry.method or "",
        "PATH_INFO": f"/fhir/{unquote_to_bytes(path_of(entry)).decode('latin-1')}",
        "QUERY_STRING": query,
        "CONTENT_TYPE": media,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }


def _body(entry: Entry, resource: Json | None) -> tuple[str, bytes]:
    """Media type and bytes. A patch comes as a Binary: https://hl7.org/fhir/R4/http.html#patch"""
    if resource is None:
        return "", b""
    if entry.method == "PATCH" and resource.get("resourceType") == "Binary":
        try:
            return text(resource, "contentType") or "", b64decode(text(resource, "data") or "")
        except ValueError:
            return text(resource, "contentType") or "", b""
    return _FHIR_JSON, dump(resource).encode()


def _http_date(instant: str | None) -> str | None:
    """An instant as HTTP writes it."""
    moment = parse_moment(instant) if instant else None
    return replies.http_date(moment.low) if moment else None
