"""Reading elements of a resource whose shape cannot be trusted yet.

Every problem of a referral is reported at once, so the mappings also read what the R4 check has refused. An element of
the wrong shape reads as absent here; the R4 check is the one that says so.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from fhir_mappings.records import Json


def text(element: Mapping[str, Any], name: str) -> str | None:
    """The text of a primitive element, as sent; None where it is absent, not a text, or blank."""
    value = element.get(name)
    return value if isinstance(value, str) and value.strip() else None


def child(element: Mapping[str, Any], name: str) -> Json:
    """A single complex element; empty where it is absent."""
    value = element.get(name)
    return value if isinstance(value, dict) else {}


def children(element: Mapping[str, Any], name: str) -> Iterator[tuple[int, Json]]:
    """The members of a repeating complex element, each with its position in the array (for its expression)."""
    value = element.get(name)
    if isinstance(value, list):
        for position, member in enumerate(value):
            if isinstance(member, dict):
                yield position, member


def texts(element: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a repeating primitive element, without the nulls that only carry extensions."""
    value = element.get(name)
    return [member for member in value if isinstance(member, str)] if isinstance(value, list) else []


def codings(element: Mapping[str, Any], name: str) -> list[tuple[str | None, str | None]]:
    """(system, code) of every coding of a CodeableConcept element, in order."""
    return [(text(coding, "system"), text(coding, "code")) for _, coding in children(child(element, name), "coding")]


_LARGEST = 2**31
"""FHIR's integer ends here; and a decimal such as 1e999999999 must not be written out as an int."""


def whole_number(value: object) -> int | None:
    """A JSON number without a fraction as int (`23`, `23.0`); None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return int(value) if -_LARGEST <= value < _LARGEST and int(value) == value else None
    except ArithmeticError:  # a Decimal NaN cannot be compared
        return None
