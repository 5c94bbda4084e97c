"""What a request says: its body, its caller, what it takes as an answer. Bad ones are refused here (contract 2)."""

import re
from dataclasses import dataclass

from flask import current_app, request
from werkzeug.exceptions import NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType

from fhir_mappings import strict_json
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.access.caller import HEADER, Caller, read_caller
from service.referral.house import House
from service.referral.refusal import Kind, Refusal

MOST_BYTES = 1_000_000
MOST_ENTRIES = 200

FHIR_JSON = ("application/fhir+json", "application/json")

_ETAG = re.compile(r'(?:W/)?"?(\d{1,9})"?')


def house() -> House:
    """The house that this application serves."""
    served: House = current_app.extensions["sluss"]
    return served


def caller() -> Caller:
    """Who calls. Raises Refusal when the header cannot be read."""
    read = read_caller(request.headers.get(HEADER))
    if isinstance(read, Issue):
        raise Refusal(Kind.UNREADABLE, [read])
    return read


def check_media() -> None:
    """JSON only: 415 for another body, 406 for an Accept (or `_format`) that allows no JSON."""
    if request.method in ("POST", "PUT", "PATCH") and request.content_length != 0:
        allowed = ("application/x-www-form-urlencoded",) if request.path.endswith("/_search") else FHIR_JSON
        charset = request.mimetype_params.get("charset", "utf-8").lower()
        if request.mimetype not in allowed or charset not in ("utf-8", "utf8"):
            raise UnsupportedMediaType
    wanted = request.args.get("_format")
    if wanted is not None:
        if wanted.split(";")[0].strip().replace(" ", "+") not in (*FHIR_JSON, "json", "text/json"):
            raise NotAcceptable
        return
    accept = request.accept_mimetypes
    problem = request.path.startswith("/intake/") and accept["application/problem+json"]
    text = request.path == "/metrics"  # a Prometheus server asks for its own text format
    if accept and not (any(accept[kind] for kind in FHIR_JSON) or problem or text):
        raise NotAcceptable


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body and what R4 has against it."""

    resource: Json
    issues: tuple[Issue, ...]


def read_json() -> Json:
    """The body as a JSON object. Raises Refusal with every problem, or 413."""
    length = request.content_length
    if length is not None and length > MOST_BYTES:
        raise RequestEntityTooLarge
    raw = request.get_data(cache=False)
    if len(raw) > MOST_BYTES:
        raise RequestEntityTooLarge
    parsed = strict_json.parse(raw)
    if isinstance(parsed, list):
        raise Refusal(Kind.UNREADABLE, parsed)
    # for whatever goes wrong later: the answer must say whether signs of risk were in what was refused
    request.environ["sluss.body"] = parsed
    return parsed


def read_resource(*types: str) -> Body:
    """The body as one of these resource types, with every problem that R4 has with it (not raised yet, so that our own
    rules can be told together with them). Raises Refusal for another type, or a Bundle with too many entries.
    """
    resource = read_json()
    type_ = resource.get("resourceType")
    if type_ not in types:
        issues = validate(resource)
        wrong = error(
            IssueCode.INVALID,
            "resourceType" if not isinstance(type_, str) else type_,
            "Resursen är inte av den typ som adressen tar emot.",
            f"expected {' or '.join(types)}, got {type_!r}",
        )
        raise Refusal(Kind.UNREADABLE, [wrong, *issues])
    entry = resource.get("entry")
    if type_ == "Bundle" and isinstance(entry, list) and len(entry) > MOST_ENTRIES:
        too_many = error(
            IssueCode.TOO_COSTLY,
            "Bundle.entry",
            f"En Bundle får ha högst {MOST_ENTRIES} poster.",
            f"a Bundle may have at most {MOST_ENTRIES} entries; this one has {len(entry)}",
        )
        raise Refusal(Kind.TOO_LARGE, [too_many])
    return Body(resource, tuple(validate(resource)))


def if_match() -> int | None:
    """The version in If-Match, None without the header. Raises Refusal for one that is no version of ours."""
    header = request.headers.get("If-Match")
    return None if header is None else version_in(header)


def version_in(etag: str) -> int:
    """`W/"3"` as 3. Raises Refusal (stale: no version of ours is called so)."""
    found = _ETAG.fullmatch(etag.strip())
    if found is None:
        raise Refusal(
            Kind.STALE,
            [
                error(
                    IssueCode.CONFLICT,
                    "http.If-Match",
                    "If-Match anger ingen version av resursen.",
                    'If-Match must be a weak ETag such as W/"3"',
                )
            ],
        )
    return int(found[1])


def prefers() -> str:
    """`minimal`, `representation` or `OperationOutcome` from Prefer; representation by default."""
    found = re.search(r"return\s*=\s*\"?(minimal|representation|OperationOutcome)\b", request.headers.get("Prefer", ""))
    return found[1] if found else "representation"


def is_strict() -> bool:
    """True under `Prefer: handling=strict`."""
    return re.search(r"handling\s*=\s*\"?strict\b", request.headers.get("Prefer", "")) is not None


def base_url() -> str:
    """The FHIR base that clients see, without a trailing slash."""
    public: str | None = current_app.config["PUBLIC_URL"]
    root = public or request.host_url.rstrip("/")
    return f"{root}/fhir"
