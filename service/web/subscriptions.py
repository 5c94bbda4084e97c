"""Subscriptions that others have with us: made, read, searched, changed, deleted; how they stand; their events.

R4 with the Subscriptions R5 Backport guide, https://hl7.org/fhir/uv/subscriptions-backport/. Somebody else's is as if
it did not exist.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, current_app, request

from fhir_mappings.bundle import searchset
from fhir_mappings.elements import child, children, text, texts
from fhir_mappings.issues import Issue, IssueCode, Severity, error, is_error, to_operation_outcome
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from fhir_mappings.terminology import Canonical
from service.access.caller import Role
from service.referral.refusal import Kind, Refusal, forbidden, invalid, not_found
from service.store.moments import instant
from service.store.records import Stored
from service.store.subscription_records import NewSubscription, Owner, SubscriptionRow
from service.subscriptions.endpoints import Endpoints
from service.subscriptions.notifications import Notice, Occasion
from service.subscriptions.reading import GUIDE, Content, Wanted, read_subscription
from service.subscriptions.topics import DEFINITIONS, Topic, canonical_url, topic_of
from service.web import replies
from service.web.errors import outcome
from service.web.requests_in import Body, base_url, caller, house, if_match, is_strict, read_json, read_resource

blueprint = Blueprint("subscriptions", __name__, url_prefix="/fhir/Subscription")

log = structlog.get_logger("sluss.web")

_MOST = 20
"""Subscriptions that one caller may have."""
_MOST_EVENTS = 1000
"""That `$events` gives at once."""
_LARGEST = 2**31 - 1
_SET_BY_US = ("resourceType", "id", "status", "error")
_MASK = "*****"
"""Stands for the value of a header where others than its maker read it."""


class _Gone(Exception):  # noqa: N818 - an answer, not a programming error
    """It was deleted."""


@blueprint.errorhandler(_Gone)
def _gone(_: _Gone) -> Response:
    return outcome(410, [error(IssueCode.DELETED, None, "Prenumerationen är borttagen.", "it has been deleted")])


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
        _owner(),
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
    return _answer(row, 201)


@blueprint.get("/<id_>")
def read(id_: str) -> Response:
    """The interaction read."""
    return _answer(_own(id_))


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
    row = _own(id_)
    version = if_match()
    if version is not None and version != row.version:
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
    return _answer(changed)


@blueprint.delete("/<id_>")
def delete(id_: str) -> Response:
    """delete: 204, also a second time; its content and events are gone."""
    row = _own(id_, gone=True)
    if row.deleted_at is None and not house().store.subscriptions.delete(id_, if_match()):
        raise _overtaken()
    return Response(status=204)


@blueprint.get("")
def by_get() -> Response:
    """search-type among one's own: `_id`, `status`, `url`, `criteria`."""
    return _search(list(request.args.items(multi=True)))


@blueprint.post("/_search")
def by_post() -> Response:
    """search-type by POST."""
    return _search([*request.args.items(multi=True), *request.form.items(multi=True)])


@blueprint.route("/<id_>/$status", methods=["GET", "POST"])
def status_of(id_: str) -> Response:
    """$status of one: how it stands and how many events there were."""
    return _statuses([_own(id_)])


@blueprint.route("/$status", methods=["GET", "POST"])
def statuses() -> Response:
    """$status of one's own, of those with the given `id` and `status`."""
    asked = _parameters()
    ids, wanted = asked.get("id"), asked.get("status")
    rows = [row for row in _mine() if (not ids or row.id in ids) and (not wanted or row.status in wanted)]
    return _statuses(rows)


@blueprint.route("/<id_>/$events", methods=["GET", "POST"])
def events(id_: str) -> Response:
    """$events: those with numbers from `eventsSinceNumber` to `eventsUntilNumber`, both included, as they were sent;
    the oldest thousand of them, of the last thirty days.
    """
    row = _own(id_)
    asked = _parameters()
    first, last = (_number(asked, f"events{end}Number", usual) for end, usual in (("Since", 1), ("Until", _LARGEST)))
    read = read_subscription(row.sent, house().canonical, row.base)
    usual = read.content if isinstance(read, Wanted) else Content.EMPTY
    content = next((Content(value) for value in asked.get("content", []) if value in tuple(Content)), usual)
    found = house().store.subscriptions.events(id_, first, last, _MOST_EVENTS)
    notice = Notice(row, house().canonical, content)
    bundle = notice.bundle(house().new_id(), house().clock(), Occasion.QUERY_EVENTS, found)
    return replies.fhir(dump(bundle))


def described(canonical: Canonical) -> Json:
    """What the CapabilityStatement says of them: the topics by the guide's extension."""
    topics = f"{GUIDE}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
    return {
        "extension": [{"url": topics, "valueCanonical": canonical_url(topic, canonical)} for topic in Topic],
        "type": "Subscription",
        "supportedProfile": [f"{GUIDE}/StructureDefinition/backport-subscription"],
        "interaction": [{"code": code} for code in ("create", "delete", "read", "search-type", "update")],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": "_id", "type": "token"},
            {"name": "criteria", "type": "string"},
            {"name": "status", "type": "token"},
            {"name": "url", "type": "uri"},
        ],
        "operation": [
            {"name": name, "definition": f"{GUIDE}/OperationDefinition/backport-subscription-{name}"}
            for name in ("events", "status")
        ],
    }


# ---------------------------------------------------------------- whose it is


def _owner() -> Owner:
    calling = caller()
    return Owner(str(calling.role), calling.organisation, calling.team)


def _mine() -> list[SubscriptionRow]:
    return house().store.subscriptions.of(None if caller().role is Role.ADMINISTRATOR else _owner())


def _own(id_: str, *, gone: bool = False) -> SubscriptionRow:
    """The caller's Subscription; an administrator may have anybody's. Raises Refusal (not found), and _Gone for one
    that was deleted, unless that is wanted too.
    """
    row = house().store.subscriptions.get(id_)
    if row is None or (row.owner != _owner() and caller().role is not Role.ADMINISTRATOR):
        raise not_found("Subscription", id_)
    if row.deleted_at is not None and not gone:
        raise _Gone
    return row


def _authorise(criteria: str) -> None:
    topic, role = topic_of(criteria, house().canonical), caller().role
    if topic is not None and role not in DEFINITIONS[topic].told:
        raise forbidden("Den här rollen får inte prenumerera på ämnet.", f"{role} may not subscribe to {topic}")


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
    _authorise(text(body.resource, "criteria") or "")
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
        by_name.get(line.partition(":")[0].lower(), line) if line.partition(":")[2].strip() == _MASK else line
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


def _parameters() -> dict[str, list[str]]:
    """The parameters of an operation: of the query, and of a Parameters body."""
    asked: dict[str, list[str]] = {}
    for name, value in request.args.items(multi=True):
        asked.setdefault(name, []).append(value)
    if request.method == "POST" and request.content_length:
        for _, parameter in children(read_json(), "parameter"):
            given = [value for key, value in parameter.items() if key.startswith("value")]
            asked.setdefault(text(parameter, "name") or "", []).extend(map(str, given))
    return asked


def _number(asked: dict[str, list[str]], name: str, usual: int) -> int:
    value = asked.get(name, [str(usual)])[0]
    if not (value.isascii() and value.isdecimal() and len(value) < 20):
        wrong = error(IssueCode.VALUE, name, "Händelsens nummer kan inte läsas.", f"{name} is a whole number")
        raise Refusal(Kind.UNREADABLE, [wrong])
    return min(int(value), _LARGEST)


# ---------------------------------------------------------------- answers


def _answer(row: SubscriptionRow, status: int = 200) -> Response:
    answer = replies.resource(Stored("Subscription", row.id, row.version, row.last_updated, _shown(row)), status)
    if status == 201:  # there is no history to point into
        answer.headers["Location"] = f"{base_url()}/Subscription/{row.id}"
    return answer


def _shown(row: SubscriptionRow) -> str:
    """The Subscription as its maker sees it; others do not see what its headers say."""
    sent = row.sent
    meta = {**sent.pop("meta"), "versionId": str(row.version), "lastUpdated": instant(row.last_updated)}
    shown: Json = {"resourceType": "Subscription", "id": row.id, "meta": meta, "status": row.status, **sent}
    if row.reason:
        shown["error"] = row.reason
    channel = child(sent, "channel")
    if row.owner != _owner() and "header" in channel:
        masked = [f"{line.partition(':')[0]}: {_MASK}" for line in texts(channel, "header")]
        shown["channel"] = {**channel, "header": masked}
    return dump(shown)


def _statuses(rows: list[SubscriptionRow]) -> Response:
    notices = [(row, Notice(row, house().canonical).status(Occasion.QUERY_STATUS)) for row in rows]
    entries = [(f"urn:uuid:{row.id}", dump({**status, "id": row.id}), "match") for row, status in notices]
    return replies.fhir(searchset(request.base_url, entries, len(rows)))


def _search(asked: list[tuple[str, str]]) -> Response:
    given = [(name, value) for name, value in asked if value and name not in ("_format", "_pretty")]
    told = [
        Issue(
            Severity.ERROR if is_strict() else Severity.WARNING,
            IssueCode.NOT_SUPPORTED,
            f"Sökparametern {name} finns inte.",
            f"unknown search parameter {name!r}; known: {', '.join(_FOUND_BY)}, _count",
        )
        for name in dict.fromkeys(name for name, _ in given)
        if name not in _FOUND_BY and name not in ("_count", "_page")
    ]
    if told and is_strict():
        raise Refusal(Kind.UNREADABLE, told)
    used = [(name, value) for name, value in given if name in _FOUND_BY]
    found = [row for row in _mine() if all(_FOUND_BY[name](row) in value.split(",") for name, value in used)]
    paging = {name: [value] for name, value in given if name in ("_count", "_page")}
    count, page = _number(paging, "_count", _MOST), paging.get("_page", [""])[0]
    left = [row for row in found if row.id > page]
    entries = [(f"{base_url()}/Subscription/{row.id}", _shown(row), "match") for row in left[:count]]
    if told:
        entries.append(("", dump(to_operation_outcome(told)), "outcome"))
    here = f"{base_url()}/Subscription?"
    more = [*used, ("_count", str(count)), ("_page", left[count - 1].id)] if 0 < count < len(left) else None
    self_url = here + urlencode([*used, *((name, value) for name, values in paging.items() for value in values)])
    return replies.fhir(searchset(self_url.rstrip("?"), entries, len(found), here + urlencode(more) if more else None))


_FOUND_BY: Mapping[str, Callable[[SubscriptionRow], str | None]] = {
    "_id": lambda row: row.id,
    "criteria": lambda row: text(row.sent, "criteria"),
    "status": lambda row: row.status,
    "url": lambda row: text(child(row.sent, "channel"), "endpoint"),
}
