"""Narrative XHTML: basic formatting, nothing that runs, fetches a form or hides another page.

https://hl7.org/fhir/R4/narrative.html, invariants txt-1 and txt-2.
"""

import re
from urllib.parse import urlsplit
from xml.etree import ElementTree

_MAX_LENGTH = 1024 * 1024
_XHTML = "{http://www.w3.org/1999/xhtml}"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTS = _names(
    """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img li
    ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
    """
)

_ATTRIBUTES = _names(
    """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset
    cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap rel rev
    rowspan rules scope shape span src start style summary tabindex title type usemap valign value vspace width
    """
)

_LINKS = frozenset({"href", "src", "cite", "longdesc"})
_SCHEMES = frozenset({"", "http", "https", "mailto", "tel", "urn"})
_PICTURES = re.compile(r"data:image/(png|jpeg|gif|webp)[;,]", re.IGNORECASE)
# A backslash or a comment could hide any of them.
_ACTIVE_STYLE = re.compile(r"\\|/\*|image-set|expression\s*\(|javascript:|url\s*\(|@import|behavior\s*:", re.IGNORECASE)
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def is_narrative(value: object) -> bool:
    """True for the text of a `<div>` that R4 allows as narrative; never raises."""
    if not isinstance(value, str) or len(value) > _MAX_LENGTH:
        return False
    # Declarations and processing instructions have no place in a div, and entities could be made to explode.
    if "<!DOCTYPE" in value or "<!ENTITY" in value or "<?" in value:
        return False
    try:
        div = ElementTree.fromstring(value)  # noqa: S314 - what defusedxml guards against is refused above
    except (ElementTree.ParseError, ValueError):
        return False
    nodes = list(div.iter())
    return div.tag == f"{_XHTML}div" and all(map(_is_allowed, nodes)) and any(map(_has_content, nodes))


def _is_allowed(node: ElementTree.Element) -> bool:
    return (
        node.tag.startswith(_XHTML)
        and node.tag.removeprefix(_XHTML) in _ELEMENTS
        and all(_is_harmless(name, value) for name, value in node.attrib.items())
    )


def _has_content(node: ElementTree.Element) -> bool:
    return node.tag == f"{_XHTML}img" or bool((node.text or "").strip()) or bool((node.tail or "").strip())


def _is_harmless(name: str, value: str) -> bool:
    if name == _XML_LANG:
        return True
    if name not in _ATTRIBUTES:
        return False
    if name == "style":
        return _ACTIVE_STYLE.search(value) is None
    return name not in _LINKS or _is_link(value)


def _is_link(value: str) -> bool:
    # Browsers skip control characters and whitespace inside a scheme: `java\tscript:` runs.
    bare = re.sub(r"[\x00-\x20]", "", value)
    if _PICTURES.match(bare):
        return True
    try:
        return urlsplit(bare).scheme.lower() in _SCHEMES
    except ValueError:
        return False
