"""Tokens for registered clients (SMART Backend Services), and where they find out how to get them.

https://hl7.org/fhir/smart-app-launch/backend-services.html. A client shows who it is by an assertion that it has
signed; what it gets is a random text that is good for five minutes. Errors are RFC 6749's (section 5.2), all with 400.
"""

import hashlib
import re
import secrets
from datetime import timedelta
from ipaddress import ip_address
from typing import TypeVar

import structlog
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.access.assertions import Assertion, check_assertion
from service.access.keys import CLIENTS_SIGN_WITH, Header, KeySet, claims_of, read_header, read_key_set, said_issuer
from service.access.knowing import hash_of
from service.access.published_keys import PublishedKeys
from service.access.scopes import Scopes, read_scopes
from service.store.client_records import ClientRow, NewToken
from service.web.requests_in import FORM, SMART_CONFIGURATION, TOKEN, base_url, house

blueprint = Blueprint("tokens", __name__)

log = structlog.get_logger("sluss.web")

EXPIRES_IN = 300
"""Seconds."""

_T = TypeVar("_T")

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LARGEST = 32_000
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
"""Where clients looked before there was a smart-configuration, and some still do."""


class _Refused(Exception):  # noqa: N818
    """One of RFC 6749's errors, and in English why."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error, self.why = error, why


@blueprint.post(TOKEN)
def token() -> Response:
    """A token for an assertion."""
    _only_with_smart()
    try:
        granted = _granted(_form())
    except _Refused as refused:
        log.warning("token_refused", error=refused.error, reason=refused.why)
        return _answer({"error": refused.error, "error_description": refused.why}, 400)
    return _answer(granted)


@blueprint.get(SMART_CONFIGURATION)
def smart_configuration() -> Response:
    """What of SMART there is. Always JSON, whatever the Accept; no `issuer`, as there is no OpenID Connect."""
    _only_with_smart()
    configuration = {
        "token_endpoint": _token_url(),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(CLIENTS_SIGN_WITH),
        "scopes_supported": ["system/*.cruds", "system/*.rs", "system/Task.rs", "system/ServiceRequest.cruds"],
        "response_types_supported": [],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        # required, though nobody is sent to sign in here
        "code_challenge_methods_supported": ["S256"],
    }
    return Response(dump(configuration), content_type="application/json")


def security() -> Json:
    """What the CapabilityStatement says of it. https://hl7.org/fhir/smart-app-launch/conformance.html"""
    service = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": _token_url()}]}],
        "cors": False,
        "service": [{"coding": [{"system": service, "code": "SMART-on-FHIR"}]}],
        "description": "SMART Backend Services: registered clients, private_key_jwt, scopes version 2.",
    }


def _only_with_smart() -> None:
    if current_app.config["AUTH"] == "off":
        raise NotFound


def _token_url() -> str:
    return base_url().removesuffix("/fhir") + TOKEN


def _audiences() -> tuple[str, str]:
    """Our names: the token endpoint, and the root that clients see. Without SLUSS_PUBLIC_URL it is the request that
    says which that is, and an assertion made for another server could be used here: so only on this machine.
    """
    if current_app.config["PUBLIC_URL"] is None and not _is_loopback(request.host):
        raise _Refused("invalid_request", "SLUSS_PUBLIC_URL is not set, so nobody can be sure whom an assertion is for")
    return _token_url(), base_url().removesuffix("/fhir")


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _form() -> dict[str, str]:
    """What was sent; each parameter once (RFC 6749, section 3.2)."""
    request.max_content_length = _LARGEST
    if request.mimetype not in FORM:
        raise _Refused("invalid_request", f"send {FORM[0]}")
    try:
        sent = request.form
    except RequestEntityTooLarge:
        raise _Refused("invalid_request", "the request is too large") from None
    twice = [name for name, values in sent.lists() if len(values) > 1]
    if twice or "Authorization" in request.headers:
        raise _Refused("invalid_request", "each parameter once, and the assertion as the only credentials")
    return {name: value for name, value in sent.items() if value}


def _granted(form: dict[str, str]) -> Json:
    """The token that the form asks for."""
    grant = form.get("grant_type")
    if grant is None:
        raise _Refused("invalid_request", "grant_type is required")
    if grant != "client_credentials":
        raise _Refused("unsupported_grant_type", "grant_type takes: client_credentials")
    client, assertion = _authenticated(form)
    scopes = _scopes(form.get("scope"), read_scopes(client.scopes))
    given, now = secrets.token_urlsafe(32), house().clock()
    used = hashlib.sha256(assertion.jti.encode("utf-8", "surrogatepass")).hexdigest()
    ends = now + timedelta(seconds=EXPIRES_IN)
    new = NewToken(hash_of(given), client.id, str(scopes), ends, used, assertion.until)
    if not house().store.clients.issue(new):
        raise _Refused("invalid_client", "this assertion has been used before: its jti is known")
    log.info("token_given", client=client.id)
    return {"access_token": given, "token_type": "bearer", "expires_in": EXPIRES_IN, "scope": str(scopes)}


def _scopes(asked: str | None, registered: Scopes) -> Scopes:
    """What is granted: what is asked for, as far as the client is registered for it; without a word all of that."""
    granted = registered if asked is None else read_scopes(asked).within(registered)
    if not granted.scopes:
        raise _Refused("invalid_scope", f"the client is registered for: {registered}")
    return granted


def _authenticated(form: dict[str, str]) -> tuple[ClientRow, Assertion]:
    """Who has signed the assertion."""
    if form.get("client_assertion_type") != _ASSERTION_TYPE:
        raise _Refused("invalid_client", f"client_assertion_type takes: {_ASSERTION_TYPE}")
    signed = form.get("client_assertion", "")
    header = _known_or_refused(read_header(signed, CLIENTS_SIGN_WITH))
    issuer = said_issuer(signed) or ""
    client = house().store.clients.get(issuer) if _CLIENT_ID.fullmatch(issuer) else None
    if client is None or client.disabled_at is not None or form.get("client_id", issuer) != issuer:
        raise _Refused("invalid_client", "iss is no client that is registered here")
    keys = _keys_of(client, header)
    claims = _known_or_refused(claims_of(signed, header, keys))
    return client, _known_or_refused(check_assertion(claims, client.id, _audiences(), house().clock()))


def _keys_of(client: ClientRow, header: Header) -> KeySet:
    """The client's keys; those at its address are fetched from nowhere else, whatever the header says."""
    known_by = client.credentials
    if header.jku is not None and header.jku != known_by.jwks_url:
        raise _Refused("invalid_client", "jku is not the address that the client is registered with")
    if known_by.jwks is not None:
        inline = read_key_set(known_by.jwks)
        return _known_or_refused(" ".join(inline) if isinstance(inline, list) else inline)
    if known_by.jwks_url is None:
        raise _Refused("invalid_client", "the client is registered without keys")
    published: PublishedKeys = current_app.config["PUBLISHED_KEYS"]
    return _known_or_refused(published.get(known_by.jwks_url, header))


def _known_or_refused(read: _T | str) -> _T:
    if isinstance(read, str):
        raise _Refused("invalid_client", read)
    return read


def _answer(body: Json, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(dump(body), status, headers, content_type="application/json")
