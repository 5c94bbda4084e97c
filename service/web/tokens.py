"""Tokens for registered clients (SMART Backend Services), and where they find out how to get them.

https://hl7.org/fhir/smart-app-launch/backend-services.html. A client shows who it is by an assertion that it has
signed; what it gets is a random text that is good for five minutes. Errors are RFC 6749's (section 5.2), all with 400.
"""

import secrets
from datetime import timedelta
from typing import TypeVar

import structlog
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.access.assertions import Assertion, check_assertion
from service.access.keys import CLIENTS_SIGN_WITH
from service.access.knowing import hash_of
from service.access.published_keys import PublishedKeys
from service.access.scopes import Scopes, read_scopes
from service.access.signatures import read_signed
from service.store.client_records import ClientRow, NewToken
from service.web.audiences import NO_NAME, own_root
from service.web.requests_in import FORM, SMART_CONFIGURATION, TOKEN, base_url, house

blueprint = Blueprint("tokens", __name__)

log = structlog.get_logger("sluss.web")

EXPIRES_IN = 300
"""Seconds."""

_T = TypeVar("_T")

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LARGEST = 32_000
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
    """Our names: the token endpoint, and the root that clients see."""
    root = own_root()
    if root is None:
        raise _Refused("invalid_request", NO_NAME)
    return _token_url(), root


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
    ends = now + timedelta(seconds=EXPIRES_IN)
    new = NewToken(hash_of(given), client.id, str(scopes), ends, assertion.mark, assertion.until)
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
    published: PublishedKeys = current_app.config["PUBLISHED_KEYS"]
    signed = _known_or_refused(read_signed(form.get("client_assertion", ""), house().store.clients, published))
    client = signed.client
    if form.get("client_id", client.id) != client.id:
        raise _Refused("invalid_client", "client_id is another than iss")
    return client, _known_or_refused(check_assertion(signed.claims, client.id, _audiences(), house().clock()))


def _known_or_refused(read: _T | str) -> _T:
    if isinstance(read, str):
        raise _Refused("invalid_client", read)
    return read


def _answer(body: Json, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(dump(body), status, headers, content_type="application/json")
