"""What CI makes of an audit of the dependencies."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]
SOUND: Any = {"name": "one", "version": "1", "vulns": []}
UNKNOWN: Any = {"name": "two", "skip_reason": "Dependency not found on PyPI and could not be audited: two (2)"}
BAD: Any = {"name": "three", "version": "3", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["4"]}]}


@pytest.mark.parametrize(
    ("report", "status", "said"),
    [
        (json.dumps({"dependencies": [SOUND], "fixes": []}), 0, "audited: 1, vulnerable: 0"),
        (json.dumps({"dependencies": [SOUND, UNKNOWN]}), 0, "knows of them: two"),
        (json.dumps({"dependencies": [UNKNOWN, BAD]}), 1, "VULNERABLE: three 3: PYSEC-2026-1"),
        ("", 0, "knows of them: anything"),
    ],
)
def test_a_known_vulnerability_fails_and_silence_is_told(tmp_path: Path, report: str, status: int, said: str) -> None:
    written = tmp_path / "report.json"
    written.write_text(report)
    command = [PROJECT / ".ci/audit", written]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == status
    assert said in ended.stdout
