"""Search in the stand-in: tokens, references and `_lastUpdated`, as https://hl7.org/fhir/R4/search.html has them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from fhir_mappings.records import Json


class Refused(Exception):  # noqa: N818 - told to the client as an OperationOutcome
    """A request that the stand-in does not carry out: HTTP status, issue code and English diagnostics."""

    def __init__(self, status: int, code: str, diagnostics: str) -> None:
        super().__init__(diagnostics)
        self.status, self.code, self.diagnostics = status, code, diagnostics


def matching(resources: Sequence[Json], parameters: Sequence[tuple[str, str]]) -> list[Json]:
    """Those that fulfil all parameters, in the asked order; Refused 400 on an unknown parameter."""
    found = resources
    for name, value in parameters:
        if name == "_sort":
            if value.lstrip("-") != "_lastUpdated":
                raise Refused(400, "not-supported", "Only _lastUpdated can be sorted by")
            found = sorted(found, key=lambda one: str(one["meta"]["lastUpdated"]), reverse=value.startswith("-"))
        elif name == "_lastUpdated":
            found = [one for one in found if _is_dated(one, value)]
        elif name == "questionnaire":
            wanted = set(_split(value, ","))
            found = [one for one in found if {one.get(name), str(one.get(name)).partition("|")[0]} & wanted]
        elif name in _TOKENS or name in _REFERENCES:
            found = [one for one in found if any(_fits(one, name, choice) for choice in _split(value, ","))]
        elif name != "_count":
            raise Refused(400, "not-supported", f"Unknown search parameter {name}")
    return list(found)


_TOKENS: Mapping[str, Callable[[Json], list[tuple[str, str]]]] = {
    "_id": lambda one: [("", one["id"])],
    "_tag": lambda one: [_coding(tag) for tag in one["meta"].get("tag", ())],
    "identifier": lambda one: [(i.get("system", ""), i.get("value", "")) for i in _as_list(one.get("identifier"))],
    "code": lambda one: [_coding(c) for concept in _as_list(one.get("code")) for c in concept.get("coding", ())],
    "status": lambda one: [("", one.get("status", ""))],
}
_REFERENCES = {"patient": ("subject", "patient", "for"), "subject": ("subject", "for"), "focus": ("focus",)}


def _fits(resource: Json, name: str, choice: str) -> bool:
    if name in _REFERENCES:
        wanted = choice if "/" in choice else f"/{choice}"
        return any(f"/{resource.get(e, {}).get('reference', '')}".endswith(wanted) for e in _REFERENCES[name])
    system, bar, value = _token(choice)
    return any(
        (not value or value == has_value) and (not bar or system == has_system)
        for has_system, has_value in _TOKENS[name](resource)
    )


def _token(choice: str) -> tuple[str, bool, str]:
    parts = list(_split(choice, "|"))
    parts = [part.replace("\\|", "|").replace("\\,", ",").replace("\\$", "$").replace("\\\\", "\\") for part in parts]
    return (parts[0], True, "|".join(parts[1:])) if len(parts) > 1 else ("", False, parts[0])


def _split(text: str, separator: str) -> Iterator[str]:
    """Parts between separators that no backslash escapes (https://hl7.org/fhir/R4/search.html#escaping)."""
    part = ""
    escaped = False
    for character in text:
        if character == separator and not escaped:
            yield part
            part = ""
            continue
        part += character
        escaped = character == "\\" and not escaped
    yield part


def _is_dated(resource: Json, value: str) -> bool:
    prefix, instant = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
    stamp, asked = datetime.fromisoformat(resource["meta"]["lastUpdated"]), datetime.fromisoformat(instant)
    tests = {"eq": stamp == asked, "gt": stamp > asked, "ge": stamp >= asked, "lt": stamp < asked, "le": stamp <= asked}
    if prefix not in tests:
        raise Refused(400, "not-supported", f"Prefix {prefix} is not supported")
    return tests[prefix]


def _coding(coding: Json) -> tuple[str, str]:
    return coding.get("system", ""), coding.get("code", "")


def _as_list(value: Any) -> list[Json]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []
