"""SMART scopes, version 2: what a token is good for.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from fhir_mappings.r4.bindings import RESOURCE_TYPES

LETTERS = "cruds"
"""Create, read, update, delete, search; in this order."""

_SCOPE = re.compile(r"(system|user)/([A-Z][A-Za-z]{1,63}|\*)\.([a-z]{1,5}|\*)(?:\?([^\s]{1,1000}))?")
_TYPES = RESOURCE_TYPES | {"*"}
_VERSION_1 = {"read": "rs", "write": "cud", "*": LETTERS}
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope: `system/Task.rs?owner=HealthcareService/gavle`."""

    level: str
    """`system` or `user`."""
    type: str
    """A resource type of R4, or `*`."""
    letters: frozenset[str]
    """Of c, r, u, d and s."""
    query: tuple[tuple[str, str], ...] = ()
    """The search parameters that narrow it; none: all that the caller may see."""

    def __str__(self) -> str:
        """As it is written."""
        search = "&".join(f"{quote(name, safe=':')}={quote(value, safe='/|,:$')}" for name, value in self.query)
        letters = "".join(letter for letter in LETTERS if letter in self.letters)
        return f"{self.level}/{self.type}.{letters}" + (f"?{search}" if search else "")


@dataclass(frozen=True, slots=True)
class Scopes:
    """All scopes of a token."""

    scopes: tuple[Scope, ...]

    def for_(self, type_: str, letter: str) -> tuple[Scope, ...]:
        """Those that allow `letter` for a type; empty: it is not allowed."""
        return tuple(s for s in self.scopes if s.type in ("*", type_) and letter in s.letters)

    @property
    def is_everything(self) -> bool:
        """True when nothing that the caller's role may do is kept back."""
        return any(s.type == "*" and not s.query and len(s.letters) == len(LETTERS) for s in self.scopes)

    def __str__(self) -> str:
        """As they are written in a token request."""
        return " ".join(map(str, self.scopes))

    def within(self, granted: "Scopes") -> "Scopes":
        """What is in both: of these scopes as much as `granted` allows."""
        common = (_both(asked, given) for asked in self.scopes for given in granted.scopes)
        return Scopes(tuple(dict.fromkeys(scope for scope in common if scope is not None)))


def read_scope(word: str) -> Scope | None:
    """A scope as it is written, of version 1 or 2; None for what is none, or none of ours (`launch/patient`)."""
    found = _SCOPE.fullmatch(word)
    if found is None:
        return None
    level, type_, said, search = found.groups()
    letters = _VERSION_1.get(said, said)
    if not re.fullmatch("c?r?u?d?s?", letters) or type_ not in _TYPES:
        return None
    query = tuple(parse_qsl(search, keep_blank_values=True)) if search else ()
    return Scope(level, type_, frozenset(letters), query) if bool(query) == bool(search) else None


def read_scopes(text: str) -> Scopes:
    """The scopes in a text, separated by blanks; what is none of ours is left out."""
    found = (read_scope(word) for word in text[:_LONGEST].split())
    return Scopes(tuple(dict.fromkeys(scope for scope in found if scope is not None)))


def problems_of(words: Iterator[str] | tuple[str, ...]) -> list[str]:
    """What is wrong with scopes that a client is to be registered for, in English."""
    problems = []
    for word in words:
        scope = read_scope(word)
        if scope is None:
            problems.append(f"no scope: {word!r}; it takes system/Task.rs, system/*.cruds, system/Task.rs?owner=…")
        elif scope.query and "c" in scope.letters:
            problems.append(f"{word}: what is created cannot be narrowed by a search; give c a scope of its own")
        elif scope.query and scope.type == "*":
            problems.append(f"{word}: a search is of one type")
    return problems


def _both(asked: Scope, given: Scope) -> Scope | None:
    """What is in both; a search narrows what is read and changed, so what is created is in neither of two."""
    if asked.level != given.level or ("*" not in (asked.type, given.type) and asked.type != given.type):
        return None
    query = (*given.query, *(pair for pair in asked.query if pair not in given.query))
    letters = (asked.letters & given.letters) - (frozenset("c") if query else frozenset())
    return Scope(asked.level, given.type if asked.type == "*" else asked.type, letters, query) if letters else None
