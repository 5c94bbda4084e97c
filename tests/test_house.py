"""The house stands as it is drawn: imports run one way, and nothing is committed that does not belong."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SOURCES_NAME_PEOPLE = re.compile("sterberg|Stenberg Bj" + "uhr|Jons" + "g.rden|H.kan Bl" + "om")
"""Persons named in the public documents that the packs follow: a team has no person."""

ADDRESSES = re.compile(
    r"--(extra-)?index-url|--find-links|--trusted-host|files\." + r"pythonhosted|pypi\." + r"org|registry\." + r"npmjs"
)


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _lines_with(pattern: re.Pattern[str], *, besides: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in _tracked():
        if path.name in besides:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{path.relative_to(ROOT)}: {line.strip()[:80]}" for line in text.splitlines() if pattern.search(line)
        ]
    return found


def test_imports_run_one_way() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_no_person_of_the_sources_is_named() -> None:
    assert _lines_with(SOURCES_NAME_PEOPLE, besides=("test_house.py",)) == []


def test_no_registry_and_no_path_of_a_machine_is_committed() -> None:
    assert _lines_with(ADDRESSES, besides=("test_house.py", "Makefile", "requirements.txt")) == []
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(--|https?:)", lock, re.MULTILINE)
    assert _lines_with(re.compile(re.escape(str(ROOT)) + r"/"), besides=("test_house.py",)) == []


def test_every_requirement_is_pinned_with_a_hash() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", lock, flags=re.IGNORECASE)[1:]
    assert len(entries) > 30
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_javascript_package_is_pinned_with_a_hash_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "clients" / "js" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 3
    assert [name for name, package in packages.items() if "integrity" not in package or "resolved" in package] == []


def test_no_database_or_build_output_is_committed() -> None:
    odd = [path.name for path in _tracked() if path.suffix in (".pyc", ".sqlite", ".db", ".egg-info", ".jar", ".class")]
    assert odd == []


def test_there_are_no_rooms_without_a_purpose() -> None:
    names = {part for path in _tracked() for part in (path.stem, *path.relative_to(ROOT).parts[:-1])}
    assert names & {"utils", "util", "common", "helpers", "misc"} == set()
