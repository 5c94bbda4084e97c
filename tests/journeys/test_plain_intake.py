"""A message, a letter or a call as plain JSON takes the very same way through the house (contract 3, plain JSON)."""

from typing import Any

import pytest

from fhir_mappings.strict_json import dump
from tests.journeys.conftest import Service
from tests.journeys.referrals import ADULT, BOOKING_UNIT, OTHER_UNIT, UNIT, S, plain, referral
from tests.journeys.steps import findings_of, messages, refer, task_of

FROM_CONTRACT: dict[str, Any] = {
    "channel": "record-message",
    "received": "2026-11-20",
    "referrer": {"unit": BOOKING_UNIT, "name": "Psykosocialt team", "reference": "PMO-2026-000123"},
    "patient": {"identifier": ADULT, "name": "Test Testsson", "phone": "070-1740605", "municipality": "2180"},
    "programme": "depression",
    "diagnoses": ["F32.1"],
    "madrs_s": {"date": "2026-11-18", "items": [2, 3, 3, 1, 3, 3, 2, 3, 1]},
    "answers": {"suicide-risk": "low", "internet-access": True},
    "parallel_treatment": "Samtal var tredje vecka, inga hemuppgifter",
    "other": "Nås bäst efter 15",
}


def test_the_example_of_the_contract_is_received(service: Service) -> None:
    answer = service.referrer(BOOKING_UNIT).post("/intake/referrals", FROM_CONTRACT)
    assert answer.status_code == 201, answer.text
    account = answer.json()
    assert set(account) == {"service_request", "task", "verdict", "team", "findings", "alert"}
    assert (account["verdict"], account["team"], account["alert"]) == ("eligible", "gavle", None)
    assert answer.headers["Sluss-Verdict"] == "eligible"
    stored = service.administrator.read(account["service_request"])
    assert stored["identifier"][0]["system"] == f"{S}/identifier/placer/{BOOKING_UNIT}"
    assert stored["identifier"][0]["value"] == "PMO-2026-000123"
    notes = " ".join(note["text"] for note in stored["note"])
    assert "Samtal var tredje vecka" in notes
    assert "Nås bäst efter 15" in notes
    (rating,) = service.all_of(account["service_request"], "Observation")
    assert rating["valueQuantity"]["value"] == 21
    task = service.administrator.read(account["task"])
    assert [f["rule"] for f in account["findings"]] == findings_of(task)
    person = service.administrator.read(task["for"]["reference"])
    assert person["telecom"][0]["value"] == "070-1740605"


def test_it_is_judged_as_the_same_referral_in_a_bundle(service: Service) -> None:
    answers = {"motivated": False, "suicide-risk": "elevated"}
    account = service.referrer().post("/intake/referrals", plain(answers={**plain()["answers"], **answers})).json()
    received = refer(
        service, referral(identity="200302022389", answers={"motivated": False, "suicide_risk": "elevated"})
    )
    one, other = task_of(service, account["service_request"]), task_of(service, received)
    assert findings_of(one) == findings_of(other)
    assert (one["status"], one["owner"], one["priority"]) == (other["status"], other["owner"], other["priority"])
    assert account["alert"] == "suicide-risk"
    told = [len(messages(service, order)) for order in (account["service_request"], received)]
    assert told[0] == told[1] == 2


@pytest.mark.parametrize("channel", ["paper-letter", "phone"])
def test_a_letter_or_a_call_may_come_without_a_number(service: Service, channel: str) -> None:
    body = plain(channel=channel, referrer={"unit": UNIT})
    first = service.administrator.post("/intake/referrals", body)
    assert first.status_code == 201, first.text
    again = service.administrator.post("/intake/referrals", body)
    assert again.status_code == 201
    assert again.json()["service_request"] != first.json()["service_request"]
    rules = {f["rule"]: f["verdict"] for f in again.json()["findings"]}
    assert rules["possible-duplicate"] == "review"
    assert "possible-duplicate" not in {f["rule"] for f in first.json()["findings"]}


def test_another_programme_or_unit_is_no_duplicate(service: Service) -> None:
    service.administrator.post("/intake/referrals", plain(channel="phone", referrer={"unit": UNIT}))
    for change in ({"programme": "sleep", "diagnoses": ["G47.0"]}, {"referrer": {"unit": OTHER_UNIT}}):
        body = {**plain(channel="phone", referrer={"unit": UNIT}), **change}
        answer = service.administrator.post("/intake/referrals", body)
        assert "possible-duplicate" not in {f["rule"] for f in answer.json()["findings"]}


def test_a_message_from_the_record_system_has_its_number(service: Service) -> None:
    answer = service.referrer().post("/intake/referrals", plain(referrer={"unit": UNIT}))
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == ["referrer.reference"]


def test_a_rating_may_be_its_total_alone_or_undated(service: Service) -> None:
    body = plain(madrs_s={"date": "2026-11-18", "total": 12})
    account = service.referrer().post("/intake/referrals", body).json()
    assert [f["rule"] for f in account["findings"]] == ["madrs-s-item-9"]
    (rating,) = service.all_of(account["service_request"], "Observation")
    assert rating["valueQuantity"]["value"] == 12
    undated = plain(
        referrer={"unit": UNIT, "reference": "P-2"},
        patient={"identifier": "200302022389"},
        madrs_s={"items": [2, 2, 2, 1, 1, 2, 1, 1, 0]},
    )
    account = service.referrer().post("/intake/referrals", undated).json()
    assert [f["rule"] for f in account["findings"]] == ["madrs-s-age"]


def test_every_field_error_is_told_at_once_as_problem_json(service: Service) -> None:
    body = {
        "channel": "fax",
        "received": "2026-11-24",
        "referrer": {"unit": "x", "fax": "1"},
        "patient": {"identifier": "199002222398"},
        "programme": "gambling",
        "diagnoses": ["F32.1", "inte en kod"],
        "madrs_s": {"items": [1, 2, 9]},
        "answers": {"motivated": "ja", "shoe-size": 43},
        "surprise": 1,
    }
    answer = service.referrer().post("/intake/referrals", body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    told = answer.json()
    assert told["status"] == 422
    assert {e["field"] for e in told["errors"]} == {
        "channel",
        "received",
        "referrer.unit",
        "referrer.fax",
        "patient.identifier",
        "programme",
        "diagnoses[1]",
        "madrs_s.items[2]",
        "answers.motivated",
        "answers.shoe-size",
        "surprise",
    }
    assert all(e["text"] and e["detail"] for e in told["errors"])
    assert service.count("ServiceRequest") == 0


@pytest.mark.parametrize("written", [b"12", b"12.0", b"1.2e1", b"12.000"])
def test_a_total_is_a_whole_number_however_it_is_written(service: Service, written: bytes) -> None:
    body = dump(plain(madrs_s={"date": "2026-11-18", "total": 7777})).encode().replace(b"7777", written)
    answer = service.referrer().post("/intake/referrals", body)
    assert answer.status_code == 201, answer.text
    (rating,) = service.all_of(answer.json()["service_request"], "Observation")
    assert rating["valueQuantity"]["value"] == 12


@pytest.mark.parametrize("written", [b"12.5", b"1e300", b'"12"', b"true", b"55", b"-1", b"null"])
def test_a_total_that_is_no_whole_number_of_the_scale_is_a_field_error(service: Service, written: bytes) -> None:
    body = dump(plain(madrs_s={"date": "2026-11-18", "total": 7777})).encode().replace(b"7777", written)
    answer = service.referrer().post("/intake/referrals", body)
    assert answer.status_code == 422, answer.text
    assert {e["field"] for e in answer.json()["errors"]} == {"madrs_s.total"}


@pytest.mark.parametrize(
    "identifier", ["19900222²397", "1990022²2397", "", "19900222-2397x", "１９９００２２２２３９７", "AB", 7, None, []]
)
def test_an_identifier_that_is_none_is_a_field_error(service: Service, identifier: Any) -> None:
    answer = service.referrer().post("/intake/referrals", {**plain(), "patient": {"identifier": identifier}})
    assert answer.status_code == 422, answer.text
    assert {e["field"] for e in answer.json()["errors"]} == {"patient.identifier"}


@pytest.mark.parametrize(
    "name", ["channel", "received", "referrer", "patient", "programme", "diagnoses", "madrs_s", "answers"]
)
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [[]], {"a": {}}])
def test_a_field_of_another_shape_is_a_field_error_and_never_a_crash(service: Service, name: str, value: Any) -> None:
    answer = service.referrer().post("/intake/referrals", {**plain(), name: value})
    assert answer.status_code in (201, 422), answer.text
    if answer.status_code == 422:
        assert all(str(e["field"]).startswith(name) for e in answer.json()["errors"]), answer.text


def test_a_samordningsnummer_and_a_reservnummer_are_told_apart(service: Service) -> None:
    for number, (identifier, kind) in enumerate(
        (("196109732393", "samordningsnummer"), ("98240301AA06", "nationelltReservnummer"))
    ):
        body = plain(patient={"identifier": identifier}, referrer={"unit": UNIT, "reference": f"P-{number}"})
        account = service.referrer().post("/intake/referrals", body).json()
        person = service.administrator.read(task_of(service, account["service_request"])["for"]["reference"])
        assert person["identifier"][0]["system"].endswith(kind)


def test_a_referral_for_another_unit_is_forbidden(service: Service) -> None:
    assert service.referrer(OTHER_UNIT).post("/intake/referrals", plain()).status_code == 403
