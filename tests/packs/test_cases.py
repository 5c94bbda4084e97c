"""Reading the cases of a pack from their folders."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fhir_mappings.records import StartMode, Verdict
from service.packs.cases import Way, cases_of, read_cases
from service.packs.model import Absence

CASE = """
title = "En remiss utan diagnos"
pack = "gavleborg"
today = "2026-11-23"
way = "plain"
"""


def write(folder: Path, name: str, about: str = CASE, expected: Any = None, body: str = '{"n": 1.00}') -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "case.toml").write_text(about, encoding="utf-8")
    (folder / name / "in.json").write_text(body, encoding="utf-8")
    (folder / name / "expected.json").write_text(json.dumps(expected or {"status": 201}), encoding="utf-8")


def told(folder: Path) -> list[str]:
    return [str(problem) for problem in read_cases(folder)[1]]


def test_a_case_says_as_little_as_it_needs(tmp_path: Path) -> None:
    write(tmp_path, "small")
    (case,), problems = read_cases(tmp_path)
    assert problems == []
    assert (case.name, case.today, case.way, case.body) == ("small", date(2026, 11, 23), Way.PLAIN, b'{"n": 1.00}')
    assert (case.expected.status, case.expected.verdict, case.expected.findings) == (201, None, None)
    assert not case.expected.refused


def test_a_case_says_everything_it_can(tmp_path: Path) -> None:
    about = (
        CASE
        + """
caller = "referrer SE2321000198-EX01"
open_referral = "other"
possible_duplicate = true
before = ["first"]
rows = ["R14"]
source = "därför"
tags = ["demo"]
[[absence]]
team = "gavle"
first = 2026-11-20
last = 2026-11-30
substitute = "sodra-halsingland"
"""
    )
    expected = {
        "status": 200,
        "verdict": "return",
        "alert": True,
        "findings": [{"rule": "madrs-s-maximum", "verdict": "return"}],
        "team": "gavle",
        "route": "unit-directory",
        "start": "booked",
        "task_status": "rejected",
        "business_status": "x",
        "issues": [{"code": "required", "expression": "ServiceRequest.identifier"}],
    }
    write(tmp_path, "large", about, expected)
    (case,), problems = read_cases(tmp_path)
    assert problems == []
    assert (case.open_referral, case.possible_duplicate, case.before) == ("other", True, ("first",))
    assert case.absences == (Absence("gavle", date(2026, 11, 20), date(2026, 11, 30), "sodra-halsingland"),)
    assert case.expected.findings == (("madrs-s-maximum", Verdict.RETURN),)
    assert case.expected.start is StartMode.BOOKED
    assert case.expected.issues == (("required", "ServiceRequest.identifier"),)


@pytest.mark.parametrize(
    ("about", "expected", "said"),
    [
        (CASE.replace('"plain"', '"pigeon"'), None, "a/case.toml: way: must be one of bundle, single, plain"),
        (CASE.replace("2026-11-23", "yesterday"), None, "a/case.toml: today: must be a day such as 2026-11-23"),
        (CASE + 'open_referral = "mine"', None, "a/case.toml: open_referral: must be own or other"),
        (CASE + "colour = 1", None, "a/case.toml: colour: is not a key that is known here"),
        ("title = = 1", None, "a/case.toml: line 1"),
        (CASE, {"verdict": "return"}, "a/expected.json: cannot be understood: KeyError 'status'"),
        (CASE, {"status": 201, "verdict": "maybe"}, "a/expected.json: cannot be understood: ValueError"),
        (CASE, {"status": 201, "colour": 1}, "a/expected.json: colour: is not known"),
    ],
)
def test_a_case_that_cannot_be_understood_is_told_and_left_out(
    tmp_path: Path, about: str, expected: Any, said: str
) -> None:
    write(tmp_path, "a", about, expected)
    write(tmp_path, "b")
    assert [case.name for case in read_cases(tmp_path)[0]] == ["b"]
    assert any(line.startswith(said) for line in told(tmp_path))


def test_a_case_without_input_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "a" / "in.json").unlink()
    (tmp_path / "a" / "expected.json").write_text("[", encoding="utf-8")
    assert sorted(line.split(":")[0] for line in told(tmp_path)) == ["a/expected.json", "a/in.json"]


def test_a_pack_of_ones_own_keeps_its_cases_in_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "own" / "cases", "a", CASE.replace("gavleborg", "own"))
    cases, _ = cases_of(tmp_path / "own", "own")
    assert [case.name for case in cases] == ["a"]
