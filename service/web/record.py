"""`/fhir/AuditEvent`: the record of who did what, for administrators: read and search-type.

Nobody writes it here: whatever anybody does makes its own events (`recording.py`), this too.
"""

from flask import Blueprint, Response, request

from fhir_mappings.audit_event import Recorded, to_fhir_audit_event
from fhir_mappings.issues import IssueCode, error
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.access.caller import Role
from service.definitions.search import definition_of
from service.referral.refusal import Kind, Refusal, forbidden, not_found
from service.store.asked import SearchQuery
from service.store.audit_conditions import chainable
from service.store.audit_search import SORTED, is_event
from service.store.records import Page, Stored
from service.store.search_parameters import BY_TYPE
from service.web import reading, searching
from service.web.requests_in import caller, house

TYPE = "AuditEvent"

blueprint = Blueprint("record", __name__, url_prefix=f"/fhir/{TYPE}")


@blueprint.before_request
def administrators_only() -> None:
    """403 for anybody else, whatever there is."""
    if caller().role is not Role.ADMINISTRATOR:
        raise forbidden("Loggen är till för administratörer.", "AuditEvents are for administrators")


@blueprint.get("")
def by_get() -> Response:
    """search-type by GET."""
    return searching.answer_to(TYPE, list(request.args.items(multi=True)), _find)


@blueprint.post("/_search")
def by_post() -> Response:
    """search-type by POST; parameters in the URL count too."""
    return searching.answer_to(TYPE, [*request.args.items(multi=True), *request.form.items(multi=True)], _find)


@blueprint.get("/<id_>")
def read(id_: str) -> Response:
    """The interaction read."""
    event = house().store.audit_view.get(id_)
    if event is None:
        raise not_found(TYPE, id_)
    return reading.shown(_stored(event))


def described() -> Json:
    """What the CapabilityStatement says of it."""
    kinds = {"_id": "token", "_lastUpdated": "date", **{name: str(p.kind) for name, p in BY_TYPE[TYPE].items()}}
    return {
        "type": TYPE,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "no-version",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": name, "definition": definition_of(TYPE, name), "type": kind} for name, kind in kinds.items()
        ],
    }


def _find(query: SearchQuery) -> Page:
    told = []
    if query.includes or any(clause.chained and not chainable(clause) for clause in query.clauses):
        told.append("AuditEvents are searched without includes, and without chains but patient.identifier.")
    if any(key.name not in SORTED for key in query.sort):
        told.append(f"AuditEvents are sorted by {', '.join(SORTED)}.")
    if query.page and not is_event(query.page[-1]):
        told.append("'_page' is not a token that this server has given for this search.")
    if told:
        raise Refusal(Kind.UNREADABLE, [error(IssueCode.NOT_SUPPORTED, None, _CANNOT, said) for said in told])
    events, token, total = house().store.audit_view.search(query, house().canonical)
    return Page(tuple(map(_stored, events)), next=token, total=total)


_CANNOT = "Sökningen kan inte utföras som den är skriven."


def _stored(event: Recorded) -> Stored:
    body = dump(to_fhir_audit_event(event, house().canonical))
    return Stored(TYPE, str(event.id), 1, event.recorded, body)
