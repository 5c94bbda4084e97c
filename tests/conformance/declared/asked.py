"""What is asked by a search parameter, made from what is stored: values that some have and others have not, each prefix
and each modifier that R4 knows for its kind. https://hl7.org/fhir/R4/search.html#ptypes
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from fhir_mappings.records import Json
from tests.store.made_up import CODES

Asked = tuple[str, str]
"""(modifier or '', value)"""

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

MODIFIERS = {
    "token": {"not", "missing"},
    "reference": {"identifier", "missing"},
    "date": {"missing"},
    "string": {"exact", "contains", "missing"},
    "uri": {"missing"},
    "quantity": {"missing"},
}
"""Those that work; a reference has those of its types besides."""

OF_R4 = {"missing", "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier"}
"""https://hl7.org/fhir/R4/search.html#modifiers, without the types"""


def asked_of(kind: str, found: Sequence[Any], targets: Sequence[str], base: str) -> Iterator[Asked]:
    """Queries by a parameter of this kind; `found` is what it finds in all that is stored, each once."""
    yield from (("missing", "true"), ("missing", "false"))
    yield from _BY_KIND[kind](_varied(found), targets, base)


def _varied(found: Sequence[Any]) -> list[Any]:
    """Four at most, each of another make."""
    by_make: dict[str, Any] = {}
    for element in found:
        make = ",".join(sorted(element)) if isinstance(element, dict) else type(element).__name__
        by_make.setdefault(make, element)
    return [*by_make.values(), *found[:: max(1, len(found) // 3)]][:4]


def _escaped(text: str) -> str:
    return re.sub(r"([,|$\\])", r"\\\1", text)


def _tokens(found: Sequence[Any], _targets: Sequence[str], _base: str) -> Iterator[Asked]:
    yield from (("", "none-has-this"), ("not", "none-has-this"))
    codes: list[str] = []
    for element in found:
        if isinstance(element, bool | str):
            codes.append(str(element).lower() if isinstance(element, bool) else _escaped(element))
            continue
        for each in element.get("coding", [element])[:2]:
            code = each.get("code", each.get("value"))
            if code is None:
                continue
            codes.append(_escaped(code))
            if "system" not in each:
                yield "", f"|{_escaped(code)}"
            elif ":" in each["system"]:  # that of a telephone is none to search by
                yield "", f"{_escaped(each['system'])}|{_escaped(code)}"
                yield "", f"{_escaped(each['system'])}|"
                yield "", f"https://other.example|{_escaped(code)}"
                yield "not", f"{_escaped(each['system'])}|{_escaped(code)}"
    codes = list(dict.fromkeys(codes))[:3]
    yield from ((modifier, code) for code in codes for modifier in ("", "not"))
    if len(codes) > 1:
        yield "", ",".join(codes)


def _references(found: Sequence[Any], targets: Sequence[str], base: str) -> Iterator[Asked]:
    yield "", "none-has-this" if not found or isinstance(found[0], dict) else "https://none.example/x"
    for element in found:
        if isinstance(element, str):
            yield "", element
            yield "", element.split("|")[0]
            continue
        identifier = element.get("identifier", {})
        if "value" in identifier:
            yield "identifier", _escaped(identifier["value"])
            yield "identifier", f"{_escaped(identifier.get('system', ''))}|{_escaped(identifier['value'])}"
        literal = element.get("reference", "").split("/_history/")[0]
        if "://" in literal:
            yield "", literal
        elif literal and not literal.startswith("#"):
            type_, id_ = literal.split("/")
            yield "", literal
            yield "", id_
            yield type_, id_
            yield "", f"{base}/{literal}"
            yield "", f"{literal},{targets[0] if targets else type_}/{CODES[0]}"


def _dates(found: Sequence[Any], _targets: Sequence[str], _base: str) -> Iterator[Asked]:
    written = [w for e in found for w in (e.values() if isinstance(e, dict) else (e,)) if isinstance(w, str)]
    values = dict.fromkeys([*written[:2], *(w[:10] for w in written[:2]), *(w[:7] for w in written[:1]), "2026"])
    for turn, value in enumerate(values):
        yield from (("", prefix + value) for prefix in (("", *PREFIXES) if turn % 3 == 0 else ("", "gt", "le")))
    yield "", "lt1980,gt2200"


def _strings(found: Sequence[Any], _targets: Sequence[str], _base: str) -> Iterator[Asked]:
    texts: list[str] = []
    for element in found:
        parts = [element] if isinstance(element, str) else [p for v in element.values() for p in _listed(v)]
        texts += [part for part in parts if isinstance(part, str)][:2]
    for text in [*[*dict.fromkeys(texts)][:2], "none has this"]:
        yield from ((modifier, _escaped(text)) for modifier in ("", "exact", "contains"))
        yield from (("", _escaped(text[:4].upper())), ("exact", _escaped(text[:4])))
        yield "contains", _escaped(text[2:6] or text)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _uris(found: Sequence[Any], _targets: Sequence[str], _base: str) -> Iterator[Asked]:
    yield "", "https://none.example/has-this"
    yield from (("", _escaped(url)) for url in found)
    if len(found) > 1:
        yield "", ",".join(_escaped(url) for url in found[:2])


def _quantities(found: Sequence[Json], _targets: Sequence[str], _base: str) -> Iterator[Asked]:
    for element in found[:3]:
        value = element["value"]
        units = [""]
        if "system" in element:
            units += [f"|{element['system']}|{element['code']}", f"||{element['code']}", "|https://other.example|x"]
        elif "unit" in element:
            units.append(f"||{element['unit']}")
        yield from (("", f"{prefix}{value}{unit}") for prefix in ("", *PREFIXES) for unit in units[:2])
        yield from (("", f"{value}{unit}") for unit in units[2:])
    yield "", "-999"


_BY_KIND = {
    "token": _tokens,
    "reference": _references,
    "date": _dates,
    "string": _strings,
    "uri": _uris,
    "quantity": _quantities,
}
