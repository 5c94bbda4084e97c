"""Bundles: their entries, the references in them, and the answers made of them. Pure.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/http.html#transaction
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_mappings import strict_json
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.r4 import Definition, Element, definition, is_resource_type
from fhir_mappings.records import Json

_REWRITTEN = frozenset({"uri", "url", "oid", "uuid"})
"""Primitive types whose values a transaction rewrites; `canonical` is never one (http.html#transaction)."""

_MAY_LINK = _REWRITTEN | {"xhtml"}
"""Primitive types that hold links, beside `Reference.reference`."""

_NARRATIVE_LINK = re.compile(r"""(?<=\s)(href|src)(\s*=\s*)("[^"]*"|'[^']*')""")


_URL = re.compile(r"""(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}:[^\s"'\\<>]+""")
"""Anything that could be a fullUrl, in JSON text: found in one pass, however many fullUrls there are to look up."""

_GOES_ON = re.compile(r"[A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a Bundle, as sent. `position` counts from 0; what was not sent is None."""

    position: int
    full_url: str | None
    resource: Json | None
    method: str | None
    url: str | None
    if_none_exist: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None

    @property
    def expression(self) -> str:
        """Where the resource stands: `Bundle.entry[2].resource`."""
        return f"Bundle.entry[{self.position}].resource"


def entries(bundle: Json) -> list[Entry]:
    """The entries of a Bundle in order, one for each position. Members of a wrong type read as None."""
    sent = bundle.get("entry")
    return [_entry(position, item) for position, item in enumerate(sent if isinstance(sent, list) else [])]


def _entry(position: int, sent: object) -> Entry:
    item: Json = sent if isinstance(sent, dict) else {}
    request = item.get("request")
    asked: Json = request if isinstance(request, dict) else {}
    resource = item.get("resource")
    return Entry(
        position=position,
        full_url=_text(item, "fullUrl"),
        resource=resource if isinstance(resource, dict) else None,
        method=_text(asked, "method"),
        url=_text(asked, "url"),
        if_none_exist=_text(asked, "ifNoneExist"),
        if_match=_text(asked, "ifMatch"),
        if_none_match=_text(asked, "ifNoneMatch"),
        if_modified_since=_text(asked, "ifModifiedSince"),
    )


def _text(node: Json, name: str) -> str | None:
    value = node.get(name)
    return value if isinstance(value, str) else None


# ---------------------------------------------------------------- references


def references(resource: Json) -> Iterator[tuple[str, Json]]:
    """Every Reference element in the resource, contained ones and extensions included, in document order.

    Yields (FHIRPath expression, the element itself): `("ServiceRequest.supportingInfo[1]", {"reference": …})`. A
    resource of an unknown type has none.
    """
    kind = resource.get("resourceType")
    if isinstance(kind, str) and is_resource_type(kind):
        yield from _references_below(resource, definition(kind), kind)


def _references_below(node: Json, kind: Definition, path: str) -> Iterator[tuple[str, Json]]:
    for name, value in node.items():
        element = kind.elements.get(name)
        if element is None or element.primitive:
            continue
        for child, place in _children(value, f"{path}.{element.path_name}"):
            if element.type_name == "Reference":
                yield place, child
            below = _kind_of(child, element)
            if below is not None:
                yield from _references_below(child, below, place)


def _children(value: Any, path: str) -> Iterator[tuple[Json, str]]:
    if isinstance(value, dict):
        yield value, path
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict):
                yield item, f"{path}[{position}]"


def _kind_of(node: Json, element: Element) -> Definition | None:
    """The definition of an object: the element's, or its own where the element takes any resource."""
    if element.type_name != "Resource":
        return element.definition
    kind = node.get("resourceType")
    return definition(kind) if isinstance(kind, str) and is_resource_type(kind) else None


def unresolved_references(bundle: Json) -> list[Issue]:
    """An issue for each `urn:uuid:` or `urn:oid:` reference that no entry's fullUrl answers to.

    Such a reference means nothing outside its Bundle (https://hl7.org/fhir/R4/bundle.html#references).
    """
    sent = entries(bundle)
    known = {entry.full_url for entry in sent}
    return [
        error(
            IssueCode.NOT_FOUND,
            path.replace(entry.resource["resourceType"], entry.expression, 1) + ".reference",
            "Hänvisningen pekar på en post som inte finns i meddelandet.",
            "No entry of the Bundle has this fullUrl.",
        )
        for entry in sent
        if entry.resource is not None
        for path, reference in references(entry.resource)
        if _is_urn(reference.get("reference")) and reference["reference"] not in known
    ]


def _is_urn(literal: object) -> bool:
    return isinstance(literal, str) and literal.startswith(("urn:uuid:", "urn:oid:"))


def rewrite_references(resource: Json, mapping: Mapping[str, str], full_url: str | None = None) -> Json:
    """The resource with every link that `mapping` knows replaced: fullUrl -> `Type/id`.

    Links are Reference.reference, elements of type uri, url, oid and uuid, and href and src in the narrative; never
    canonical (https://hl7.org/fhir/R4/http.html#transaction). `full_url` is that of the entry the resource came in: a
    relative reference is then also looked up under the entry's own base (https://hl7.org/fhir/R4/bundle.html#references).
    The order of members is kept; parts without links are shared with the original, which is never changed.
    """
    kind = resource.get("resourceType")
    if not mapping or not isinstance(kind, str) or not is_resource_type(kind):
        return resource
    return _rewritten(resource, definition(kind), _Links(mapping, _base(full_url)))


@dataclass(frozen=True, slots=True)
class _Links:
    mapping: Mapping[str, str]
    base: str | None

    def reference(self, literal: str) -> str:
        found = self.mapping.get(literal)
        if found is None and self.base is not None and ":" not in literal:
            found = self.mapping.get(self.base + literal)
        return literal if found is None else found

    def narrative(self, div: str) -> str:
        def link(match: re.Match[str]) -> str:
            quoted = match[3]
            return f"{match[1]}{match[2]}{quoted[0]}{self.reference(quoted[1:-1])}{quoted[0]}"

        return _NARRATIVE_LINK.sub(link, div)


def _base(full_url: str | None) -> str | None:
    """`http://server/fhir/` of `http://server/fhir/Patient/1`; None for a urn."""
    if full_url is None or not full_url.startswith(("http://", "https://")):
        return None
    parts = full_url.rsplit("/", 2)
    return f"{parts[0]}/" if len(parts) == 3 else None


def _rewritten(node: Json, kind: Definition, links: _Links) -> Json:
    changed: Json | None = None
    for name, value in node.items():
        element = kind.elements.get(name)
        if element is None or (element.primitive and element.type_name not in _MAY_LINK and name != "reference"):
            continue
        new = _rewritten_member(name, value, element, kind, links)
        if new is not value:
            changed = dict(node) if changed is None else changed
            changed[name] = new
    return node if changed is None else changed


def _rewritten_member(name: str, value: Any, element: Element, kind: Definition, links: _Links) -> Any:
    if isinstance(value, list):
        items = [_rewritten_member(name, item, element, kind, links) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        below = None if element.primitive else _kind_of(value, element)
        return value if below is None else _rewritten(value, below, links)
    if not isinstance(value, str):
        return value
    if name == "reference" and kind.name == "Reference":
        return links.reference(value)
    if element.type_name in _REWRITTEN:
        return links.mapping.get(value, value)
    return links.narrative(value) if element.type_name == "xhtml" else value


# ---------------------------------------------------------------- the same content


def fingerprint(resources: Sequence[tuple[str | None, Json]]) -> str:
    """SHA-256, in hex, of what was sent: (fullUrl, resource) in order; equal for a retry of the same referral.

    Left out are each resource's own `id` and `meta`; fullUrls, wherever they stand, count as the position of their
    entry, since a sender may make new ones each time. The order of members does not matter; every digit of a decimal
    does.
    """
    text = strict_json.dump(
        [{name: value for name, value in resource.items() if name not in ("id", "meta")} for _, resource in resources],
        sort_keys=True,
    )
    positions = {url: place for place, (url, _) in enumerate(resources) if url}
    if positions:
        # Longest first, and not within a longer one: `…/Patient/1` is no part of `…/Patient/12`. JSON has no raw NUL.
        lengths = sorted({len(url) for url in positions}, reverse=True)

        def placed(match: re.Match[str]) -> str:
            written = match[0]
            for length in lengths:
                place = positions.get(written[:length]) if length <= len(written) else None
                if place is not None and not _GOES_ON.match(written, length):
                    return f"\0{place}\0{written[length:]}"
            return written

        text = _URL.sub(placed, text)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---------------------------------------------------------------- answers


def searchset(
    base_self: str, entries: Sequence[tuple[str, str, str]], total: int | None = None, next_url: str | None = None
) -> str:
    """The JSON text of a searchset, spliced from resources that are serialised already.

    `base_self` is the self link; `entries` are (fullUrl, JSON text of the resource, `match`, `include` or `outcome`),
    an empty fullUrl for an outcome; `total` is the number of matches on all pages where it is known.
    """
    links = [_link("self", base_self)] + ([_link("next", next_url)] if next_url else [])
    parts = ['{"resourceType":"Bundle","type":"searchset"']
    if total is not None:
        parts.append(f',"total":{total}')
    parts.append(f',"link":[{",".join(links)}]')
    if entries:
        parts.append(f',"entry":[{",".join(_searched(*entry) for entry in entries)}]')
    return "".join((*parts, "}"))


def _link(relation: str, url: str) -> str:
    return f'{{"relation":"{relation}","url":{strict_json.dump_text(url)}}}'


def _searched(full_url: str, body: str, mode: str) -> str:
    named = f'"fullUrl":{strict_json.dump_text(full_url)},' if full_url else ""
    return f'{{{named}"resource":{body},"search":{{"mode":"{mode}"}}}}'


def transaction_response(entries: Sequence[Json]) -> Json:
    """A transaction-response of the given entries, each with its `response`, in the order of the request's."""
    answer: Json = {"resourceType": "Bundle", "type": "transaction-response"}
    return {**answer, "entry": list(entries)} if entries else answer
