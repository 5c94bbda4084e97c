"""Bad input: each is told in an OperationOutcome, nothing of it is stored, and the service goes on (contract 2)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.web.caller import UNIT, S, Sluss, bundle, content, issues, order_in, places, plain, single

Rows = Callable[[], dict[str, int]]

GOOD = json.dumps(single(), ensure_ascii=False)


def _replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


UNREADABLE: dict[str, bytes | str] = {
    "nothing": b"",
    "white space": b" \n\t ",
    "not JSON": b"MSH|^~\\&|EHR",
    "XML": b"<ServiceRequest xmlns='http://hl7.org/fhir'/>",
    "cut off": GOOD[:-20],
    "one brace too many": GOOD + "}",
    "two documents": GOOD + GOOD,
    "single quotes": GOOD.replace('"', "'"),
    "a comment": "/* hej */" + GOOD,
    "a trailing comma": GOOD[:-1] + ",}",
    "an array at the top": f"[{GOOD}]",
    "a text at the top": '"ServiceRequest"',
    "a number at the top": "42",
    "null at the top": "null",
    "a property twice": _replaced('"status": "active"', '"status": "draft", "status": "active"'),
    "a property twice far down": _replaced('"value": "199002222397"', '"value": "199002222397", "value": "1"'),
    "NaN": _replaced('"active"', "NaN"),
    "Infinity": _replaced('"active"', "-Infinity"),
    "a number without end": _replaced('"active"', "9" * 5000),
    "a number beyond doubles": _replaced('"active"', "1e999"),
    "5,000 levels of arrays": _replaced('"active"', "[" * 5000 + "]" * 5000),
    "5,000 levels of objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "5,000 levels that never end": '{"a":' * 5000,
    "200,000 levels": "[" * 200_000,
    "extensions in extensions": _replaced(
        '"active"', '"active", "extension": ' + '[{"url": "x", "extension": ' * 150 + "[]" + "}]" * 150
    ),
    "a lone surrogate": _replaced("Test Testsson", "Test \\ud800"),
    "a lone surrogate as a name": _replaced('"status"', '"\\udc00"'),
    "NUL escaped": _replaced("Test Testsson", "Test\\u0000son"),
    "NUL raw": _replaced("Test Testsson", "Test\0son"),
    "a raw line break in a text": _replaced("Test Testsson", "Test\nTestsson"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "latin-1": GOOD.replace("Test Testsson", "Åke Öst").encode("latin-1"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-8 cut in a character": GOOD.encode()[:-1] + b"\xc3",
    "overlong UTF-8": GOOD.encode().replace(b"Test T", b"Test \xc0\x80"),
}


@pytest.mark.parametrize("what", list(UNREADABLE))
def test_what_cannot_be_read_is_400_whatever_it_was_meant_for(sluss: Sluss, rows: Rows, what: str) -> None:
    task = sluss.refer()["task"]
    before = rows()
    places_to_post = ("/fhir", "/fhir/ServiceRequest", "/fhir/ServiceRequest/$assess", "/fhir/Task")
    answers = [sluss.post(path, UNREADABLE[what]) for path in places_to_post]
    answers.append(sluss.put(f"/fhir/Task/{task['id']}", UNREADABLE[what]))
    for answer in answers:
        assert answer.status_code == 400
        assert all(issue["severity"] == "error" for issue in issues(answer))
    answer = sluss.post("/intake/referrals", UNREADABLE[what], {"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = content(answer)
    assert problem["status"] == 400
    assert problem["errors"][0]["text"]
    assert rows() == before
    assert sluss.read(f"Task/{task['id']}") == task


def test_the_place_of_a_syntax_error_is_told(sluss: Sluss) -> None:
    (issue,) = issues(sluss.post("/fhir", '{"resourceType": "Bundle",\n "type": }'))
    assert "line 2" in issue["diagnostics"]
    assert "rad 2" in issue["details"]["text"]


def test_a_property_that_stands_twice_is_named_with_its_place(sluss: Sluss) -> None:
    (issue,) = issues(sluss.post("/fhir/ServiceRequest", UNREADABLE["a property twice far down"]))
    assert issue["expression"] == ["ServiceRequest.subject.identifier"]
    assert "'value'" in issue["diagnostics"]


# ---------------------------------------------------------------- JSON, but not R4


def _wrong(**changes: Any) -> Json:
    return single(**changes)


NOT_R4: dict[str, tuple[Json, str]] = {
    "no resourceType": ({k: v for k, v in single().items() if k != "resourceType"}, "resourceType"),
    "a number as resourceType": (_wrong(resourceType=7), "resourceType"),
    "an unknown element": (_wrong(favouriteColour="blue"), "ServiceRequest.favouriteColour"),
    "an element of another version": (_wrong(quantity={"value": 1}), "ServiceRequest.quantity"),
    "a text where an object is wanted": (_wrong(subject="Patient/1"), "ServiceRequest.subject"),
    "an object where a text is wanted": (_wrong(status={"value": "active"}), "ServiceRequest.status"),
    "a list where one is wanted": (_wrong(status=["active"]), "ServiceRequest.status"),
    "one where a list is wanted": (_wrong(identifier={"value": "1"}), "ServiceRequest.identifier"),
    "a number where a text is wanted": (_wrong(authoredOn=20261120), "ServiceRequest.authoredOn"),
    "a text where true or false is wanted": (_wrong(doNotPerform="false"), "ServiceRequest.doNotPerform"),
    "an unknown code": (_wrong(status="nonsense"), "ServiceRequest.status"),
    "a code in the wrong case": (_wrong(priority="Routine"), "ServiceRequest.priority"),
    "a date that does not exist": (_wrong(authoredOn="2026-02-30"), "ServiceRequest.authoredOn"),
    "a time without a zone": (_wrong(authoredOn="2026-11-20T10:00:00"), "ServiceRequest.authoredOn"),
    "an empty list": (_wrong(note=[]), "ServiceRequest.note"),
    "an empty object": (_wrong(encounter={}), "ServiceRequest.encounter"),
    "an empty text": (_wrong(patientInstruction=""), "ServiceRequest.patientInstruction"),
    "null": (_wrong(encounter=None), "ServiceRequest.encounter"),
    "null in a list": (_wrong(note=[None]), "ServiceRequest.note[0]"),
    "a missing element": ({k: v for k, v in single().items() if k != "status"}, "ServiceRequest.status"),
}


@pytest.mark.parametrize("what", list(NOT_R4))
def test_what_is_not_r4_is_400_at_its_place(sluss: Sluss, rows: Rows, what: str) -> None:
    sent, place = NOT_R4[what]
    before = rows()
    answer = sluss.post("/fhir/ServiceRequest", sent)
    assert answer.status_code == 400
    assert any(told == place or told.startswith((f"{place}.", f"{place}[")) for told in places(answer)), places(answer)
    assert rows() == before


def test_what_is_not_r4_is_told_for_every_resource_of_a_bundle(sluss: Sluss, rows: Rows) -> None:
    sent = bundle()
    for entry in sent["entry"]:
        entry["resource"]["nonsense"] = True
    before = rows()
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 400
    wanted = {f"Bundle.entry[{i}].resource.nonsense" for i in range(len(sent["entry"]))}
    assert wanted <= set(places(answer))
    assert rows() == before


# ---------------------------------------------------------------- R4, but not a referral that can be taken


def _programme(*codes: str) -> Json:
    return {"coding": [{"system": f"{S}/CodeSystem/ikbt-programme", "code": code} for code in codes]}


def _subject(value: str, system: str = "personnummer") -> Json:
    return {"identifier": {"system": f"http://electronichealth.se/identifier/{system}", "value": value}}


NOT_TAKEN: dict[str, tuple[Json, str]] = {
    "no number": ({k: v for k, v in single().items() if k != "identifier"}, "identifier"),
    "a programme that is not": (_wrong(code=_programme("hypnosis")), "code"),
    "two programmes": (_wrong(code=_programme("sleep", "stress")), "code"),
    "another kind of code": (_wrong(code={"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}), "code"),
    "a check digit that is wrong": (_wrong(subject=_subject("199002222398")), "subject"),
    "ten digits": (_wrong(subject=_subject("9002222397")), "subject"),
    "a day that does not exist": (_wrong(subject=_subject("199002302397")), "subject"),
    "letters": (_wrong(subject=_subject("19900222239A")), "subject"),
    "digits of another script": (_wrong(subject=_subject("١٩٩٠٠٢٢٢٢٣٩٧")), "subject"),
    "an unknown identifier system": (_wrong(subject=_subject("199002222397", "okänt")), "subject"),
    "a patient who is nowhere": (_wrong(subject={"reference": "Patient/nobody"}), "subject"),
    "a patient in words": (_wrong(subject={"display": "Test Testsson"}), "subject"),
    "no requester": ({k: v for k, v in single().items() if k != "requester"}, "requester"),
    "a requester in words": (_wrong(requester={"display": "Testhälsocentralen"}), "requester"),
    "a time to come": (_wrong(authoredOn="2026-11-24"), "authoredOn"),
    "no time": ({k: v for k, v in single().items() if k != "authoredOn"}, "authoredOn"),
    "a modifier that nobody knows": (
        _wrong(modifierExtension=[{"url": "http://example.org/not", "valueBoolean": True}]),
        "modifierExtension",
    ),
    "a modifier in a contained resource's place": (
        _wrong(contained=[{"resourceType": "Patient", "id": "p"}], subject={"reference": "#p"}),
        "contained",
    ),
}


@pytest.mark.parametrize("what", list(NOT_TAKEN))
def test_what_sluss_cannot_take_is_422_at_its_place(sluss: Sluss, rows: Rows, what: str) -> None:
    sent, element = NOT_TAKEN[what]
    before = rows()
    answer = sluss.post("/fhir/ServiceRequest", sent)
    assert answer.status_code == 422, answer.text
    assert any(place.startswith(f"ServiceRequest.{element}") for place in places(answer)), places(answer)
    assert rows() == before


@pytest.mark.parametrize("position", range(10))
def test_an_unknown_modifier_is_refused_on_every_resource_of_a_bundle(sluss: Sluss, rows: Rows, position: int) -> None:
    sent = bundle()
    sent["entry"][position]["resource"]["modifierExtension"] = [{"url": "http://example.org/not", "valueBoolean": True}]
    before = rows()
    answer = sluss.post("/fhir", sent)
    assert answer.status_code == 422
    assert any(p.startswith(f"Bundle.entry[{position}].resource.modifierExtension") for p in places(answer))
    assert rows() == before


# ---------------------------------------------------------------- size


def _of_size(size: int) -> str:
    sent = json.dumps(single(note=[{"text": "x"}]))
    return sent.replace('"text": "x"', '"text": "' + "x" * (size - len(sent) + 1) + '"')


def test_a_body_of_a_megabyte_is_read_and_one_byte_more_is_413(sluss: Sluss, rows: Rows) -> None:
    assert len(_of_size(1_000_000)) == 1_000_000
    assert sluss.post("/fhir/ServiceRequest", _of_size(1_000_000)).status_code == 201
    before = rows()
    for path in ("/fhir", "/fhir/ServiceRequest", "/fhir/ServiceRequest/$assess", "/fhir/Task"):
        answer = sluss.post(path, _of_size(1_000_001))
        assert answer.status_code == 413
        assert issues(answer)[0]["code"] == "too-long"
    assert rows() == before


def test_a_body_without_a_length_is_measured_while_it_is_read(sluss: Sluss, rows: Rows) -> None:
    from io import BytesIO

    before = rows()
    answer = sluss.app.test_client().open(
        "/fhir/ServiceRequest",
        method="POST",
        input_stream=BytesIO(_of_size(1_000_001).encode()),
        headers={"Content-Type": "application/fhir+json"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413
    assert rows() == before


# ---------------------------------------------------------------- signs of risk in what was refused


RISK = {"answers": {"suicide-risk": "elevated"}}


def _risky() -> Json:
    sent = bundle()
    for entry in sent["entry"]:
        for item in entry["resource"].get("item", ()):
            if item["linkId"] == "item-9":
                item["answer"][0]["valueInteger"] = 6
    order_in(sent)["status"] = "draft"
    return sent


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (_risky(), {}, 422),
        ({**_risky(), "nonsense": 1}, {}, 400),
        (b"\xef\xbb\xbf" + json.dumps(_risky()).encode(), {}, 400),
        (json.dumps(_risky()).replace('"type": "transaction"', '"type": "batch", "type": "batch"'), {}, 400),
        (_risky(), {"Content-Type": "text/plain"}, 415),
        (_risky(), {"Accept": "text/html"}, 406),
        (_risky(), {"Sluss-Caller": "referrer SE2321000198-EX02"}, 403),
        (_risky(), {"Sluss-Caller": "nobody"}, 400),
    ],
)
def test_a_refusal_says_first_that_signs_of_suicide_risk_were_not_received(
    sluss: Sluss, rows: Rows, body: Json | bytes, headers: dict[str, str], status: int
) -> None:
    before = rows()
    answer = sluss.post("/fhir", body, headers)
    assert answer.status_code == status
    first = issues(answer)[0]
    assert first["diagnostics"].startswith("NOT received")
    assert "INTE tagits emot" in first["details"]["text"]
    assert "MADRS-S fråga 9 = 6" in first["details"]["text"]
    assert rows() == before


def test_a_refused_plain_referral_says_it_too(sluss: Sluss) -> None:
    sent = plain(programme="hypnosis", **RISK)
    answer = sluss.post("/intake/referrals", sent, {"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "INTE tagits emot" in content(answer)["title"]


# ---------------------------------------------------------------- plain JSON


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channel": "pigeon"}, "channel"),
        ({"received": "yesterday"}, "received"),
        ({"received": None}, "received"),
        ({"referrer": "SE2321000198-EX01"}, "referrer"),
        ({"referrer": {}}, "referrer.unit"),
        ({"patient": {"identifier": "199002222398", "name": "Test Testsson"}}, "patient.identifier"),
        ({"patient": []}, "patient"),
        ({"patient": {"identifier": 199002222397, "name": "Test Testsson"}}, "patient.identifier"),
        ({"programme": "hypnosis"}, "programme"),
        ({"diagnoses": "F32.1"}, "diagnoses"),
        ({"diagnoses": [1]}, "diagnoses"),
        ({"madrs_s": {"date": "2026-11-18", "items": [1, 2, 3]}}, "madrs_s"),
        ({"madrs_s": {"date": "2026-11-18", "items": [7] * 9}}, "madrs_s"),
        ({"madrs_s": {"date": "2026-11-18", "total": 55}}, "madrs_s"),
        ({"madrs_s": {"date": "2026-11-18", "items": [1] * 9, "total": 10}}, "madrs_s"),
        ({"answers": {"favourite-colour": "blue"}}, "answers"),
        ({"answers": {"suicide-risk": True}}, "answers"),
        ({"answers": {"internet-access": "yes"}}, "answers"),
        ({"answers": []}, "answers"),
        ({"favourite_colour": "blue"}, "favourite_colour"),
        ({"other": {"text": "x"}}, "other"),
    ],
)
def test_a_bad_field_of_plain_json_is_422_and_named(
    sluss: Sluss, rows: Rows, changes: dict[str, Any], field: str
) -> None:
    before = rows()
    answer = sluss.post("/intake/referrals", plain(**changes), {"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    problem = content(answer)
    assert problem["title"]
    assert all(told["text"] and told["code"] for told in problem["errors"])
    assert any((told.get("field") or "").startswith(field) for told in problem["errors"]), problem
    assert rows() == before


def test_every_bad_field_of_plain_json_is_told_at_once(sluss: Sluss) -> None:
    sent = plain(channel="pigeon", programme="hypnosis", received="x", referrer={"unit": UNIT, "colour": 1})
    problem = content(sluss.post("/intake/referrals", sent, {"Content-Type": "application/json"}))
    assert {"channel", "programme", "received", "referrer.colour"} <= {e["field"] for e in problem["errors"]}
