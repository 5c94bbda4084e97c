"""JSON as FHIR wants it read and written: strictly, and with every decimal as it was sent.

https://hl7.org/fhir/R4/json.html: UTF-8, unique property names, decimals that keep their precision. What RFC 8259
leaves to the reader (duplicate names, lone surrogates, NaN) is refused here, because two readers that see two different
referrals in one body are a danger to the patient.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

from fhir_mappings.issues import AND_MORE, MOST_TOLD, Issue, IssueCode, error
from fhir_mappings.records import Json

MAX_DEPTH = 100
"""Levels of objects and arrays. A referral Bundle needs about 12; deep nesting is how JSON readers are brought down."""

MAX_NUMBER_LENGTH = 100
"""Characters of one number. FHIR asks for 18 digits; PostgreSQL and Python's int refuse some thousands."""

MAX_EXPONENT = 308
"""Largest power of ten, either way: what a peer that reads doubles can hold, so `1e999` is nobody's infinity."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ELEMENT_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DOUBTFUL_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class _RefusalError(Exception):
    """Carries an Issue out of a callback of the JSON reader."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.diagnostics)
        self.issue = issue


def parse(body: bytes) -> Json | list[Issue]:
    """The JSON object in `body`, numbers with a fraction or exponent as `Decimal`; else every reason it is refused.

    Never raises, whatever the bytes. A syntax error ends the reading, so it comes alone; duplicate names and forbidden
    characters are told all at once. Issues carry the FHIRPath of the place where that is known.
    """
    top, issues = _parsed(body)
    if issues or isinstance(top, dict):
        return issues or top
    return [_malformed("Meddelandet är inte ett JSON-objekt.", "A JSON object is expected at the top.")]


def parse_array(body: bytes) -> tuple[list[Any], list[Issue]]:
    """As `parse`, for a body that is an array: its items, and every reason why it is refused."""
    top, issues = _parsed(body)
    if issues or isinstance(top, list):
        return (top, issues) if isinstance(top, list) else ([], issues)
    return [], [_malformed("Meddelandet är inte en JSON-lista.", "A JSON array is expected at the top.")]


def _parsed(body: bytes) -> tuple[Any, list[Issue]]:
    try:
        text = _decoded(body)
        duplicates: list[tuple[Json, str]] = []
        top = _read(text, duplicates)
    except _RefusalError as refused:
        return None, [refused.issue]
    if not isinstance(top, dict | list):
        return top, []
    if _is_deeper_than(top, MAX_DEPTH):
        return None, [_too_deep()]
    issues = _duplicates(top, duplicates) if duplicates else []
    # Only an escape can bring in a surrogate or a NUL: raw ones are refused by the decoder and the reader.
    if _DOUBTFUL_ESCAPE.search(text):
        issues += _forbidden_characters(top)
    return top, issues


def dump(resource: Json | list[Json], *, sort_keys: bool = False) -> str:
    """Compact JSON text of a resource, characters unescaped, every `Decimal` with the digits it was read with; members
    as they stand, or in order of their names.

    Raises ValueError for a number that is NaN or infinite: JSON has no such numbers.
    """
    try:
        return (_sorted_without_decimals if sort_keys else _without_decimals).encode(resource)
    except _DecimalFound:
        pass
    return simplejson.dumps(
        resource, use_decimal=True, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys, separators=(",", ":")
    )


class _DecimalFound(Exception):  # noqa: N818 - no error, a fact
    """The standard library's encoder, four times as fast as simplejson's, cannot write a Decimal."""


def _decimal_found(value: object) -> None:
    raise _DecimalFound if isinstance(value, Decimal) else TypeError(f"{type(value).__name__} is not JSON")


_without_decimals = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_decimal_found
)
_sorted_without_decimals = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    sort_keys=True,
    separators=(",", ":"),
    default=_decimal_found,
)


def dump_text(text: str) -> str:
    """One JSON string with its quotation marks, escaped as `dump` does."""
    return simplejson.dumps(text, ensure_ascii=False)


# ---------------------------------------------------------------- reading


def _decoded(body: bytes) -> str:
    if not body.strip():
        raise _RefusalError(_malformed("Meddelandet är tomt.", "The body is empty; a JSON object is expected."))
    if body.startswith(_BYTE_ORDER_MARK):
        raise _RefusalError(
            _malformed(
                "Meddelandet börjar med en byte order mark (BOM).",
                "The body starts with a byte order mark; RFC 8259 section 8.1 forbids it.",
            )
        )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise _RefusalError(
            _malformed("Meddelandet är inte UTF-8.", f"Not UTF-8: the byte at offset {problem.start} is invalid.")
        ) from None


def _read(text: str, duplicates: list[tuple[Json, str]]) -> Any:
    """Any JSON value; objects with a name twice are noted in `duplicates` and keep the last value."""

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        members = dict(pairs)
        if len(members) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen and len(duplicates) <= MOST_TOLD:
                    duplicates.append((members, name))
                seen.add(name)
        return members

    try:
        return json.loads(
            text, object_pairs_hook=unique, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise _RefusalError(
            _malformed(
                f"Meddelandet är inte giltig JSON (rad {problem.lineno}, tecken {problem.colno}).",
                f"Not JSON: {problem.msg} at {where}.",
            )
        ) from None
    except RecursionError:
        raise _RefusalError(_too_deep()) from None


def _integer(literal: str) -> int | Decimal:
    if len(literal) > MAX_NUMBER_LENGTH:
        raise _RefusalError(_number_out_of_range())
    # int("-0") would lose the sign that the sender wrote.
    return Decimal(literal) if literal == "-0" else int(literal)


def _decimal(literal: str) -> Decimal:
    if len(literal) > MAX_NUMBER_LENGTH:
        raise _RefusalError(_number_out_of_range())
    try:
        number = Decimal(literal)
    except InvalidOperation:  # an exponent that decimal itself cannot hold
        raise _RefusalError(_number_out_of_range()) from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or max(abs(number.adjusted()), abs(exponent)) > MAX_EXPONENT:
        raise _RefusalError(_number_out_of_range())
    return number


def _constant(literal: str) -> None:
    raise _RefusalError(
        error(
            IssueCode.VALUE, None, "NaN och Infinity är inte tal i JSON.", f"{literal} is not a JSON number (RFC 8259)."
        )
    )


# ---------------------------------------------------------------- what is refused


def _malformed(text: str, diagnostics: str) -> Issue:
    return error(IssueCode.STRUCTURE, None, text, diagnostics)


def _number_out_of_range() -> Issue:
    return error(
        IssueCode.VALUE,
        None,
        "Ett tal i meddelandet är för stort, för litet eller för långt.",
        f"A number has more than {MAX_NUMBER_LENGTH} characters or a power of ten beyond {MAX_EXPONENT}.",
    )


def _too_deep() -> Issue:
    return error(
        IssueCode.TOO_COSTLY,
        None,
        f"Meddelandet är nästlat i mer än {MAX_DEPTH} nivåer.",
        f"Nested deeper than {MAX_DEPTH} levels.",
    )


def _is_deeper_than(top: Json | list[Any], limit: int) -> bool:
    # Level by level, not by recursion: the check must survive what it is there to find.
    level: list[Any] = [top]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _located(node: Any, path: str | None) -> Iterator[tuple[Any, str | None]]:
    """Every value below and including `node`, with its expression. Depth is bounded before this is called."""
    yield node, path
    if isinstance(node, dict):
        for name, value in node.items():
            # A name that no FHIR element has is not told again: it may hold anything.
            known = path if not _ELEMENT_NAME.fullmatch(name) else name if path is None else f"{path}.{name}"
            yield from _located(value, known)
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _located(value, None if path is None else f"{path}[{position}]")


def _root(top: Json | list[Any]) -> str | None:
    named = top.get("resourceType") if isinstance(top, dict) else None
    return named if isinstance(named, str) and _ELEMENT_NAME.fullmatch(named) else None


def _duplicates(top: Json | list[Any], found: list[tuple[Json, str]]) -> list[Issue]:
    # An object that was itself overwritten by a duplicate is no longer in the tree: then the place stays untold.
    places = {id(node): path for node, path in _located(top, _root(top)) if isinstance(node, dict)}
    issues = []
    for members, name in found[:MOST_TOLD]:
        spoken = name if _ELEMENT_NAME.fullmatch(name) else "?"
        issues.append(
            error(
                IssueCode.STRUCTURE,
                places.get(id(members)),
                f"Egenskapen ”{spoken}” står mer än en gång i samma objekt.",
                f"Duplicate property '{spoken}' in one object (https://hl7.org/fhir/R4/json.html).",
            )
        )
    return [*issues, AND_MORE] if len(found) > MOST_TOLD else issues


def _forbidden_characters(top: Json | list[Any]) -> list[Issue]:
    issues: list[Issue] = []
    for node, path in _located(top, _root(top)):
        if len(issues) > MOST_TOLD:
            return [*issues, AND_MORE]
        texts = [node] if isinstance(node, str) else list(node) if isinstance(node, dict) else []
        if any("\0" in text for text in texts):
            issues.append(error(IssueCode.VALUE, path, "Texten innehåller ett NUL-tecken.", "A string holds U+0000."))
        if any(_SURROGATE.search(text) for text in texts):
            issues.append(
                error(
                    IssueCode.VALUE,
                    path,
                    "Texten innehåller ett halvt teckenpar (surrogat).",
                    "A string holds a lone surrogate, which is no Unicode character.",
                )
            )
    return issues
