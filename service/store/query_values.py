"""The values of a search parameter, read from text. Pure. https://hl7.org/fhir/R4/search.html#ptypes

Each reader gives the value, or the sentence (English, for integrators) that says what is wrong with it.
"""

import re
from decimal import Decimal
from typing import Final

from service.store.asked import DateValue, QuantityValue, TokenValue
from service.store.moments import parse_asked
from service.store.search_kinds import SearchParameter, Shape

PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LITERAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


class Unreadable(str):
    """Why a value is none."""

    __slots__ = ()


def token(name: str, text: str) -> TokenValue | Unreadable:
    """`code`, `system|code`, `|code` or `system|`, still escaped."""
    parts = split(text, "|")
    if len(parts) > 2 or not any(parts):
        return Unreadable(f"'{name}' takes code, system|code, |code or system|.")
    if len(parts) == 1:
        return TokenValue(None, unescape(parts[0]))
    return TokenValue(unescape(parts[0]), unescape(parts[1]))


def reference(
    parameter: SearchParameter, target: str | None, text: str, own_base: str | None
) -> tuple[str, ...] | Unreadable:
    """The `Type/id`s or the URL that `text` (an id, `Type/id` or a URL, perhaps under our own base) may mean."""
    if own_base and text.startswith(own_base):
        text = text[len(own_base) :]
    if parameter.shape is Shape.CANONICAL:
        return (text,)
    if literal := _LITERAL.fullmatch(text):
        type_, id_ = literal.groups()
        if parameter.shares and type_ not in parameter.targets:
            return Unreadable(f"'{parameter.name}' cannot refer to a {type_}.")
        return (f"{type_}/{id_}",)
    if _ID.fullmatch(text):
        return tuple(f"{type_}/{text}" for type_ in ((target,) if target else parameter.targets))
    if "://" in text or text.startswith("urn:"):
        return (text,)
    return Unreadable(f"'{parameter.name}' takes an id, Type/id or an absolute URL.")


def date(name: str, text: str) -> DateValue | Unreadable:
    """A date or dateTime with a prefix or none."""
    prefix, written = _prefixed(text)
    moment = parse_asked(written) if prefix in PREFIXES else None
    if moment is None:
        return Unreadable(f"'{name}' takes a date or dateTime, with one of {', '.join(PREFIXES)}.")
    return DateValue(prefix, moment)


def quantity(name: str, text: str) -> QuantityValue | Unreadable:
    """`[prefix]number`, `[prefix]number|system|code` or `[prefix]number||code`, still escaped."""
    number, *unit = split(text, "|")
    prefix, written = _prefixed(number)
    if prefix not in PREFIXES or not _NUMBER.fullmatch(written) or len(unit) not in (0, 2):
        return Unreadable(f"'{name}' takes a number, with one of {', '.join(PREFIXES)}, and |system|code after it.")
    value = Decimal(written)
    half = Decimal(5).scaleb(int(value.as_tuple().exponent) - 1)
    if not unit:
        return QuantityValue(prefix, value, half)
    system, code = map(unescape, unit)
    # `5.4||mg`: of whatever system.
    return QuantityValue(prefix, value, half, system or None, code)


def is_id(text: str) -> bool:
    """True for what can be a resource's id."""
    return _ID.fullmatch(text) is not None


def split(text: str, mark: str = ",") -> list[str]:
    """The parts between unescaped marks, still escaped."""
    parts, current, escaped = [], "", False
    for character in text:
        if character == mark and not escaped:
            parts.append(current)
            current = ""
        else:
            current += character
        escaped = character == "\\" and not escaped
    return [*parts, current]


def unescape(text: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def _prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
