"""The links of search sets. What is said of a person in them is sealed: a proxy writes down every address that it sees,
also those that clients only follow.

A search by POST has its personal parameters in the body; its `self` and `next` have them in one opaque parameter beside
the others, and so has every `next`, with the place where the page starts. `self` of a search by GET says what the
client itself has written, as R4 asks: https://hl7.org/fhir/R4/search.html#conformance
"""

import json
import secrets
import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import request

from fhir_mappings.identity import without_numbers
from fhir_mappings.issues import IssueCode, error
from service.referral.refusal import Kind, Refusal
from service.store.database import Store
from service.store.search_kinds import Kind as ParameterKind
from service.store.search_kinds import Shape
from service.store.search_parameters import BY_TYPE
from service.web.entries import ENTRY
from service.web.recording import searched
from service.web.requests_in import house

SEALED = "_sealed"
"""The parameter that holds what is sealed."""

LIFE = timedelta(hours=24)
"""How long a link can be followed."""

Parameters = Sequence[tuple[str, str]]

_NONCE, _TIME = 12, 8
"""Bytes."""

_OF_A_PERSON = frozenset({"telecom", "phone", "email", "gender", "birthdate", "death-date", "address-use"})
_KINDS = frozenset({ParameterKind.STRING, ParameterKind.QUANTITY})

_keys: dict[str, AESGCM] = {}
"""By database, which holds the key."""


def opened(parameters: Parameters) -> list[tuple[str, str]]:
    """The parameters of a search, those that a link has sealed among them. Raises Refusal when that is not what was
    sealed here, or too old.
    """
    sealed = [pair for name, value in parameters if name == SEALED for pair in _unsealed(value)]
    if sealed:
        searched(urlencode(sealed))
    return [pair for pair in parameters if pair[0] != SEALED] + sealed


def self_link(address: str, type_: str, used: Parameters) -> str:
    """The address of this search."""
    by_get = request.method == "GET" and ENTRY not in request.environ
    written = set(request.args.items(multi=True)) if by_get else set()
    return _link(address, type_, used, written)


def next_link(address: str, type_: str, used: Parameters, page: str) -> str:
    """The address of the page that starts at `page`."""
    return _link(address, type_, [*used, ("_page", page)], set())


def _link(address: str, type_: str, parameters: Parameters, written: set[tuple[str, str]]) -> str:
    hidden = [each for each in parameters if each not in written and _is_personal(type_, *each)]
    shown = [each for each in parameters if each not in hidden]
    if hidden:
        shown.append((SEALED, _sealed(hidden)))
    return f"{address}?{urlencode(shown)}" if shown else address


def _is_personal(type_: str, name: str, value: str) -> bool:
    """True for what may say something of a person: an identifier, a name, an address, a number that was measured; for
    the values where a page starts, which may be any of those; and for what looks like a personal number, wherever a
    client has written it.
    """
    head, _, last = name.partition(".")
    base, _, modifier = head.partition(":")
    if base == "_page" or without_numbers(value) != value:
        return True
    parameter = BY_TYPE.get(type_, {}).get(base)
    if parameter is None:
        return False
    if last:
        return any(_is_personal(target, last, value) for target in parameter.targets)
    by_kind = parameter.kind in _KINDS or parameter.shape is Shape.IDENTIFIER
    return by_kind or modifier == "identifier" or base in _OF_A_PERSON


def _sealed(parameters: Parameters) -> str:
    nonce = secrets.token_bytes(_NONCE)
    made = int(house().now().timestamp()).to_bytes(_TIME)
    held = _cipher().encrypt(nonce, made + zlib.compress(json.dumps(parameters).encode()), None)
    return urlsafe_b64encode(nonce + held).decode().rstrip("=")


def _unsealed(text: str) -> list[tuple[str, str]]:
    try:
        held = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        opened = _cipher().decrypt(held[:_NONCE], held[_NONCE:], None)
    except (InvalidTag, ValueError) as problem:
        raise Refusal(Kind.UNREADABLE, [_NOT_OURS]) from problem
    made = int.from_bytes(opened[:_TIME])
    if house().now().timestamp() > made + LIFE.total_seconds():
        raise Refusal(Kind.UNREADABLE, [_NOT_OURS])
    return [(name, value) for name, value in json.loads(zlib.decompress(opened[_TIME:]))]


def _cipher() -> AESGCM:
    store: Store = house().store
    if store.url not in _keys:
        new = b64encode(AESGCM.generate_key(256)).decode()
        _keys[store.url] = AESGCM(b64decode(store.link_key(new)))
    return _keys[store.url]


_NOT_OURS = error(
    IssueCode.VALUE,
    f"http.{SEALED}",
    "Länken gäller inte längre eller är inte en av våra. Sök igen.",
    f"'{SEALED}' is not one of this server's, or older than {LIFE.total_seconds() / 3600:.0f} hours; search again",
)
