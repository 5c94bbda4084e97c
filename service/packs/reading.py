"""Reading a TOML table piece by piece, noting every problem with file and key instead of stopping at the first."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a pack, and where."""

    file: str
    """Relative to the pack's folder."""
    where: str
    """`line 12`, or the key: `rule[3].outcome[1].when`; empty for the whole file."""
    reason: str

    def __str__(self) -> str:
        """`rules.toml: rule[3].outcome[1].when: …`"""
        return ": ".join(part for part in (self.file, self.where, self.reason) if part)


@dataclass(slots=True)
class Section:
    """A table of a TOML file that is being read. What was not asked for is a problem too: `close` tells."""

    file: str
    key: str
    table: dict[str, Any]
    problems: list[Problem]
    _read: set[str] = field(default_factory=set)

    def problem(self, name: str, reason: str) -> None:
        """Notes a problem at one key of this table."""
        self.problems.append(Problem(self.file, self._path(name), reason))

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not blank; must be there unless a default is given."""
        value = self._value(name, str, "a text", default)
        if isinstance(value, str) and (value.strip() or value == default):
            return value
        if isinstance(value, str):
            self.problem(name, "must not be blank")
        return ""

    def optional_text(self, name: str) -> str | None:
        """A text, or None where the key is absent."""
        return self.text(name) if name in self.table else None

    def flag(self, name: str) -> bool:
        """A yes or no; absent is no."""
        return bool(self._value(name, bool, "true or false", False))

    def integer(self, name: str, default: int | None = None, least: int = 0) -> int:
        """A whole number, at least `least`; must be there unless a default is given."""
        value = self._value(name, int, "a whole number", default)
        if not isinstance(value, int):
            return least
        if value < least:
            self.problem(name, f"must be at least {least}, not {value}")
        return value

    def day(self, name: str) -> date:
        """A TOML local date."""
        value = self._value(name, date, "a date such as 2026-07-01", None)
        return value if isinstance(value, date) else date.min

    def choice(self, name: str, choices: type[Choice], default: Choice | None = None) -> Choice:
        """One code of an enumeration; must be there unless a default is given."""
        value = self._value(name, str, "a text", default)
        if value in list(choices):
            return choices(value)
        if isinstance(value, str):
            self.problem(name, f"must be one of {', '.join(choices)}, not {value!r}")
        return next(iter(choices))

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts; must be there unless a default is given."""
        value = self._value(name, list, "a list of texts", default)
        if not isinstance(value, list | tuple):
            return ()
        if not all(isinstance(item, str) for item in value):
            self.problem(name, "must be a list of texts")
        return tuple(item for item in value if isinstance(item, str))

    def section(self, name: str, needed: bool = True) -> "Section":
        """A table below this one; empty where it is absent."""
        value = self._value(name, dict, "a table", None if needed else {})
        return Section(self.file, self._path(name), value if isinstance(value, dict) else {}, self.problems)

    def sections(self, name: str, needed: bool = True) -> list["Section"]:
        """An array of tables (`[[rule]]`); empty where it is absent."""
        value = self._value(name, list, "an array of tables", None if needed else [])
        found = []
        for position, item in enumerate(value if isinstance(value, list) else []):
            place = f"{name}[{position}]"
            if isinstance(item, dict):
                found.append(Section(self.file, self._path(place), item, self.problems))
            else:
                self.problem(place, "must be a table")
        return found

    def named_sections(self, name: str, needed: bool = True) -> list[tuple[str, "Section"]]:
        """The tables of a table by their names: `[team.gavle]` and so on."""
        below = self.section(name, needed)
        return [(inner, below.section(inner)) for inner in below.table]

    def close(self) -> None:
        """Notes every key that nothing asked for: a misspelt key must not pass for an absent one."""
        for name in self.table:
            if name not in self._read:
                self.problem(name, f"is not a key that is known here ({', '.join(sorted(self._read))})")

    def _path(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def _value(self, name: str, kind: type, words: str, default: Any) -> Any:
        self._read.add(name)
        if name not in self.table:
            if default is None:
                self.problem(name, f"is missing; {words} is needed")
            return default
        value = self.table[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problem(name, f"must be {words}, not {value!r}")
            return None
        return value


def open_toml(folder: Path, file: str, problems: list[Problem]) -> Section | None:
    """The whole of a TOML file; None, with the problem noted, where it is absent or cannot be read."""
    try:
        return Section(file, "", tomllib.loads((folder / file).read_text(encoding="utf-8")), problems)
    except FileNotFoundError:
        problems.append(Problem(file, "", "the file is missing"))
    except (OSError, UnicodeDecodeError) as unreadable:
        problems.append(Problem(file, "", f"cannot be read: {unreadable}"))
    except tomllib.TOMLDecodeError as broken:
        reason, _, place = str(broken).partition(" (at ")
        problems.append(Problem(file, place.rstrip(")"), reason))
    return None


def unknown(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that are not known, sorted."""
    return sorted(set(names) - set(known))
