"""The application of the tests of the web, met by who means it no good."""

import time
from collections.abc import Callable

import pytest

from tests.web.conftest import another, house, pack, rows, sluss

__all__ = ["another", "house", "pack", "rows", "sluss"]

Costs = Callable[[Callable[[], object]], float]


@pytest.fixture
def seconds_of() -> Costs:
    """Processor time of a call in this process, whatever else the machine does."""

    def measure(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    return measure
