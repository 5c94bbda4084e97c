"""Conditions: what is here already that matches a search (contract 3).

If-None-Exist, conditional update and patch, conditional references: https://hl7.org/fhir/R4/http.html#ccreate,
#cond-update, #trules. Matches are looked for within the referring organisation or the treating team only, so that
nobody learns of another's; shared providers are everybody's.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from fhir_mappings.bundle import references, rewrite_references
from fhir_mappings.elements import text
from fhir_mappings.issues import IssueCode, error
from fhir_mappings.records import Json, Reference
from service.access.caller import Caller
from service.referral.house import House
from service.referral.intake import Lookup, Part, Reading, Submission, Unreadable, read_parts
from service.referral.lookup import SHARED
from service.referral.refusal import Kind, Refusal
from service.store.query import MAX_COUNT, SearchQuery, parse_query
from service.store.records import Stored
from service.store.view import View

HEADER = "http.If-None-Exist"


def the_one_match(
    view: View,
    type_: str,
    condition: str,
    organisation: str | None,
    expression: str = HEADER,
    *,
    team: str | None = None,
) -> Stored | None:
    """The one resource of an organisation that matches the search `condition`, None when none does; with `team` one of
    the referrals at that team, with neither one of all. Raises Refusal when several do (stale), or the condition is no
    search (unreadable); `expression` says where it stands.
    """
    query = _query(type_, condition, expression)
    if type_ in SHARED:
        own = list(view.search(query).matches)
    elif type_ == "Patient" and organisation is not None:
        own = [
            match
            for match in view.search(query).matches
            if any(key.endswith(f"@{organisation}") for key in view.keys_of("Patient", match.reference))
        ]
    else:
        # only its own are looked through: another's matches must not fill the page
        own = list(view.search(replace(query, organisation=organisation, team=team)).matches)
    if len(own) > 1:
        raise Refusal(
            Kind.STALE,
            [
                error(
                    IssueCode.MULTIPLE_MATCHES,
                    expression,
                    "Flera resurser passar in på villkoret.",
                    f"{len(own)} resources match the condition",
                )
            ],
        )
    return own[0] if own else None


def callers_match(view: View, caller: Caller, type_: str, condition: str, expression: str = HEADER) -> Stored | None:
    """`the_one_match` among what the caller's own organisation or team has; of all for who belongs to none."""
    organisation, team = (next(iter(sorted(own)), None) for own in (caller.organisations, caller.teams))
    return the_one_match(view, type_, condition, organisation, expression, team=team)


def with_real_references(view: View, caller: Caller, resource: Json, place: str) -> Json:
    """The resource, which stands at `place` in a transaction, with each reference that is a search (`Patient?name=…`)
    replaced by what it finds. Raises Refusal where it finds nothing or several.
    """
    found: dict[str, str] = {}
    for expression, reference in references(resource):
        literal = text(reference, "reference") or ""
        type_, is_search, condition = literal.partition("?")
        if not is_search or not type_.isalpha() or literal in found:
            continue
        where = f"{place}.{expression.partition('.')[2]}.reference"
        match = callers_match(view, caller, type_, condition, where)
        if match is None:
            told = error(
                IssueCode.NOT_FOUND,
                where,
                "Ingen resurs passar in på hänvisningen.",
                "no resource matches this conditional reference",
            )
            raise Refusal(Kind.STALE, [told])
        found[literal] = match.reference
    return rewrite_references(resource, found)


def with_what_exists(house: House, submission: Submission, reading: Reading, stored: Lookup) -> Submission | Unreadable:
    """The submission in which each entry whose If-None-Exist matches is what is stored: R4 leaves such an entry aside,
    and references to it mean the match. Raises Refusal as `the_one_match` does.
    """
    parts = as_they_exist(house.store.view(), submission.parts, submission.referral.requester.unit)
    if parts == list(submission.parts):
        return submission
    read = read_parts(submission.order, parts, reading, stored)
    if isinstance(read, Unreadable):
        return read
    # the same content is what was sent, not what it matched
    return replace(read, fingerprint=submission.fingerprint, made_reference=submission.made_reference)


def as_they_exist(view: View, parts: Sequence[Part], organisation: str) -> list[Part]:
    """The parts, each as it is stored where its If-None-Exist matches. Raises Refusal as `the_one_match` does."""
    return [_as_it_exists(view, part, organisation) for part in parts]


def _as_it_exists(view: View, part: Part, organisation: str) -> Part:
    if part.if_none_exist is None:
        return part
    place = part.expression.removesuffix(".resource") + ".request.ifNoneExist"
    match = the_one_match(view, part.type, part.if_none_exist, organisation, place)
    return part if match is None else replace(part, resource=match.content, existing=Reference(match.reference))


def _query(type_: str, condition: str, expression: str) -> SearchQuery:
    before, mark, rest = condition.partition("?")
    is_prefix = mark and (not before or before.isalpha())  # `Type?` or `?`; any other one stands in a value
    parameters = parse_qsl(rest if is_prefix else condition, keep_blank_values=True)
    query = parse_query(type_, parameters, strict=True)
    if isinstance(query, list):
        raise Refusal(Kind.UNREADABLE, [replace(issue, expression=expression) for issue in query])
    if not (query.clauses or query.ids or query.last_updated):
        raise Refusal(
            Kind.UNREADABLE,
            [
                error(
                    IssueCode.INVALID,
                    expression,
                    "Villkoret är ingen sökning.",
                    "a condition needs at least one search parameter",
                )
            ],
        )
    return replace(query, count=MAX_COUNT)
