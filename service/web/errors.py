"""The one table where errors meet HTTP."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from fhir_mappings.identity import without_numbers
from fhir_mappings.issues import Issue, IssueCode, Severity, error, listed, to_operation_outcome
from fhir_mappings.strict_json import dump
from service.logs import place_of
from service.referral.journey.judgement import ITEM_9_LIMIT
from service.referral.refusal import Kind, Refusal
from service.referral.risk_signs import not_received, risk_signs
from service.store.records import StaleVersion, StoreUnavailable
from service.web.addresses import methods_of
from service.web.identity import NotAuthenticated
from service.web.requests_in import HOOKS, PATCHES, TOKEN, WAKE, WRITING, as_far_as_readable, base_url, house
from service.web.scope_checks import InsufficientScope

STATUS: Mapping[Kind, int] = {
    Kind.UNREADABLE: 400,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STALE: 412,
    Kind.TOO_LARGE: 413,
    Kind.INVALID: 422,
    Kind.NOT_SUPPORTED: 422,
    Kind.UNAVAILABLE: 503,
}

_HTTP: Mapping[int, tuple[IssueCode, str]] = {
    400: (IssueCode.INVALID, "Begäran kan inte läsas."),
    404: (IssueCode.NOT_FOUND, "Adressen finns inte."),
    405: (IssueCode.NOT_SUPPORTED, "Det går inte att göra så här på den här adressen."),
    406: (IssueCode.NOT_SUPPORTED, "Sluss svarar bara med JSON."),
    410: (IssueCode.DELETED, "Resursen är borttagen."),
    413: (IssueCode.TOO_LONG, "Det som skickades är för stort."),
    415: (IssueCode.NOT_SUPPORTED, "Sluss tar bara emot JSON i UTF-8."),
}

_OAUTH: Mapping[int, str] = {
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
}
"""Requests for a token that fail by no fault of the form's: https://www.rfc-editor.org/rfc/rfc6749#section-5.2 has no
codes for that, its section 4.1.2.1 has.
"""

log = structlog.get_logger("sluss.web")


class Throttled(Exception):  # noqa: N818  a refusal, not a fault
    """429: more than one client may ask; `seconds` until it may again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"throttled for {seconds} s")
        self.seconds = seconds


def register(app: Flask) -> None:
    """Let every error become an answer of this table."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(NotAuthenticated, _not_authenticated)
    app.register_error_handler(InsufficientScope, _insufficient_scope)
    app.register_error_handler(Throttled, lambda problem: throttled(problem.seconds))
    app.register_error_handler(StoreUnavailable, _unavailable)
    app.register_error_handler(StaleVersion, _overtaken)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _refused(refusal: Refusal) -> Response:
    headers = {"Location": f"{base_url()}/{refusal.location}"} if refusal.location else {}
    return outcome(STATUS[refusal.kind], list(refusal.issues), headers)


def _not_authenticated(problem: NotAuthenticated) -> Response:
    """https://www.rfc-editor.org/rfc/rfc6750#section-3. The body of somebody unknown is not read, not even for signs of
    risk.
    """
    told = "the token has expired or is not known here" if problem.with_token else "a bearer token is required"
    issue = error(
        IssueCode.LOGIN,
        None,
        "Inloggningen har gått ut eller gäller inte." if problem.with_token else "Inloggning krävs.",
        f"the JWT is refused: {problem.why}" if problem.why else told,
    )
    challenge = 'Bearer realm="sluss"' + (', error="invalid_token"' if problem.with_token else "")
    return _told(401, [issue], {"WWW-Authenticate": challenge})


def _insufficient_scope(problem: InsufficientScope) -> Response:
    challenge = f'Bearer realm="sluss", error="insufficient_scope", scope="{problem.scope}"'
    return outcome(403, problem.issues, {"WWW-Authenticate": challenge})


def throttled(seconds: int) -> Response:
    """429 with `Retry-After`."""
    issue = error(
        IssueCode.THROTTLED,
        None,
        f"För många anrop på kort tid. Försök igen om {seconds} sekunder.",
        f"too many requests of this client; retry after {seconds} s",
    )
    return outcome(429, [issue], {"Retry-After": str(seconds)})


def _unavailable(_: StoreUnavailable) -> Response:
    issue = error(
        IssueCode.TRANSIENT,
        None,
        "Sluss kan inte spara eller läsa just nu. Försök igen om en stund.",
        "the database cannot answer now; retry later",
    )
    return outcome(503, [issue], {"Retry-After": "5"})


def _overtaken(_: StaleVersion) -> Response:
    issue = error(
        IssueCode.CONFLICT,
        None,
        "Resursen ändrades samtidigt av någon annan. Läs om den och försök igen.",
        "a concurrent change was stored first; read again and retry",
    )
    return outcome(409, [issue], {"Retry-After": "1"})


def _http(problem: HTTPException) -> Response:
    status = problem.code or 500
    code, text = _HTTP.get(status, (IssueCode.PROCESSING, "Begäran kunde inte utföras."))
    headers = {}
    if isinstance(problem, MethodNotAllowed):
        headers["Allow"] = ", ".join(methods_of(request.path) or sorted(problem.valid_methods or ()))
    if status == 415 and request.method == "PATCH":
        headers["Accept-Patch"] = ", ".join(PATCHES)
    if status == 415 and "Content-Encoding" in request.headers:
        headers["Accept-Encoding"] = "identity"  # https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
    return outcome(status, [error(code, None, text, f"{status} {problem.name}")], headers)


def _unexpected(problem: Exception) -> Response:
    log.error("unexpected", error=type(problem).__name__, where=place_of(problem))
    issue = Issue(
        Severity.FATAL,
        IssueCode.EXCEPTION,
        "Ett internt fel inträffade. Inget har sparats.",
        "internal error; nothing was stored",
    )
    return outcome(500, [issue])


def outcome(status: int, issues: list[Issue], headers: Mapping[str, str] | None = None) -> Response:
    """An OperationOutcome (or, for the plain intake, problem+json) with the status. Signs of suicide risk in a refused
    body go first: they were not received.
    """
    return _told(status, [*_unreceived_risk(), *listed(issues)], headers)


def _told(status: int, issues: list[Issue], headers: Mapping[str, str] | None = None) -> Response:
    issues = [_nameless(issue) for issue in issues]
    if status in _OAUTH and request.path.rstrip("/") == TOKEN:
        said = dump({"error": _OAUTH[status], "error_description": issues[0].diagnostics})
        return Response(said, status, dict(headers or {}), content_type="application/json")
    if request.path.startswith(("/intake/", HOOKS)):
        return _problem(status, issues, headers)
    body = to_operation_outcome(issues, house().canonical.rule)
    return Response(dump(body), status, dict(headers or {}), content_type="application/fhir+json; charset=utf-8")


def _nameless(issue: Issue) -> Issue:
    """A name of an element, a code or an id that is not known is repeated, so that it can be found; never what could be
    somebody's number, wherever it stood.
    """
    return replace(
        issue,
        text=without_numbers(issue.text),
        diagnostics=without_numbers(issue.diagnostics),
        expression=without_numbers(issue.expression) if issue.expression else None,
    )


def _problem(status: int, issues: list[Issue], headers: Mapping[str, str] | None) -> Response:
    """RFC 9457, with one member of `errors` per issue."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": issues[0].text if issues else "",
        "status": status,
        "errors": [
            {
                key: value
                for key, value in {
                    "field": issue.expression,
                    "code": str(issue.code),
                    "text": issue.text,
                    "detail": issue.diagnostics,
                }.items()
                if value
            }
            for issue in issues
        ],
    }
    return Response(dump(body), status, dict(headers or {}), content_type="application/problem+json")


_TAKES_NOTHING_IN = ("$assess", "$extract", "_search")


def _unreceived_risk() -> list[Issue]:
    path = request.path.rstrip("/")
    if request.method not in WRITING or path.endswith(_TAKES_NOTHING_IN) or path.startswith((WAKE, HOOKS)):
        return []
    body = as_far_as_readable()
    limit = house().pack.limits.get(ITEM_9_LIMIT)
    signs = risk_signs(body, limit.value) if limit and body else []
    return [not_received(signs)] if signs else []
