"""Reading elements of any shape."""

from decimal import Decimal

import pytest
from hypothesis import given

from fhir_mappings.elements import child, children, codings, text, texts, whole_number
from fhir_mappings.records import Json
from tests.fhir_mappings.examples import any_json


@pytest.mark.parametrize(
    ("value", "number"),
    [(23, 23), (0, 0), (-1, -1), (23.0, 23), (Decimal("23.00"), 23), (Decimal("2.3e1"), 23), (Decimal("-0"), 0)],
)
def test_a_number_without_a_fraction_is_whole(value: object, number: int) -> None:
    assert whole_number(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, "23", [], {}, 23.5, Decimal("23.5"), float("nan"), float("inf"), Decimal("NaN")),
        *(Decimal("Infinity"), Decimal("1e999999999"), Decimal("1e-999999"), 2**31, 10**400),
    ],
)
def test_anything_else_is_no_whole_number_however_large(value: object) -> None:
    assert whole_number(value) is None


def test_an_element_of_another_shape_reads_as_absent() -> None:
    element: Json = {"a": " ", "b": 1, "c": ["x"], "d": [1, {"e": 2}, None], "f": [None, "g", 3]}

    assert (text(element, "a"), text(element, "b"), text(element, "z")) == (None, None, None)
    assert (child(element, "c"), child(element, "z")) == ({}, {})
    assert list(children(element, "d")) == [(1, {"e": 2})]
    assert (list(children(element, "b")), list(children(element, "z"))) == ([], [])
    assert (texts(element, "f"), texts(element, "b")) == (["g"], [])


def test_codings_keep_their_order_and_say_what_they_lack() -> None:
    element: Json = {"code": {"coding": [{"system": "urn:x", "code": "1"}, {"code": "2"}, {"system": "urn:y"}]}}

    assert codings(element, "code") == [("urn:x", "1"), (None, "2"), ("urn:y", None)]


@given(any_json)
def test_no_shape_raises(element: Json) -> None:
    for name in element:
        assert text(element, name) is None or isinstance(element[name], str)
        assert child(element, name) in ({}, element[name])
        assert all(isinstance(member, dict) for _, member in children(element, name))
        assert all(isinstance(member, str) for member in texts(element, name))
        assert isinstance(codings(element, name), list)
