"""With authentication on: clients of others find out where tokens are, get one by an assertion, and work with it."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from fhirclient.client import FHIRClient
from fhirclient.models.task import Task
from fhirpy import SyncFHIRClient

from service.access.clients import Registration, registered
from service.store.client_records import ClientRow, Credentials
from service.store.database import Store
from tests.access.signing import claims, form, key_set, signed
from tests.clients.foreign import on_node
from tests.journeys.referrals import UNIT, alone
from tests.web.served import Served, new_database, served

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def sluss(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With one client for each side, and a referral."""
    url = new_database(server_url, "clients_with_tokens")
    store = Store(url)
    store.migrate()
    for id_, role, units, teams in (("ehr", "referrer", (UNIT,), ()), ("gavle", "therapist", (), ("gavle",))):
        wanted = Registration(id_, id_, role, units, teams, credentials=Credentials(jwks=key_set()))
        client = registered(wanted, ("gavle",), datetime.now(UTC))
        assert isinstance(client, ClientRow)
        assert store.clients.add(client)
    store.close()
    log: Path = tmp_path_factory.mktemp("with-tokens") / "log"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_PROXY", "127.0.0.1")
        settings = {"SLUSS_AUTH": "smart", "SLUSS_DATABASE_URL": url, "SLUSS_LOG_LEVEL": "warning"}
        with served(log, wait_for="/health/live", **settings) as running:
            yield running


def assertion(sluss: Served, client: str) -> str:
    return signed(claims(datetime.now(UTC), client, aud=f"{sluss.url}/auth/token"))


@pytest.fixture(scope="module")
def task(sluss: Served) -> str:
    """Id of the Task of a referral that came with a token."""
    given = requests.post(f"{sluss.url}/auth/token", data=form(assertion(sluss, "ehr")), timeout=20).json()
    client = SyncFHIRClient(f"{sluss.url}/fhir", authorization=f"Bearer {given['access_token']}")
    order = client.resource("ServiceRequest", **alone("with-a-token", "sleep")).create()  # type: ignore[no-untyped-call]  # the client is
    (found,) = client.resources("Task").search(focus=f"ServiceRequest/{order['id']}").fetch()
    return str(found["id"])


def test_fhirpy_refers_with_a_token(task: str) -> None:
    assert task


def test_fhirclient_finds_the_endpoint_in_the_capability_statement_and_signs_in(sluss: Served, task: str) -> None:
    settings = {"app_id": "gavle", "api_base": f"{sluss.url}/fhir", "scope": "system/Task.rs"}
    smart = FHIRClient(settings={**settings, "jwt_token": assertion(sluss, "gavle")})
    assert not smart.prepare(), "it is told that a token is needed"
    smart.authorize()
    assert smart.ready
    found = Task.where({"status": "requested"}).perform_resources_iter(smart.server)
    assert [one.id for one in found] == [task]


@pytest.mark.parametrize("name", ["medplum", "fhir-kit-client"])
def test_clients_in_javascript_get_a_token_and_find_the_worklist(sluss: Served, task: str, name: str) -> None:
    ended = subprocess.run(
        [*on_node("with-token"), name, f"{sluss.url}/fhir", assertion(sluss, "gavle")],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [task]


def test_without_a_token_a_client_is_told_that_it_needs_one(sluss: Served) -> None:
    answer = requests.get(f"{sluss.url}/fhir/Task", timeout=20)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
