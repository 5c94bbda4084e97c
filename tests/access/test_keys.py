"""Key sets as they are registered: public, strong enough, each with its name."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from service.access.keys import KeySet, read_key_set
from tests.access.signing import key_set, private_key, public_jwk


def test_public_keys_of_both_kinds_are_read() -> None:
    read = read_key_set(key_set(public_jwk("RS384"), public_jwk("ES384", "k2")))
    assert isinstance(read, KeySet)
    assert [key["kty"] for key in read.keys] == ["RSA", "EC"]


def test_keys_for_something_else_are_left_out() -> None:
    read = read_key_set(key_set(public_jwk(), public_jwk("RS384", "e", use="enc"), {"kty": "OKP", "crv": "Ed25519"}))
    assert isinstance(read, KeySet)
    assert [key["kid"] for key in read.keys] == ["k1"]


def test_a_private_key_is_refused_and_not_repeated() -> None:
    private = json.loads(RSAAlgorithm.to_jwk(private_key("RS384"))) | {"kid": "k1"}
    (problem,) = read_key_set(key_set(private))  # type: ignore[misc]  # no key set
    assert "private" in problem
    assert private["d"] not in problem
    assert "private" in read_key_set(key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}))[0]  # type: ignore[index]


def test_all_that_is_wrong_is_told_at_once() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is what is tried
    short = {**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "short"}
    nameless = {name: value for name, value in public_jwk().items() if name != "kid"}
    read = read_key_set(key_set(short, nameless, {**public_jwk(), "x": "AA"}, {"kty": "RSA", "kid": "empty"}))
    assert isinstance(read, list)
    assert [problem.split(" ")[0] for problem in read] == ["keys[0]", "keys[1]", "keys[2]", "keys[3]"]
    assert "2048" in read[0]
    assert "kid" in read[1]


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"keys": {}}', '{"keys": [1]}', '{"keys": []}', '{"keys":[],"keys":[]}']
)
def test_what_is_no_key_set_is_refused(text: str) -> None:
    assert isinstance(read_key_set(text), list)


def test_a_set_that_is_too_large_is_refused() -> None:
    assert isinstance(read_key_set(key_set(*[public_jwk(kid=str(n)) for n in range(60)])), list)
