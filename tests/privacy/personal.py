"""What is personal in the fixtures and in what the tests here send: identifiers, names, telephones, addresses, births,
and whatever somebody has written in words. And where any of it stands in a text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from fhir_mappings.records import Json
from fhir_mappings.terminology import IDENTITY_KINDS
from tests.fixtures.sending import CASES

_NUMBER = re.compile(r"(?:19|20)[0-9]{6}[-+]?[0-9]{4}")
_WORDS = frozenset(
    {"text", "valueString", "div", "contentString", "comment", "other", "parallel_treatment", "description"}
)
"""Elements that somebody has written."""
_OF_A_PERSON = frozenset({"family", "given", "line", "postalCode", "phone", "birthDate"})
_CODED = frozenset({"item", "code", "type", "category", "serviceType", "specialty", "display", "valueCoding", "role"})
"""Whose words are a form's or a code's."""
_ORDINARY = frozenset({"exempel", "svenska", "kurator"})
"""Somebody's name in the fixtures, or all that a text says, and an ordinary word."""
_SHORTEST = 6
"""Of a text that is looked for; a shorter one stands in other words too."""
_ENDS = 20
"""Characters at either end of a long text: a log may cut it."""


def personal_in(content: Any, where: str = "") -> Iterator[str]:
    """Everything personal in a JSON value."""
    if isinstance(content, list):
        for item in content:
            yield from personal_in(item, where)
    elif isinstance(content, dict):
        if "system" in content and content["system"] in IDENTITY_KINDS:
            yield from _ways_to_write(str(content.get("value", "")))
        if where in ("telecom", "name") or content.get("resourceType") == "Patient":
            yield from (
                value for name, value in content.items() if name in ("value", "text") and isinstance(value, str)
            )
        if where == "patient":
            yield from (str(content[name]) for name in ("name", "phone") if content.get(name))
        for name, value in content.items():
            if not (name == "text" and where in _CODED):
                yield from personal_in(value, name)
    elif isinstance(content, str):
        for number in _NUMBER.findall(content):
            yield from _ways_to_write(number)
        if where in _WORDS | _OF_A_PERSON:
            yield content


def of_the_fixtures() -> set[str]:
    """All of it, in every case that is JSON at all."""
    found: set[str] = set()
    for case in CASES:
        try:
            found |= set(personal_in(json.loads(case.body)))
        except ValueError:
            for number in _NUMBER.findall(case.body.decode("utf-8", "replace")):
                found |= set(_ways_to_write(number))
    return found


def standing_in(told: str, personal: set[str]) -> set[str]:
    """Those that stand in a text: as they are, or escaped as URLs, JSON or Python do it."""
    plain = "\n".join((told, unquote_plus(told), _unescaped(told))).casefold()
    return {one for one in personal for part in _parts(one) if part.casefold() in plain}


def _parts(text: str) -> Iterator[str]:
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    if len(words) > 2 * _ENDS:
        yield words[:_ENDS].strip()
        yield words[-_ENDS:].strip()
    elif len(words) >= _SHORTEST and words.casefold() not in _ORDINARY:
        yield words


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("\\n", " ")


def _ways_to_write(number: str) -> Iterator[str]:
    digits = re.sub(r"[-+]", "", number)
    if len(digits) == 12:
        for day in (digits[:8], digits[2:8]):
            yield from (f"{day}{sign}{digits[8:]}" for sign in ("", "-", "+"))


# ---------------------------------------------------------------- one whose every word is known

FAMILY, GIVEN, PHONE, STREET = "Hemlighetsson", "Ypsilonia", "070-1740699", "Kvarnstensgatan 17"
NUMBER = "199002222397"
NOTE = "Zebraljudet hörs om natten, säger grannen."
REPLY = "Slutbesök hölls i biblioteket vid Storgatan."
QUESTION = "Behöver veta mer om pianostudierna i Paris."
SAID = (FAMILY, GIVEN, PHONE, STREET, NOTE, REPLY, QUESTION)


def of_this_person() -> set[str]:
    """What is personal of the one that is sent besides the fixtures."""
    return {*SAID, *_ways_to_write(NUMBER)}


def named(patient: Json) -> Json:
    """A Patient with these names, this telephone and this address."""
    return {
        **patient,
        "name": [{"family": FAMILY, "given": [GIVEN]}],
        "telecom": [{"system": "phone", "value": PHONE}],
        "address": [{"line": [STREET], "city": "Gävle"}],
        "birthDate": "1990-02-22",
    }
