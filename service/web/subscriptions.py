"""Subscriptions that others have with us: made, read, changed, deleted.

R4 with the Subscriptions R5 Backport guide, https://hl7.org/fhir/uv/subscriptions-backport/. Somebody else's is as if
it did not exist.
"""

import structlog
from flask import Blueprint, Response, current_app

from fhir_mappings.elements import child, text, texts
from fhir_mappings.issues import IssueCode, error, is_error
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from fhir_mappings.terminology import Canonical
from service.access.seeing import lacks_reason
from service.definitions.search import definition_of
from service.referral.refusal import Kind, Refusal, forbidden, invalid, needs_reason
from service.store.subscription_records import NewSubscription
from service.subscriptions.endpoints import Endpoints
from service.subscriptions.reading import GUIDE, Wanted, read_subscription
from service.subscriptions.topics import DEFINITIONS, Topic, canonical_url, topic_of
from service.web import subscription_queries
from service.web.requests_in import Body, base_url, caller, house, if_match, read_resource, sight
from service.web.scope_checks import check_telling
from service.web.subscribers import MASK, answer, own, owner

blueprint = Blueprint("subscriptions", __name__, url_prefix="/fhir/Subscription")
blueprint.register_blueprint(subscription_queries.blueprint)

log = structlog.get_logger("sluss.web")

_MOST = 20
"""Subscriptions that one caller may have."""
_SET_BY_US = ("resourceType", "id", "status", "error")


@blueprint.post("")
def create() -> Response:
    """create: status `requested` until the endpoint has answered the handshake."""
    body = read_resource("Subscription")
    wanted = _wanted(body)
    if (text(body.resource, "status") or "") not in ("requested", "active"):
        raise _bad_status("requested")
    new = NewSubscription(
        house().new_id(),
        str(wanted.topic),
        _content(body.resource),
        owner(),
        base_url(),
        wanted.heartbeat,
        wanted.end,
    )
    row = house().store.subscriptions.create(new, _MOST)
    if row is None:
        raise invalid(
            IssueCode.TOO_COSTLY,
            None,
            f"Det går att ha högst {_MOST} prenumerationer.",
            f"at most {_MOST} Subscriptions each; delete one first",
        )
    log.info("subscription_created", subscription=row.id, topic=row.topic)
    return answer(row, 201)


@blueprint.get("/<id_>")
def read(id_: str) -> Response:
    """The interaction read."""
    return answer(own(id_))


@blueprint.put("/<id_>")
def update(id_: str) -> Response:
    """update: everything but what it is about. Status `requested` has the endpoint tried anew, `off` ends the sending;
    with another endpoint or header it is tried anew in any case.
    """
    body = read_resource("Subscription")
    if body.resource.get("id") != id_:
        raise Refusal(
            Kind.UNREADABLE,
            [
                error(
                    IssueCode.INVALID,
                    "Subscription.id",
                    "Resursens id stämmer inte med adressen.",
                    f"the body's id must be {id_!r}, as in the URL",
                )
            ],
        )
    errors = [issue for issue in body.issues if is_error(issue)]
    if errors:
        raise Refusal(Kind.UNREADABLE, errors)
    row = own(id_)
    versions = if_match()
    if versions is not None and row.version not in versions:
        raise _overtaken()
    sent = _unmasked(body.resource, row.sent)
    status = text(sent, "status") or ""
    wanted = _wanted(Body(sent, ()), checked=status != "off")
    before = read_subscription(row.sent, house().canonical, row.base)
    if isinstance(before, Wanted) and (wanted.topic, wanted.filters) != (before.topic, before.filters):
        raise invalid(
            IssueCode.BUSINESS_RULE,
            "Subscription.criteria",
            "Vad en prenumeration gäller kan inte ändras.",
            "criteria and filters cannot change, since events are numbered by them; create another Subscription",
        )
    if status not in ("requested", "active", "off"):
        raise _bad_status("requested, active or off")
    kept = status == row.status == "active" and isinstance(before, Wanted) and wanted.way == before.way
    changed = house().store.subscriptions.change(
        row,
        content=_content(sent),
        status="active" if kept else "off" if status == "off" else "requested",
        base=base_url(),
        heartbeat=wanted.heartbeat,
        end=wanted.end,
    )
    if changed is None:
        raise _overtaken()
    return answer(changed)


@blueprint.delete("/<id_>")
def delete(id_: str) -> Response:
    """delete: 204, also a second time; its content and events are gone."""
    row = own(id_, gone=True)
    versions = if_match()
    if row.deleted_at is None:
        matches = versions is None or row.version in versions
        if not (matches and house().store.subscriptions.delete(id_, row.version if versions else None)):
            raise _overtaken()
    return Response(status=204)


def described(canonical: Canonical) -> Json:
    """What the CapabilityStatement says of them: the topics by the guide's extension."""
    topics = f"{GUIDE}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
    return {
        "extension": [{"url": topics, "valueCanonical": canonical_url(topic, canonical)} for topic in Topic],
        "type": "Subscription",
        "supportedProfile": [f"{GUIDE}/StructureDefinition/backport-subscription"],
        "interaction": [{"code": code} for code in ("create", "delete", "read", "search-type", "update")],
        "versioning": "versioned",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": name, "definition": definition_of("Subscription", name), "type": kind}
            for name, (kind, _) in subscription_queries.FOUND_BY.items()
        ],
        "operation": [
            {"name": name, "definition": f"{GUIDE}/OperationDefinition/backport-subscription-{name}"}
            for name in ("events", "status")
        ],
    }


def _authorise(criteria: str, *, tells: bool) -> None:
    topic, role = topic_of(criteria, house().canonical), caller().role
    if topic is not None and role not in DEFINITIONS[topic].told:
        raise forbidden("Den här rollen får inte prenumerera på ämnet.", f"{role} may not subscribe to {topic}")
    if topic is not None and tells:  # who ends the sending learns nothing by it
        check_telling(caller(), DEFINITIONS[topic].focus)
    if lacks_reason(caller()):
        raise needs_reason()
    if not sight().sees_referrals:
        raise forbidden("Du ser inga remisser att prenumerera på.", "this caller acts for no unit and no team")


# ---------------------------------------------------------------- what is asked for


def _wanted(body: Body, *, checked: bool = True) -> Wanted:
    """What a Subscription asks for. Raises Refusal with every problem, R4's and ours."""
    read = read_subscription(body.resource, house().canonical, base_url())
    own = read if isinstance(read, list) else []
    target = endpoints().target(text(child(body.resource, "channel"), "endpoint") or "")
    if checked and isinstance(target, str):
        own.append(error(IssueCode.VALUE, "Subscription.channel.endpoint", "Dit skickas inga aviseringar.", target))
    ends = read.end if isinstance(read, Wanted) else None
    if checked and ends is not None and ends <= house().clock():
        own.append(error(IssueCode.VALUE, "Subscription.end", "Slutet har passerat.", "end is in the past"))
    against_r4 = [issue for issue in body.issues if is_error(issue)]
    if against_r4:
        raise Refusal(Kind.UNREADABLE, [*against_r4, *own])
    _authorise(text(body.resource, "criteria") or "", tells=checked)
    if isinstance(read, list) or own:
        raise Refusal(Kind.INVALID, own)
    return read


def endpoints() -> Endpoints:
    """Where the settings allow notifications to be sent."""
    allowed: Endpoints = current_app.config["SUBSCRIPTION_ENDPOINTS"]
    return allowed


def _content(sent: Json) -> str:
    kept = {name: value for name, value in sent.items() if name not in _SET_BY_US}
    meta = {name: value for name, value in child(sent, "meta").items() if name not in ("versionId", "lastUpdated")}
    return dump({**kept, "meta": meta})


def _unmasked(sent: Json, stored: Json) -> Json:
    """With the values of headers that whoever sends it back could not read."""
    channel = child(sent, "channel")
    by_name = {line.partition(":")[0].lower(): line for line in texts(child(stored, "channel"), "header")}
    headers = [
        by_name.get(line.partition(":")[0].lower(), line) if line.partition(":")[2].strip() == MASK else line
        for line in texts(channel, "header")
    ]
    return {**sent, "channel": {**channel, "header": headers}} if headers else sent


def _bad_status(allowed: str) -> Refusal:
    return invalid(
        IssueCode.VALUE, "Subscription.status", "Den statusen sätter Sluss.", f"a client sets the status {allowed}"
    )


def _overtaken() -> Refusal:
    stale = error(
        IssueCode.CONFLICT,
        None,
        "Prenumerationen har ändrats. Läs om den och försök igen.",
        "it has another version now; read it again",
    )
    return Refusal(Kind.STALE, [stale])
