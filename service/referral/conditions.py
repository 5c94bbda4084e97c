"""Conditions: what is here already that matches a search (contract 3).

If-None-Exist, conditional update and patch, conditional references: https://hl7.org/fhir/R4/http.html#ccreate,
#cond-update, #trules. Matches are looked for among what the caller may see only, and where a referral is sent among
what its organisation has here; shared providers are everybody's.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from fhir_mappings.bundle import references, rewrite_references
from fhir_mappings.elements import text
from fhir_mappings.issues import IssueCode, error
from fhir_mappings.records import Json, Reference
from service.referral.intake import Lookup, Part, Reading, Submission, Unreadable, read_parts
from service.referral.refusal import Kind, Refusal, forbidden
from service.store.query import MAX_COUNT, SearchQuery, parse_query
from service.store.records import Stored
from service.store.seen import Seen

HEADER = "http.If-None-Exist"


def the_one_match(seen: Seen, type_: str, condition: str, expression: str = HEADER) -> Stored | None:
    """The one resource that matches the search `condition` among what can be seen, None when none does. Raises Refusal
    when several do (stale), or the condition is no search (unreadable); `expression` says where it stands.
    """
    if seen.sight.allowed is not None and type_ not in seen.sight.allowed:
        raise forbidden(
            "Inloggningen ger inte rätt att söka, så villkoret kan inte prövas.",
            f"a condition is a search: the token needs the scope system/{type_}.s",
        )
    own = seen.search(_query(type_, condition, expression)).matches
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


def with_real_references(seen: Seen, resource: Json, place: str) -> Json:
    """The resource, which stands at `place` in a transaction, with each reference that is a search (`Patient?name=…`)
    replaced by what it finds among what can be seen. Raises Refusal where it finds nothing or several.
    """
    found: dict[str, str] = {}
    for expression, reference in references(resource):
        literal = text(reference, "reference") or ""
        type_, is_search, condition = literal.partition("?")
        if not is_search or not type_.isalpha() or literal in found:
            continue
        where = f"{place}.{expression.partition('.')[2]}.reference"
        match = the_one_match(seen, type_, condition, where)
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


def with_what_exists(seen: Seen, submission: Submission, reading: Reading, stored: Lookup) -> Submission | Unreadable:
    """The submission in which each entry whose If-None-Exist matches is what is stored: R4 leaves such an entry aside,
    and references to it mean the match. Raises Refusal as `the_one_match` does.
    """
    parts = as_they_exist(seen, submission.parts, submission.referral.requester.unit)
    if parts == list(submission.parts):
        return submission
    read = read_parts(submission.order, parts, reading, stored)
    if isinstance(read, Unreadable):
        return read
    # the same content is what was sent, not what it matched
    return replace(read, fingerprint=submission.fingerprint, made_reference=submission.made_reference)


def as_they_exist(seen: Seen, parts: Sequence[Part], organisation: str) -> list[Part]:
    """The parts, each as it is stored where its If-None-Exist matches what that organisation has here. Raises Refusal
    as `the_one_match` does.
    """
    if all(part.if_none_exist is None for part in parts):
        return list(parts)
    within = seen.within_unit(organisation)
    return [_as_it_exists(within, part) for part in parts]


def _as_it_exists(seen: Seen, part: Part) -> Part:
    if part.if_none_exist is None:
        return part
    place = part.expression.removesuffix(".resource") + ".request.ifNoneExist"
    match = the_one_match(seen, part.type, part.if_none_exist, place)
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
