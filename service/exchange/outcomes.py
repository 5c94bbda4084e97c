"""What an answer of the external FHIR server means. Every outcome is a value; nothing that a person wrote gets into it.
Pure, but for the clock that a `Retry-After` date is compared with.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from fhir_mappings import strict_json
from fhir_mappings.records import Json
from service.exchange.peers import Meaning, Peer


class Reason(StrEnum):
    """Why something was not delivered, in one word for the exchange row, the log and the metrics."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    SERVER_ERROR = "server-error"
    ACCESS = "access"
    ADDRESS = "address"
    UNREADABLE = "unreadable"
    CONFLICT = "conflict"
    """What is there may not be what we thought: look."""
    RACE = "race"
    """Undone there because of somebody else's transaction: the same again."""
    MISSING_REFERENCE = "missing-reference"
    """Something that was referred to is not there, or no longer."""
    REFUSED = "refused"
    MISSING = "missing"
    MULTIPLE_MATCHES = "multiple-matches"
    UNIDENTIFIED = "unidentified"
    """A patient without a national identifier."""
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class RemoteIssue:
    """What is kept of another server's OperationOutcome: codes and a path, never its texts, which may name people."""

    severity: str
    code: str
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The server did what was asked."""

    resource: Json


@dataclass(frozen=True, slots=True)
class Transient:
    """Not now: another attempt may succeed."""

    reason: Reason
    status: int | None = None
    retry_after: timedelta | None = None
    unanswered: bool = False
    """True when the server may have carried it out all the same, because its answer was lost."""
    issues: tuple[RemoteIssue, ...] = ()


@dataclass(frozen=True, slots=True)
class Permanent:
    """The same request will never succeed; a person must look."""

    reason: Reason
    status: int | None = None
    issues: tuple[RemoteIssue, ...] = ()


Outcome = Answered | Transient | Permanent

_WAIT = (408, 425, 429, 503)
_TRANSIENT = {
    **dict.fromkeys(_WAIT, Reason.BUSY),
    # Wrong rights or a wrong address concern every referral at once and end when somebody corrects a setting.
    **dict.fromkeys((401, 403, 407), Reason.ACCESS),
    **dict.fromkeys((404, 405), Reason.ADDRESS),
}


_DIFFERS = (400, 409, 412, 422)
_MEANS = {
    Meaning.LOOK: Reason.CONFLICT,
    Meaning.REPEAT: Reason.RACE,
    Meaning.TARGET_MISSING: Reason.MISSING_REFERENCE,
}
_CODE = re.compile(r"[a-z][a-z-]{0,39}\Z")
_PATH = re.compile(r"[A-Za-z]{1,60}(\.[A-Za-z]{1,60}(\[[0-9]{1,4}\])?){0,12}\Z")


def judge(status: int, headers: Mapping[str, str], body: bytes, peer: Callable[[], Peer]) -> Outcome:
    """What an answer means for us. `peer` tells what kind of server it is; asked only of a refusal whose meaning
    differs between servers.
    """
    parsed = strict_json.parse(body) if body else []
    resource = parsed if isinstance(parsed, dict) else None
    issues = _issues(resource)
    if 200 <= status < 300:
        return Answered(resource) if resource is not None else Transient(Reason.UNREADABLE, status, unanswered=True)
    if status >= 500 and status not in _WAIT:
        return Transient(Reason.SERVER_ERROR, status, unanswered=True, issues=issues)
    meaning = peer().meaning(status, _diagnostics(resource)) if status in _DIFFERS else None
    if meaning is not None:
        return Transient(_MEANS[meaning], status, issues=issues)
    if status in _TRANSIENT and not (status == 404 and issues):
        wait = _wait(headers) if status in _WAIT else None
        return Transient(_TRANSIENT[status], status, wait, unanswered=status in (408, 503), issues=issues)
    if status < 400:
        return Transient(Reason.ADDRESS, status)
    return Permanent(Reason.MISSING if status in (404, 410) else Reason.REFUSED, status, issues)


def _issues(resource: Json | None) -> tuple[RemoteIssue, ...]:
    if resource is None or resource.get("resourceType") != "OperationOutcome":
        return ()
    listed = resource.get("issue")
    issues = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    kept = []
    for item in issues[:20]:
        paths = item.get("expression")
        path = paths[0] if isinstance(paths, list) and paths else None
        kept.append(
            RemoteIssue(
                item["severity"] if item.get("severity") in ("fatal", "error", "warning", "information") else "error",
                item["code"] if isinstance(item.get("code"), str) and _CODE.match(item["code"]) else "unknown",
                path if isinstance(path, str) and _PATH.match(path) else None,
            )
        )
    return tuple(kept)


def _diagnostics(resource: Json | None) -> str:
    """What the server says to people, to look for its message numbers in; never kept."""
    listed = (resource or {}).get("issue")
    issues = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return " ".join(item["diagnostics"] for item in issues if isinstance(item.get("diagnostics"), str))


def _wait(headers: Mapping[str, str]) -> timedelta | None:
    """`Retry-After`, or Microsoft's own in milliseconds."""
    exact = headers.get("x-ms-retry-after-ms", "")
    if exact.isascii() and exact.isdecimal() and len(exact) < 11:
        return timedelta(milliseconds=int(exact))
    return _retry_after(headers.get("Retry-After"))


def _retry_after(header: str | None) -> timedelta | None:
    """Seconds or an HTTP date (RFC 9110, 10.2.3); None when neither can be read."""
    if header is None:
        return None
    if header.isascii() and header.isdecimal() and len(header) < 8:
        return timedelta(seconds=int(header))
    try:
        instant = parsedate_to_datetime(header)
    except ValueError:
        return None
    wait = instant.replace(tzinfo=instant.tzinfo or UTC) - datetime.now(UTC)
    return max(wait, timedelta())
