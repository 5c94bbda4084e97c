"""A pack's cases: what comes in and what must come out, one folder each (`fixtures/README.md` has the format).

The cases of shipped packs lie in the project's `fixtures/`, where the tests and the demo use them too; a pack of one's
own keeps its cases in its folder, in `cases/`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

from fhir_mappings.records import StartMode, Verdict
from service.packs.loading import SHIPPED, folder_of
from service.packs.model import Absence
from service.packs.reading import Problem, Section, open_toml, unknown
from service.packs.vocabulary import OpenReferral

FIXTURES = SHIPPED.parents[1] / "fixtures"
"""The cases of shipped packs."""

_UNRECEIVABLE = (400, 422)
"""The others, such as 403 and 409, depend on the caller or on what is stored; they are no matter of the pack's."""


class Way(StrEnum):
    """How a case's input is sent."""

    BUNDLE = "bundle"
    """A transaction Bundle, `POST /fhir`."""
    SINGLE = "single"
    """One ServiceRequest, `POST /fhir/ServiceRequest`."""
    PLAIN = "plain"
    """Plain JSON, `POST /intake/referrals`."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out. What a case does not name is None and is not looked at."""

    status: int
    verdict: Verdict | None = None
    alert: bool | None = None
    findings: tuple[tuple[str, Verdict], ...] | None = None
    """All findings as (rule, verdict), in any order."""
    team: str | None = None
    route: str | None = None
    start: StartMode | None = None
    task_status: str | None = None
    business_status: str | None = None
    issues: tuple[tuple[str, str | None], ...] | None = None
    """Of a refused one: (code, expression)."""

    @property
    def refused(self) -> bool:
        """True when the input itself cannot be received (400, 422), whoever sends it and whatever is here already."""
        return self.status in _UNRECEIVABLE


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its input, its circumstances and what must come of it."""

    name: str
    title: str
    pack: str
    today: date
    way: Way
    body: bytes
    """Exactly what is sent."""
    expected: Expected
    caller: str | None = None
    """Value of the header `Sluss-Caller`; None: none is sent."""
    open_referral: OpenReferral | None = None
    possible_duplicate: bool = False
    before: tuple[str, ...] = ()
    """Cases that must have been sent first, where it is sent to a running service."""
    absences: tuple[Absence, ...] = ()
    rows: tuple[str, ...] = ()
    source: str = ""
    tags: tuple[str, ...] = field(default=())


def cases_of(name_or_path: str | Path, pack_name: str) -> tuple[list[Case], list[Problem]]:
    """The cases of a pack, from its own `cases/` and from the project's fixtures, and every problem with them."""
    cases: list[Case] = []
    problems: list[Problem] = []
    for folder in (folder_of(name_or_path) / "cases", FIXTURES):
        found, broken = read_cases(folder)
        cases.extend(case for case in found if case.pack == pack_name)
        problems.extend(broken)
    return cases, problems


def read_cases(folder: Path) -> tuple[list[Case], list[Problem]]:
    """Every case below a folder, by name, and every problem; a case with a problem is left out."""
    cases: list[Case] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob("*/case.toml")):
        before = len(problems)
        case = _read_case(folder, path.parent.name, problems)
        if case is not None and len(problems) == before:
            cases.append(case)
    return cases, problems


def _read_case(folder: Path, name: str, problems: list[Problem]) -> Case | None:
    about = open_toml(folder, f"{name}/case.toml", problems)
    expected = _expected(folder, f"{name}/expected.json", problems)
    body = _body(folder / name / "in.json", f"{name}/in.json", problems)
    if about is None or expected is None or body is None:
        return None
    case = Case(
        name=name,
        title=about.text("title"),
        pack=about.text("pack"),
        today=date.fromisoformat(_iso_day(about)),
        way=about.choice("way", Way),
        body=body,
        expected=expected,
        caller=about.optional_text("caller"),
        open_referral=_open_referral(about),
        possible_duplicate=about.flag("possible_duplicate"),
        before=about.texts("before", default=()),
        absences=tuple(_absence(section) for section in about.sections("absence", needed=False)),
        rows=about.texts("rows", default=()),
        source=about.text("source", default=""),
        tags=about.texts("tags", default=()),
    )
    about.close()
    return case


def _iso_day(about: Section) -> str:
    text = about.text("today")
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        about.problem("today", f"must be a day such as 2026-11-23, not {text!r}")
        return date.min.isoformat()


def _open_referral(about: Section) -> OpenReferral | None:
    text = about.optional_text("open_referral")
    for whose in get_args(OpenReferral):
        if text == whose:
            return "own" if whose == "own" else "other"
    if text:
        about.problem("open_referral", f"must be own or other, not {text!r}")
    return None


def _absence(section: Section) -> Absence:
    absence = Absence(
        section.text("team"), section.day("first"), section.day("last"), section.optional_text("substitute")
    )
    section.close()
    return absence


def _body(path: Path, file: str, problems: list[Problem]) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as unreadable:
        problems.append(Problem(file, "", f"cannot be read: {unreadable.strerror}"))
        return None


_EXPECTED_KEYS = (
    "status",
    "verdict",
    "alert",
    "findings",
    "team",
    "route",
    "start",
    "task_status",
    "business_status",
    "issues",
)


def _expected(folder: Path, file: str, problems: list[Problem]) -> Expected | None:
    try:
        told = json.loads((folder / file).read_text(encoding="utf-8"))
    except json.JSONDecodeError as broken:
        problems.append(Problem(file, f"line {broken.lineno}", broken.msg))
        return None
    except (OSError, UnicodeDecodeError) as unreadable:
        problems.append(Problem(file, "", f"cannot be read: {unreadable}"))
        return None
    if not isinstance(told, dict):
        problems.append(Problem(file, "", "must be a JSON object"))
        return None
    strange = unknown(told, _EXPECTED_KEYS)
    problems.extend(Problem(file, key, f"is not known ({', '.join(_EXPECTED_KEYS)})") for key in strange)
    try:
        return None if strange else _from_json(told)
    except (KeyError, TypeError, ValueError) as wrong:
        problems.append(Problem(file, "", f"cannot be understood: {type(wrong).__name__} {wrong}"))
        return None


def _from_json(told: Mapping[str, Any]) -> Expected:
    findings, issues = told.get("findings"), told.get("issues")
    return Expected(
        status=int(told["status"]),
        verdict=Verdict(told["verdict"]) if "verdict" in told else None,
        alert=told.get("alert"),
        findings=None if findings is None else tuple((each["rule"], Verdict(each["verdict"])) for each in findings),
        team=told.get("team"),
        route=told.get("route"),
        start=StartMode(told["start"]) if "start" in told else None,
        task_status=told.get("task_status"),
        business_status=told.get("business_status"),
        issues=None if issues is None else tuple((each["code"], each.get("expression")) for each in issues),
    )
