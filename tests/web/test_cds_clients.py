"""CDS Hooks called with a JWT that the client has signed itself (https://cds-hooks.hl7.org/2.0/#trusting-cds-clients):
good for the one address that it names, once, and for nothing else.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from service.referral.house import House
from service.store.client_records import Credentials
from tests.access.publisher import Publisher, running_publisher
from tests.access.signing import claims, hashed, key_set, public_jwk, signed, signed_text, unsigned
from tests.subscriptions.endpoint import CERTIFICATE
from tests.web.authenticated import WithToken, ask, register, token_of
from tests.web.caller import UNIT, Sluss, content, single
from tests.web.conftest import NOW
from tests.web.test_hooks import SELECT, SIGN, call, order, told, topics
from tests.web.test_who_calls import OPEN, addresses

EHR = "https://ehr.example/fhir/"
FEEDBACK = f"{SIGN}/feedback"
DISCOVERY = "/cds-services"
SECONDS = int(NOW.timestamp())


@pytest.fixture
def sluss(another: Callable[..., Sluss]) -> Sluss:
    """With authentication on, and the client `ehr`, a referrer that calls itself by a URL."""
    made = another(auth="smart")
    register(made, "ehr", "referrer", Credentials(jwks=key_set(), issuer=EHR))
    return made


def said(path: str = SIGN, issuer: str = EHR, **changes: Any) -> dict[str, Any]:
    """What a sound JWT for an address says; a change to None leaves a claim out."""
    return claims(NOW, issuer, **{"sub": None, "aud": f"http://localhost{path}", "iat": SECONDS, **changes})


def jwt_for(path: str = SIGN, issuer: str = EHR, **changes: Any) -> str:
    return signed(said(path, issuer, **changes))


def calling(sluss: Sluss, jwt: str, path: str = SIGN) -> TestResponse:
    body = {**call(order()), "hook": "order-select" if path == SELECT else "order-sign"}
    if path == SELECT:
        body["context"]["selections"] = ["ServiceRequest/103"]
    return WithToken(sluss, jwt).post(path, body)


def refused(answer: TestResponse) -> str:
    """Refused as everything else is that shows no good credentials; gives why."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sluss", error="invalid_token"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    (problem,) = content(answer)["errors"]
    assert problem["code"] == "login"
    return str(problem["detail"])


# ---------------------------------------------------------------- good


def test_a_client_calls_a_service_with_a_jwt_of_its_own(sluss: Sluss) -> None:
    for path in (SIGN, SELECT):
        answer = calling(sluss, jwt_for(path), path)
        assert answer.status_code == 200, answer.text
        assert content(answer)["cards"]


def test_which_services_there_are_is_told_to_such_a_jwt_too(sluss: Sluss) -> None:
    answer = WithToken(sluss, jwt_for(DISCOVERY)).get(DISCOVERY)
    assert {service["hook"] for service in content(answer)["services"]} == {"order-sign", "order-select"}
    refused(WithToken(sluss, jwt_for(SIGN)).get(DISCOVERY))


def test_both_ways_of_signing_that_are_recommended_are_taken(sluss: Sluss) -> None:
    register(sluss, "rsa", "referrer", Credentials(jwks=key_set(public_jwk("RS384")), issuer="urn:ehr:rsa"))
    assert calling(sluss, signed(said(issuer="urn:ehr:rsa"), "RS384")).status_code == 200
    assert calling(sluss, signed(said(), "ES384")).status_code == 200


def test_the_issuer_is_the_uri_that_is_registered_or_the_clients_id(sluss: Sluss) -> None:
    assert calling(sluss, jwt_for(issuer=EHR)).status_code == 200
    assert calling(sluss, jwt_for(issuer="ehr")).status_code == 200
    register(sluss, "plain", "referrer")
    assert calling(sluss, jwt_for(issuer="plain")).status_code == 200
    for unknown in (
        EHR.rstrip("/"),
        "https://other.example/",
        "other",
        "",
        "https://å/",
    ):
        assert "iss is no client" in refused(calling(sluss, jwt_for(issuer=unknown)))
    for unsound in ("\0", "https://ehr.example/\0"):
        assert "claims cannot be read" in refused(calling(sluss, jwt_for(issuer=unsound)))


def test_the_audience_may_be_a_list_of_the_one_address_and_other_claims_are_passed_over(sluss: Sluss) -> None:
    assert calling(sluss, jwt_for(aud=[f"http://localhost{SIGN}"], tenant="2ddd6c3a", sub="x")).status_code == 200


def test_feedback_takes_a_jwt_for_its_own_address(sluss: Sluss) -> None:
    card = content(calling(sluss, jwt_for()))["cards"][0]["uuid"]
    given = {"feedback": [told(card)]}
    assert "aud must be" in refused(WithToken(sluss, jwt_for(SIGN)).post(FEEDBACK, given))
    assert WithToken(sluss, jwt_for(FEEDBACK)).post(FEEDBACK, given).status_code == 200


def test_it_acts_for_whom_the_client_is_registered(sluss: Sluss) -> None:
    register(sluss, "other", "referrer", organisations=("SE2321000198-EX02",))
    draft = call(order(requester=single()["requester"]))
    assert WithToken(sluss, token_of(sluss, "ehr")).post("/fhir/ServiceRequest", single()).status_code == 201
    seen = {}
    for client in ("ehr", "other"):
        with_token = WithToken(sluss, token_of(sluss, client, scope="system/ServiceRequest.c")).post(SIGN, draft)
        by_itself = WithToken(sluss, jwt_for(issuer=client)).post(SIGN, draft)
        seen[client] = topics(content(by_itself)["cards"])
        assert seen[client] == topics(content(with_token)["cards"])
    assert "open-referral" in seen["ehr"]
    assert "open-referral" not in seen["other"], "never a word of another unit's referral"


def test_it_needs_the_scope_that_a_token_needs(sluss: Sluss) -> None:
    register(sluss, "reader", "referrer", organisations=(UNIT,), scopes=("system/ServiceRequest.rs",))
    answer = calling(sluss, jwt_for(issuer="reader"))
    assert answer.status_code == 403
    assert 'scope="system/ServiceRequest.c"' in answer.headers["WWW-Authenticate"]


def test_the_public_url_is_in_the_audience_where_it_is_set(another: Callable[..., Sluss]) -> None:
    behind = another(auth="smart", public_url="https://remiss.example/sluss")
    register(behind, "ehr", "referrer", Credentials(jwks=key_set(), issuer=EHR))
    assert calling(behind, jwt_for(aud=f"https://remiss.example/sluss{SIGN}")).status_code == 200
    assert "https://remiss.example/sluss" in refused(calling(behind, jwt_for()))


def test_without_a_public_url_no_other_host_can_be_made_up(sluss: Sluss) -> None:
    jwt = jwt_for(aud=f"http://evil.example{SIGN}")
    answer = WithToken(sluss, jwt).post(SIGN, call(order()), {"Host": "evil.example"})
    assert "SLUSS_PUBLIC_URL" in refused(answer)


# ---------------------------------------------------------------- not good


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://other.example/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": [EHR]}, "iss"),
        ({"aud": None}, "aud"),
        ({"aud": "http://localhost"}, "aud"),
        ({"aud": "http://localhost/auth/token"}, "aud"),
        ({"aud": "http://localhost/cds-services"}, "aud"),
        ({"aud": f"http://localhost{SELECT}"}, "aud"),
        ({"aud": f"http://localhost{FEEDBACK}"}, "aud"),
        ({"aud": f"http://localhost{SIGN}/"}, "aud"),
        ({"aud": f"https://other.example{SIGN}"}, "aud"),
        ({"aud": [f"http://localhost{SIGN}", f"https://other.example{SIGN}"]}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": SECONDS - 11}, "expired"),
        ({"exp": SECONDS + 320}, "five minutes"),
        ({"iat": None}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"iat": SECONDS + 60}, "iat"),
        ({"nbf": SECONDS + 60}, "nbf"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * 300}, "jti"),
    ],
)
def test_a_jwt_with_a_claim_that_is_not_right_is_refused(sluss: Sluss, changes: dict[str, Any], why: str) -> None:
    assert why in refused(calling(sluss, signed_text(json.dumps(said(**changes)))))


@pytest.mark.parametrize(
    ("jwt", "why"),
    [
        (lambda: signed(said(), number=2), "signature"),
        (lambda: signed(said())[:-4] + "AAAA", "signature"),
        (lambda: signed(said(), kid="unknown"), "no key"),
        (lambda: signed(said(), kid=None), "kid"),
        (lambda: signed(said(), "RS384"), "no key"),
        (lambda: signed(said(), "ES256"), "alg takes"),
        (lambda: signed(said(), "RS256"), "alg takes"),
        (lambda: signed(said(), typ="something"), "typ"),
        (lambda: signed(said(), typ="at+jwt"), "typ"),
        (lambda: signed(said(), typ=""), "typ"),
        (lambda: signed(said(), crit=["exp"]), "header"),
        (lambda: signed(said(), jku="https://evil.example/keys"), "jku"),
        (lambda: unsigned(said()) + "AA", "alg takes"),
        (lambda: hashed(said(), "HS256"), "alg takes"),
        (lambda: hashed(said(), "HS384"), "alg takes"),
    ],
    ids=[
        "another key", "spoilt", "unknown kid", "no kid", "another kty", "ES256", "RS256", "typ", "another typ",
        "no typ", "crit", "foreign jku", "none", "HS256", "HS384",
    ],
)  # fmt: skip
def test_a_jwt_that_its_key_has_not_signed_as_it_should_is_refused(
    sluss: Sluss, jwt: Callable[[], str], why: str
) -> None:
    assert why in refused(calling(sluss, jwt()))


def test_of_two_keys_with_one_kid_neither_is_good(sluss: Sluss) -> None:
    register(sluss, "double", "referrer", Credentials(jwks=key_set(public_jwk(), public_jwk(number=2))))
    assert "more than one" in refused(calling(sluss, jwt_for(issuer="double")))


def test_a_jwt_is_good_once_and_not_at_another_address_either(sluss: Sluss) -> None:
    jwt = jwt_for()
    assert calling(sluss, jwt).status_code == 200
    assert "jti" in refused(calling(sluss, jwt))
    # another with that jti is no better
    assert calling(sluss, jwt_for(jti="the-same")).status_code == 200
    assert "jti" in refused(calling(sluss, jwt_for(SELECT, jti="the-same"), SELECT))
    assert ask(sluss, signed(claims(NOW, "ehr", jti="the-same"))).status_code == 400


def test_one_that_is_refused_does_not_use_up_its_jti(sluss: Sluss) -> None:
    refused(calling(sluss, signed(said(jti="mine"), number=2)))
    refused(calling(sluss, jwt_for(SELECT, jti="mine")))
    assert calling(sluss, jwt_for(jti="mine")).status_code == 200


def test_a_jti_is_one_clients_own(sluss: Sluss) -> None:
    register(sluss, "other", "referrer")
    for issuer in (EHR, "other"):
        assert calling(sluss, jwt_for(issuer=issuer, jti="1")).status_code == 200


def test_a_client_that_is_disabled_or_known_by_something_else_is_refused_at_once(sluss: Sluss, house: House) -> None:
    assert calling(sluss, jwt_for()).status_code == 200
    other = key_set(public_jwk(kid="k2", number=2))
    assert house.store.clients.rotate("ehr", Credentials(jwks=other, issuer="urn:ehr:new"), NOW)
    refused(calling(sluss, jwt_for()))
    assert calling(sluss, signed(said(issuer="urn:ehr:new"), kid="k2", number=2)).status_code == 200
    assert house.store.clients.disable("ehr", NOW)
    for name in ("ehr", "urn:ehr:new"):
        assert "iss is no client" in refused(calling(sluss, signed(said(issuer=name), kid="k2", number=2)))


def test_a_client_without_keys_cannot_call_so(sluss: Sluss) -> None:
    register(sluss, "certified", "referrer", Credentials(subject="CN=ehr.example"))
    assert "without keys" in refused(calling(sluss, jwt_for(issuer="certified")))


def test_a_jwt_is_no_client_assertion_and_an_assertion_no_jwt_for_a_call(sluss: Sluss) -> None:
    assert ask(sluss, jwt_for(issuer="ehr", sub="ehr")).status_code == 400
    assert ask(sluss, jwt_for(aud="http://localhost/auth/token")).get_json()["error"] == "invalid_client"
    assert "aud" in refused(calling(sluss, signed(claims(NOW, "ehr", iat=SECONDS))))


def test_nothing_else_can_be_asked_with_it(another: Callable[..., Sluss]) -> None:
    sluss = another(auth="smart", requests_per_minute=0)  # as often as this test likes
    register(sluss, "ehr", "referrer", Credentials(jwks=key_set(), issuer=EHR))
    asked = addresses(sluss)
    good = {(method, path) for method in ("GET", "HEAD") for path in (DISCOVERY, f"{DISCOVERY}/")}
    good |= {("POST", path) for path in (SIGN, FEEDBACK)}
    assert len(good & set(asked)) > len(good) - 3  # the address with and without a slash is one
    for method, path in asked:
        answer = WithToken(sluss, jwt_for(path)).call(method, path)
        assert (answer.status_code == 401) == (path not in OPEN and (method, path) not in good), (method, path)


# ---------------------------------------------------------------- keys that are published


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with running_publisher() as running:
        yield running


def test_keys_that_a_client_publishes_count_and_the_registered_address_may_be_told(
    another: Callable[..., Sluss], publisher: Publisher
) -> None:
    sluss = another(auth="smart", keys_ca=CERTIFICATE)
    register(sluss, "ehr", "referrer", Credentials(jwks_url=publisher.url, issuer=EHR))
    assert calling(sluss, jwt_for()).status_code == 200
    assert calling(sluss, signed(said(), jku=publisher.url)).status_code == 200
    publisher.body = key_set(public_jwk(kid="k2", number=2)).encode()
    assert calling(sluss, signed(said(), kid="k2", number=2)).status_code == 200, "a key that is new there"
    refused(calling(sluss, jwt_for()))
    assert len(publisher.asked) == 2


def test_keys_are_fetched_from_no_address_that_a_jwt_names(another: Callable[..., Sluss], publisher: Publisher) -> None:
    sluss = another(auth="smart", keys_ca=CERTIFICATE)
    register(sluss, "inline", "referrer")
    register(sluss, "elsewhere", "referrer", Credentials(jwks_url="https://localhost:1/keys"))
    for client in ("inline", "elsewhere"):
        assert "jku" in refused(calling(sluss, signed(said(issuer=client), jku=publisher.url)))
    assert publisher.asked == []


# ---------------------------------------------------------------- beside the other ways to be known


def test_tokens_and_sign_ins_are_taken_as_before(another: Callable[..., Sluss], tmp_path: Path) -> None:
    keys = tmp_path / "idp.json"
    keys.write_text(key_set(public_jwk("RS256", "idp")))
    issuer = "https://idp.example"
    sluss = another(auth="smart", idp_issuer=issuer, idp_jwks=str(keys), idp_audience="sluss")
    register(sluss, "ehr", "referrer", Credentials(jwks=key_set(), issuer=EHR, assignment="SE2321000198-EX01"))
    person = {"employeeHsaId": "SE2321000198-P001", "healthCareUnitHsaId": "SE2321000198-EX01"}
    sign_in = {"iss": issuer, "aud": "sluss", "exp": SECONDS + 3600, **person}
    for token in (token_of(sluss, "ehr"), signed(sign_in, "RS256", "idp"), jwt_for()):
        assert calling(sluss, token).status_code == 200
    refused(calling(sluss, signed({**said(), **sign_in})))  # the client poses as the identity provider


def test_the_header_that_counts_without_authentication_is_refused_with_it(sluss: Sluss) -> None:
    answer = WithToken(sluss, jwt_for()).post(SIGN, call(order()), {"Sluss-Caller": "administrator"})
    assert answer.status_code == 400
