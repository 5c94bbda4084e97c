"""One HAPI for all the tests of this folder."""

import os
from collections.abc import Iterator

import pytest

from tests.hapi.server import Running, missing_tools, running_hapi
from tests.journeys.conftest import _door, packs, service

__all__ = ["_door", "hapi", "packs", "service"]  # fixtures of the journeys, run here against a real server


def need_tools() -> None:
    """Without Java and Maven tests on a real server are skipped, with the reason, except in CI: there they fail."""
    missing = missing_tools()
    if missing:
        reason = f"a HAPI FHIR server needs {' and '.join(missing)} on the path"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(reason)
        pytest.fail(reason)


@pytest.fixture(scope="session")
def hapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real server."""
    need_tools()
    with running_hapi(tmp_path_factory.mktemp("hapi")) as running:
        yield running
