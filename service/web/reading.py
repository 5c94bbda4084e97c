"""read, vread and history, also under conditions. https://hl7.org/fhir/R4/http.html#read"""

from flask import Blueprint, Response, request

from fhir_mappings.issues import IssueCode, error
from fhir_mappings.strict_json import dump
from fhir_mappings.subset import SUMMARIES, summarised, with_elements
from service.referral.refusal import Kind, Refusal, not_found
from service.store.histories import parse_history
from service.store.records import Stored
from service.web import replies
from service.web.requests_in import is_strict, seen, versions_in

blueprint = Blueprint("reading", __name__, url_prefix="/fhir")


@blueprint.get("/<type_>/<id_>")
def read(type_: str, id_: str) -> Response:
    """read; 304 for who has this version already (If-None-Match, If-Modified-Since)."""
    stored = seen("r").get(type_, id_)
    if stored is None:
        raise not_found(type_, id_)
    return shown(stored)


@blueprint.get("/<type_>/<id_>/_history/<int:version>")
def vread(type_: str, id_: str, version: int) -> Response:
    """vread, under the same conditions."""
    stored = seen("r").version(type_, id_, version)
    written = request.path.rstrip("/").rpartition("/")[2]
    if stored is None or written != str(version):  # 01 is no version's name
        raise not_found(type_, f"{id_}/_history/{written}")
    return shown(stored)


@blueprint.get("/<type_>/_history")
def history_of_type(type_: str) -> Response:
    """history-type: `_since`, `_at`, `_count`."""
    return _history(type_, None)


@blueprint.get("/<type_>/<id_>/_history")
def history(type_: str, id_: str) -> Response:
    """history-instance: `_since`, `_at`, `_count`."""
    if seen("r").get(type_, id_) is None:
        raise not_found(type_, id_)
    return _history(type_, id_)


def _history(type_: str, id_: str | None) -> Response:
    query = parse_history(type_, id_, list(request.args.items(multi=True)), strict=is_strict())
    if isinstance(query, list):
        raise Refusal(Kind.UNREADABLE, query)
    return replies.history(query, seen("r").history_page(query))


def shown(stored: Stored) -> Response:
    """A version as `_summary` and `_elements` ask for it."""
    if _is_known(stored):
        return replies.unchanged(stored)
    if not request.args:
        return replies.resource(stored)
    summary, elements = request.args.get("_summary", "false"), request.args.get("_elements")
    if summary not in SUMMARIES:
        told = error(
            IssueCode.VALUE,
            "http._summary",
            "Så kan en resurs inte sammanfattas.",
            f"'_summary' takes one of {', '.join(sorted(SUMMARIES))} for a read",
        )
        raise Refusal(Kind.UNREADABLE, [told])
    body = stored.body
    if elements:
        body = dump(with_elements(stored.content, elements.split(",")))
    elif summary != "false":
        body = dump(summarised(stored.content, summary))
    return replies.resource(stored, body=body)


def _is_known(stored: Stored) -> bool:
    """True when the client says that it has this version. If-None-Match goes before If-Modified-Since (RFC 9110)."""
    etags = request.headers.get("If-None-Match")
    if etags is not None:
        versions = versions_in(etags)
        return versions is None or stored.version in versions
    since = request.if_modified_since
    changed = stored.last_updated.replace(microsecond=0)
    if since is None or changed > since:
        return False
    # A date does not tell two versions of the same second apart (RFC 9110 section 8.8.2.2).
    before = seen("r").version(stored.type, stored.id, stored.version - 1)
    return before is None or before.last_updated.replace(microsecond=0) < changed
