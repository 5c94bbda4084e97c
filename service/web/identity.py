"""Who calls: worked out once for each request, before anything of it is read but its address."""

from contextlib import suppress
from dataclasses import replace

from flask import current_app, request

from fhir_mappings.issues import Issue
from service.access.caller import HEADER, Caller, Role, read_caller
from service.referral.refusal import Kind, Refusal
from service.web.requests_in import CALLER, WAKE

REASON = "Sluss-Reason"
"""The header in which an administrator says why clinical content is asked for."""

_OPEN = frozenset({"/fhir/metadata", "/fhir/.well-known/smart-configuration", "/auth/token", "/health/live"})
"""What anybody may ask, with a trailing slash or without."""
_LONGEST_REASON = 200


class NotAuthenticated(Exception):  # noqa: N818  a refusal, not a fault
    """401. `with_token`: a token was given, and it is not good (any more)."""

    def __init__(self, *, with_token: bool) -> None:
        super().__init__("not authenticated")
        self.with_token = with_token


def identify() -> None:
    """Note who calls, for `caller()`. An entry of a Bundle has the Bundle's caller. Raises NotAuthenticated, or Refusal
    where a header cannot be read.
    """
    if CALLER in request.environ or _is_open():
        return
    found = _by_header() if current_app.config["AUTH"] == "off" else _authenticated()
    request.environ[CALLER] = _with_reason(found)


def _is_open() -> bool:
    """True for what anybody may ask. What wakes the collector has a secret of its own, where one is set."""
    path = request.path.rstrip("/")
    if current_app.config["AUTH"] == "off":
        return False
    woken = current_app.config["WAKE_TOKEN"] is not None and (path == WAKE or path.startswith(f"{WAKE}/"))
    return path in _OPEN or woken


def _authenticated() -> Caller:
    raise NotAuthenticated(with_token="Authorization" in request.headers)


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
