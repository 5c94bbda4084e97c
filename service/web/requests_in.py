"""What a request says: its body, its caller, what it takes as an answer. Bad ones are refused here (contract 2)."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from flask import current_app, request
from werkzeug.exceptions import HTTPException, NotAcceptable, NotFound, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.http import parse_options_header

from fhir_mappings import json_patch, strict_json
from fhir_mappings.bundle import references, rewrite_references
from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import Json, Reference
from service.access.caller import Caller
from service.referral.house import House
from service.referral.refusal import Kind, Refusal
from service.referral.sights import sight_for
from service.referral.together import together
from service.store.audit_records import Acting
from service.store.seen import Seen
from service.store.sight import Sight

MOST_BYTES = 1_000_000
MOST_ENTRIES = 200

WAKE = "/exchange/wake"
"""Where the external server says that something has changed there."""

TOKEN = "/auth/token"  # noqa: S105 - an address
"""Where registered clients get their tokens."""

SMART_CONFIGURATION = "/fhir/.well-known/smart-configuration"
"""Where they find that address. https://hl7.org/fhir/smart-app-launch/conformance.html"""

HOOKS = "/cds-services"
"""Where CDS Hooks has its services."""

FHIR_JSON = ("application/fhir+json", "application/json")

FORM = ("application/x-www-form-urlencoded",)

PATCHES = (json_patch.MEDIA_TYPE,)
"""The patch formats. A merge patch or FHIRPath Patch is none of them."""

WRITING = frozenset({"POST", "PUT", "PATCH"})

FHIR_VERSIONS = ("4.0", "4.0.1")
"""What `fhirVersion=` in a media type may say: https://hl7.org/fhir/R4/http.html#version-parameter"""

_ETAG = re.compile(r'(?:W/)?"?([1-9][0-9]{0,8})"?')
_NO_VERSION = 0
"""Stands for an ETag that is none of ours: no resource ever had this version, so it is always stale."""


CALLER = "sluss.caller"
"""In the WSGI environment: who calls, where the address is not open to everybody."""

_TOGETHER = "sluss.together"
"""In the WSGI environment: the house of this request, whose changes are its caller's; and all one, while they are."""

ACTING = "sluss.acting"
"""In the WSGI environment: what this request does, for the record."""


def house() -> House:
    """The house that this application serves; within `in_one_change`, all that it changes is one change."""
    served: House = request.environ.get(_TOGETHER) or current_app.extensions["sluss"]
    return served


def act_as(acting: Acting) -> None:
    """What this request changes is recorded as this act."""
    home = house()
    request.environ[ACTING] = acting
    request.environ[_TOGETHER] = replace(home, store=home.store.acting_for(acting))


@contextmanager
def in_one_change(concerning: Iterable[Reference]) -> Iterator[None]:
    """Whatever this request does in the block is stored as a whole or not at all; see `together`."""
    outer = request.environ.get(_TOGETHER)
    with together(house(), caller(), concerning) as joined:
        request.environ[_TOGETHER] = joined
        try:
            yield
        finally:
            request.environ[_TOGETHER] = outer


def caller() -> Caller:
    """Who calls, as it was found out before anything else of the request was read."""
    known: Caller = request.environ[CALLER]
    return known


def sight(letter: str | None = None) -> Sight:
    """What the caller may see; `letter`: what a scope of its token must allow it for."""
    return sight_for(house(), caller(), letter)


def seen(letter: str | None = None) -> Seen:
    """What is stored, as far as the caller may see it: the only way in which an answer comes to what is stored."""
    return house().store.view().seen_by(sight(letter))


def check_media() -> None:
    """JSON only: 415 for another body, 406 for an Accept (or `_format`) that allows no JSON. A method or address that
    does not exist is told first. Nobody reads what wakes the collector, so that may come as anything; OAuth has its
    own rules.
    """
    if request.routing_exception is not None or request.path.startswith((WAKE, TOKEN, SMART_CONFIGURATION)):
        return
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType  # never unpacked: a few bytes can be a gigabyte
    searches = request.path.rstrip("/").endswith("/_search")
    bodiless = not request.content_length and "Transfer-Encoding" not in request.headers
    nothing_sent = bodiless or (searches and not request.content_type)
    if request.method in WRITING and not nothing_sent:
        allowed = FORM if searches else PATCHES if request.method == "PATCH" else FHIR_JSON
        charset = request.mimetype_params.get("charset", "utf-8").lower()
        version = request.mimetype_params.get("fhirversion", "4.0")
        if request.mimetype not in allowed or charset not in ("utf-8", "utf8") or version not in FHIR_VERSIONS:
            raise UnsupportedMediaType
    wanted = request.args.get("_format", request.form.get("_format") if searches else None)
    if wanted is not None:
        check_format(wanted)
    elif not _allows_json(request.headers.get("Accept", "")):
        raise NotAcceptable


def check_format(wanted: str) -> None:
    """406 for a `_format` that is not JSON."""
    # an unescaped + arrives as a space
    if wanted.partition(";")[0].strip().replace(" ", "+") not in (*FHIR_JSON, "json", "text/json"):
        raise NotAcceptable


def _allows_json(accept: str) -> bool:
    """True when an Accept header allows what this address answers with. Of the parameters only `q` and `fhirVersion`
    count: clients also write a charset.
    """
    kinds = [*FHIR_JSON, "application/*", "*/*"]
    if request.path.startswith(("/intake/", HOOKS)):
        kinds.append("application/problem+json")
    if request.path == "/metrics":  # a Prometheus server asks for its own text format
        kinds += ["text/plain", "application/openmetrics-text", "text/*"]
    asked = [parse_options_header(part) for part in accept.split(",") if part.strip()]
    return not asked or any(
        kind.lower() in kinds
        and not re.fullmatch(r"0(\.0*)?", options.get("q", "1"))
        and options.get("fhirversion", "4.0") in FHIR_VERSIONS
        for kind, options in asked
    )


def check_address() -> None:
    """No id, type or parameter holds U+0000, which PostgreSQL could not even compare with."""
    if "\0" in request.path:
        raise NotFound


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body and what R4 has against it."""

    resource: Json
    issues: tuple[Issue, ...]


def read_bytes() -> bytes:
    """The body as it came. Raises 413."""
    length = request.content_length
    if length is not None and length > MOST_BYTES:
        raise RequestEntityTooLarge
    raw = request.get_data(cache=False)
    if len(raw) > MOST_BYTES:
        raise RequestEntityTooLarge
    request.environ["sluss.raw"] = raw
    return raw


def read_json() -> Json:
    """The body as a JSON object. Raises Refusal with every problem, or 413."""
    parsed = strict_json.parse(read_bytes())
    if isinstance(parsed, list):
        raise Refusal(Kind.UNREADABLE, parsed)
    return parsed


def as_far_as_readable() -> Any:
    """The body of a refused request, read with all leniency; None when nothing can be read. Only to look for signs of
    suicide risk in it: whoever sent it must be told that they were not received.
    """
    if (request.content_length or 0) > MOST_BYTES:
        return None
    try:
        raw = request.environ.get("sluss.raw") or request.get_data(cache=False)
        return json.loads(raw.decode("utf-8-sig", "replace"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError, HTTPException, OSError):
        return None


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
    found = tuple(validate(resource))
    return Body(resource if any(map(is_error, found)) else with_own_references(resource), found)


def with_own_references(resource: Json) -> Json:
    """The resource in which a reference to an address of this server is `Type/id`, which is the same
    (https://hl7.org/fhir/R4/references.html#literal). In a Bundle, what is the fullUrl of an entry means that entry.
    """
    base = f"{base_url()}/"
    raw = request.environ["sluss.raw"]
    if base.encode() not in raw and b"\\/" not in raw:  # nearly all; "/" may be escaped in JSON
        return resource
    entries = {text(entry, "fullUrl") for _, entry in children(resource, "entry")}
    literals = {text(reference, "reference") or "" for _, reference in references(resource)} - entries
    own = {literal: literal.removeprefix(base) for literal in literals if literal.startswith(base)}
    return rewrite_references(resource, own)


def if_match() -> frozenset[int] | None:
    """The versions in If-Match, any of which will do; None without the header, or for `*`, which any matches."""
    header = request.headers.get("If-Match")
    return None if header is None else versions_in(header)


def versions_in(etags: str) -> frozenset[int] | None:
    """`W/"3", W/"4"` as 3 and 4 (https://www.rfc-editor.org/rfc/rfc9110#name-if-match); None when `*` is among them."""
    versions = {version_in(etag) for etag in etags.split(",")}
    return None if None in versions else frozenset(version for version in versions if version is not None)


def version_in(etag: str) -> int | None:
    """`W/"3"` as 3, `*` as None. What is no version of ours reads as one that is always stale."""
    if etag.strip() == "*":
        return None
    found = _ETAG.fullmatch(etag.strip())
    return int(found[1]) if found else _NO_VERSION


def if_none_exist() -> str | None:
    """The search in If-None-Exist. What a client has not escaped reads as UTF-8."""
    header = request.headers.get("If-None-Exist")
    try:
        return header and header.encode("latin-1").decode()
    except UnicodeError:
        return header


def prefers(otherwise: str = "representation") -> str:
    """`minimal`, `representation` or `OperationOutcome` from Prefer; `otherwise` by default."""
    found = re.search(r"return\s*=\s*\"?(minimal|representation|OperationOutcome)\b", request.headers.get("Prefer", ""))
    return found[1] if found else otherwise


def is_strict() -> bool:
    """True under `Prefer: handling=strict`."""
    return re.search(r"handling\s*=\s*\"?strict\b", request.headers.get("Prefer", "")) is not None


def base_url() -> str:
    """The FHIR base that clients see, without a trailing slash."""
    public: str | None = current_app.config["PUBLIC_URL"]
    root = public or request.host_url.rstrip("/")
    return f"{root}/fhir"
