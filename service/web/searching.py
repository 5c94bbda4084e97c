"""search-type, by GET and POST. https://hl7.org/fhir/R4/http.html#search"""

from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, Response, request

from fhir_mappings.bundle import searchset
from fhir_mappings.issues import Issue, IssueCode, Severity, error, to_operation_outcome
from fhir_mappings.strict_json import dump
from fhir_mappings.subset import summarised, with_elements
from service.referral.refusal import Kind, Refusal
from service.store.asked import SearchQuery
from service.store.includes import MAX_INCLUDES
from service.store.query import MAX_COUNT, parse_query
from service.store.records import Page, Stored, TooCostly
from service.web import replies
from service.web.links import next_link, opened, self_link
from service.web.pretty import indented
from service.web.requests_in import base_url, check_format, is_strict, seen

blueprint = Blueprint("search", __name__, url_prefix="/fhir")


@blueprint.get("/<type_>")
def by_get(type_: str) -> Response:
    """search-type by GET."""
    return answer_to(type_, list(request.args.items(multi=True)), _find)


@blueprint.post("/<type_>/_search")
def by_post(type_: str) -> Response:
    """search-type by POST; parameters in the URL count too."""
    return answer_to(type_, [*request.args.items(multi=True), *request.form.items(multi=True)], _find)


def _find(query: SearchQuery) -> Page:
    return seen("s").search(query)


def answer_to(type_: str, parameters: list[tuple[str, str]], find: Callable[[SearchQuery], Page]) -> Response:
    """The page that `find` has for these parameters. Raises Refusal with every problem that they have."""
    query = parse_query(type_, opened(parameters), strict=is_strict(), own_base=base_url())
    issues = query if isinstance(query, list) else []
    pretty = dict(parameters).get("_pretty", "false")
    if pretty not in ("true", "false"):
        issues = [*issues, _cannot(IssueCode.VALUE, "'_pretty' takes true or false.")]
    if issues or isinstance(query, list):
        raise Refusal(Kind.UNREADABLE, issues)
    if "_format" in request.form:
        check_format(request.form["_format"])
    try:
        page = find(query)
        told = _told(query, page, find)
    except TooCostly as problem:
        asked = "The search takes too long; ask for less: a patient, a focus, an identifier, a date or a code."
        raise Refusal(Kind.UNREADABLE, [_cannot(IssueCode.TOO_COSTLY, asked)]) from problem
    found = _bundle(query, page)
    answer = replies.fhir(indented(found) if pretty == "true" else found)
    answer.shown = told
    return answer


def _told(query: SearchQuery, page: Page, find: Callable[[SearchQuery], Page]) -> tuple[Stored, ...]:
    """All that the answer tells of, for the record. A number tells of whom it counts, shown on this page or not, unless
    they are more than a page could show: of the others it is nobody's then.
    """
    counted: tuple[Stored, ...] = ()
    if len(page.matches) < (page.total or 0) <= MAX_COUNT:
        counted = find(replace(query, count=MAX_COUNT, page=None, includes=(), total=False)).matches
    return (*page.matches, *page.includes, *counted)


def _bundle(query: SearchQuery, page: Page) -> str:
    base = base_url()
    here = f"{base}/{query.type}"
    entries = [(f"{base}/{s.type}/{s.id}", _shown(query, s, with_all=False), "match") for s in page.matches]
    entries += [(f"{base}/{s.type}/{s.id}", _shown(query, s, with_all=True), "include") for s in page.includes]
    told = [_ignored(name) for name in query.ignored]
    if page.includes_cut:
        told.append(_CUT)
    if told:
        entries.append(("", dump(to_operation_outcome(told)), "outcome"))
    next_url = next_link(here, query.type, query.used, page.next) if page.next else None
    return searchset(self_link(here, query.type, query.used), entries, page.total, next_url)


def _shown(query: SearchQuery, stored: Stored, *, with_all: bool) -> str:
    """The resource as `_summary` and `_elements` ask for it; `with_all`: `_elements` is not about it."""
    if query.elements and not with_all:
        return dump(with_elements(stored.content, query.elements))
    if query.summary != "false":
        return dump(summarised(stored.content, query.summary))
    return stored.body


def _cannot(code: IssueCode, diagnostics: str) -> Issue:
    return error(code, None, "Sökningen kan inte utföras som den är skriven.", diagnostics)


def _ignored(name: str) -> Issue:
    return Issue(
        Severity.WARNING,
        IssueCode.NOT_SUPPORTED,
        f"Sökparametern {name} finns inte och har inte använts.",
        f"unknown search parameter {name!r} was ignored",
    )


_CUT = Issue(
    Severity.WARNING,
    IssueCode.TOO_COSTLY,
    "Det som hör till träffarna är mer än vad som visas på en sida. Sök det för sig.",
    f"more than {MAX_INCLUDES} resources are to be included on this page, and not all are; search for them apart",
)
