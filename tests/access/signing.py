"""Keys and signatures of clients that the tests make up."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from fhir_mappings.records import Json

TOKEN_URL = "http://localhost/auth/token"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_numbers = count(1)


def private_key(kind: str = "ES384", number: int = 1) -> Any:
    """A key for an algorithm; each number has its own."""
    return _made(kind, number)


@cache
def _made(kind: str, number: int) -> Any:
    if kind.startswith("RS"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1() if kind == "ES256" else ec.SECP384R1())


def public_jwk(kind: str = "ES384", kid: str = "k1", number: int = 1, **more: Any) -> Json:
    """Its public half."""
    makes = RSAAlgorithm if kind.startswith("RS") else ECAlgorithm
    return {**makes.to_jwk(private_key(kind, number).public_key(), as_dict=True), "kid": kid, **more}


def key_set(*keys: Json) -> str:
    return json.dumps({"keys": list(keys or (public_jwk(),))})


def claims(now: datetime, client: str = "ehr", **changes: Any) -> dict[str, Any]:
    """What a sound assertion says; a change to None leaves a claim out."""
    sound = {
        "iss": client,
        "sub": client,
        "aud": TOKEN_URL,
        "exp": int(now.timestamp()) + 240,
        "jti": f"jti-{next(_numbers)}-{time.monotonic_ns()}",
    }
    return {name: value for name, value in {**sound, **changes}.items() if value is not None}


def signed(said: dict[str, Any], kind: str = "ES384", kid: str | None = "k1", number: int = 1, **header: Any) -> str:
    """A JWT; a header of None is left out."""
    headers = {name: value for name, value in {"kid": kid, **header}.items() if value is not None}
    return jwt.encode(said, private_key(kind, number), algorithm=kind, headers=headers)


def signed_text(text: str, kid: str = "k1") -> str:
    """The same for claims that no library would write."""
    return jwt.PyJWS().encode(text.encode(), private_key(), "ES384", {"kid": kid})


def unsigned(said: dict[str, Any]) -> str:
    """A JWT with `alg` none."""
    return f"{_part({'alg': 'none', 'kid': 'k1', 'typ': 'JWT'})}.{_part(said)}."


def hashed(said: dict[str, Any], algorithm: str) -> str:
    """A JWT with `alg` HS256 or HS384, and the public key, which anybody has, as its secret."""
    pem = private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{_part({'alg': algorithm, 'kid': 'k1', 'typ': 'JWT'})}.{_part(said)}"
    return f"{text}.{_base64(hmac.new(pem, text.encode(), getattr(hashlib, f'sha{algorithm[2:]}')).digest())}"


def _part(said: dict[str, Any]) -> str:
    return _base64(json.dumps(said).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def form(assertion: str, **changes: str | None) -> dict[str, str]:
    """The body of a sound token request; a change to None leaves a parameter out."""
    sound = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
        "scope": "system/*.cruds",
    }
    return {name: value for name, value in {**sound, **changes}.items() if value is not None}
