"""`ServiceRequest/$assess`: the verdict beforehand, nothing stored, nothing told of others (contract 2)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time
from re import search
from zoneinfo import ZoneInfo

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.app import create_app
from service.referral.house import House
from service.settings import Settings
from tests.web.caller import UNIT, Sluss, bundle, content, issues, places, single, text_of
from tests.web.cases import Case, cases

Rows = Callable[[], dict[str, int]]
OTHER = "SE2321000198-EX02"
ASSESS = "/fhir/ServiceRequest/$assess"


def _parameters(resource: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "referral", "resource": resource}]}


def _verdict(told: Json) -> str:
    return str(next(p["valueCode"] for p in told["parameter"] if p["name"] == "verdict"))


def _findings(told: Json) -> set[tuple[str, str]]:
    found = set()
    for parameter in told["parameter"]:
        if parameter["name"] == "finding":
            parts = {part["name"]: part for part in parameter["part"]}
            found.add((parts["rule"]["valueCoding"]["code"], parts["verdict"]["valueCode"]))
    return found


def _route(told: Json) -> dict[str, Json]:
    (route,) = [p for p in told["parameter"] if p["name"] == "route"]
    return {part["name"]: part for part in route["part"]}


@pytest.mark.parametrize("sent", [bundle(), single(), _parameters(bundle()), _parameters(single())])
def test_it_takes_a_bundle_a_referral_or_parameters_and_stores_nothing(sluss: Sluss, rows: Rows, sent: Json) -> None:
    before = rows()
    answer = sluss.post(ASSESS, sent)
    assert answer.status_code == 200
    told = content(answer)
    assert told["resourceType"] == "Parameters"
    assert validate(told) == []
    assert [p["name"] for p in told["parameter"]].count("verdict") == 1
    assert _findings(told)
    assert _route(told)["team"]["valueReference"]["reference"] == "HealthcareService/gavle"
    assert rows() == before


@pytest.mark.parametrize(
    "sent",
    [
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": [{"name": "referral", "valueString": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "other", "resource": single()}]},
        {"resourceType": "Parameters", "parameter": [{"name": "referral", "resource": single()}] * 2},
        _parameters({"resourceType": "Patient"}),
        {"resourceType": "Patient"},
    ],
)
def test_anything_else_is_400_that_says_what_it_takes(sluss: Sluss, sent: Json) -> None:
    answer = sluss.post(ASSESS, sent)
    assert answer.status_code == 400
    assert any("ServiceRequest" in issue["diagnostics"] for issue in issues(answer))


def test_it_refuses_what_a_real_referral_would_be_refused_for(sluss: Sluss) -> None:
    for sent, status in ((single(status="draft"), 422), (single(status="nonsense"), 400)):
        real, dry = sluss.post("/fhir/ServiceRequest", sent), sluss.post(ASSESS, sent)
        assert (real.status_code, dry.status_code) == (status, status)
        assert places(real) == places(dry)
        assert sluss.post(ASSESS, _parameters(sent)).status_code == status


def test_it_is_asked_with_post_only(sluss: Sluss) -> None:
    assert sluss.get(ASSESS).status_code in (404, 405)


def test_it_tells_nothing_of_another_units_referral(sluss: Sluss) -> None:
    other = {"type": "Organization", "identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": OTHER}}
    asking = sluss.acting(f"referrer {UNIT}")
    before = asking.post(ASSESS, single("R-9")).text
    assert sluss.post("/fhir/ServiceRequest", single("R-1", requester=other)).status_code == 201
    assert asking.post(ASSESS, single("R-9")).text == before


def test_it_does_not_tell_one_unit_of_anothers_referral_when_it_asks_in_the_others_name(sluss: Sluss) -> None:
    stranger = sluss.acting(f"referrer {OTHER}")
    before = stranger.post(ASSESS, single("R-9")).text
    assert sluss.acting(f"referrer {UNIT}").post("/fhir/ServiceRequest", single("R-1")).status_code == 201
    assert stranger.post(ASSESS, single("R-9")).text == before


def test_it_does_tell_of_ones_own_open_referral(sluss: Sluss) -> None:
    own = sluss.acting(f"referrer {UNIT}")
    assert own.post("/fhir/ServiceRequest", single("R-1")).status_code == 201
    assert ("open-referral", "review") in _findings(content(own.post(ASSESS, single("R-2"))))
    assert "open-referral" not in text_of(content(own.post(ASSESS, single("R-1"))))


def test_it_uses_nobody_elses_patients_and_evidence(sluss: Sluss) -> None:
    order = sluss.refer()["order"]
    stolen = single("R-9", subject=order["subject"], supportingInfo=order["supportingInfo"])
    answer = sluss.acting(f"referrer {OTHER}").post(ASSESS, stolen)
    assert answer.status_code == 422
    assert "199002222397" not in answer.text


def _taken() -> list[Case]:
    return [case for case in cases(pack="gavleborg") if case.way != "plain" and case.expected["status"] < 300]


def test_for_every_case_it_gives_the_verdict_that_the_real_referral_then_gets(house: House) -> None:
    """Each case against the same database; earlier cases' referrals of a patient must not change later ones, so that
    finding alone is left out.
    """
    assert len(_taken()) >= 50
    noon = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("Europe/Stockholm"))
    sluss = Sluss(create_app(Settings(), replace(house, clock=lambda: noon)))
    for case in _taken():
        noon = datetime.combine(date.fromisoformat(case.today), time(12), noon.tzinfo)
        asked = sluss.post(ASSESS, case.body)
        assert asked.status_code == 200, (case.name, asked.text)
        dry = content(asked)
        real = sluss.post(case.path, case.body, {"Prefer": "return=OperationOutcome"})
        if real.status_code == 409:  # two cases with one number
            continue
        assert real.status_code in (200, 201), (case.name, real.text)
        task = sluss.read(_task_in(real.text))
        rules = {
            c["code"]
            for item in task.get("input", ())
            for c in item.get("valueCodeableConcept", {}).get("coding", ())
            if c["system"].endswith("/eligibility-rule")
        }
        told = {rule for rule, _ in _findings(dry)}
        assert told - {"open-referral"} == rules - {"open-referral"}, case.name
        assert _route(dry)["team"]["valueReference"]["reference"] == task["owner"]["reference"], case.name
        if "open-referral" not in rules:
            assert _verdict(dry) == real.headers["Sluss-Verdict"], case.name
        assert ("alert" in {p["name"] for p in dry["parameter"]}) == ("Sluss-Alert" in real.headers), case.name


def _task_in(text: str) -> str:
    found = search(r"task: (Task/[0-9a-f-]+)", text)
    assert found
    return found[1]
