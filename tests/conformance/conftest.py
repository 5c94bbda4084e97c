"""One running service for all of it, asked as any client would."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store.database import Store
from tests.conformance.client import Client, Referral, refer
from tests.web.served import new_database, served


@pytest.fixture(scope="session")
def fhir(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The administrator, until it acts for somebody else."""
    folder: Path = tmp_path_factory.mktemp("conformance")
    url = new_database(server_url, f"conformance_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    with served(folder / "log", SLUSS_DATABASE_URL=url) as running:
        yield Client(running.url)
        assert '"event": "unexpected"' not in running.written


@pytest.fixture
def referral(fhir: Client) -> Referral:
    """A referral of this test's own."""
    return refer(fhir)
