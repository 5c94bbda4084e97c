"""Half a minute of fuzzing for each target, from the fixtures; an hour and its result: docs/security.md."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

PROJECT = Path(__file__).parents[2]
SECONDS = 30
FEWEST = 500
"""Inputs tried, so that a fuzzer which does nothing is no success; on a machine with nothing to do some 10,000."""

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("target", list(TARGETS))
def test_no_input_makes_a_reader_raise_or_run_on(
    target: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    command = [sys.executable, "-m", "tests.fuzz", target, str(SECONDS), str(tmp_path)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=SECONDS + 120, check=False)
    told = ended.stderr.decode(errors="replace")
    assert ended.returncode == 0, told[-6000:]
    units = re.search(r"stat::number_of_executed_units: (\d+)", told)
    assert units is not None, told[-2000:]
    assert int(units[1]) > FEWEST
    covered = re.findall(r"cov: (\d+)", told)
    record_property("told", f"fuzzing {target}: {units[1]} inputs in {SECONDS} s, coverage {covered[-1]}")
