"""What holds between a resource and what it refers to: contained resources, entries of its Bundle, allowed types.

https://hl7.org/fhir/R4/references.html, invariants ref-1 and dom-2 to dom-5 of https://hl7.org/fhir/R4/domainresource.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_mappings.issues import IssueCode
from fhir_mappings.r4.bindings import RESOURCE_TYPES
from fhir_mappings.r4.problems import Place, Problems, suggestion
from fhir_mappings.records import Json

_LITERAL = re.compile(r"([A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?")


@dataclass(frozen=True, slots=True)
class Link:
    """A Reference that the walk has met."""

    node: Json
    place: Place
    targets: frozenset[str] | None
    """The types that the element may point at; None for any."""
    contained: dict[str, str]
    """id -> type of what the resource around it contains."""
    full_urls: dict[str, str]
    """fullUrl -> type of the Bundle around it."""


def contained_types(resource: Json) -> dict[str, str]:
    """The contained resources that have both: id -> type."""
    return dict(_typed(resource.get("contained"), "id"))


def full_urls(bundle: Json) -> dict[str, str]:
    """A Bundle's entries that have both: fullUrl -> resource type."""
    entries = bundle.get("entry")
    found: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("fullUrl"), str):
            found.update((entry["fullUrl"], kind) for _, kind in _typed([entry.get("resource")], "resourceType"))
    return found


def _typed(resources: Any, key: str) -> Iterator[tuple[str, str]]:
    for item in resources if isinstance(resources, list) else ():
        if isinstance(item, dict) and isinstance(item.get(key), str) and isinstance(item.get("resourceType"), str):
            yield item[key], item["resourceType"]


def check_link(link: Link, problems: Problems) -> None:
    """ref-1, a type that exists, a type that the element allows, and `Reference.type` in agreement with both."""
    literal, place = link.node.get("reference"), link.place
    kind: str | None = None
    if isinstance(literal, str):
        if literal.startswith("#"):
            kind = link.contained.get(literal[1:])
            if kind is None and literal != "#":
                text = "Hänvisningen pekar på en innesluten resurs som inte finns."
                problems.broken((place, "reference", -1), text, "ref-1: no contained resource has this id.")
        else:
            kind = link.full_urls.get(literal) or _type_of(literal)
    if kind is not None and kind not in RESOURCE_TYPES:
        told = f"No such resource type in R4.{suggestion(kind, RESOURCE_TYPES)}"
        problems.tell(
            IssueCode.VALUE, (place, "reference", -1), "Hänvisningen pekar på en resurstyp som inte finns.", told
        )
        return
    said = link.node.get("type")
    if isinstance(said, str) and said in RESOURCE_TYPES:
        if kind is not None and kind != said:
            text = "Hänvisningens typ stämmer inte med det den pekar på."
            problems.tell(IssueCode.VALUE, (place, "type", -1), text, f"type says {said}, the reference {kind}.")
        kind = kind or said
    if kind is not None and link.targets is not None and kind not in link.targets:
        told = f"A reference to {kind} is not allowed here, only to {', '.join(sorted(link.targets))}."
        problems.tell(IssueCode.VALUE, place, f"Hänvisningen får inte peka på {kind}.", told)


def _type_of(literal: str) -> str | None:
    """The type in `Type/id`, `Type/id/_history/v`, `Type?search` or an absolute URL that ends so; else None."""
    if not literal.startswith(("http://", "https://")):
        kind, conditional, _ = literal.partition("?")
        match = _LITERAL.fullmatch(literal)
        return kind if conditional else match[1] if match else None
    # A foreign URL may end in anything: only a type of R4 counts as one.
    steps = literal.partition("/_history/")[0].split("/")
    return steps[-2] if len(steps) > len(["https:", "", "host", "Type"]) and steps[-2] in RESOURCE_TYPES else None


# ---------------------------------------------------------------- contained resources


def check_contained(node: Json, place: Place, problems: Problems) -> None:
    """What a resource may not have because it stands in another: dom-2, dom-4, dom-5, and an id to be found by."""
    if "contained" in node:
        problems.broken(place, "En innesluten resurs får inte innesluta andra.", "dom-2: contained within contained.")
    if "id" not in node:
        text = "En innesluten resurs måste ha ett id."
        problems.tell(IssueCode.REQUIRED, (place, "id", -1), text, "A contained resource needs an id (dom-3).")
    meta = node.get("meta")
    if isinstance(meta, dict) and ("versionId" in meta or "lastUpdated" in meta):
        text = "En innesluten resurs har ingen egen version."
        problems.broken((place, "meta", -1), text, "dom-4: no versionId or lastUpdated when contained.")
    if isinstance(meta, dict) and "security" in meta:
        text = "En innesluten resurs har ingen egen säkerhetsmärkning."
        problems.broken((place, "meta", -1), text, "dom-5: no security label when contained.")


def check_container(node: Json, place: Place, problems: Problems) -> None:
    """dom-3: every contained resource is referred to by the resource, or refers to it; and their ids differ."""
    contained = node.get("contained")
    if not isinstance(contained, list):
        return
    used = {text[1:] for text in _texts(node) if text.startswith("#")}
    ids: set[str] = set()
    for position, item in enumerate(contained):
        own = item.get("id") if isinstance(item, dict) else None
        if not isinstance(own, str):
            continue
        at: Place = (place, "contained", position)
        if own in ids:
            problems.broken(at, "Två inneslutna resurser har samma id.", "Contained ids must differ.")
        ids.add(own)
        if own not in used and "#" not in _texts(item):
            text = "Den inneslutna resursen hör inte till något."
            problems.broken(at, text, "dom-3: nothing refers to this contained resource.")


def _texts(node: object) -> Iterator[str]:
    """Every string below `node`: Reference.reference, uri and canonical may all be local. No recursion: any depth."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            yield item
