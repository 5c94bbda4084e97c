import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings import strict_json
from fhir_mappings.issues import Issue, IssueCode
from fhir_mappings.records import Json


def read(body: str | bytes) -> Json:
    told = strict_json.parse(body.encode() if isinstance(body, str) else body)
    assert isinstance(told, dict), told
    return told


def refused(body: str | bytes) -> list[Issue]:
    told = strict_json.parse(body.encode() if isinstance(body, str) else body)
    assert isinstance(told, list)
    assert told
    return told


def test_a_decimal_keeps_every_digit_on_the_way_through() -> None:
    body = '{"a":1.00,"b":0.0,"c":-0.10,"d":12345678901234567.890}'
    assert strict_json.dump(read(body)) == body


def test_an_exponent_keeps_its_precision() -> None:
    assert read('{"a": 1.50e3}') == {"a": Decimal("1.50e3")}
    assert strict_json.dump(read('{"a": 1.50e3}')) == '{"a":1.50E+3}'


def test_whole_numbers_are_whole_and_minus_zero_keeps_its_sign() -> None:
    told = read('{"a": 7, "b": -0}')
    assert type(told["a"]) is int
    assert strict_json.dump(told) == '{"a":7,"b":-0}'


def test_swedish_letters_are_written_as_they_are() -> None:
    assert strict_json.dump(read('{"a": "G\\u00e4vle 😀"}')) == '{"a":"Gävle 😀"}'


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert read('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read('{"a": "\\\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize("body", ["", "  \n ", "[]", "1", "null", '"text"', "{", '{"a":}', '{"a":1}x', "{'a':1}"])
def test_what_is_no_json_object_is_refused(body: str) -> None:
    assert [issue.code for issue in refused(body)] == [IssueCode.STRUCTURE]


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf{}", b'{"a":"\xff"}', '{"a":1}'.encode("utf-16"), b'{"a":"\xed\xa0\x80"}']
)
def test_only_utf_8_without_a_byte_order_mark_is_read(body: bytes) -> None:
    assert [issue.code for issue in refused(body)] == [IssueCode.STRUCTURE]


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", "1e999", "1e-999", "1e99999999999999999999", "9" * 5000]
)
def test_numbers_that_no_peer_can_hold_are_refused(literal: str) -> None:
    assert [issue.code for issue in refused(f'{{"a": {literal}}}')] == [IssueCode.VALUE]


def test_every_duplicate_property_is_told_with_its_place() -> None:
    body = '{"resourceType": "Patient", "id": "a", "name": [{}, {"text": "x", "text": "y"}], "id": "b"}'
    assert {(issue.code, issue.expression) for issue in refused(body)} == {
        (IssueCode.STRUCTURE, "Patient"),
        (IssueCode.STRUCTURE, "Patient.name[1]"),
    }


def test_a_duplicate_within_a_value_that_was_overwritten_is_still_told() -> None:
    assert len(refused('{"a": {"b": 1, "b": 2}, "a": 3}')) == 2


def test_nul_and_lone_surrogates_are_refused_with_their_place() -> None:
    body = '{"resourceType": "Patient", "id": "\\u0000", "name": [{"text": "\\ud800"}], "x\\udc00": 1}'
    assert [issue.expression for issue in refused(body)] == ["Patient", "Patient.id", "Patient.name[0].text"]


@pytest.mark.parametrize("levels", [101, 5_000, 200_000])
def test_deep_nesting_is_refused_and_kills_nothing(levels: int) -> None:
    assert refused('{"a":' + "[" * levels + "]" * levels + "}")[0].code == IssueCode.TOO_COSTLY
    assert refused('{"a":' * levels + "1" + "}" * levels)[0].code == IssueCode.TOO_COSTLY


def test_a_hundred_levels_are_read() -> None:
    assert read('{"a":' * 100 + "1" + "}" * 100)


def test_no_value_that_was_sent_is_told_again() -> None:
    body = '{"199002222397": 1, "199002222397": 2}'
    told = " ".join(f"{issue.text} {issue.diagnostics} {issue.expression}" for issue in refused(body))
    assert "199002222397" not in told


def test_what_is_not_a_number_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dump({"a": float("nan")})


def test_one_text_is_escaped_as_in_a_resource() -> None:
    assert strict_json.dump_text('a"å') == '"a\\"å"'


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | _texts | st.decimals(-1000, 1000, places=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_texts, _values, max_size=5))
def test_what_is_written_reads_back_the_same(resource: Json) -> None:
    assert read(strict_json.dump(resource)) == resource


@given(st.dictionaries(_texts, _values, max_size=5))
def test_ordinary_json_reads_as_the_standard_library_reads_it(resource: Json) -> None:
    body = strict_json.dump(resource)
    assert read(body) == json.loads(body, parse_float=Decimal)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(strict_json.parse(body), dict | list)
