"""Which Subscriptions a caller has, how they stand, and their events: search, $status, $events.

https://hl7.org/fhir/uv/subscriptions-backport/operations.html
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_mappings.bundle import searchset
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, Severity, error, to_operation_outcome
from fhir_mappings.strict_json import dump
from service.referral.refusal import Kind, Refusal
from service.store import query_values
from service.store.asked import DateValue
from service.store.subscription_records import SubscriptionRow
from service.subscriptions.notifications import Notice, Occasion
from service.subscriptions.reading import Content, Wanted, read_subscription
from service.subscriptions.topics import DEFINITIONS
from service.web import replies
from service.web.requests_in import base_url, caller, house, is_strict, read_json
from service.web.scope_checks import check_telling
from service.web.subscribers import mine, own, shown

blueprint = Blueprint("queries", __name__)

_USUAL_PAGE = 20
_MOST_EVENTS = 1000
"""That `$events` gives at once."""
_LARGEST = 2**31 - 1


@blueprint.get("")
def by_get() -> Response:
    """search-type among one's own, by what `FOUND_BY` has."""
    return _search(list(request.args.items(multi=True)))


@blueprint.post("/_search")
def by_post() -> Response:
    """search-type by POST."""
    return _search([*request.args.items(multi=True), *request.form.items(multi=True)])


@blueprint.route("/<id_>/$status", methods=["GET", "POST"])
def status_of(id_: str) -> Response:
    """$status of one: how it stands and how many events there were."""
    return _statuses([own(id_)])


@blueprint.route("/$status", methods=["GET", "POST"])
def statuses() -> Response:
    """$status of one's own, of those with the given `id` and `status`."""
    asked = _parameters()
    ids, wanted = asked.get("id"), asked.get("status")
    rows = [row for row in mine() if (not ids or row.id in ids) and (not wanted or row.status in wanted)]
    return _statuses(rows)


@blueprint.route("/<id_>/$events", methods=["GET", "POST"])
def events(id_: str) -> Response:
    """$events: those with numbers from `eventsSinceNumber` to `eventsUntilNumber`, both included, as they were sent;
    the oldest thousand of them, of the last thirty days.
    """
    row = own(id_)
    asked = _parameters()
    first, last = (_number(asked, f"events{end}Number", usual) for end, usual in (("Since", 1), ("Until", _LARGEST)))
    read = read_subscription(row.sent, house().canonical, row.base)
    if isinstance(read, Wanted):
        check_telling(caller(), DEFINITIONS[read.topic].focus)
    usual = read.content if isinstance(read, Wanted) else Content.EMPTY
    content = next((Content(value) for value in asked.get("content", []) if value in tuple(Content)), usual)
    found = house().store.subscriptions.events(id_, first, last, _MOST_EVENTS)
    notice = Notice(row, house().canonical, content)
    bundle = notice.bundle(house().new_id(), house().clock(), Occasion.QUERY_EVENTS, found)
    return replies.fhir(dump(bundle))


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


def _statuses(rows: list[SubscriptionRow]) -> Response:
    notices = [(row, Notice(row, house().canonical).status(Occasion.QUERY_STATUS)) for row in rows]
    entries = [(f"urn:uuid:{row.id}", dump({**status, "id": row.id}), "match") for row, status in notices]
    return replies.fhir(searchset(request.base_url, entries, len(rows)))


def _search(asked: list[tuple[str, str]]) -> Response:
    given = [(name, value) for name, value in asked if value and name not in ("_format", "_pretty")]
    modified = dict.fromkeys(name for name, _ in given if name not in FOUND_BY and name.partition(":")[0] in FOUND_BY)
    if modified:
        raise Refusal(Kind.UNREADABLE, [_unmodified(name) for name in modified])
    told = [
        Issue(
            Severity.ERROR if is_strict() else Severity.WARNING,
            IssueCode.NOT_SUPPORTED,
            f"Sökparametern {name} finns inte.",
            f"unknown search parameter {name!r}; known: {', '.join(FOUND_BY)}, _count",
        )
        for name in dict.fromkeys(name for name, _ in given)
        if name not in FOUND_BY and name not in ("_count", "_page")
    ]
    if told and is_strict():
        raise Refusal(Kind.UNREADABLE, told)
    used = [(name, value) for name, value in given if name in FOUND_BY]
    wanted = [(name, [query_values.unescape(part) for part in query_values.split(value)]) for name, value in used]
    if unreadable := [part for name, parts in wanted if name == _AGE for part in parts if not _age(part)]:
        raise Refusal(Kind.UNREADABLE, [_no_age(part) for part in unreadable])
    found = [row for row in mine() if all(any(FOUND_BY[name][1](row, one) for one in parts) for name, parts in wanted)]
    paging = {name: [value] for name, value in given if name in ("_count", "_page")}
    count, page = _number(paging, "_count", _USUAL_PAGE), paging.get("_page", [""])[0]
    left = [row for row in found if row.id > page]
    entries = [(f"{base_url()}/Subscription/{row.id}", shown(row), "match") for row in left[:count]]
    if told:
        entries.append(("", dump(to_operation_outcome(told)), "outcome"))
    here = f"{base_url()}/Subscription?"
    more = [*used, ("_count", str(count)), ("_page", left[count - 1].id)] if 0 < count < len(left) else None
    self_url = here + urlencode([*used, *((name, value) for name, values in paging.items() for value in values)])
    return replies.fhir(searchset(self_url.rstrip("?"), entries, len(found), here + urlencode(more) if more else None))


def _unmodified(name: str) -> Issue:
    told = f"{name!r} has a modifier, and none is supported here"
    return error(IssueCode.NOT_SUPPORTED, None, "Sökningen kan inte utföras som den är skriven.", told)


def _age(written: str) -> DateValue | None:
    read = query_values.date(_AGE, written)
    return read if isinstance(read, DateValue) else None


def _no_age(written: str) -> Issue:
    told = str(query_values.date(_AGE, written))
    return error(IssueCode.VALUE, None, "Sökningen kan inte utföras som den är skriven.", told)


def _is_as_old(row: SubscriptionRow, written: str) -> bool:
    """As of any other type, `gt` takes a written time as an exact instant (contract 8)."""
    asked, at = _age(written), row.last_updated
    if asked is None:
        return False
    low, high = asked.moment.low, asked.moment.high
    after = at > low if asked.moment.exact else at >= high
    near = timedelta(days=1)
    return {
        "eq": low <= at < high,
        "ne": not low <= at < high,
        "gt": after,
        "sa": after,
        "ge": at >= low,
        "lt": at < low,
        "eb": at < low,
        "le": at < high,
        "ap": low - near <= at < high + near,
    }[asked.prefix]


def _in_channel(row: SubscriptionRow, name: str) -> str:
    return text(child(row.sent, "channel"), name) or ""


_AGE = "_lastUpdated"
_STATUS = "http://hl7.org/fhir/subscription-status"
_CHANNEL = "http://hl7.org/fhir/subscription-channel-type"
_MEDIA = "urn:ietf:bcp:13"

FOUND_BY: Mapping[str, tuple[str, Callable[[SubscriptionRow, str], bool]]] = {
    "_id": ("token", lambda row, one: one == row.id),
    _AGE: ("date", _is_as_old),
    "status": ("token", lambda row, one: one in (row.status, f"{_STATUS}|{row.status}")),
    "url": ("uri", lambda row, one: one == _in_channel(row, "endpoint")),
    "criteria": (
        "string",
        lambda row, one: bool(one) and (text(row.sent, "criteria") or "").lower().startswith(one.lower()),
    ),
    "type": ("token", lambda row, one: one.removeprefix(f"{_CHANNEL}|") == _in_channel(row, "type")),
    "payload": ("token", lambda row, one: one.removeprefix(f"{_MEDIA}|") == _in_channel(row, "payload") != ""),
    "contact": (
        "token",
        lambda row, one: bool(one) and any(text(each, "value") == one for _, each in children(row.sent, "contact")),
    ),
}
"""Search parameter → its kind, and whether a Subscription has one value of it."""
