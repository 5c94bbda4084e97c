"""Search in plain Python: what R4's own definitions say of a resource, evaluated with FHIRPath, compared as
https://hl7.org/fhir/R4/search.html says. Knows nothing of Sluss's table, nor of SQL.

`r4_search_parameters.json` is cut from R4's search-parameters.json (CC0): per type and name the kind, the expression
for that type ('' where R4 gives none or a composite), and the types that a reference may point at (left out where that
is any). It has every parameter of the types that are kept, those that Sluss does not know too.
"""

import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fhirpathpy import compile as compile_fhirpath
from fhirpathpy.models import models

from fhir_mappings.records import Json

DEFINED: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "r4_search_parameters.json").read_text(encoding="utf-8")
)

_AS = re.compile(r"\(([\w.]+) as (\w+)\)")
_OF_TYPE = re.compile(r"\.where\(resolve\(\) is (\w+)\)")
_COMMA = re.compile(r"(?<!\\),")
_ESCAPED = re.compile(r"\\([,$|\\])")
_OTHER_NAME = "extension of it"
_SWEDISH = ZoneInfo("Europe/Stockholm")
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Span = tuple[datetime, datetime]


@cache
def _compiled(expression: str) -> Any:
    # R4 writes `as` also of several values, which FHIRPath has come to refuse.
    return compile_fhirpath(_AS.sub(r"\1.ofType(\2)", expression), models["r4"])


def elements(resource: Json, name: str) -> list[Any]:
    """What R4's expression for a parameter finds in a resource."""
    return found_by(DEFINED[resource["resourceType"]][name][1], resource)


def found_by(expression: str, resource: Json) -> list[Any]:
    """What a parameter's expression finds in a resource."""
    found: list[Any] = []
    for part in expression.split(" | "):
        wanted = _OF_TYPE.search(part)
        each = _compiled(_OF_TYPE.sub("", part))(_seen_whole(resource), {})
        found += [e for e in each if wanted is None or _is_of(e, wanted[1])]
    return found


def _seen_whole(node: Any) -> Any:
    """With extensions by another name: fhirpathpy leaves out of what it finds whatever has nothing else."""
    if isinstance(node, dict):
        return {_OTHER_NAME if name == "extension" else name: _seen_whole(value) for name, value in node.items()}
    return [_seen_whole(item) for item in node] if isinstance(node, list) else node


def _is_of(reference: Json, type_: str) -> bool:
    """As far as can be told without looking: who is only named by an identifier may be any."""
    if "reference" in reference:
        return f"/{type_}/" in "/" + reference["reference"]
    return bool(reference.get("type", type_) == type_)


def holds(resource: Json, name: str, modifier: str, text: str) -> bool:
    """Whether a resource matches `name:modifier=text`."""
    return satisfied(elements(resource, name), DEFINED[resource["resourceType"]][name], modifier, text)


def satisfied(found: list[Any], defined: list[str], modifier: str, text: str) -> bool:
    """The same of what the parameter's expression has found; `defined` is its line in `DEFINED`."""
    kind, _, *targets = defined
    if modifier == "missing":
        return (not found) is (text == "true")
    parts = [_ESCAPED.sub(r"\1", part) for part in _COMMA.split(text)]
    any_of = any(_ONE[kind](element, modifier, part, targets) for element in found for part in parts)
    return not any_of if modifier == "not" else any_of


def _token(element: Any, modifier: str, text: str, _: list[str]) -> bool:
    if isinstance(element, dict) and modifier == "identifier":
        element = element.get("identifier", {})
    system, mark, code = text.rpartition("|")
    if isinstance(element, bool | str):
        # A bare code: which system it is of is a matter of the definition, so none is named in these queries.
        assert not mark
        return str(element).lower() == code if isinstance(element, bool) else element == code
    for each in element.get("coding", [element]):
        # Of a Coding, an Identifier or a ContactPoint; the system of the last is none to search by.
        value = each.get("code", each.get("value"))
        right_system = not mark or (each.get("system") == system if system else "system" not in each)
        if right_system and (value == code if code else True):
            return True
    return False


def _reference(element: Any, modifier: str, text: str, targets: list[str]) -> bool:
    if modifier == "identifier":
        return _token(element, modifier, text, targets)
    if isinstance(element, str):
        return text in (element, element.split("|")[0])
    written = element.get("reference", "").split("/_history/")[0]
    if "/" in text:
        return bool(written == text)
    if modifier:
        return bool(written == f"{modifier}/{text}")
    return bool("://" not in written and not written.startswith("#") and written.split("/")[-1] == text)


def _string(element: Any, modifier: str, text: str, _: list[str]) -> bool:
    parts = [element] if isinstance(element, str) else list(_texts(element))
    if modifier == "exact":
        return text in parts
    folded = [_fold(part) for part in parts]
    if modifier == "contains":
        return any(_fold(text) in part for part in folded)
    return any(part.startswith(_fold(text)) for part in folded)


def _texts(element: Json) -> Any:
    """The texts of a HumanName or an Address; its codes and times are none."""
    for name, value in element.items():
        if name not in ("use", "type", "period", "id", _OTHER_NAME):
            yield from value if isinstance(value, list) else [value]


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def _uri(element: Any, _modifier: str, text: str, _: list[str]) -> bool:
    return bool(element == text)


def _prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)


def _date(element: Any, _modifier: str, text: str, _: list[str]) -> bool:
    prefix, written = _prefixed(text)
    (start, end), (low, high) = span(element), span(written)
    contained = low <= start and end <= high
    day = timedelta(days=1)
    return {
        "eq": contained,
        "ne": not contained,
        "gt": end > high,
        "lt": start < low,
        "ge": end > high or contained,
        "le": start < low or contained,
        "sa": start >= high,
        "eb": end <= low,
        "ap": start < high + day and end > low - day,
    }[prefix]


def span(value: Any) -> Span:
    """The half-open time that a date, dateTime, instant or Period covers."""
    if isinstance(value, dict):
        return (
            span(value["start"])[0] if "start" in value else _BEGINNING,
            span(value["end"])[1] if "end" in value else _END,
        )
    if "T" in value:
        low = datetime.fromisoformat(value)
        low = low if low.tzinfo else low.replace(tzinfo=_SWEDISH)
        fraction = re.search(r"\.(\d+)", value)
        return low, low + timedelta(seconds=10 ** -len(fraction[1]) if fraction else 1)
    year, month, day = (*map(int, value.split("-")), 0, 0)[:3]
    low = datetime(year, month or 1, day or 1, tzinfo=_SWEDISH)
    if day:
        high = low + timedelta(days=1)
    else:
        high = low.replace(year=year + (month in (0, 12)), month=month % 12 + 1 if month else 1)
    # Compared as instants, not by the wall clock.
    return low.astimezone(UTC), high.astimezone(UTC)


def _quantity(element: Any, _modifier: str, text: str, _: list[str]) -> bool:
    number, *unit = text.split("|")
    prefix, written = _prefixed(number)
    value, asked = Decimal(str(element["value"])), Decimal(written)
    half = Decimal(10) ** int(asked.as_tuple().exponent) / 2
    if unit and unit[0] and element.get("system") != unit[0]:
        return False
    if unit and unit[0] and element.get("code") != unit[1]:
        return False
    if unit and not unit[0] and unit[1] not in (element.get("code"), element.get("unit")):
        return False
    within = asked - half <= value < asked + half
    return {
        "eq": within,
        "ne": not within,
        "gt": value > asked,
        "sa": value > asked,
        "lt": value < asked,
        "eb": value < asked,
        "ge": value >= asked,
        "le": value <= asked,
        "ap": abs(value - asked) <= abs(asked) / 10,
    }[prefix]


_ONE = {
    "token": _token,
    "reference": _reference,
    "string": _string,
    "uri": _uri,
    "date": _date,
    "quantity": _quantity,
}
