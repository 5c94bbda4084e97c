"""Swedish patient identifiers: personnummer, samordningsnummer and nationellt reservnummer.

Form and check digit: Skatteverket, "Personnummer och samordningsnummer" (SKV 704 and SKV 707); systems as in HL7
Sweden's base profiles (https://hl7.se/fhir/ig/base). Twelve characters without separator, ASCII only: what looks like a
number in another script is not one.
"""

import calendar
import re
from datetime import date

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import IdentityKind, PatientIdentity
from fhir_mappings.terminology import IDENTITY_KINDS

_TWELVE_DIGITS = re.compile(r"[0-9]{12}")
_RESERVE_NUMBER = re.compile(r"[0-9]{8}[0-9A-Z]{4}")
_LIKE_A_NUMBER = re.compile(r"(?<![0-9A-Za-z-])[0-9]{6}(?:[0-9]{2})?[-+]?[0-9A-Z]{2}[0-9]{2}(?![0-9A-Za-z-])")
_COORDINATION = 60
"""What is added to the day of birth in a samordningsnummer; a day of exactly 60 means that the day is not known."""
_EARLIEST_YEAR = 1800
"""No living patient was born before; such a number is a slip of the pen."""


def without_numbers(text: str) -> str:
    """The text with `…` for everything that could be a patient's identifier, valid or not, with or without a sign. A
    part of a longer id or number is none.
    """
    return _LIKE_A_NUMBER.sub("…", text)


def parse_identity(system: str, value: str, expression: str, today: date) -> PatientIdentity | list[Issue]:
    """The identity, or every Issue with it, at `{expression}.system` or `{expression}.value`.

    A valid one has a check digit that is right, a date that exists and is not after `today`, and the form that its
    system declares. The value itself is never repeated in an Issue.
    """
    kind = IDENTITY_KINDS.get(system)
    if kind is None:
        return [
            error(
                IssueCode.VALUE,
                f"{expression}.system",
                "Patientens identitet ska vara personnummer, samordningsnummer eller nationellt reservnummer.",
                f"{system} is not a system of Swedish patient identifiers that Sluss reads.",
            )
        ]
    identity = PatientIdentity(kind, value)
    reason = _what_is_wrong(identity, today)
    if reason is None:
        return identity
    swedish, english = reason
    return [error(IssueCode.VALUE, f"{expression}.value", swedish, english)]


def birth_date(identity: PatientIdentity) -> date | None:
    """The date of birth that the identifier carries.

    None for a reservnummer, and for a samordningsnummer whose month or day is not known.
    """
    if identity.kind is IdentityKind.RESERVNUMMER:
        return None
    year, month, day = _date_parts(identity)
    return _date(year, month, day) if month and day else None


def age_on(identity: PatientIdentity, today: date) -> int | None:
    """Whole years on the day `today`; None when it cannot be told.

    Calendar arithmetic as in FHIRPath (https://hl7.org/fhirpath/N1/#datetime-arithmetic): who was born on 29 February
    has the birthday on 28 February in common years.
    """
    born = birth_date(identity)
    if born is None:
        return None
    leap_day_missing = (born.month, born.day) == (2, 29) and not calendar.isleap(today.year)
    birthday = (2, 28) if leap_day_missing else (born.month, born.day)
    return today.year - born.year - ((today.month, today.day) < birthday)


def has_right_check_digit(ten_digits: str) -> bool:
    """True when the last of YYMMDDNNNC is the check digit of the others (modulus 10, the Luhn algorithm)."""
    doubled = (int(digit) * (2 - position % 2) for position, digit in enumerate(ten_digits))
    return sum(product // 10 + product % 10 for product in doubled) % 10 == 0


def _what_is_wrong(identity: PatientIdentity, today: date) -> tuple[str, str] | None:
    """(Swedish, English), or None for a valid identifier."""
    if identity.kind is IdentityKind.RESERVNUMMER:
        if _RESERVE_NUMBER.fullmatch(identity.value):
            return None
        return (
            "Reservnumret ska ha tolv tecken: åtta siffror och fyra siffror eller versaler.",
            "A nationellt reservnummer is eight digits and four digits or capital letters.",
        )
    name = str(identity.kind).capitalize()
    if not _TWELVE_DIGITS.fullmatch(identity.value):
        return f"{name} ska ha tolv siffror utan skiljetecken.", f"A {identity.kind} is twelve digits, no separator."
    if not has_right_check_digit(identity.value[2:]):
        return f"{name}: kontrollsiffran stämmer inte.", f"The check digit of the {identity.kind} is wrong."
    return _what_is_wrong_with_the_date(identity, today)


def _what_is_wrong_with_the_date(identity: PatientIdentity, today: date) -> tuple[str, str] | None:
    name = str(identity.kind).capitalize()
    year, month, day = _date_parts(identity)
    incomplete = identity.kind is IdentityKind.SAMORDNINGSNUMMER and (month == 0 or day == 0)
    # Of an incomplete date only what is known can be checked; 31 is as much as any month has.
    exists = month in range(13) and day in range(32) if incomplete else _date(year, month, day) is not None
    if not exists or year < _EARLIEST_YEAR:
        return (
            f"{name} innehåller inget födelsedatum som finns.",
            f"The {identity.kind} holds no date that exists, or the number is of another kind than its system says.",
        )
    known = (year, month, day) if month else (year,)
    if known > (today.year, today.month, today.day)[: len(known)]:
        return (
            f"{name} har ett födelsedatum i framtiden.",
            f"The date of birth in the {identity.kind} is in the future.",
        )
    return None


def _date_parts(identity: PatientIdentity) -> tuple[int, int, int]:
    """Year, month and day; zero for what a samordningsnummer does not tell."""
    year, month, day = int(identity.value[:4]), int(identity.value[4:6]), int(identity.value[6:8])
    return year, month, day - _COORDINATION if identity.kind is IdentityKind.SAMORDNINGSNUMMER else day


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
