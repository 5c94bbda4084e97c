"""One HAPI for all the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.building import need
from tests.hapi.server import TOOLS, Running, running_hapi
from tests.journeys.conftest import _door, packs, service

__all__ = ["_door", "hapi", "packs", "service"]  # fixtures of the journeys, run here against a real server


def need_tools() -> None:
    """Without Java and Maven tests on a real server are skipped, with the reason, except in CI: there they fail."""
    need("a HAPI FHIR server", *TOOLS)


@pytest.fixture(scope="session")
def hapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real server."""
    need_tools()
    with running_hapi(tmp_path_factory.mktemp("hapi")) as running:
        yield running
