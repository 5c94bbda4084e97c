"""docs/security.md: every test that it names exists, and every requirement stands in it once."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+)\.(\d+)\.(\d+) \| ([12]) \| [^|]+ \| ([a-z *]+) \| (.+) \|$", GUIDE, re.MULTILINE)
LEVELS = {"1": 70, "2": 183}
"""How many requirements of each level OWASP ASVS 5.0.0 has."""


def test_every_test_that_it_names_exists() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts]
    defined = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)}
    named = set(re.findall(r"`(test_\w+)`", GUIDE))
    assert len(named) > 30
    assert named - defined == set()
    paths = set(re.findall(r"`((?:tests|docs)/[^`]+)`", GUIDE))
    assert len(paths) > 40
    assert {path for path in paths if not (ROOT / path).is_file()} == set()


def test_every_requirement_of_levels_1_and_2_stands_in_it_once_and_in_order() -> None:
    numbers = [tuple(map(int, row[:3])) for row in ROWS]
    assert numbers == sorted(set(numbers))
    assert Counter(row[3] for row in ROWS) == LEVELS


def test_its_sums_are_those_of_its_rows() -> None:
    kinds = ("met", "region", "does not apply", "**not met**")
    counted = Counter((row[3], row[4]) for row in ROWS)
    assert {row[4] for row in ROWS} == set(kinds)
    for level in LEVELS:
        told = " | ".join(str(counted[(level, kind)]) for kind in kinds)
        assert f"| level {level} | {told} |" in GUIDE


def test_what_is_met_says_where_and_what_is_not_says_why() -> None:
    assert [row for row in ROWS if len(row[5]) < 4] == []
