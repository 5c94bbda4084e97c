"""POST of a Bundle: a transaction, which is done as a whole or not at all, or a batch, each entry by itself.

https://hl7.org/fhir/R4/http.html#transaction. A referral and what belongs to it is taken in together (contract 3); any
other entry goes the very way that it would go as a request of its own.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from flask import Blueprint, Response, request

from fhir_mappings.bundle import Entry, entries, references, transaction_response
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.records import Json, Reference
from fhir_mappings.strict_json import dump
from service.referral.conditions import the_one_match, with_real_references
from service.referral.journey.receive import Receipt
from service.referral.parts import WITH_A_REFERRAL
from service.referral.refusal import Kind, Refusal
from service.referral.together import concerned
from service.web import replies
from service.web.entries import ENTRY, READS, answered, as_entry, carried_out, path_of, rank, refused_at
from service.web.referrals import take_bundle
from service.web.requests_in import Body, caller, in_one_change, read_resource, seen
from service.web.rest import UPDATABLE
from service.web.scope_checks import check_entries

blueprint = Blueprint("bundles", __name__, url_prefix="/fhir")

MOST_SEARCHED = 50
"""Different conditional references in one transaction."""

_SEARCHED_REFERENCE = re.compile(rb'"[A-Z][A-Za-z]+(?:\?|\\u003[fF])')
"""A conditional reference, as it stands in a body; an escaped question mark as well."""


@blueprint.post("")
@blueprint.post("/", strict_slashes=False)
def bundle() -> Response:
    """A transaction or a batch."""
    if ENTRY in request.environ:
        raise Refusal(Kind.NOT_SUPPORTED, [_NESTED])
    body = read_resource("Bundle")
    if body.resource.get("type") != "batch":  # whose entries are looked at one by one
        check_entries(caller(), ((entry, path_of(entry)) for entry in entries(body.resource)))
    if _is_new_referral(body.resource):
        return _referral(body)
    asked = entries(body.resource)
    if body.resource.get("type") == "batch":
        return _batch(body, asked)
    has_order = any(_is_order(entry) for entry in asked)
    apart = [entry for entry in asked if _stands_apart(entry, has_order)]
    return _transaction(body, asked, apart) if apart or not asked else _referral(body)


def _is_new_referral(sent: Json) -> bool:
    """True for what nearly every Bundle is, without a closer look: a ServiceRequest and what may stand beside it, all
    of it new.
    """
    listed = [entry for _, entry in children(sent, "entry")]
    types = {text(child(entry, "resource"), "resourceType") for entry in listed}
    methods = {text(child(entry, "request"), "method") for entry in listed}
    return (
        sent.get("type") == "transaction"
        and methods == {"POST"}
        and "ServiceRequest" in types
        and types - {"ServiceRequest"} <= WITH_A_REFERRAL
    )


def _referral(body: Body) -> Response:
    """A Bundle that is one referral and nothing else."""
    if _SEARCHED_REFERENCE.search(request.environ["sluss.raw"]):
        _check_searched(body.resource)
        body = Body(_found(body.resource), body.issues)
    given, made = take_bundle(body)
    answer = replies.fhir(dump(transaction_response(made)), 200, replies.verdict_headers(given))
    answer.stored = given.service_request
    return answer


def _is_order(entry: Entry) -> bool:
    return (
        entry.resource is not None
        and entry.resource.get("resourceType") == "ServiceRequest"
        and entry.method in ("POST", "PUT")
    )


def _stands_apart(entry: Entry, has_order: bool) -> bool:
    """True for what is done as a request of its own. Everything else belongs to the referral in the Bundle, or nowhere:
    evidence beside a ServiceRequest is a part of that referral.
    """
    if entry.method in READS:
        return True
    url = entry.url or ""
    if entry.method == "POST":
        type_ = text(entry.resource or {}, "resourceType")
        is_own = type_ in ("Task", "Communication") or (type_ in UPDATABLE and not has_order)
        return is_own or "/$" in url
    if entry.method not in ("PUT", "PATCH"):
        return False
    type_ = path_of(entry).partition("/")[0]
    if entry.method == "PUT" and entry.resource is not None and entry.resource.get("resourceType") == "ServiceRequest":
        return type_ == "ServiceRequest" and "?" in url
    return type_ in UPDATABLE


# ---------------------------------------------------------------- transaction


class _Step:
    """One thing that a transaction does: the referral, or one entry that stands apart."""

    def __init__(self, asked: Sequence[Entry], run: Callable[[dict[str, str]], None]) -> None:
        self.entries = asked
        self.run = run
        self.names = {name for entry in asked for name in _names(entry)}
        self.needs = {
            literal
            for entry in asked
            if entry.resource is not None
            for _, reference in references(entry.resource)
            if (literal := text(reference, "reference"))
        } - self.names
        self.rank = min(rank(entry) for entry in asked)


def _transaction(body: Body, asked: Sequence[Entry], apart: Sequence[Entry]) -> Response:
    """What is not a referral alone. Order: what others refer to, then by verb (DELETE, POST, PUT and PATCH, GET)."""
    errors = [issue for issue in body.issues if is_error(issue)]
    if errors:
        raise Refusal(Kind.UNREADABLE, errors)
    _check_searched(body.resource)
    answers: dict[int, str] = {}
    receipts: list[Receipt] = []

    def take(known: dict[str, str]) -> None:
        given, made = _taken(body.resource, positions)
        receipts.append(given)
        for position, told in zip(positions, made, strict=True):
            answers[position] = dump(told)
            location = told["response"].get("location", "").partition("/_history")[0]
            known.update(dict.fromkeys(_names(asked[position]), location) if location else {})

    def carry_out(entry: Entry) -> Callable[[dict[str, str]], None]:
        def run(known: dict[str, str]) -> None:
            with refused_at(entry):
                answer = carried_out(entry, known)
            answers[entry.position] = answered(entry, answer)
            if isinstance(answer, replies.Answer) and answer.stored is not None:
                known.update(dict.fromkeys(_names(entry), answer.stored.reference))

        return run

    positions = [entry.position for entry in asked if entry not in apart]
    steps = [_Step([entry], carry_out(entry)) for entry in apart]
    if positions:
        steps.append(_Step([asked[position] for position in positions], take))
    targets = _targets(asked)
    known: dict[str, str] = {}
    writes = any(entry.method not in READS for entry in asked)
    with in_one_change(_concerning(asked, targets)) if writes else nullcontext():
        for step in _in_order(steps):
            step.run(known)
    headers = replies.verdict_headers(receipts[0]) if receipts else {}
    listed = ",".join(answers[entry.position] for entry in asked)
    return replies.fhir(_response_bundle("transaction-response", listed), 200, headers)


def _taken(resource: Json, positions: Sequence[int]) -> tuple[Receipt, list[Json]]:
    """The referral that the entries at these positions make."""
    alone = {**resource, "entry": [resource["entry"][position] for position in positions]}

    def as_sent(issue: Issue) -> Issue:
        place = re.sub(
            r"^Bundle\.entry\[(\d+)\]", lambda m: f"Bundle.entry[{positions[int(m[1])]}]", issue.expression or ""
        )
        return Issue(issue.severity, issue.code, issue.text, issue.diagnostics, place or None, issue.rule)

    try:
        return take_bundle(Body(_found(alone), ()))
    except Refusal as refusal:
        raise Refusal(refusal.kind, [as_sent(i) for i in refusal.issues], refusal.location) from refusal


def _found(resource: Json) -> Json:
    """The Bundle with its conditional references resolved."""
    found = seen("s")
    return {
        **resource,
        "entry": [
            {
                **entry,
                "resource": with_real_references(found, entry["resource"], f"Bundle.entry[{i}].resource"),
            }
            if isinstance(entry.get("resource"), dict)
            else entry
            for i, entry in enumerate(resource["entry"])
        ],
    }


def _check_searched(resource: Json) -> None:
    """Each conditional reference is a search. Raises Refusal for more of them than anybody needs."""
    literals = {text(reference, "reference") or "" for _, reference in references(resource)}
    if sum("?" in literal for literal in literals) > MOST_SEARCHED:
        raise Refusal(Kind.TOO_LARGE, [_TOO_MANY_SEARCHED])


def _targets(asked: Sequence[Entry]) -> list[Reference]:
    """What is changed. Raises Refusal where two entries change the same."""
    found: dict[Reference, int] = {}
    for entry in asked:
        if entry.method not in ("PUT", "PATCH"):
            continue
        type_, _, id_ = path_of(entry).partition("/")
        condition = (entry.url or "").partition("?")[2]
        if condition and not id_ and type_ in UPDATABLE:
            with refused_at(entry):
                match = the_one_match(seen("s"), type_, condition, "http.query")
            id_ = match.id if match else ""
        if not id_:
            continue
        target = Reference(f"{type_}/{id_}")
        if target in found:
            raise Refusal(Kind.UNREADABLE, [_twice(entry, found[target])])
        found[target] = entry.position
    return list(found)


def _concerning(asked: Sequence[Entry], targets: Sequence[Reference]) -> set[Reference]:
    """All whose referrals must be locked before the first step."""
    written = (entry.resource for entry in asked if entry.resource is not None and entry.method not in READS)
    return {*targets, *(reference for resource in written for reference in concerned(resource))}


def _in_order(steps: list[_Step]) -> list[_Step]:
    """By verb and position, but what a step refers to before it. Raises Refusal when they refer to each other, or to an
    entry that is not there.
    """
    waiting = sorted(steps, key=lambda step: (step.rank, step.entries[0].position))
    everywhere = {name for step in steps for name in step.names}
    lost = [
        _unresolved(step.entries[0])
        for step in steps
        if any(name.startswith(("urn:uuid:", "urn:oid:")) and name not in everywhere for name in step.needs)
    ]
    if lost:
        raise Refusal(Kind.INVALID, lost)
    ordered: list[_Step] = []
    while waiting:
        open_names = {name for step in waiting for name in step.names}
        ready = next((step for step in waiting if not (step.needs & (open_names - step.names))), None)
        if ready is None:
            raise Refusal(Kind.NOT_SUPPORTED, [_circle(step.entries[0]) for step in waiting])
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _names(entry: Entry) -> list[str]:
    """What references in the Bundle may call what an entry makes or changes."""
    url = entry.full_url
    if not url or entry.method in READS:
        return []
    return [url, "/".join(url.rstrip("/").split("/")[-2:])] if url.startswith(("http://", "https://")) else [url]


# ---------------------------------------------------------------- batch


def _batch(body: Body, asked: Sequence[Entry]) -> Response:
    """Each entry by itself, whatever becomes of the others; one that R4 has something against is refused alone."""
    errors = [issue for issue in body.issues if is_error(issue)]
    whole = [issue for issue in errors if not (issue.expression or "").startswith("Bundle.entry[")]
    if whole:
        raise Refusal(Kind.UNREADABLE, whole)
    if any(_depends(entry, asked) for entry in asked):
        raise Refusal(Kind.INVALID, [_NO_BATCH])
    answers: dict[int, str] = {}
    for entry in sorted(asked, key=lambda entry: (rank(entry), entry.position)):
        mine = [i for i in errors if (i.expression or "").startswith(f"Bundle.entry[{entry.position}]")]
        answers[entry.position] = answered(entry, as_entry(entry, mine))
    return replies.fhir(_response_bundle("batch-response", ",".join(answers[entry.position] for entry in asked)))


def _depends(entry: Entry, asked: Sequence[Entry]) -> bool:
    """True for an entry that refers to what another one makes."""
    names = {name for other in asked if other is not entry and other.method == "POST" for name in _names(other)}
    if not names or entry.resource is None:
        return False
    return any(text(reference, "reference") in names for _, reference in references(entry.resource))


def _response_bundle(type_: str, listed: str) -> str:
    return f'{{"resourceType":"Bundle","type":"{type_}"' + (f',"entry":[{listed}]}}' if listed else "}")


# ---------------------------------------------------------------- what is refused


_NESTED = error(
    IssueCode.NOT_SUPPORTED,
    None,
    "En Bundle kan inte stå i en annan.",
    "a transaction or batch cannot be an entry of another",
)
_NO_BATCH = error(
    IssueCode.NOT_SUPPORTED,
    "Bundle.type",
    "Poster som hänvisar till varandra skickas som transaction, till exempel en remiss med det som hör till.",
    "entries of a batch must not refer to each other; a referral with what belongs to it is a transaction",
)


_TOO_MANY_SEARCHED = error(
    IssueCode.TOO_COSTLY,
    "Bundle.entry",
    f"En transaktion får ha högst {MOST_SEARCHED} olika hänvisningar som är sökningar.",
    f"a transaction may have at most {MOST_SEARCHED} different conditional references",
)


def _twice(entry: Entry, first: int) -> Issue:
    return error(
        IssueCode.INVALID,
        f"Bundle.entry[{entry.position}].request.url",
        "Två poster ändrar samma resurs.",
        f"this entry changes the same resource as Bundle.entry[{first}]",
    )


def _unresolved(entry: Entry) -> Issue:
    return error(
        IssueCode.VALUE,
        entry.expression,
        "Posten hänvisar till en post som inte finns i meddelandet.",
        "a urn reference is no entry's fullUrl",
    )


def _circle(entry: Entry) -> Issue:
    return error(
        IssueCode.NOT_SUPPORTED,
        entry.expression,
        "Posterna hänvisar till varandra i en ring.",
        "entries that refer to each other in a circle are not supported; send them one after the other",
    )
