"""Who calls: worked out once for each request, before anything of it is read but its address."""

import hmac
import re
from contextlib import suppress
from dataclasses import replace

import structlog
from flask import current_app, request

from fhir_mappings.issues import Issue, IssueCode, error
from service.access.caller import HEADER, Caller, Role, read_caller
from service.access.knowing import Knowing
from service.referral.refusal import Kind, Refusal, forbidden
from service.web.audiences import NO_NAME, own_root
from service.web.proxies import from_proxy
from service.web.requests_in import CALLER, SMART_CONFIGURATION, TOKEN, WAKE, house
from service.web.scope_checks import check_scope

log = structlog.get_logger("sluss.web")

REASON = "Sluss-Reason"
"""The header in which an administrator says why clinical content is asked for."""

_OPEN = frozenset({"/fhir/metadata", SMART_CONFIGURATION, TOKEN, "/health/live"})
"""What anybody may ask, with a trailing slash or without."""
_MONITORED = frozenset({"/health/ready", "/metrics"})
"""What administrators may ask, and who watches over the service with a secret of its own."""
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""https://www.rfc-editor.org/rfc/rfc6750#section-2.1"""
_LONGEST_REASON = 200


class NotAuthenticated(Exception):  # noqa: N818  a refusal, not a fault
    """401. `with_token`: a token was given, and it is not good (any more); `why`: of one that a client has signed."""

    def __init__(self, *, with_token: bool, why: str | None = None) -> None:
        super().__init__("not authenticated")
        self.with_token, self.why = with_token, why


def identify() -> None:
    """Note who calls, for `caller()`, and see whether its token is good for this. An entry of a Bundle has the Bundle's
    caller. Raises NotAuthenticated, InsufficientScope, or Refusal where a header cannot be read or the role is another.
    """
    if CALLER not in request.environ:
        if _is_open():
            return
        found = _by_header() if current_app.config["AUTH"] == "off" else _authenticated()
        request.environ[CALLER] = _with_reason(found)
    check_scope(request.environ[CALLER], request.method, request.path)


def _is_open() -> bool:
    """True for what anybody may ask. What wakes the collector has a secret of its own, where one is set, and so has who
    watches over the service.
    """
    path, config = request.path.rstrip("/"), current_app.config
    if config["AUTH"] == "off":
        return False
    woken = config["WAKE_TOKEN"] is not None and (path == WAKE or path.startswith(f"{WAKE}/"))
    return path in _OPEN or woken or (path in _MONITORED and _is_monitor())


def _is_monitor() -> bool:
    secret: str | None = current_app.config["METRICS_TOKEN"]
    return secret is not None and hmac.compare_digest((_bearer() or "").encode(), secret.encode())


def _bearer() -> str | None:
    """The token in the Authorization header; None without one."""
    found = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    return found[1] if found else None


def _authenticated() -> Caller:
    """Who has the token, or else the certificate that a trusted proxy has checked."""
    knowing: Knowing = current_app.config["KNOWING"]
    header: str | None = current_app.config["CLIENT_SUBJECT_HEADER"]
    token, found = _bearer(), None
    if token is not None and _is_hook() and knowing.is_clients_own(token):
        found = _by_own_jwt(knowing, token)
    elif token is not None:
        found = knowing.by_token(token, house().clock())
    elif "Authorization" not in request.headers and header is not None and from_proxy():
        found = knowing.by_subject(request.headers.get(header, ""), house().clock())
    if found is None:
        raise NotAuthenticated(with_token=token is not None)
    if HEADER in request.headers:
        raise Refusal(Kind.UNREADABLE, [_NO_HEADER])
    if request.path.rstrip("/") in _MONITORED and found.role is not Role.ADMINISTRATOR:
        raise forbidden("Det här är till för den som sköter driften.", "this is for administrators")
    return found


def _is_hook() -> bool:
    """True for CDS Hooks: asking which services there are, a call of one, feedback to one."""
    return request.blueprint == "hooks"


def _by_own_jwt(knowing: Knowing, token: str) -> Caller:
    """The CDS client that has signed a JWT for this very address."""
    root = own_root()
    found = NO_NAME if root is None else knowing.by_own_jwt(token, f"{root}{request.path}", house().clock())
    if isinstance(found, str):
        log.warning("jwt_refused", reason=found)
        raise NotAuthenticated(with_token=True, why=found)
    return found


def _by_header() -> Caller:
    """Without authentication the header says it; the administrator of one's own machine needs no reason."""
    read = read_caller(request.headers.get(HEADER))
    if isinstance(read, Issue):
        raise Refusal(Kind.UNREADABLE, [read])
    return replace(read, reason="SLUSS_AUTH=off") if read.role is Role.ADMINISTRATOR else read


def _with_reason(found: Caller) -> Caller:
    given = request.headers.get(REASON, "").strip()
    if found.role is not Role.ADMINISTRATOR or not given:
        return found
    with suppress(UnicodeError):  # Latin-1 is what HTTP says, UTF-8 what clients write
        given = given.encode("latin-1").decode()
    return replace(found, reason=given[:_LONGEST_REASON])


_NO_HEADER = error(
    IssueCode.SECURITY,
    f"http.{HEADER}",
    "Huvudet Sluss-Caller gäller bara utan inloggning.",
    "Sluss-Caller counts with SLUSS_AUTH=off only; whom a request acts for is what its client is registered for",
)
