"""The plain endpoints with authentication on: they keep to what /openapi.json says, and need a token where it says."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, positive_data_acceptance

from service.access.clients import Registration, registered
from service.access.knowing import hash_of
from service.store.client_records import ClientRow, Credentials, NewToken
from service.store.database import Store
from tests.access import signing
from tests.conformance.test_openapi import ENDPOINTS, _taken, tries
from tests.web.served import new_database, served

load_all_checks()


@dataclass(frozen=True)
class Secured:
    """A service that lets nobody in without a token."""

    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """With the token, and why an administrator asks."""
        return {"Authorization": f"Bearer {self.token}", "Sluss-Reason": "trying it out"}


@pytest.fixture(scope="module")
def secured(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    url = new_database(server_url, f"secured_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    store = Store(url)
    store.migrate()
    token = _token(store)
    store.close()
    log = tmp_path_factory.mktemp("secured") / "log"
    with served(log, wait_for="/health/live", SLUSS_DATABASE_URL=url, SLUSS_AUTH="smart") as running:
        yield Secured(running.url, token)
        assert '"event": "unexpected"' not in running.written


def _token(store: Store) -> str:
    """Of an administrator, which may refer for every unit, good for as long as the tests take."""
    now = datetime.now(UTC)
    wanted = Registration("tester", "Tester", "administrator", credentials=Credentials(jwks=signing.key_set()))
    row = registered(wanted, (), now)
    assert isinstance(row, ClientRow), row
    assert store.clients.add(row)
    token, later = secrets.token_urlsafe(32), now + timedelta(hours=1)
    used = hashlib.sha256(b"jti").hexdigest()
    assert store.clients.issue(NewToken(hash_of(token), row.id, row.scopes, later, used, later))
    return token


@pytest.fixture(scope="module")
def described(secured: Secured) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{secured.url}/openapi.json", headers=secured.headers, timeout=20)


def test_the_description_says_what_needs_a_token(described: schemathesis.BaseSchema) -> None:
    told = described.raw_schema
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    with_token = {path for path, item in told["paths"].items() for one in item.values() if "security" in one}
    assert with_token == {"/intake/referrals", "/health/ready"}


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [*((*endpoint, GenerationMode.POSITIVE) for endpoint in ENDPOINTS), (*ENDPOINTS[0], GenerationMode.NEGATIVE)],
)
def test_an_endpoint_keeps_to_its_description_and_asks_for_its_token(
    described: schemathesis.BaseSchema, secured: Secured, path: str, method: str, mode: GenerationMode
) -> None:
    """All of schemathesis' checks, among them `ignored_auth`: without a token and with a made-up one it is 401."""
    seen: set[int] = set()

    @given(described[path][method].as_strategy(generation_mode=mode))
    @tries(60 if method == "POST" else 5)
    def keeps(case: "schemathesis.Case[Any]") -> None:
        answer = case.call_and_validate(headers=secured.headers, excluded_checks=[positive_data_acceptance])
        seen.add(answer.status_code)
        if method == "POST" and mode is GenerationMode.POSITIVE:
            case.body = _taken(case.body)
            seen.add(case.call_and_validate(headers=secured.headers).status_code)

    keeps()
    good = 201 if method == "POST" else 200
    assert (good in seen) is (mode is GenerationMode.POSITIVE)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer guess"}, {"Sluss-Caller": "administrator"}])
@pytest.mark.parametrize(("path", "method"), [("/intake/referrals", "POST"), ("/health/ready", "GET")])
def test_without_a_good_token_it_is_401(secured: Secured, header: dict[str, str], path: str, method: str) -> None:
    answer = requests.request(method, secured.url + path, json={}, headers=header, timeout=20)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
