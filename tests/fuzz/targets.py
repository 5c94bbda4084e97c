"""What is fuzzed: the readers of everything that a client sends. Each target takes any bytes; what it reaches gives a
result or Issues. That it raises, or takes longer than the input deserves, is a crash.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl

from fhir_mappings import json_patch, strict_json
from fhir_mappings.bundle import entries, references, rewrite_references, unresolved_references
from fhir_mappings.extraction import to_fhir_observations
from fhir_mappings.issues import Issue, is_error, to_operation_outcome
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.subset import summarised
from fhir_mappings.terminology import Canonical
from service.access.caller import Caller, read_caller
from service.packs.forms import bound_to
from service.packs.loading import load
from service.referral.draft import missing, orders_for_ikbt, read_draft
from service.referral.eligibility import assess
from service.referral.hook_call import HookCall, read_call, read_feedback
from service.referral.intake import Submission, Unreadable, read_submission
from service.referral.plain import PlainReferral, to_bundle
from service.referral.plain_schema import read_plain
from service.referral.risk_signs import risk_signs
from service.referral.whose import Reading
from service.settings import DEFAULT_CANONICAL_BASE
from service.store.asked import SearchQuery
from service.store.histories import HistoryQuery, parse_history
from service.store.histories import statement_of as history_statement
from service.store.includes import includes_of
from service.store.query import parse_query
from service.store.search import probe_of, statement_for
from service.store.search_parameters import BY_TYPE
from service.subscriptions.endpoints import Endpoints
from service.subscriptions.reading import Wanted, read_subscription

CANONICAL = Canonical(DEFAULT_CANONICAL_BASE)
PACK = load("gavleborg")
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=1)))
READING = Reading(CANONICAL, PACK, NOW, NOW.date())
BASE = "http://127.0.0.1/fhir"
TYPES = sorted(BY_TYPE)
STORED: Json = {
    "resourceType": "Task",
    "id": "t-1",
    "meta": {"versionId": "1", "lastUpdated": "2026-11-23T09:00:00.000Z"},
    "status": "requested",
    "intent": "order",
    "priority": "routine",
    "focus": {"reference": "ServiceRequest/s-1"},
    "for": {"reference": "Patient/p-1"},
    "owner": {"reference": "HealthcareService/gavle"},
    "note": [{"text": "Ring efter 15"}, {"text": "Nås bäst på förmiddagen"}],
    "input": [{"type": {"text": "finding"}, "valueString": "x"}],
}


def intake(data: bytes) -> None:
    """A body: a Bundle, a resource, plain JSON, a call of CDS Hooks, or (an array) a JSON Patch."""
    if data.lstrip().startswith(b"["):
        _patch(data)
        return
    body = strict_json.parse(data)
    if isinstance(body, list):
        _told(body)
        return
    assert strict_json.parse(strict_json.dump(body).encode()) == body, "what was read is written as it was"
    risk_signs(body, 4)
    against_r4 = _told(validate(body))
    type_ = body.get("resourceType")
    if type_ in ("ServiceRequest", "Bundle"):
        _read(body)
    elif type_ == "Subscription":
        wanted = read_subscription(body, CANONICAL, BASE)
        if isinstance(wanted, Wanted):
            Endpoints.of(["ehr.example"], []).target(wanted.endpoint)
    elif type_ == "QuestionnaireResponse" and not any(map(is_error, against_r4)):
        for form in PACK.questionnaires.values():
            to_fhir_observations(body, bound_to(form, CANONICAL.base), CANONICAL)
    elif type_ is None:
        _plain(body)
        _hooks(body)
    if type_ is not None and not against_r4:
        _sound(body)


def search(data: bytes) -> None:
    """The first byte chooses the type and what is read, the rest is the query of the address."""
    if not data:
        return
    type_, asked = TYPES[data[0] % len(TYPES)], data[1:].decode("utf-8", "replace")
    parameters = parse_qsl(asked, keep_blank_values=True)
    token = base64.urlsafe_b64encode(data[1:]).decode().rstrip("=")
    for strict in (False, True):
        for further in ([], [("_page", token)]):
            query = parse_query(type_, [*parameters, *further], strict=strict, own_base=BASE)
            if isinstance(query, SearchQuery):
                _asked(query)
            else:
                _told(query)
            history = parse_history(type_, "1", [*parameters, *further], strict=strict)
            if isinstance(history, HistoryQuery):
                _is_constant(history_statement(history, NOW)[0], asked)
            else:
                _told(history)
    read = read_caller(asked)
    assert isinstance(read, Caller | Issue)


TARGETS: Mapping[str, Callable[[bytes], None]] = {"intake": intake, "search": search}


def _patch(data: bytes) -> None:
    operations = json_patch.read_patch(data)
    if isinstance(operations, json_patch.Unpatched):
        _told(list(operations.issues))
        return
    before = strict_json.dump(STORED)
    made = json_patch.patched(STORED, operations, 1_000_000)
    assert strict_json.dump(STORED) == before, "the stored one is not changed"
    _told(list(made.issues) if isinstance(made, json_patch.Unpatched) else validate(made))


def _read(body: Json) -> None:
    read = read_submission(body, READING, lambda _: None)
    if isinstance(read, Unreadable):
        assert read.issues, "it says why it is refused"
        _told(list(read.issues))
    else:
        assess(read.referral, PACK, NOW.date())


def _plain(body: Json) -> None:
    read = read_plain(body, PACK, NOW.date())
    if not isinstance(read, PlainReferral):
        assert read, "it says why it is refused"
        _told(read)
        return
    made = read_submission(to_bundle(read, read.reference or "SLUSS-1", CANONICAL), READING, lambda _: None)
    if isinstance(made, Submission):
        assess(made.referral, PACK, NOW.date())
    else:
        _told(list(made.issues))


def _hooks(body: Json) -> None:
    read_feedback(body)
    given = read_call(body, "order-sign")
    if not isinstance(given, HookCall):
        _told(given)
        return
    for order in orders_for_ikbt(given.draft_orders, CANONICAL, given.selections):
        if not validate(order) and not missing(order, given.context):
            read_draft(order, given.context, given.instance, READING)


def _sound(resource: Json) -> None:
    """What is done with resources that R4 has nothing against."""
    known = {"urn:uuid:00000000-0000-4000-8000-000000000001": "Patient/1"}
    for entry in entries(resource):
        if entry.resource is not None:
            rewrite_references(entry.resource, known, entry.full_url)
    if resource["resourceType"] == "Bundle":
        unresolved_references(resource)
    list(references(resource))
    for how in ("true", "text", "data"):
        summarised(resource, how)


def _asked(query: SearchQuery) -> None:
    values = " ".join(value for _, value in query.used)
    _is_constant(statement_for(query).sql, values)
    probe = probe_of(query)
    if probe is not None:
        _is_constant(probe[0].sql, values)
    included = includes_of(query, [(query.type, "1")])
    if included is not None:
        _is_constant(included.sql, values)


def _is_constant(sql: bytes, values: str) -> None:
    """A value stands beside the statement, never in it. Short ones may be words of it anyway."""
    for value in values.replace(",", " ").split():
        if len(value) > 3 and not value.replace("_", "").replace("-", "").replace(":", "").isalnum():
            assert value.encode("utf-8", "replace") not in sql, "a value stands in the statement"


def _told(issues: list[Issue]) -> list[Issue]:
    """Issues can be written as an OperationOutcome that is R4 itself."""
    outcome = to_operation_outcome([replace(issue) for issue in issues[:20]], CANONICAL.rule)
    strict_json.dump(outcome)
    assert not issues or not validate(outcome), validate(outcome)
    return issues
