"""search-type, by GET and POST. https://hl7.org/fhir/R4/http.html#search"""

from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_mappings.bundle import searchset
from fhir_mappings.issues import Issue, IssueCode, Severity, to_operation_outcome
from fhir_mappings.strict_json import dump
from service.referral.refusal import Kind, Refusal
from service.store.query import SearchQuery, parse_query
from service.store.records import Page
from service.web import replies
from service.web.requests_in import base_url, house, is_strict
from service.web.rest import known_type

blueprint = Blueprint("search", __name__, url_prefix="/fhir")


@blueprint.get("/<type_>")
def by_get(type_: str) -> Response:
    """search-type by GET."""
    return _search(type_, list(request.args.items(multi=True)))


@blueprint.post("/<type_>/_search")
def by_post(type_: str) -> Response:
    """search-type by POST; parameters in the URL count too."""
    return _search(type_, [*request.args.items(multi=True), *request.form.items(multi=True)])


def _search(type_: str, parameters: list[tuple[str, str]]) -> Response:
    known_type(type_)
    query = parse_query(type_, parameters, strict=is_strict(), own_base=base_url())
    if isinstance(query, list):
        raise Refusal(Kind.UNREADABLE, query)
    return replies.fhir(_bundle(query, house().store.view().search(query)))


def _bundle(query: SearchQuery, page: Page) -> str:
    base = base_url()
    here = f"{base}/{query.type}"
    entries = [(f"{base}/{s.type}/{s.id}", s.body, "match") for s in page.matches]
    entries += [(f"{base}/{s.type}/{s.id}", s.body, "include") for s in page.includes]
    if query.ignored:
        told = dump(to_operation_outcome([_ignored(name) for name in query.ignored]))
        entries.append(("", told, "outcome"))
    used = [(name, value) for name, value in query.used if name != "_page"]
    self_url = f"{here}?{urlencode(query.used)}" if query.used else here
    next_url = f"{here}?{urlencode([*used, ('_page', page.next)])}" if page.next else None
    return searchset(self_url, entries, page.total, next_url)


def _ignored(name: str) -> Issue:
    return Issue(
        Severity.WARNING,
        IssueCode.NOT_SUPPORTED,
        f"Sökparametern {name} finns inte och har inte använts.",
        f"unknown search parameter {name!r} was ignored",
    )
