"""Absences that people have entered besides those of the pack (`sluss team absent`, contract 5)."""

from collections.abc import Iterable

from service.packs.model import Absence
from service.store.records import AbsenceRow
from service.store.view import View


def entered_absences(view: View) -> list[Absence]:
    """Every absence entered, in that order: of several on the same day the latest counts."""
    return as_absences(view.absences())


def as_absences(rows: Iterable[AbsenceRow]) -> list[Absence]:
    """The same, from what the store has given."""
    return [Absence(row.team, row.first, row.last, row.substitute) for row in rows]
