from decimal import Decimal
from typing import Any

import pytest

from fhir_mappings.r4.primitives import CHECKS, EXPECTED, certainly_before


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("base64Binary", "YQ=="),
        ("base64Binary", "YWJj\nZGVm"),
        ("code", "in-progress"),
        ("code", "two words"),
        ("date", "2026"),
        ("date", "2024-02-29"),
        ("dateTime", "2026-11-23T10:00:00+01:00"),
        ("dateTime", "2026-11-23T10:00:00.123456789Z"),
        ("dateTime", "2016-12-31T23:59:60Z"),
        ("decimal", Decimal("1.00")),
        ("decimal", 7),
        ("id", "a" * 64),
        ("instant", "2026-11-23T10:00:00Z"),
        ("integer", -2147483648),
        ("oid", "urn:oid:1.2.752.29.4.19"),
        ("positiveInt", 1),
        ("string", " "),
        ("time", "23:59:59"),
        ("unsignedInt", 0),
        ("uri", "urn:oid:1.2"),
        ("uuid", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    ],
)
def test_these_are_values_of_their_type(kind: str, value: Any) -> None:
    assert CHECKS[kind](value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("base64Binary", "YQ="),
        ("base64Binary", ""),
        ("base64Binary", "å"),
        ("boolean", 1),
        ("code", " a"),
        ("code", "a  b"),
        ("code", "a\n"),
        ("date", "2023-02-29"),
        ("date", "0000"),
        ("date", "2026-11-23T10:00:00Z"),
        ("date", "٢٠٢٦"),
        ("dateTime", "2026-11-23T10:00:00"),
        ("dateTime", "2026-11-23T24:00:00Z"),
        ("dateTime", "2026-11-23T10:00Z"),
        ("dateTime", "2026-11-23\n"),
        ("decimal", Decimal("NaN")),
        ("decimal", float("inf")),
        ("decimal", "1.0"),
        ("decimal", True),
        ("id", "a" * 65),
        ("id", "a_b"),
        ("instant", "2026-11-23"),
        ("integer", 2147483648),
        ("integer", Decimal("1.0")),
        ("integer", True),
        ("oid", "1.2.3"),
        ("positiveInt", 0),
        ("string", ""),
        ("string", "a" * (1024 * 1024 + 1)),
        ("time", "10:00"),
        ("unsignedInt", -1),
        ("uri", "a b"),
        ("uuid", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"),
    ],
)
def test_these_are_not(kind: str, value: Any) -> None:
    assert not CHECKS[kind](value)


def test_every_type_says_what_it_expects() -> None:
    assert CHECKS.keys() == EXPECTED.keys()
    nothing: tuple[object, ...] = (None, [], {})
    assert not any(check(value) for check in CHECKS.values() for value in nothing)


@pytest.mark.parametrize("kind", ["code", "base64Binary", "uri", "string", "id", "dateTime"])
def test_hostile_text_is_judged_in_time_linear_in_its_length(kind: str) -> None:
    for text in ("a " * 400_000 + " ", "    " * 200_000 + "!", "=" * 1_000_000):
        CHECKS[kind](text)


@pytest.mark.parametrize(
    ("one", "other", "before"),
    [
        ("2026-11-22", "2026-11-23", True),
        ("2026-11-23", "2026-11-23", False),
        ("2026-11", "2026-11-23", False),
        ("2026-10", "2026-11-23", True),
        ("2026-11-23T10:00:00+01:00", "2026-11-23T10:00:00Z", True),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00.000001Z", True),
        ("2026-11-22", "2026-11-23T10:00:00+01:00", False),
        ("2026-11-20", "2026-11-23T10:00:00+01:00", True),
        ("2025", "2026-11-23T10:00:00+01:00", True),
        ("2025-12", "2026-11-23T10:00:00+01:00", True),
        ("9999", "2026-11-23T10:00:00Z", False),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", True),
        ("nonsense", "2026", False),
        (None, "2026", False),
    ],
)
def test_a_time_is_before_another_only_when_that_is_certain(one: object, other: object, before: bool) -> None:
    assert certainly_before(one, other) is before
