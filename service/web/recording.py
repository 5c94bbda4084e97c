"""What goes into the record of who did what: one event for each request to a clinical address, and for each entry of a
Bundle, whatever became of it.

A change records itself, with what it changes (`store/change.py`). Everything else is recorded here, before the answer
goes out: where it cannot be, the answer is 503 and shows nothing.
"""

from dataclasses import replace
from urllib.parse import urlencode

from flask import Flask, Response, current_app, request

from service.referral.acting import agent_of
from service.store.audit_records import Act, Acting, Agent, AuditEvent
from service.store.joined import Joined
from service.store.records import Stored, StoreUnavailable
from service.web import replies
from service.web.proxies import client_address
from service.web.requests_in import ACTING, CALLER, HOOKS, SMART_CONFIGURATION, TOKEN, act_as, house

_UNKNOWN = Agent("unknown")
_LONGEST = 4000
"""Characters of an address or of a search that are kept."""
_OPEN = ("/fhir/metadata", SMART_CONFIGURATION)
_WATCHED = ("/health/live", "/health/ready", "/metrics")
"""Asked every few seconds by who watches the service, known or not."""

_ACTIONS = {
    "create": "C",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "update": "U",
    "patch": "U",
    "delete": "D",
}
"""R4's codes of what is done; everything else is an execution."""


def register(app: Flask) -> None:
    """Record every request before it is answered."""
    app.before_request(_begin)
    app.after_request(note)


def _begin() -> None:
    """Whatever this request changes is recorded as its caller's act."""
    if _is_recorded(request.path):
        act_as(Acting(_act()))


def note(response: Response) -> Response:
    """Add to the record what this request has read, asked or tried, unless a change has recorded it. Gives the answer,
    or 503 where it cannot be recorded.
    """
    if response.status_code == 429:  # told for nothing but how often: a line each would be the load that it is to save
        return response
    refused = response.status_code >= 400
    acting: Acting | None = request.environ.get(ACTING)
    if acting is None:
        if not _is_recorded(request.path) and not _is_attempt(response.status_code):
            return response
        acting = Acting(_act())  # refused before anybody knew who called
    if (acting.noted and not refused) or response.status_code in _NOT_TRIED:
        return response
    event = _event(acting, response)
    store = house().store
    try:
        if isinstance(store, Joined):
            with store.change() as change:
                change.record(event, acting)
        else:
            store.audit.record(event)
    except StoreUnavailable as problem:
        return current_app.make_response(current_app.handle_user_exception(problem))
    acting.noted = True
    return response


_NOT_TRIED = (429, 503)
"""Told to come back later: nothing was looked at, and what cannot be done cannot be recorded either."""


def entry_recorded() -> None:
    """An entry of this Bundle has recorded itself."""
    acting: Acting | None = request.environ.get(ACTING)
    if acting is not None:
        acting.noted = True


def entry_refused(tried: str) -> None:
    """An entry of this transaction was refused, and with it all of it."""
    acting: Acting | None = request.environ.get(ACTING)
    if acting is not None:
        acting.act = replace(acting.act, tried=f"{acting.act.tried}: {tried}"[:_LONGEST])


def concerns(patient_key: str) -> None:
    """The request is about a patient who need not be stored: `personnummer|199002222397`."""
    acting: Acting | None = request.environ.get(ACTING)
    if acting is not None:
        acting.patients = tuple(dict.fromkeys((*acting.patients, patient_key)))


def searched(parameters: str) -> None:
    """The search is also for this, which its address does not show."""
    acting: Acting | None = request.environ.get(ACTING)
    if acting is not None:
        acting.act = replace(acting.act, query=f"{parameters}&{acting.act.query or ''}"[:_LONGEST])


def _event(acting: Acting, response: Response) -> AuditEvent:
    act, status = acting.act, response.status_code
    about: tuple[str, ...]
    if status >= 400:
        outcome = 4 if status < 500 else 12 if status == 500 else 8
        about = (act.target.rstrip("/"),) if act.target.count("/") == 2 else ()
        return AuditEvent(act, outcome, status, about, acting.patients)
    shown = replies.shown_in(response)
    of_one = act.interaction in _OF_ONE or (act.interaction == "operation" and act.target)
    about = tuple(_version(stored) for stored in shown) if of_one else ()
    if not about and act.interaction == "history-instance":
        about = (act.target.rstrip("/"),)
    return AuditEvent(
        act,
        status=status,
        about=about,
        patients=(
            *acting.patients,
            *dict.fromkeys(stored.reference for stored in shown if stored.type == "Patient"),
        ),
        referrals=tuple(dict.fromkeys(stored.referral_id for stored in shown if stored.referral_id)),
    )


_OF_ONE = frozenset({"read", "vread", "create", "update", "patch", "transaction"})
"""What is about a resource; of a search the record has whom it found, not what."""


def _version(stored: Stored) -> str:
    return f"{stored.type}/{stored.id}/_history/{stored.version}"


# ---------------------------------------------------------------- what is tried, and by whom


def _is_recorded(path: str) -> bool:
    """True for an address with something of patients behind it, or with what is set up for them."""
    if path.startswith("/fhir"):
        return path.rstrip("/") not in _OPEN
    if path.startswith(HOOKS):
        return request.method == "POST"
    return path.startswith("/intake/")


def _is_attempt(status: int) -> bool:
    """True where somebody has failed to show who they are, at whatever address."""
    path = request.path.rstrip("/")
    return (status == 401 and path not in _WATCHED) or (status >= 400 and path == TOKEN)


def _act() -> Act:
    interaction, target = interaction_of(request.method, request.path)
    return Act(
        _agent(),
        interaction,
        _ACTIONS.get(interaction, "E"),
        f"{request.method} {request.path}"[:_LONGEST],
        _query(),
        target,
    )


def _agent() -> Agent:
    caller = request.environ.get(CALLER)
    known = agent_of(caller) if caller is not None else _UNKNOWN
    return replace(known, address=client_address(), request_id=request.environ.get("sluss.request_id"))


def interaction_of(method: str, path: str) -> tuple[str, str]:
    """R4's code of what a request asks for, and how the reference of what it is about begins.
    https://hl7.org/fhir/R4/valueset-restful-interaction.html
    """
    below = [part for part in path.split("/") if part][1:]
    if path.startswith("/intake/"):
        return "create", "ServiceRequest/"
    type_, id_ = (f"{part}/" if part and part[0] not in "_$" else "" for part in (*below, "", "")[:2])
    about = type_ + id_ if type_ else ""
    if not path.startswith("/fhir") or any(part.startswith("$") for part in below):
        return "operation", about if id_ and path.startswith("/fhir") else ""
    if method in ("GET", "HEAD"):
        return _READS.get(tuple(part if part == "_history" else "*" for part in below), "read"), about
    if method == "POST":
        if not below:
            return "transaction", "ServiceRequest/"
        return ("search-type", "") if below[-1] == "_search" else ("create", about)
    return _OTHERS.get(method, "operation"), about


_READS = {
    ("*",): "search-type",
    ("*", "*"): "read",
    ("_history",): "history-system",
    ("*", "_history"): "history-type",
    ("*", "*", "_history"): "history-instance",
    ("*", "*", "_history", "*"): "vread",
}
_OTHERS = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _query() -> str | None:
    """What is searched for, in the address, in a form or in If-None-Exist."""
    parts = [request.query_string.decode("latin-1"), request.headers.get("If-None-Exist", "")]
    if request.path.endswith("/_search"):
        parts.append(urlencode(list(request.form.items(multi=True))))
    return "&".join(part for part in parts if part)[:_LONGEST] or None
