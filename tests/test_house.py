"""The house stands as it is drawn: imports run one way, and nothing is committed that does not belong."""

import hashlib
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PEOPLE_OF_THE_SOURCES = frozenset(
    {
        "2f22ac19afb9febddaafa864f25aafcdf07dda0ea7ce59aca5da3565eb0982d4",
        "da7a7280d4a8f79d045d3860263f1dd4f29b388f0b95ada05e353743d1360203",
        "3e81013e6f88df825ba0f359bad6911ceed89e17c67d7b6b1774139c6cbe08b9",
        "756305d5c7757224ce8aef5152e46a2a4664630f0744d2f5c0c0dd8fd7e41d9f",
    }
)
"""Persons named in the public documents that the packs follow, each as the SHA-256 of a surname or a whole name in
small letters: a team has no person, and neither has this list.
"""

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


def _digests(text: str) -> set[str]:
    """Of each word, and of each two that follow each other."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    told = {*words, *(f"{first} {second}" for first, second in pairwise(words))}
    return {hashlib.sha256(one.encode()).hexdigest() for one in told}


def test_no_person_of_the_sources_is_named() -> None:
    assert hashlib.sha256("två ord".encode()).hexdigest() in _digests("Här är (två\nOrd), sedan fler")
    texts = ((path, path.read_text(encoding="utf-8", errors="replace")) for path in _tracked())
    assert [str(path.relative_to(ROOT)) for path, text in texts if _digests(text) & PEOPLE_OF_THE_SOURCES] == []


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
