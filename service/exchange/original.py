"""What somebody made or changed on the external server, as it would stand here; the way back of `translate`. Pure.

References to what stands for a resource of ours lead to ours; our key is taken off; every other reference becomes
absolute, because the same `Type/id` here is another resource, and what is absolute is left alone and never fetched.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.translate import local_reference, local_references

_SERVER_META = ("versionId", "lastUpdated", "source")
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Known:
    """What stands for ours over there."""

    canonical: Canonical
    base: str
    """Base URL of the external server."""
    ours: Mapping[str, str]
    """Their `Type/id` to our `Type/id`."""


def to_original(resource: Json, known: Known) -> Json:
    """A resource of the external server as it would stand here, with its own id still."""
    key = known.canonical.resource_key
    original = {name: _led(value, known) for name, value in resource.items() if name != "meta"}
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _SERVER_META}
    tags = [tag for tag in meta.pop("tag", ()) if tag.get("system") != key]
    if tags:
        meta["tag"] = tags
    identifiers = original.get("identifier")
    if isinstance(identifiers, list):
        original["identifier"] = [i for i in identifiers if i.get("system") != key]
        if not original["identifier"]:
            del original["identifier"]
    kept: Json = {"resourceType": original.pop("resourceType")}
    if "id" in original:
        kept["id"] = original.pop("id")
    return {**kept, **({"meta": meta} if meta else {}), **original}


def absolute(reference: str, base: str) -> str:
    """The absolute form of a `Type/id` of the external server."""
    return f"{base}/{reference}"


def their_references(resource: Json, base: str) -> frozenset[Reference]:
    """Every `Type/id` of the external server that a resource of it refers to."""
    return local_references(resource, base)


def our_key(resource: Json, canonical: Canonical) -> str | None:
    """Our `Type/id` that a copy of ours carries; None for what was made over there."""
    key = canonical.resource_key
    identifiers = resource.get("identifier")
    found: list[Any] = [
        *(i.get("value") for i in (identifiers if isinstance(identifiers, list) else ()) if i.get("system") == key),
        *(t.get("code") for t in resource.get("meta", {}).get("tag", ()) if t.get("system") == key),
    ]
    return next((value for value in found if isinstance(value, str) and _RELATIVE.fullmatch(value)), None)


def without_server_elements(resource: Json) -> Json:
    """The resource without what a server sets by itself."""
    return {name: value for name, value in resource.items() if name not in ("id", "meta")}


def _led(element: Any, known: Known) -> Any:
    if isinstance(element, list):
        return [_led(item, known) for item in element]
    if not isinstance(element, dict):
        return element
    out = {name: _led(value, known) for name, value in element.items()}
    if isinstance(element.get("reference"), str):
        return {**out, "reference": _literal(element["reference"], known)}
    identifier = element.get("identifier")
    if isinstance(identifier, dict) and identifier.get("system") == known.canonical.resource_key:
        # what had no copy yet when it was sent: a logical reference by our key
        out = {name: value for name, value in out.items() if name != "identifier"}
        return {"reference": str(identifier.get("value")), **out}
    return out


def _literal(reference: str, known: Known) -> str:
    theirs = local_reference(reference, known.base)
    if theirs is None:
        return reference
    return known.ours.get(theirs) or absolute(theirs, known.base)


def literals(resource: Json, *names: str) -> Iterator[str]:
    """The literal references in these elements, each a Reference or a list of them."""
    for name in names:
        value = resource.get(name)
        for element in value if isinstance(value, list) else [value]:
            if isinstance(element, dict) and isinstance(element.get("reference"), str):
                yield element["reference"]
