"""What a resource is found by: the rows of `search_value`, read from its content. Pure."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from fhir_mappings.records import Json
from service.store.search_parameters import PARAMETERS, Kind

MAX_VALUE = 400
"""Characters of a value that are kept as they are. A longer one is kept as its digest: an index row has a limit, and
senders decide how long an identifier is."""

_LITERAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


def _indexed_elements() -> dict[str, tuple[tuple[str, Kind, tuple[str, ...]], ...]]:
    """Type → (row name, kind, element names on the way), each element once."""
    elements: dict[str, dict[str, tuple[str, Kind, tuple[str, ...]]]] = {}
    for parameter in PARAMETERS:
        if parameter.indexed:
            path = tuple(parameter.paths[0].split("."))
            elements.setdefault(parameter.type, {})[parameter.indexed] = (parameter.indexed, parameter.kind, path)
    return {type_: tuple(rows.values()) for type_, rows in elements.items()}


_ELEMENTS = _indexed_elements()


def index_values(resource: Json, indexed_as: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """The distinct (row name, value) pairs of a resource, `indexed_as` among them.

    A reference gives `("focus", "ServiceRequest/7")` and, if it has an identifier, `("focus:identifier", …)`; an
    identifier gives its `system|value` and, for searches that name no system, its bare value.
    """
    pairs = dict.fromkeys((name, indexed(value)) for name, value in indexed_as)
    for name, kind, path in _ELEMENTS.get(resource["resourceType"], ()):
        for element in _at(resource, path):
            if kind is Kind.TOKEN:
                pairs.update(dict.fromkeys(_identifier_pairs(name, element)))
                continue
            written = element.get("reference")
            if isinstance(written, str) and (target := _target(written)):
                pairs[(name, indexed(target))] = None
            if identifier := element.get("identifier"):
                pairs.update(dict.fromkeys(_identifier_pairs(f"{name}:identifier", identifier)))
    return list(pairs)


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
