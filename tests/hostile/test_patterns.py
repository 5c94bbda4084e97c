"""Regular expressions that see what a client sends: matched against the whole, and in time that grows with the length.

All of them are found here, so that one that is added is tried as well.
"""

import ast
import importlib
import importlib.util
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fhir_mappings
import service

PROJECT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for package in (fhir_mappings, service)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if ".migrations" not in module.name
)
SEARCHING = {
    # looks for something within a text on purpose, and harms nothing where it stands beside other words
    "fhir_mappings.bundle",
    "fhir_mappings.r4.narrative",
    "fhir_mappings.r4.primitives",
    "fhir_mappings.service_request",
    "fhir_mappings.strict_json",
    "service.web.audiences",
    "service.web.bundles",
    "service.web.entries",
    "service.web.pretty",
    "service.web.requests_in",
}
FROM_OTHERS = {
    # who runs the service writes these, or the external server does, or who publishes keys
    "service.access.published_keys",
    "service.demo",
    "service.exchange",
    "service.exchange_cli",
    "service.packs",
}

UNITS = [
    "a", "A", "0", "9", " ", "\t", "\n", ".", ":", "/", "-", "_", ";", "=", ",", "\\", "'", '"', "<", "(", "|", "é",
    "aA", "a ", " a", "0.", ".0", "a.", "a/", "a:", "a=", "a-", "0a", "\\\\", "''", '"a"', ";a=", " =", "= ", "%2",
    "expression ", "url ", "javascript", "data:image/", " href", ' href="', "urn:oid:1.", "urn:uuid:", "http://a/",
    "2026-11-20T10:00:00", "T00:", "Z", "+01:00", "A1/", "Task/", "a?", "charset=utf-8;", ";fhirVersion=4.0", "ab,cd ",
]  # fmt: skip
HEADS = ["", "a", "0.", "https://a", "return =", "2026-11-20T10:00:00."]
TAIL = "\0"
"""Which no pattern ends in, so that every way to read what is before it is tried."""
LONG = 8_000
MOST = 0.1
"""Seconds of processor time for 8,000 characters: what is linear takes less than a thousandth, what grows by the square
three tenths.
"""


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in MODULES:
        module = importlib.import_module(name)
        for symbol, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{name}.{symbol}", value
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.Call) and _is_of_re(node) and isinstance(node.args[0], ast.Constant):
                yield f"{name}:{node.lineno}", re.compile(str(node.args[0].value))


def _tree(name: str) -> ast.Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text())


def _is_of_re(node: ast.Call) -> bool:
    of = node.func.value if isinstance(node.func, ast.Attribute) else None
    return isinstance(of, ast.Name) and of.id == "re" and bool(node.args)


def _is_in(name: str, modules: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in modules)


PATTERNS = dict(_patterns())


def _slowest(look: Callable[[str], object]) -> tuple[float, str]:
    worst = (0.0, "")
    for unit in UNITS:
        for head in HEADS:
            text = head + unit * (LONG // len(unit)) + TAIL
            began = time.process_time()
            look(text)
            worst = max(worst, (time.process_time() - began, f"{head!r} {unit!r}"))
    return worst


def test_there_are_patterns_to_try() -> None:
    assert len(PATTERNS) > 50


@pytest.mark.parametrize("name", list(PATTERNS))
def test_a_pattern_takes_time_in_proportion(name: str) -> None:
    pattern = PATTERNS[name]
    if isinstance(pattern.pattern, bytes):
        pattern = re.compile(pattern.pattern.decode(), pattern.flags | re.UNICODE)
    for look in [pattern.fullmatch, *([pattern.search] if _is_in(name.partition(":")[0], SEARCHING) else [])]:
        took, text = _slowest(look)
        assert took < MOST, (pattern.pattern, text, took)


def test_what_is_to_have_a_form_is_matched_as_a_whole() -> None:
    """`match` and `search` let a line break, or anything, stand beside what they find."""
    found = {
        f"{name}:{node.lineno}"
        for name in MODULES
        if not _is_in(name, SEARCHING | FROM_OTHERS)
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("match", "search")
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id == "re" or node.func.value.id.isupper())
    }
    assert found == set()


def test_fhirpath_is_only_read_from_packs() -> None:
    """It is a language; whoever could send some could make it run on. Only the pack's rules are in it."""
    reading = {
        name
        for name in MODULES
        for node in ast.walk(_tree(name))
        if (isinstance(node, ast.Import) and any(alias.name.startswith("fhirpath") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fhirpath"))
    }
    assert reading == {"service.packs.conditions"}
