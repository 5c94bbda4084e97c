"""What other tools than Python's build for the tests: made once, and anew when its sources are others than it was made
from; and what becomes of a test whose tools are not there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SECONDS = 900


def missing_tools(*names: str) -> list[str]:
    """Those of the programs that are not on the path."""
    return [name for name in names if shutil.which(name) is None]


def need(what: str, *names: str) -> None:
    """Skip the test, with the reason, when one of the programs is not on the path; in CI it fails."""
    missing = missing_tools(*names)
    if missing:
        reason = f"{what} needs {' and '.join(missing)} on the path"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(reason)
        pytest.fail(reason)


def build(folder: Path, output: str, command: tuple[str, ...], *sources: str) -> Path:
    """`output` of a folder, as `command` makes it there from its `sources` (files and folders). One build at a time,
    however many processes ask. Raises RuntimeError with the end of what the command said.
    """
    made = folder / output
    with (folder / sources[0]).open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        built_from, digest = made / "built-from", _digest(folder, sources)
        if not (built_from.exists() and built_from.read_text() == digest):
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
            if ran.returncode != 0:
                raise RuntimeError(f"{folder.name} was not built:\n{(ran.stdout + ran.stderr)[-3000:]}")
            built_from.write_text(digest)
    return made


def _digest(folder: Path, sources: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        for path in sorted((folder / source).rglob("*")) or [folder / source]:
            if path.is_file():
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
