"""HTTP to the external FHIR server. Every outcome is a value; nothing that a person wrote gets into it.

Needs of that server no more than transaction, read and search (contract 9). https://hl7.org/fhir/R4/http.html
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import quote

import requests
import urllib3

from fhir_mappings import strict_json
from fhir_mappings.records import Json

_FHIR_JSON = "application/fhir+json"
_LARGEST_ANSWER = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_CODE = re.compile(r"[a-z][a-z-]{0,39}\Z")
_PATH = re.compile(r"[A-Za-z]{1,60}(\.[A-Za-z]{1,60}(\[[0-9]{1,4}\])?){0,12}\Z")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


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
    REFUSED = "refused"
    MISSING = "missing"
    MULTIPLE_MATCHES = "multiple-matches"
    UNIDENTIFIED = "unidentified"
    """A patient without a national identifier."""
    INTERNAL = "internal"


_WAIT = (408, 425, 429, 503)
_TRANSIENT = {
    **dict.fromkeys(_WAIT, Reason.BUSY),
    **dict.fromkeys((409, 412), Reason.CONFLICT),
    # Wrong rights or a wrong address concern every referral at once and end when somebody corrects a setting.
    **dict.fromkeys((401, 403, 407), Reason.ACCESS),
    **dict.fromkeys((404, 405), Reason.ADDRESS),
}


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


@dataclass(frozen=True, slots=True)
class Found:
    """One page of matches; `more` tells that the server has others."""

    resources: tuple[Json, ...]
    more: bool = False


class FhirClient:
    """A client of one FHIR server; may be shared by threads.

    `base_url` has no query; `seconds` bounds a whole call, connecting and reading included (one stalled read may add
    as much once more); `prepare` gets every new session (authentication, certificates).
    """

    def __init__(
        self, base_url: str, seconds: float = 10.0, prepare: Callable[[requests.Session], None] | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._seconds = seconds
        self._prepare = prepare
        self._local = threading.local()

    def transaction(self, bundle: Json) -> Outcome:
        """Send a transaction Bundle; Answered with a transaction-response that has one entry per entry sent."""
        outcome = self._send("POST", "", strict_json.dump(bundle).encode(), _FHIR_JSON)
        if isinstance(outcome, Answered) and not _answers(outcome.resource, bundle):
            return Transient(Reason.UNREADABLE, 200, unanswered=True)
        return outcome

    def read(self, resource_type: str, resource_id: str) -> Outcome:
        """The current version of a resource; Permanent with reason `missing` when it is not, or no longer, there."""
        outcome = self._send("GET", f"/{resource_type}/{quote(resource_id, safe='')}")
        if isinstance(outcome, Answered) and outcome.resource.get("resourceType") != resource_type:
            return Transient(Reason.UNREADABLE, 200)
        return outcome

    def search(self, resource_type: str, parameters: Sequence[tuple[str, str]]) -> Found | Transient | Permanent:
        """First page of a search, by POST so that identifiers stay out of URLs and logs
        (https://hl7.org/fhir/R4/http.html#search). `next` is not followed, for the same reason.
        """
        form = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters).encode()
        outcome = self._send("POST", f"/{resource_type}/_search", form, "application/x-www-form-urlencoded")
        if not isinstance(outcome, Answered):
            return outcome
        bundle = outcome.resource
        entries, links = bundle.get("entry", []), bundle.get("link", [])
        if bundle.get("resourceType") != "Bundle" or not isinstance(entries, list) or not isinstance(links, list):
            return Transient(Reason.UNREADABLE, 200)
        held = [entry["resource"] for entry in entries if isinstance(entry, dict) and _is_match(entry, resource_type)]
        more = any(isinstance(link, dict) and link.get("relation") == "next" for link in links)
        return Found(tuple(held), more)

    def _send(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Outcome:
        headers = {"Accept": _FHIR_JSON, "Cache-Control": "no-cache"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        deadline = time.monotonic() + self._seconds
        try:
            with self._session().request(
                method,
                self.base_url + path,
                data=body,
                headers=headers,
                timeout=(min(self._seconds, 3.05), self._seconds),
                allow_redirects=False,  # a redirected POST would become a GET
                stream=True,
            ) as answer:
                received = _read(answer, deadline)
                return _judge(answer.status_code, answer.headers, received)
        except requests.Timeout as problem:
            return Transient(Reason.TIMEOUT, unanswered=not isinstance(problem, requests.ConnectTimeout))
        except requests.ConnectionError as problem:
            return Transient(Reason.UNREACHABLE, unanswered=_may_have_arrived(problem))
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            return Transient(Reason.ADDRESS)
        except requests.RequestException:
            return Transient(Reason.UNREADABLE, unanswered=True)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = "Sluss"
            if self._prepare is not None:
                self._prepare(session)
            self._local.session = session
        return session


def token(system: str, value: str) -> str:
    """A token search value, `system|value`, escaped as R4 asks (https://hl7.org/fhir/R4/search.html#escaping)."""
    return f"{_escaped(system)}|{_escaped(value)}"


def condition(name: str, *choices: str) -> str:
    """An `If-None-Exist` query of one parameter, percent-encoded as UTF-8: several servers compare raw text and
    make duplicates of what they cannot decode. Commas between the choices mean "or".
    """
    return f"{quote(name, safe='')}={','.join(quote(choice, safe='') for choice in choices)}"


def is_id(text: object) -> bool:
    """True for what R4 allows as a logical id (https://hl7.org/fhir/R4/datatypes.html#id)."""
    return isinstance(text, str) and _ID.match(text) is not None


def _escaped(text: str) -> str:
    return re.sub(r"([\\|,$])", r"\\\1", text)


def _read(answer: requests.Response, deadline: float) -> bytes:
    parts, size = [], 0
    for part in answer.iter_content(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise requests.exceptions.ContentDecodingError("answer too large")
        if time.monotonic() > deadline:
            raise requests.ReadTimeout("answer too slow")
    return b"".join(parts)


def _judge(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """What a status means for us. Servers differ on 409 and 412: a race in some, a stale version or several matches in
    others; the caller looks before it tries again.
    """
    parsed = strict_json.parse(body) if body else []
    resource = parsed if isinstance(parsed, dict) else None
    issues = _issues(resource)
    if 200 <= status < 300:
        return Answered(resource) if resource is not None else Transient(Reason.UNREADABLE, status, unanswered=True)
    if status >= 500 and status not in _WAIT:
        return Transient(Reason.SERVER_ERROR, status, unanswered=True, issues=issues)
    if status in _TRANSIENT and not (status == 404 and issues):
        wait = _retry_after(headers.get("Retry-After")) if status in _WAIT else None
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


def _may_have_arrived(problem: requests.ConnectionError) -> bool:
    """False when the connection was never made, so that nothing can have been carried out."""
    if isinstance(problem, requests.exceptions.ProxyError | requests.exceptions.SSLError):
        return False
    cause = problem.args[0] if problem.args else None
    cause = getattr(cause, "reason", cause)
    return not isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _is_match(entry: Json, resource_type: str) -> bool:
    resource, search = entry.get("resource"), entry.get("search")
    mode = search.get("mode", "match") if isinstance(search, dict) else "match"
    return isinstance(resource, dict) and resource.get("resourceType") == resource_type and mode == "match"


def _answers(answer: Json, bundle: Json) -> bool:
    entries = answer.get("entry")
    return (
        answer.get("resourceType") == "Bundle"
        and isinstance(entries, list)
        and len(entries) == len(bundle["entry"])
        and all(isinstance(entry, dict) and isinstance(entry.get("response"), dict) for entry in entries)
    )
