"""FHIR's primitive types: what a JSON value of each must look like (https://hl7.org/fhir/R4/datatypes.html#primitive).

Every pattern here is linear in the length of the text, and always matched against the whole of it.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite

from fhir_mappings.r4.narrative import is_narrative

_MAX_STRING = 1024 * 1024

_YEAR = r"([1-9][0-9]{3}|0[0-9]{2}[1-9]|0[0-9][1-9]0|0[1-9]00)"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATE = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?")
_DATE_TIME = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])(T{_CLOCK}{_ZONE})?)?)?")
_INSTANT = re.compile(rf"{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T{_CLOCK}{_ZONE}")
_TIME = re.compile(_CLOCK)
_CODE = re.compile(r"\S+(\s\S+)*")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_URI = re.compile(r"\S+")
_OID = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+")
_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# A date without an offset is somewhere between UTC+14 and UTC-12.
_EAST, _WEST = timedelta(hours=14), timedelta(hours=12)


def _string(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_STRING


def _matching(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    def matches(value: object) -> bool:
        return isinstance(value, str) and len(value) <= _MAX_STRING and pattern.fullmatch(value) is not None

    return matches


def _dated(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    def matches(value: object) -> bool:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            return False
        return len(value) < 10 or _is_day(value[:10])

    return matches


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _boolean(value: object) -> bool:
    return value is True or value is False


def _integer_from(least: int) -> Callable[[object], bool]:
    def matches(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 2147483647

    return matches


def _decimal(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and isfinite(value))


def _base64(value: object) -> bool:
    # Not FHIR's pattern: it backtracks without end on hostile text. Whitespace is allowed between the characters.
    if not isinstance(value, str) or not value:
        return False
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


CHECKS: dict[str, Callable[[object], bool]] = {
    "base64Binary": _base64,
    "boolean": _boolean,
    "canonical": _matching(_URI),
    "code": _matching(_CODE),
    "date": _dated(_DATE),
    "dateTime": _dated(_DATE_TIME),
    "decimal": _decimal,
    "id": _matching(_ID),
    "instant": _dated(_INSTANT),
    "integer": _integer_from(-2147483648),
    "markdown": _string,
    "oid": _matching(_OID),
    "positiveInt": _integer_from(1),
    "string": _string,
    "time": _matching(_TIME),
    "unsignedInt": _integer_from(0),
    "uri": _matching(_URI),
    "url": _matching(_URI),
    "uuid": _matching(_UUID),
    "xhtml": is_narrative,
}
"""By type name: is this JSON value one of it?"""

EXPECTED: dict[str, str] = {
    "base64Binary": "base64 text",
    "boolean": "true or false",
    "canonical": "a canonical URL without whitespace",
    "code": "a code: text without leading, trailing or double whitespace",
    "date": "a date YYYY, YYYY-MM or YYYY-MM-DD that exists",
    "dateTime": "a dateTime YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with offset, that exists",
    "decimal": "a number",
    "id": "an id of 1 to 64 letters A-Z a-z, digits, '-' and '.'",
    "instant": "an instant YYYY-MM-DDThh:mm:ss with offset, that exists",
    "integer": "a whole number of 32 bits, written without fraction or exponent",
    "markdown": "a non-empty string of at most 1 MiB",
    "oid": "an OID, urn:oid:1.2.3",
    "positiveInt": "a whole number from 1 to 2147483647",
    "string": "a non-empty string of at most 1 MiB",
    "time": "a time hh:mm:ss without offset",
    "unsignedInt": "a whole number from 0 to 2147483647",
    "uri": "a URI without whitespace",
    "url": "a URL without whitespace",
    "uuid": "a lower-case UUID, urn:uuid:...",
    "xhtml": "a <div> in the XHTML namespace with basic formatting only and some content (txt-1, txt-2)",
}
"""By type name: what was expected, for diagnostics."""


def certainly_before(one: object, other: object) -> bool:
    """True when the whole of `one` lies before the whole of `other`, both FHIR date, dateTime or instant.

    Partial dates are intervals, and a date without offset may be in any zone: what cannot be told is not before. False
    for anything that is no date.
    """
    if not (_is_date_time(one) and _is_date_time(other)):
        return False
    first, second = str(one), str(other)
    if len(first) <= 10 and len(second) <= 10:
        # Two plain dates are the same calendar: compare what both of them say.
        shared = min(len(first), len(second))
        return first[:shared] < second[:shared]
    return _interval(first)[1] < _interval(second)[0]


def _is_date_time(value: object) -> bool:
    return CHECKS["dateTime"](value)


def _interval(text: str) -> tuple[datetime, datetime]:
    if len(text) > 10:
        # Python knows no second 60; the leap second is taken as the one before it.
        instant = datetime.fromisoformat(re.sub(r":60(?=[.Z+-])", ":59", text, count=1))
        return instant, instant
    year, month, day = int(text[:4]), int(text[5:7] or 1), int(text[8:10] or 1)
    try:
        start = datetime(year, month, day, tzinfo=UTC)
        if len(text) == 10:
            end = start + timedelta(days=1)
        elif len(text) == 7:
            end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        else:
            end = datetime(year + 1, 1, 1, tzinfo=UTC)
        return start - _EAST, end + _WEST
    except (ValueError, OverflowError):  # years 1 and 9999 have no neighbour in Python
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
