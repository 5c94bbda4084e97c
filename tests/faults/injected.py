"""`sluss serve` and `sluss worker` with what a test sets: the clock, and how long the external server is waited for.

`FAULT_CLOCK` is a file with the seconds that this process's clock is ahead; `FAULT_SECONDS` bounds a call to the
external server.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import procrastinate.utils

from service import app, cli
from service.exchange import external
from service.exchange.client import FhirClient

_real_time = time.time


def _inject_clock(file: Path) -> None:
    def ahead() -> float:
        return float(file.read_text())

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead())

    app.make_house = partial(app.make_house, clock=clock)
    procrastinate.utils.utcnow = clock
    time.time = lambda: _real_time() + ahead()


def _inject_patience(seconds: float) -> None:
    vars(external)["FhirClient"] = partial(FhirClient, seconds=seconds)


if __name__ == "__main__":
    if file := os.environ.get("FAULT_CLOCK"):
        _inject_clock(Path(file))
    if seconds := os.environ.get("FAULT_SECONDS"):
        _inject_patience(float(seconds))
    cli.main()
