"""What a resource is found by: the rows of `search_value` and `measured`, and the dates of `resource`, read from its
content. Pure.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhir_mappings.records import Json
from service.store.moments import parse_moment
from service.store.search_parameters import PARAMETERS, Kind, SearchParameter, Shape

MAX_VALUE = 400
"""Characters of a value that are kept as they are. A longer one is kept as its digest: an index row has a limit, and
senders decide how long an identifier is."""

_LITERAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_LARGEST = 1000
"""Digits before and after the point up to which a number is found by its value; PostgreSQL's numeric has an end."""

NO_DATE = ("-infinity", "-infinity")
"""The dates of a resource that lacks the one its type is sorted by."""

_Path = tuple[str, ...]


def _indexed_elements() -> dict[str, tuple[tuple[str, SearchParameter, _Path], ...]]:
    """Type → (row name, parameter, element names on the way), each element once."""
    elements: dict[str, dict[str, tuple[str, SearchParameter, _Path]]] = {}
    for parameter in PARAMETERS:
        if parameter.indexed and parameter.kind is not Kind.QUANTITY:
            path = tuple(parameter.paths[0].split("."))
            elements.setdefault(parameter.type, {})[parameter.indexed] = (parameter.indexed, parameter, path)
    return {type_: tuple(rows.values()) for type_, rows in elements.items()}


_ELEMENTS = _indexed_elements()
_NUMBERS = {p.type: (p.name, p.paths[0]) for p in PARAMETERS if p.indexed and p.kind is Kind.QUANTITY}
_DATES = {p.type: p.paths for p in PARAMETERS if p.main}


def index_values(resource: Json, indexed_as: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """The distinct (row name, value) pairs of a resource, `indexed_as` among them.

    A reference gives `("focus", "ServiceRequest/7")` and, if it has an identifier, `("focus:identifier", …)`; an
    identifier gives its `system|value` and, for searches that name no system, its bare value; a code its `system|code`.
    """
    pairs = dict.fromkeys((name, indexed(value)) for name, value in indexed_as)
    for name, parameter, path in _ELEMENTS.get(resource["resourceType"], ()):
        for element in _at(resource, path):
            if parameter.shape is Shape.IDENTIFIER:
                pairs.update(dict.fromkeys(_identifier_pairs(name, element)))
                continue
            if parameter.shape is Shape.CONCEPT:
                for coding in element.get("coding", ()):
                    if isinstance(coding.get("code"), str):
                        pairs[(name, indexed(f"{coding.get('system', '')}|{coding['code']}"))] = None
                continue
            written = element.get("reference")
            if isinstance(written, str) and (target := _target(written)):
                pairs[(name, indexed(target))] = None
            if identifier := element.get("identifier"):
                pairs.update(dict.fromkeys(_identifier_pairs(f"{name}:identifier", identifier)))
    return list(pairs)


def measured(resource: Json) -> tuple[str, str] | None:
    """(row name, decimal) of the number that a resource is found by; None without one, or beyond all bounds."""
    name, path = _NUMBERS.get(resource["resourceType"], ("", ""))
    quantity = resource.get(path)
    value = quantity.get("value") if isinstance(quantity, dict) else None
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        return None
    number = Decimal(str(value))
    if not number.is_finite() or number.adjusted() > _LARGEST or -int(number.as_tuple().exponent) > _LARGEST:
        return None
    return name, str(number)


def dated(resource: Json) -> tuple[str | None, str | None]:
    """From and until when the date of a resource extends that its type is sorted by, as PostgreSQL reads timestamps;
    `NO_DATE` when it has none, (None, None) for a type that is not sorted so.
    """
    paths = _DATES.get(resource["resourceType"])
    if paths is None:
        return None, None
    for path in paths:
        if path in resource:
            return _extent(resource[path])
    return NO_DATE


def _extent(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return _moment(value) or NO_DATE
    if not isinstance(value, dict):
        return NO_DATE
    start, end = (_moment(value[edge]) if isinstance(value.get(edge), str) else None for edge in ("start", "end"))
    return (start[0] if start else "-infinity", end[1] if end else "infinity")


@lru_cache(maxsize=1024)
def _moment(written: str) -> tuple[str, str] | None:
    # The resources of one referral say the same few dates again and again.
    moment = parse_moment(written)
    if moment is None:
        # The one year whose end is none of Python's.
        return ("9999-12-31T00:00:00Z", "infinity") if written.startswith("9999") else None
    return moment.low.isoformat(), moment.high.isoformat()


def indexed(value: str) -> str:
    """`value` as it stands in an index row."""
    return value if len(value) <= MAX_VALUE else "sha256:" + hashlib.sha256(value.encode()).hexdigest()


def digest(*parts: str) -> str:
    """One key of fixed length for several texts; different texts never give the same."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()


def _identifier_pairs(name: str, identifier: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        return
    yield name, indexed(f"{identifier.get('system', '')}|{identifier['value']}")
    yield f"{name}:value", indexed(identifier["value"])


def _target(written: str) -> str | None:
    """What a literal reference is looked up by: `Type/id` without a version, an absolute URL as it is; None for a
    contained resource or one that is only known within its Bundle.
    """
    if written.startswith(("#", "urn:")):
        return None
    unversioned = written.partition("/_history/")[0]
    return unversioned if "://" in unversioned or _LITERAL.fullmatch(unversioned) else None


def _at(node: Any, path: Sequence[str]) -> Iterator[Json]:
    if isinstance(node, list):
        for item in node:
            yield from _at(item, path)
    elif isinstance(node, dict):
        if not path:
            yield node
        elif path[0] in node:
            yield from _at(node[path[0]], path[1:])
