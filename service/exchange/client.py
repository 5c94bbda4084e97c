"""HTTP to the external FHIR server.

Needs of that server no more than transaction, read and search (contract 9). https://hl7.org/fhir/R4/http.html
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import requests
import urllib3

from fhir_mappings import strict_json
from fhir_mappings.records import Json
from service.exchange.outcomes import Answered, Outcome, Permanent, Reason, Transient, judge
from service.exchange.peers import CAUTIOUS, Peer, recognise
from service.exchange.within_time import WithinTime

__all__ = [
    "Answered",
    "FhirClient",
    "Found",
    "Outcome",
    "Permanent",
    "Reason",
    "Transient",
    "condition",
    "is_id",
    "token",
]

_FHIR_JSON = "application/fhir+json"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
"""With its charset: without one, HAPI reads the letters of a search as Latin-1 and finds nothing."""
_LARGEST_ANSWER = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_KNOWN_FOR = 3600.0
_UNKNOWN_FOR = 60.0
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Found:
    """One page of matches; `more` tells that the server has others."""

    resources: tuple[Json, ...]
    more: bool = False


class FhirClient:
    """A client of one FHIR server; may be shared by threads.

    `base_url` has no query; `seconds` bounds a whole call, connecting and reading included;
    `prepare` gets every new session (authentication, certificates).
    """

    def __init__(
        self, base_url: str, seconds: float = 10.0, prepare: Callable[[requests.Session], None] | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._seconds = seconds
        self._prepare = prepare
        self._local = threading.local()
        self._known: tuple[float, Peer] = (0.0, CAUTIOUS)
        self._asking = threading.Lock()

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
        (https://hl7.org/fhir/R4/http.html#search). `next` is not followed, for the same reason, so the server need not
        keep what it found: HAPI otherwise writes every search to its database.
        """
        form = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters).encode()
        outcome = self._send("POST", f"/{resource_type}/_search", form, FORM, cache="no-cache, no-store")
        if not isinstance(outcome, Answered):
            return outcome
        bundle = outcome.resource
        entries, links = bundle.get("entry", []), bundle.get("link", [])
        if bundle.get("resourceType") != "Bundle" or not isinstance(entries, list) or not isinstance(links, list):
            return Transient(Reason.UNREADABLE, 200)
        held = [entry["resource"] for entry in entries if isinstance(entry, dict) and _is_match(entry, resource_type)]
        more = any(isinstance(link, dict) and link.get("relation") == "next" for link in links)
        return Found(tuple(held), more)

    def send(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Outcome:
        """Any other request; `path` is what follows the base URL. For a reader of pages and histories."""
        return self._send(method, path, body, content_type)

    def peer(self) -> Peer:
        """What kind of server it is, asked once an hour; CAUTIOUS when it does not tell."""
        with self._asking:
            until, peer = self._known
            if time.monotonic() < until:
                return peer
            outcome = self._send("GET", "/metadata", kind=lambda: CAUTIOUS)
            told = isinstance(outcome, Answered)
            peer = recognise(outcome.resource) if isinstance(outcome, Answered) else CAUTIOUS
            self._known = (time.monotonic() + (_KNOWN_FOR if told else _UNKNOWN_FOR), peer)
            return peer

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        kind: Callable[[], Peer] | None = None,
        cache: str = "no-cache",
    ) -> Outcome:
        headers = {"Accept": _FHIR_JSON, "Cache-Control": cache}
        if content_type is not None:
            headers["Content-Type"] = content_type
        within = urllib3.Timeout(connect=min(self._seconds, 3.05), total=self._seconds)
        try:
            with self._session().request(
                method,
                self.base_url + path,
                data=body,
                headers=headers,
                timeout=within,  # type: ignore[arg-type]  # requests takes it, its types do not say so
                allow_redirects=False,  # a redirected POST would become a GET
                stream=True,
            ) as answer:
                received = _read(answer)
                return judge(answer.status_code, answer.headers, received, kind or self.peer)
        except requests.Timeout as problem:
            return Transient(Reason.TIMEOUT, unanswered=not isinstance(problem, requests.ConnectTimeout))
        except requests.ConnectionError as problem:
            if isinstance(_cause(problem), urllib3.exceptions.ReadTimeoutError):  # in the midst of its body
                return Transient(Reason.TIMEOUT, unanswered=True)
            return Transient(Reason.UNREACHABLE, unanswered=_may_have_arrived(problem))
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            return Transient(Reason.ADDRESS)
        except requests.RequestException:
            return Transient(Reason.UNREADABLE, unanswered=True)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.mount("https://", WithinTime())
            session.mount("http://", WithinTime())
            session.headers["User-Agent"] = "Sluss"
            if self._prepare is not None:
                self._prepare(session)
            self._keep_what_the_environment_says(session)
            self._local.session = session
        return session

    def _keep_what_the_environment_says(self, session: requests.Session) -> None:
        """Proxies, certificates and ~/.netrc, for this server: requests would go through them for every request."""
        settings = session.merge_environment_settings(self.base_url, {}, None, None, None)
        session.proxies, session.verify, session.cert = settings["proxies"], settings["verify"], settings["cert"]
        session.auth = session.auth or requests.utils.get_netrc_auth(self.base_url)
        session.trust_env = False


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


def _read(answer: requests.Response) -> bytes:
    parts, size = [], 0
    for part in answer.iter_content(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise requests.exceptions.ContentDecodingError("answer too large")
    return b"".join(parts)


def _may_have_arrived(problem: requests.ConnectionError) -> bool:
    """False when the connection was never made, so that nothing can have been carried out."""
    if isinstance(problem, requests.exceptions.ProxyError | requests.exceptions.SSLError):
        return False
    return not isinstance(
        _cause(problem), urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )


def _cause(problem: requests.ConnectionError) -> object:
    cause = problem.args[0] if problem.args else None
    return getattr(cause, "reason", cause)


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
