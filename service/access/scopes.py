"""SMART scopes, version 2: what a token is good for.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope: `system/Task.rs?owner=HealthcareService/gavle`."""

    level: str
    """`system` or `user`."""
    type: str
    """A resource type, or `*`."""
    letters: frozenset[str]
    """Of c, r, u, d and s."""
    query: tuple[tuple[str, str], ...] = ()
    """The search parameters that narrow it; none: all that the caller may see."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """All scopes of a token."""

    scopes: tuple[Scope, ...]

    def for_(self, type_: str, letter: str) -> tuple[Scope, ...]:
        """Those that allow `letter` for a type; empty: it is not allowed."""
        return tuple(s for s in self.scopes if s.type in ("*", type_) and letter in s.letters)
