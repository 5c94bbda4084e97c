"""JSON at its edges, over the wire: refused in words, or kept to the last digit. https://hl7.org/fhir/R4/json.html"""

import json
import re
from decimal import Decimal

import pytest

from tests.conformance.client import GAVLE, JSON_PATCH, REFERRER, Client, Referral, another_order, content, of, outcome

GOOD = json.dumps(another_order(note=[{"text": "TEXT"}]), ensure_ascii=False)


def _with(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


REFUSED: dict[str, str | bytes] = {
    "a property twice": _with('"status": "active"', '"status": "active", "status": "active"'),
    "a lone high surrogate": _with("TEXT", "\\ud83d"),
    "a lone low surrogate": _with("TEXT", "\\ude00 \\ud83d"),
    "an escaped NUL": _with("TEXT", "a\\u0000b"),
    "a raw NUL": _with("TEXT", "a\0b"),
    "a raw control character": _with("TEXT", "a\x01b"),
    "a number beyond doubles": _with('"TEXT"', "1e999"),
    "a number of 5,000 digits": _with('"TEXT"', "9" * 5000),
    "NaN": _with('"TEXT"', "NaN"),
    "minus infinity": _with('"TEXT"', "-Infinity"),
    "a hexadecimal number": _with('"TEXT"', "0x1F"),
    "a leading zero": _with('"TEXT"', "007"),
    "5,000 levels": _with('"TEXT"', "[" * 5000 + "]" * 5000),
    "50,000 levels that never end": '{"a":' * 50_000,
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "latin-1": _with("TEXT", "Åke").encode("latin-1"),
    "an overlong character": GOOD.encode().replace(b"TEXT", b"\xc0\xaf"),
    "an encoded surrogate": GOOD.encode().replace(b"TEXT", b"\xed\xa0\x80"),
    "a comment": GOOD + " // slut",
    "a trailing comma": GOOD[:-1] + ",}",
    "nothing": b" ",
    "null": b"null",
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_what_two_readers_could_read_differently_is_400(fhir: Client, referral: Referral, what: str) -> None:
    sent = REFUSED[what]
    body = sent.encode() if isinstance(sent, str) else sent
    outcome(fhir.acting(REFERRER).post("ServiceRequest", body), 400)
    outcome(fhir.acting(REFERRER).put(referral.order_place, body), 400)
    outcome(fhir.post("", b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":' + body + b"}]}"), 400)
    outcome(fhir.acting(GAVLE).patch(referral.task_place, b'[{"op":"add","path":"/x","value":' + body + b"}]"), 400)


@pytest.mark.parametrize("media", ["application/fhir+json; charset=latin-1", "application/fhir+json; charset=utf-16"])
def test_another_charset_than_utf_8_is_415(fhir: Client, media: str) -> None:
    outcome(fhir.post("ServiceRequest", GOOD.encode(), {"Content-Type": media}), 415)
    patch = media.replace("application/fhir+json", JSON_PATCH)
    outcome(fhir.patch("Task/1", b"[]", {"Content-Type": patch}), 415)


@pytest.mark.parametrize(
    "number",
    ["1.00", "0.000000000000000001", "123456789012345678.123456789012345678", "-0.0", "1E+2", "1e-7", "100", "-0"],
)
def test_a_decimal_keeps_every_digit_through_create_read_patch_and_history(fhir: Client, number: str) -> None:
    referrer = fhir.acting(REFERRER)
    extension = f'"extension": [{{"url": "https://ehr.example/n", "valueDecimal": {number}}}], "status": "active"'
    sent = json.dumps(another_order()).replace('"status": "active"', extension, 1)
    made = referrer.post("ServiceRequest", sent.encode())
    assert made.status_code == 201, made.text
    place = f"ServiceRequest/{content(made)['id']}"
    copied = [{"op": "copy", "from": "/extension/0", "path": "/extension/-"}]
    patched = referrer.patch(place, copied)
    assert patched.status_code == 200, patched.text
    for answer, times in ((made, 1), (patched, 2), (fhir.get(place), 2), (fhir.get(f"{place}/_history"), 3)):
        written = re.findall(r'"valueDecimal":([^,}]+)', answer.text)
        # as a number with its precision: R4 leaves it open whether it is written with an exponent
        assert [Decimal(w).as_tuple() for w in written] == [Decimal(number).as_tuple()] * times


@pytest.mark.parametrize(
    "text", ["Å Ä Ö å ä ö é", "日本語", "😀👩‍👩‍👧", "\u00a0", "a\tb\nc\r\nd", '"\\/', "\u2028\u2029", "e\u0301"]
)
def test_a_text_comes_back_as_it_was_sent(fhir: Client, text: str) -> None:
    for escape in (True, False):
        sent = json.dumps(another_order(note=[{"text": f"x{text}x"}]), ensure_ascii=escape)
        made = content(fhir.acting(REFERRER).post("ServiceRequest", sent.encode()))
        assert fhir.read(f"ServiceRequest/{made['id']}")["note"] == [{"text": f"x{text}x"}]


@pytest.mark.parametrize("entry", ["null", "{}", '{"resource":null}', "7", "[]", '{"request":null,"resource":{}}'])
@pytest.mark.parametrize("type_", ["transaction", "batch"])
def test_an_entry_that_holds_nothing_is_told(fhir: Client, entry: str, type_: str) -> None:
    body = json.dumps(of(type_)).replace("}", f', "entry": [{entry}]}}').encode()
    answer = fhir.post("", body)
    if answer.status_code == 200:
        assert type_ == "batch"
        (told,) = content(answer)["entry"]
        assert told["response"]["status"].startswith("400")
    else:
        outcome(answer, 400)


def test_a_body_of_more_than_a_megabyte_is_413(fhir: Client) -> None:
    outcome(fhir.post("ServiceRequest", _with("TEXT", "x" * 1_000_000).encode()), 413)
