"""One running service and the clients of others, each started when it is first asked for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from fhir_mappings.records import Json
from service.store.database import Store
from tests.clients.foreign import Foreign, Process, on_java, on_node, started
from tests.clients.python import FhirClientPy, FhirPy
from tests.clients.roles import Client
from tests.journeys.conftest import Client as Plain
from tests.journeys.referrals import UNIT, alone
from tests.web.served import Served, new_database, served

Acting = Callable[[str, str], Client]
"""A client by its name, for a caller."""

Plainly = Callable[[str | None], Plain]
"""A plain HTTP client for a caller."""


@pytest.fixture(scope="session")
def sluss(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url = new_database(server_url, "clients")
    Store(url).migrate()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_PROXY", "127.0.0.1")
        folder: Path = tmp_path_factory.mktemp("clients")
        with served(folder / "log", SLUSS_DATABASE_URL=url, SLUSS_LOG_LEVEL="warning") as running:
            yield running


@pytest.fixture(scope="session")
def acting(sluss: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acting]:
    base = f"{sluss.url}/fhir"
    logs = tmp_path_factory.mktemp("foreign")
    with ExitStack() as running:

        @cache
        def process(name: str) -> Process:
            command = on_java() if name == "hapi" else on_node(name)
            return running.enter_context(started(command, base, logs / name))

        def act(name: str, caller: str) -> Client:
            match name:
                case "fhirpy":
                    return FhirPy(base, caller)
                case "fhirclient":
                    return FhirClientPy(base, caller)
            return Foreign(process("fhirclient" if name == "fhirclient.js" else name), caller)

        yield act


@pytest.fixture
def plain(sluss: Served) -> Plainly:
    """Somebody whose client is of no interest to the test."""
    return lambda caller: Plain(sluss.url, caller)


@pytest.fixture
def task(plain: Plainly, request: pytest.FixtureRequest) -> Iterator[Json]:
    """That of a referral of the test's own, which is taken back at the end."""
    referrer = plain(f"referrer {UNIT}")
    sent = referrer.post("/fhir/ServiceRequest", alone(request.node.name, "sleep"))
    assert sent.status_code == 201, sent.text
    order = f"ServiceRequest/{sent.json()['id']}"
    yield referrer.search("Task", focus=order)[0]
    taken_back = referrer.put(order, {**referrer.read(order), "status": "revoked"})
    assert taken_back.status_code == 200, taken_back.text
