"""JSON Web Keys of others, and what they sign with them. Pure. https://www.rfc-editor.org/rfc/rfc7517

A key belongs to one way of signing: who may choose the algorithm of a signature may choose one that anybody can make.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.api_jws import PyJWS
from jwt.utils import base64url_decode

from fhir_mappings import strict_json
from fhir_mappings.records import Json

CLIENTS_SIGN_WITH = ("RS384", "ES384")
"""https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html"""
ISSUERS_SIGN_WITH = ("RS256", "RS384", "ES256", "ES384")

LONGEST_TOKEN = 8000
_LARGEST_SET = 64_000
_MOST_KEYS = 50
_SHORTEST_RSA = 2048
_CURVES = {"ES256": "P-256", "ES384": "P-384"}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt", "client-authentication+jwt"})


@dataclass(frozen=True, slots=True)
class Header:
    """What a signed token says of its signature."""

    algorithm: str
    kid: str
    jku: str | None = None
    typ: str | None = None
    """In small letters; None where it is not said."""

    @property
    def kty(self) -> str:
        """The type of key that the algorithm takes."""
        return "RSA" if self.algorithm.startswith("RS") else "EC"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys, as far as they can be used here."""

    keys: tuple[Json, ...]

    def matching(self, header: Header) -> tuple[Json, ...]:
        """Those that the header may mean; only exactly one is good."""
        return tuple(key for key in self.keys if key.get("kid") == header.kid and key.get("kty") == header.kty)


def is_jwt(token: str) -> bool:
    """True for what has the form of a signed token."""
    return len(token) <= LONGEST_TOKEN and _JWT.fullmatch(token) is not None


def read_key_set(text: str | bytes) -> KeySet | list[str]:
    """A JSON Web Key Set with public keys, or in English everything that is wrong with it. A key of a kind that nobody
    signs with here is left out.
    """
    raw = text.encode() if isinstance(text, str) else text
    parsed = strict_json.parse(raw) if len(raw) <= _LARGEST_SET else None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        return ['no JSON Web Key Set: {"keys": [...]}']
    if len(listed) > _MOST_KEYS:
        return [f"more than {_MOST_KEYS} keys"]
    if any(_PRIVATE & key.keys() for key in listed):
        return ["it holds a private or symmetric key, which is nobody's but its owner's: give the public keys only"]
    problems = [problem for position, key in enumerate(listed) for problem in _against(key, position)]
    usable = tuple(key for key in listed if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig")
    return problems or (KeySet(usable) if usable else ["no RSA or EC key for signatures"])


def _against(key: Json, position: int) -> list[str]:
    if key.get("kty") not in ("RSA", "EC") or key.get("use", "sig") != "sig":
        return []
    kid = key.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 200:
        return [f"keys[{position}] has no kid"]
    try:
        bits = jwt.PyJWK(key, algorithm=_algorithm_of(key)).key.key_size
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):
        return [f"keys[{position}] cannot be read as a public key"]
    if key["kty"] == "RSA" and bits < _SHORTEST_RSA:
        return [f"keys[{position}] has {bits} bits; RSA takes at least {_SHORTEST_RSA}"]
    return []


def _algorithm_of(key: Json) -> str:
    return "RS384" if key["kty"] == "RSA" else "ES256" if key.get("crv") == "P-256" else "ES384"


def read_header(token: str, algorithms: Collection[str]) -> Header | str:
    """What a token says of its signature; in English why it is refused."""
    if not is_jwt(token):
        return "it is no signed JWT"
    try:
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return "its header cannot be read"
    algorithm, kid, jku = header.get("alg"), header.get("kid"), header.get("jku")
    if algorithm not in algorithms:
        return f"alg takes: {', '.join(algorithms)}"
    if not isinstance(algorithm, str) or not isinstance(kid, str) or not isinstance(jku, str | None):
        return "kid is required; it and jku are texts"
    typ = str(header["typ"]).lower() if "typ" in header else None
    if "crit" in header or "b64" in header or (typ is not None and typ not in _TYPES):
        return "its header says what is not understood here; typ takes JWT"
    return Header(algorithm, kid, jku, typ)


UNREADABLE = "its claims cannot be read: JSON, each name once, without U+0000"
"""Why a token is refused that says nothing that could be kept."""


def said_issuer(token: str) -> str | None:
    """Who a token says that it is from, before anything of it is checked; None when it does not."""
    claims = said_claims(token)
    issuer = claims.get("iss") if claims is not None else None
    return issuer if isinstance(issuer, str) else None


def said_claims(token: str) -> Json | None:
    """What a token says, before anything of it is checked; None for what is no sound JSON object, without U+0000 and
    with every name once.
    """
    try:
        claims = strict_json.parse(base64url_decode(token.split(".")[1]))
    except (ValueError, IndexError):
        return None
    return claims if isinstance(claims, dict) else None


def claims_of(token: str, header: Header, keys: KeySet) -> Json | str:
    """What a token says, once its signature has been checked with the one key that it names; in English why not."""
    matching = keys.matching(header)
    if len(matching) != 1:
        return f"{'no key' if not matching else 'more than one key'} has its kid and the type of its alg"
    key, algorithm = matching[0], header.algorithm
    if key.get("alg", algorithm) != algorithm or key.get("crv") != _CURVES.get(algorithm):
        return "its key is not for its alg"
    try:
        loaded = jwt.PyJWK(key, algorithm=algorithm)
        payload = PyJWS(algorithms=[algorithm]).decode(token, loaded, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return "its signature is not that of its key"
    claims = strict_json.parse(payload)
    return claims if isinstance(claims, dict) else UNREADABLE
