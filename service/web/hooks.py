"""CDS Hooks: what stands in the way of a referral, told while it is still a draft. https://cds-hooks.hl7.org/2.0/

The draft and all that bears on it come with the request; nothing is fetched from `fhirServer` and a token in
`fhirAuthorization` is left alone, because an address that a client names may lead anywhere. Nothing of a patient is
stored: of each card its id and rules, so that what is done with it can be counted.
"""

from collections.abc import Iterator

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from fhir_mappings.elements import children
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.referral.cards import Card, Desk, card_of_refusal, cards_of
from service.referral.draft import missing, orders_for_ikbt, read_draft
from service.referral.dry_run import dry_run
from service.referral.feedback import note_feedback, note_shown
from service.referral.hook_call import HookCall, read_call, read_feedback
from service.referral.intake import Unreadable
from service.referral.journey.receive import reading_for
from service.referral.parts import WITH_A_REFERRAL
from service.referral.refusal import Kind, Refusal
from service.web.recording import concerns
from service.web.requests_in import HOOKS, caller, house, read_json

blueprint = Blueprint("hooks", __name__, url_prefix=HOOKS)

SERVICES = {"ikbt-order-sign": "order-sign", "ikbt-order-select": "order-select"}
"""Id of each service, and its hook."""

MOST_DRAFTS = 20
"""Referrals to IKBT that are judged in one call: an order session has one, seldom two."""

_PATIENT = "{{context.patientId}}"


@blueprint.get("")
@blueprint.get("/", strict_slashes=False)
def discovery() -> Response:
    """What there is to call."""
    return _json({"services": [_described(id_, hook) for id_, hook in SERVICES.items()]})


@blueprint.post("/<service>")
def call(service: str) -> Response:
    """The cards for the drafts in the request. 412 where the patient or the requester was not sent along."""
    given = read_call(read_json(), _hook(service))
    if isinstance(given, list):
        raise Refusal(Kind.UNREADABLE, given)
    orders = list(orders_for_ikbt(given.draft_orders, house().canonical, given.selections))
    if len(orders) > MOST_DRAFTS:
        raise Refusal(Kind.TOO_LARGE, [_TOO_MANY])
    problems = [*_against_r4(given, orders)] if orders else []
    if problems:
        raise Refusal(Kind.UNREADABLE, problems)
    lacking = sorted({name for order in orders for name in missing(order, given.context)})
    if lacking:
        raise Refusal(Kind.STALE, [_not_sent(name) for name in lacking])
    cards = [card for order in orders for card in _cards(order, given)]
    note_shown(house(), caller(), service, cards)
    return _json({"cards": [card.body for card in cards]})


@blueprint.post("/<service>/feedback")
def feedback(service: str) -> Response:
    """What was done with cards that this service has shown."""
    _hook(service)
    given = read_feedback(read_json())
    refused = [one for one in given if isinstance(one, Issue)]
    if refused:
        raise Refusal(Kind.UNREADABLE, refused)
    note_feedback(house(), caller(), service, [one for one in given if not isinstance(one, Issue)])
    return Response(status=200)


def _cards(order: Json, given: HookCall) -> list[Card]:
    home = house()
    desk = Desk(home.pack, home.canonical, home.new_id)
    draft = read_draft(order, given.context, given.instance, reading_for(home))
    if isinstance(draft.read, Unreadable):
        return [card_of_refusal(draft.read.issues, desk)]
    concerns(draft.read.referral.patient.identity.key)
    assessment, route = dry_run(home, caller(), draft.read)
    return cards_of(assessment, route, draft.unseen, desk)


def _against_r4(given: HookCall, orders: list[Json]) -> Iterator[Issue]:
    """What R4 has against the orders and against what is read beside them."""
    for position, entry in children(given.draft_orders, "entry"):
        if any(entry.get("resource") is order for order in orders):
            yield from validate(entry["resource"], f"context.draftOrders.entry[{position}].resource")
    for resource in given.context.resources.values():
        if resource["resourceType"] in WITH_A_REFERRAL:
            yield from validate(resource, f"prefetch.{resource['resourceType']}")


def _hook(service: str) -> str:
    if service not in SERVICES:
        raise NotFound
    return SERVICES[service]


def _described(id_: str, hook: str) -> Json:
    home = house()
    forms = f"{home.canonical.referral_form},{home.canonical.madrs_s_form}"
    return {
        "hook": hook,
        "id": id_,
        "title": f"Remiss till IKBT: {home.pack.title}",
        "description": "Tells what stands in the way of a referral to internet-delivered CBT, by the region's rules.",
        "prefetch": {
            "patient": f"Patient/{_PATIENT}",
            "user": "PractitionerRole?_id={{userPractitionerRoleId}}&_include=PractitionerRole:organization",
            "conditions": f"Condition?patient={_PATIENT}",
            "forms": f"QuestionnaireResponse?patient={_PATIENT}&questionnaire={forms}&_sort=-authored&_count=10",
            "ratings": f"Observation?patient={_PATIENT}&code={home.canonical.madrs_s}|total&_sort=-date&_count=10",
        },
        "usageRequirements": (
            "Sluss reads what is sent along and fetches nothing: without the prefetch patient and user (or a draft that"
            " contains them, or names them by identifier) it answers 412."
        ),
    }


def _not_sent(name: str) -> Issue:
    return error(
        IssueCode.NOT_FOUND,
        f"prefetch.{name}",
        "Journalsystemet har inte skickat med det som behövs för bedömningen.",
        f"prefetch {name!r} is needed; Sluss does not fetch from fhirServer",
    )


_TOO_MANY = error(
    IssueCode.TOO_COSTLY,
    "context.draftOrders",
    f"Högst {MOST_DRAFTS} remisser till IKBT bedöms på en gång.",
    f"at most {MOST_DRAFTS} draft orders for IKBT are judged in one call",
)


def _json(body: Json) -> Response:
    return Response(dump(body), content_type="application/json")
