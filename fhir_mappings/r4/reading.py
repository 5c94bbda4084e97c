"""Looking at JSON whose members may be of any type: invariants run on whatever was sent, and never raise."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir_mappings.records import Json

Broken = tuple[str, str, str, str]
"""A broken invariant: where (`.lastModified`, or nothing), its key, Swedish text, English diagnostics."""

Breaches = Iterator[Broken]


def objects(node: Json, name: str) -> list[tuple[int, Json]]:
    """The objects in a list member, with their positions."""
    value = node.get(name)
    return [(i, item) for i, item in enumerate(value) if isinstance(item, dict)] if isinstance(value, list) else []


def member(node: Json, name: str) -> Json:
    """The object under `name`, or an empty one."""
    value = node.get(name)
    return value if isinstance(value, dict) else {}


def has(node: Json, name: str) -> bool:
    """True when the element is there, be it only as extensions of an absent value."""
    return name in node or f"_{name}" in node


def has_choice(node: Json, name: str) -> bool:
    """True when any type of the choice `name[x]` is there."""
    end = len(name)
    plain = (key.removeprefix("_") for key in node)
    return any(key.startswith(name) and key[end : end + 1].isupper() for key in plain)


def codings(concept: Any) -> set[tuple[str, str]]:
    """The (system, code) pairs of a CodeableConcept that have both."""
    if not isinstance(concept, dict):
        return set()
    pairs = [(coding.get("system"), coding.get("code")) for _, coding in objects(concept, "coding")]
    return {(system, code) for system, code in pairs if isinstance(system, str) and isinstance(code, str)}


def number(value: Any) -> Decimal | int | float | None:
    """The number, or None for anything else; also for a Decimal NaN, which raises when it is compared."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
