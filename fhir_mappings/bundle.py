"""Bundles: their entries, the references in them, and the answers made of them. Pure.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fhir_mappings.records import Json


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a Bundle, as sent."""

    position: int
    full_url: str | None
    resource: Json | None
    method: str | None
    url: str | None
    if_none_exist: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


def entries(bundle: Json) -> list[Entry]: ...
def rewrite_references(resource: Json, mapping: Mapping[str, str], full_url: str | None = None) -> Json: ...
def references(resource: Json) -> Iterator[tuple[str, Json]]: ...
def fingerprint(resources: Sequence[tuple[str | None, Json]]) -> str: ...
def searchset(base_self: str, entries: Sequence[tuple[str, str, str]], total: int | None, next_url: str | None) -> str: ...
def transaction_response(entries: Sequence[Json]) -> Json: ...
