"""`POST /auth/token`: who gets a token, and every way not to get one (SMART Backend Services, RFC 6749, RFC 7523)."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from service.access.knowing import REMEMBERED
from service.app import create_app
from service.referral.house import House
from service.settings import Settings
from service.store.client_records import Credentials
from tests.access.publisher import Publisher, running_publisher
from tests.access.signing import claims, form, hashed, key_set, public_jwk, signed, signed_text, unsigned
from tests.subscriptions.endpoint import CERTIFICATE
from tests.web.authenticated import WithToken, ask, register, token_of
from tests.web.caller import Sluss
from tests.web.conftest import NOW


@pytest.fixture
def sluss(another: Callable[..., Sluss]) -> Sluss:
    """With authentication on, and the client `ehr`, a referrer."""
    made = another(auth="smart")
    register(made, "ehr", "referrer")
    return made


def refused(answer: TestResponse, error: str) -> str:
    """Refused as RFC 6749 (5.2) says; gives the description."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    body = answer.get_json()
    assert set(body) == {"error", "error_description"}
    assert body["error"] == error, body
    return str(body["error_description"])


# ---------------------------------------------------------------- a token


def test_a_client_gets_a_short_lived_token_for_its_assertion(sluss: Sluss) -> None:
    answer = ask(sluss, signed(claims(NOW)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    body = answer.get_json()
    token = body.pop("access_token")
    assert body == {"token_type": "bearer", "expires_in": 300, "scope": "system/*.cruds"}
    assert len(token) >= 43
    assert "." not in token, "medplum reads a token with dots as its own"
    assert WithToken(sluss, token).get("/fhir/Task").status_code == 200


def test_both_ways_of_signing_that_smart_names_are_taken(sluss: Sluss) -> None:
    register(sluss, "rsa", "referrer", Credentials(jwks=key_set(public_jwk("RS384", use="sig", alg="RS384"))))
    assert ask(sluss, signed(claims(NOW, "rsa"), "RS384")).status_code == 200
    assert ask(sluss, signed(claims(NOW), "ES384")).status_code == 200


def test_only_the_hash_of_a_token_is_stored(sluss: Sluss, house: House) -> None:
    token = token_of(sluss, "ehr")
    with psycopg.connect(house.store.url) as connection:
        row = connection.execute("SELECT t::text FROM access_token t").fetchone()
    assert row is not None
    assert token not in row[0]


def test_without_a_scope_it_is_what_the_client_is_registered_for(sluss: Sluss) -> None:
    register(sluss, "narrow", "referrer", organisations=("SE2321000198-EX01",), scopes=("system/Task.rs",))
    assert ask(sluss, signed(claims(NOW, "narrow")), scope=None).get_json()["scope"] == "system/Task.rs"


@pytest.mark.parametrize(
    ("registered", "asked", "granted"),
    [
        ("system/*.cruds", "system/Task.rs", "system/Task.rs"),
        ("system/*.rs", "system/Task.cruds", "system/Task.rs"),
        ("system/Task.rs system/Patient.r", "system/*.rs", "system/Task.rs system/Patient.r"),
        ("system/Task.rs", "system/Task.rs system/Patient.rs", "system/Task.rs"),
        (
            "system/Task.rs?owner=HealthcareService/gavle",
            "system/Task.rs",
            "system/Task.rs?owner=HealthcareService/gavle",
        ),
        ("system/Task.cruds", "system/Task.rs?status=requested", "system/Task.rs?status=requested"),
        (
            "system/Task.rs?owner=HealthcareService/gavle",
            "system/Task.rs?status=requested",
            "system/Task.rs?owner=HealthcareService/gavle&status=requested",
        ),
        ("system/*.cruds", "system/Task.read system/ServiceRequest.write", "system/Task.rs system/ServiceRequest.cud"),
        ("system/*.cruds", "launch/patient openid system/Task.rs", "system/Task.rs"),
        ("system/*.cruds", "system/Task.dus system/Task.r", "system/Task.r"),
        ("system/*.cruds", "system/Nope.rs system/Task.r", "system/Task.r"),
        ("system/*.cruds", "user/Task.rs system/Task.s", "system/Task.s"),
    ],
)
def test_what_is_granted_is_what_is_asked_for_as_far_as_it_is_registered(
    sluss: Sluss, registered: str, asked: str, granted: str
) -> None:
    register(sluss, "some", "referrer", organisations=("SE2321000198-EX01",), scopes=tuple(registered.split()))
    answer = ask(sluss, signed(claims(NOW, "some")), scope=asked)
    assert answer.get_json().get("scope") == granted, answer.text


@pytest.mark.parametrize("asked", ["system/Patient.rs", "patient/Task.rs", "launch", "nonsense", "system/Task.u"])
def test_a_scope_of_which_nothing_is_registered_is_invalid(sluss: Sluss, asked: str) -> None:
    register(sluss, "narrow", "referrer", organisations=("SE2321000198-EX01",), scopes=("system/Task.rs",))
    assert "system/Task.rs" in refused(ask(sluss, signed(claims(NOW, "narrow")), scope=asked), "invalid_scope")


def test_a_type_that_does_not_exist_is_not_granted(sluss: Sluss) -> None:
    register(sluss, "all", "referrer", organisations=("SE2321000198-EX01",))
    answer = ask(sluss, signed(claims(NOW, "all")), scope="system/Nope.rs")
    assert "system/*.cruds" in refused(answer, "invalid_scope")


@pytest.mark.parametrize("claim", ["jti", "note"])
def test_a_text_that_cannot_be_kept_is_told_as_what_it_is(sluss: Sluss, claim: str) -> None:
    told = refused(ask(sluss, signed(claims(NOW, **{claim: "a\0b"}))), "invalid_client")
    assert "claims cannot be read" in told
    assert "registered" not in told


def test_the_audience_may_be_the_issuer_or_a_list_of_the_one_audience(sluss: Sluss) -> None:
    for audience in ("http://localhost", ["http://localhost/auth/token"]):
        assert ask(sluss, signed(claims(NOW, aud=audience))).status_code == 200


def test_the_public_url_is_the_audience_where_it_is_set(another: Callable[..., Sluss]) -> None:
    behind = another(auth="smart", public_url="https://remiss.example")
    register(behind, "ehr", "referrer")
    assert ask(behind, signed(claims(NOW, aud="https://remiss.example/auth/token"))).status_code == 200
    assert "aud" in refused(ask(behind, signed(claims(NOW))), "invalid_client")


def test_without_a_public_url_no_other_host_can_be_made_up(sluss: Sluss) -> None:
    said = claims(NOW, aud="http://evil.example/auth/token")
    answer = sluss.app.test_client().post("/auth/token", data=form(signed(said)), headers={"Host": "evil.example"})
    assert "SLUSS_PUBLIC_URL" in refused(answer, "invalid_request")


# ---------------------------------------------------------------- no token: the request


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "not_a_grant_type"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "not_an_assertion_type"}, "invalid_client"),
        ({"client_assertion_type": None}, "invalid_client"),
        ({"client_assertion": None}, "invalid_client"),
        ({"client_assertion": "not.a.jwt"}, "invalid_client"),
        ({"client_assertion": "x" * 9000}, "invalid_client"),
        ({"client_id": "another"}, "invalid_client"),
        ({"client_assertion": "x" * 40_000}, "invalid_request"),
    ],
)
def test_a_request_that_is_no_token_request_is_refused(sluss: Sluss, changes: dict[str, str], error: str) -> None:
    refused(ask(sluss, signed(claims(NOW)), **changes), error)


def test_a_parameter_given_twice_is_refused(sluss: Sluss) -> None:
    twice = {**form(signed(claims(NOW))), "scope": ["system/Task.rs", "system/*.cruds"]}
    refused(sluss.app.test_client().post("/auth/token", data=twice), "invalid_request")


def test_another_kind_of_credentials_beside_the_assertion_is_refused(sluss: Sluss) -> None:
    answer = sluss.app.test_client().post(
        "/auth/token", data=form(signed(claims(NOW))), headers={"Authorization": "Basic ZWhyOmh1c2g="}
    )
    refused(answer, "invalid_request")


def test_parameters_in_json_or_in_the_address_are_not_read(sluss: Sluss) -> None:
    sent = form(signed(claims(NOW)))
    client = sluss.app.test_client()
    refused(client.post("/auth/token", json=sent), "invalid_request")
    refused(client.post("/auth/token", query_string=sent), "invalid_request")


def test_a_get_is_no_token_request(sluss: Sluss) -> None:
    assert sluss.app.test_client().get("/auth/token").status_code == 405


def test_with_authentication_off_there_are_no_tokens(another: Callable[..., Sluss]) -> None:
    client = another().app.test_client()
    assert client.post("/auth/token", data=form("x.y.z")).status_code == 404
    assert client.get("/fhir/.well-known/smart-configuration").status_code == 404


# ---------------------------------------------------------------- no token: the assertion


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "not_the_client"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": "\0"}, "claims cannot be read"),
        ({"iss": 7}, "iss"),
        ({"sub": "not_the_client"}, "sub"),
        ({"sub": None}, "sub"),
        ({"aud": "https://other.example/auth/token"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["http://localhost/auth/token", "https://other.example/auth/token"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": {"a": 1}}, "aud"),
        ({"aud": "http://localhost/auth/token/"}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": 10**30}, "exp"),
        ({"exp": int(NOW.timestamp()) - 11}, "expired"),
        ({"exp": int(NOW.timestamp()) + 320}, "five minutes"),
        ({"nbf": int(NOW.timestamp()) + 60}, "nbf"),
        ({"iat": int(NOW.timestamp()) + 60}, "iat"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * 300}, "jti"),
    ],
)
def test_an_assertion_with_a_claim_that_is_not_right_is_refused(
    sluss: Sluss, changes: dict[str, Any], said: str
) -> None:
    assertion = signed_text(json.dumps(claims(NOW, **changes)))
    assert said in refused(ask(sluss, assertion), "invalid_client")


def test_an_assertion_is_good_once(sluss: Sluss) -> None:
    assertion = signed(claims(NOW))
    assert ask(sluss, assertion).status_code == 200
    assert "jti" in refused(ask(sluss, assertion), "invalid_client")
    # another assertion with that jti is no better
    said = claims(NOW, jti="the-same")
    assert ask(sluss, signed(said)).status_code == 200
    assert "jti" in refused(ask(sluss, signed({**said, "exp": said["exp"] - 5})), "invalid_client")


def test_a_jti_is_one_clients_own(sluss: Sluss) -> None:
    register(sluss, "other", "platform")
    assert ask(sluss, signed(claims(NOW, "ehr", jti="1"))).status_code == 200
    assert ask(sluss, signed(claims(NOW, "other", jti="1"))).status_code == 200


def test_what_has_expired_is_forgotten(sluss: Sluss, house: House) -> None:
    token_of(sluss, "ehr")
    for after, kept in ((timedelta(0), 1), (timedelta(minutes=10), 0)):
        house.store.clients.forget(NOW + after)
        with psycopg.connect(house.store.url) as connection:
            for table in ("access_token", "used_assertion"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (kept,)  # noqa: S608


def test_an_assertion_without_a_signature_is_refused(sluss: Sluss) -> None:
    refused(ask(sluss, unsigned(claims(NOW))), "invalid_client")
    refused(ask(sluss, unsigned(claims(NOW)) + "AA"), "invalid_client")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384"])
def test_a_symmetric_signature_is_refused_also_with_the_public_key_as_its_secret(sluss: Sluss, algorithm: str) -> None:
    assert "alg takes" in refused(ask(sluss, hashed(claims(NOW), algorithm)), "invalid_client")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_other_algorithms_than_those_that_smart_names_are_refused(sluss: Sluss, algorithm: str) -> None:
    register(sluss, "old", "referrer", Credentials(jwks=key_set(public_jwk(algorithm))))
    assert "alg takes" in refused(ask(sluss, signed(claims(NOW, "old"), algorithm)), "invalid_client")


@pytest.mark.parametrize(
    "assertion",
    [
        lambda: signed(claims(NOW), number=2),
        lambda: signed(claims(NOW), kid="unknown"),
        lambda: signed(claims(NOW), kid=None),
        lambda: signed(claims(NOW), "RS384"),
        lambda: signed(claims(NOW), typ="something"),
        lambda: signed(claims(NOW), crit=["exp"]),
        lambda: signed(claims(NOW), jku="https://evil.example/keys"),
        lambda: signed(claims(NOW))[:-4] + "AAAA",
        lambda: signed(claims(NOW)) + ".x",
    ],
    ids=["another key", "unknown kid", "no kid", "another kty", "typ", "crit", "foreign jku", "spoilt", "four parts"],
)
def test_an_assertion_that_its_key_has_not_signed_is_refused(sluss: Sluss, assertion: Callable[[], str]) -> None:
    refused(ask(sluss, assertion()), "invalid_client")


def test_of_two_keys_with_one_kid_neither_is_good(sluss: Sluss) -> None:
    register(sluss, "double", "referrer", Credentials(jwks=key_set(public_jwk(), public_jwk(number=2))))
    assert "more than one" in refused(ask(sluss, signed(claims(NOW, "double"))), "invalid_client")
    register(sluss, "apart", "referrer", Credentials(jwks=key_set(public_jwk(), public_jwk("RS384"))))
    assert ask(sluss, signed(claims(NOW, "apart"))).status_code == 200, "another kty is another key"


def test_a_key_is_good_for_its_own_algorithm_only(sluss: Sluss) -> None:
    register(sluss, "other", "referrer", Credentials(jwks=key_set(public_jwk("RS384", alg="RS256"))))
    assert "not for its alg" in refused(ask(sluss, signed(claims(NOW, "other"), "RS384")), "invalid_client")
    register(sluss, "small", "referrer", Credentials(jwks=key_set(public_jwk("ES256"))))
    refused(ask(sluss, signed(claims(NOW, "small"), "ES384")), "invalid_client")


def test_a_client_without_keys_gets_no_token(sluss: Sluss) -> None:
    register(sluss, "certified", "referrer", Credentials(subject="CN=ehr.example"))
    assert "without keys" in refused(ask(sluss, signed(claims(NOW, "certified"))), "invalid_client")


def test_a_claim_that_is_told_twice_is_refused(sluss: Sluss) -> None:
    text = '{"iss":"ehr","sub":"ehr","sub":"ehr","aud":"http://localhost/auth/token","exp":%d,"jti":"twice"}'
    refused(ask(sluss, signed_text(text % (NOW.timestamp() + 60))), "invalid_client")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with running_publisher() as running:
        yield running


def test_keys_that_a_client_publishes_count_and_may_be_changed_there(
    another: Callable[..., Sluss], publisher: Publisher
) -> None:
    sluss = another(auth="smart", keys_ca=CERTIFICATE)
    register(sluss, "ehr", "referrer", Credentials(jwks_url=publisher.url))
    assert ask(sluss, signed(claims(NOW))).status_code == 200
    assert ask(sluss, signed(claims(NOW), jku=publisher.url)).status_code == 200, "the registered address may be told"
    publisher.body = key_set(public_jwk(kid="k2", number=2)).encode()
    assert ask(sluss, signed(claims(NOW), kid="k2", number=2)).status_code == 200, "a key that is new there"
    assert len(publisher.asked) == 2
    refused(ask(sluss, signed(claims(NOW))), "invalid_client")


def test_keys_are_fetched_from_no_other_address_than_the_registered(
    another: Callable[..., Sluss], publisher: Publisher
) -> None:
    sluss = another(auth="smart", keys_ca=CERTIFICATE)
    register(sluss, "inline", "referrer")
    register(sluss, "elsewhere", "referrer", Credentials(jwks_url="https://localhost:1/keys"))
    for client in ("inline", "elsewhere"):
        assert "jku" in refused(ask(sluss, signed(claims(NOW, client), jku=publisher.url)), "invalid_client")
    refused(ask(sluss, signed(claims(NOW, "elsewhere"))), "invalid_client")
    assert publisher.asked == []


# ---------------------------------------------------------------- no token any more


def test_a_token_that_has_expired_is_refused(sluss: Sluss, house: House) -> None:
    token = token_of(sluss, "ehr")

    def asked(seconds: int) -> TestResponse:
        later = replace(house, clock=lambda: NOW + timedelta(seconds=seconds))
        return WithToken(Sluss(create_app(replace(Settings(), auth="smart"), later)), token).get("/fhir/Task")

    assert asked(299).status_code == 200
    answer = asked(300)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_client_that_is_disabled_is_refused_within_seconds_and_its_tokens_too(sluss: Sluss, house: House) -> None:
    client = WithToken(sluss, token_of(sluss, "ehr"))
    assert client.get("/fhir/Task").status_code == 200
    assert house.store.clients.disable("ehr", NOW)
    refused(ask(sluss, signed(claims(NOW))), "invalid_client")
    time.sleep(REMEMBERED)
    assert client.get("/fhir/Task").status_code == 401


def test_rotated_keys_end_what_was_given_for_the_old_ones(sluss: Sluss, house: House) -> None:
    old = token_of(sluss, "ehr")
    assert house.store.clients.rotate("ehr", Credentials(jwks=key_set(public_jwk(kid="k2", number=2))), NOW)
    refused(ask(sluss, signed(claims(NOW))), "invalid_client")
    assert ask(sluss, signed(claims(NOW), kid="k2", number=2)).status_code == 200
    assert WithToken(sluss, old).get("/fhir/Task").status_code == 401
