"""The links of search sets. What is said of a person in them is sealed: a proxy writes down every address that it sees,
also those that clients only follow.

A search by POST has its personal parameters in the body; its `self` and `next` have them in one opaque parameter beside
the others, and so has every `next`, with the place where the page starts. `self` of a search by GET says what the
client itself has written, as R4 asks: https://hl7.org/fhir/R4/search.html#conformance
"""

import json
import re
import zlib
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

from cryptography.fernet import Fernet, InvalidToken
from flask import request

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

_OF_A_PERSON = frozenset({"telecom", "phone", "email", "gender", "birthdate", "death-date", "address-use"})
_PERSONAL_NUMBER = re.compile(r"(?<![0-9A-Za-z-])[0-9]{6}(?:[0-9]{2})?[-+]?[0-9]{4}(?![0-9A-Za-z-])")
_KINDS = frozenset({ParameterKind.STRING, ParameterKind.QUANTITY})

_keys: dict[str, Fernet] = {}
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
    if base == "_page" or _PERSONAL_NUMBER.search(value):
        return True
    parameter = BY_TYPE.get(type_, {}).get(base)
    if parameter is None:
        return False
    if last:
        return any(_is_personal(target, last, value) for target in parameter.targets)
    by_kind = parameter.kind in _KINDS or parameter.shape is Shape.IDENTIFIER
    return by_kind or modifier == "identifier" or base in _OF_A_PERSON


def _sealed(parameters: Parameters) -> str:
    text = zlib.compress(json.dumps(parameters).encode())
    return _fernet().encrypt_at_time(text, int(house().now().timestamp())).decode().rstrip("=")


def _unsealed(text: str) -> list[tuple[str, str]]:
    padded = text + "=" * (-len(text) % 4)
    try:
        held = _fernet().decrypt_at_time(padded, int(LIFE.total_seconds()), int(house().now().timestamp()))
    except (InvalidToken, ValueError) as problem:
        raise Refusal(Kind.UNREADABLE, [_NOT_OURS]) from problem
    return [(name, value) for name, value in json.loads(zlib.decompress(held))]


def _fernet() -> Fernet:
    store: Store = house().store
    if store.url not in _keys:
        _keys[store.url] = Fernet(store.link_key(Fernet.generate_key().decode()))
    return _keys[store.url]


_NOT_OURS = error(
    IssueCode.VALUE,
    f"http.{SEALED}",
    "Länken gäller inte längre eller är inte en av våra. Sök igen.",
    f"'{SEALED}' is not one of this server's, or older than {LIFE.total_seconds() / 3600:.0f} hours; search again",
)
