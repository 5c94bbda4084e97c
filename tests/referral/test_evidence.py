"""What a referral rests on, read from what came with it (contract 3)."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.issues import is_error
from fhir_mappings.records import FormAnswers, Json, MadrsS, StartCall
from service.referral.evidence import Evidence, gather, risk_evidence
from tests.fhir_mappings.examples import CANONICAL, S, any_json, service_request, where, with_type
from tests.referral.examples import referral

CALM = (2, 2, 2, 1, 1, 2, 1, 1, 0)


@dataclass(frozen=True)
class Sent:
    resource: Json
    source: str | None = None
    expression: str = "Bundle.entry[1].resource"


def response(items: tuple[int, ...] = CALM, **changes: object) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/madrs-s",
        "status": "completed",
        "authored": "2026-11-18",
        "item": [{"linkId": f"item-{n}", "answer": [{"valueInteger": v}]} for n, v in enumerate(items, 1)],
        **changes,
    }


def observation(total: int, **changes: object) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": f"{S}/CodeSystem/madrs-s", "code": "total"}]},
        "effectiveDateTime": "2026-11-19",
        "valueInteger": total,
        **changes,
    }


def form(risk: str, **changes: object) -> Json:
    coding = {"system": f"{S}/CodeSystem/ikbt-referral-answer", "code": risk}
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/ikbt-referral",
        "status": "completed",
        "item": [{"linkId": "suicide-risk", "answer": [{"valueCoding": coding}]}],
        **changes,
    }


def condition(code: str, **changes: object) -> Json:
    return {
        "resourceType": "Condition",
        "code": {"coding": [{"system": "https://www.icd10.se/", "code": code}]},
        "subject": {"reference": "Patient/p1"},
        **changes,
    }


def appointment(status: str = "booked", **changes: object) -> Json:
    return {"resourceType": "Appointment", "status": status, "start": "2026-12-01T09:00:00+01:00", **changes}


def found(*sent: Sent, **order: object) -> Evidence:
    return gather(Sent(service_request(**order), expression="ServiceRequest"), sent, CANONICAL)


def test_a_referral_without_evidence_rests_on_its_own_diagnosis() -> None:
    assert found() == Evidence(diagnoses=("F32.1",))


def test_every_rating_counts_as_response_and_as_observation() -> None:
    evidence = found(Sent(response(), "urn:uuid:1"), Sent(observation(20), "urn:uuid:2"))
    assert [(rating.total, rating.source, rating.from_response) for rating in evidence.madrs_s] == [
        (12, "urn:uuid:1", True),
        (20, "urn:uuid:2", False),
    ]
    assert evidence.issues == ()


def test_an_observation_of_a_response_that_is_here_too_is_the_same_rating() -> None:
    derived = observation(12, derivedFrom=[{"reference": "urn:uuid:1"}])
    assert len(found(Sent(response(), "urn:uuid:1"), Sent(derived)).madrs_s) == 1
    elsewhere = observation(12, derivedFrom=[{"reference": "QuestionnaireResponse/gone"}])
    assert len(found(Sent(response(), "urn:uuid:1"), Sent(elsewhere)).madrs_s) == 2
    of_another_form = observation(12, derivedFrom=[{"reference": "#f"}])
    assert len(found(Sent(form("low"), "#f"), Sent(of_another_form)).madrs_s) == 1


def test_forms_conditions_and_a_booked_call_are_read() -> None:
    evidence = found(Sent(form("low"), "#f"), Sent(condition("F411")), Sent(appointment(), "urn:uuid:3"))
    assert evidence.forms == (FormAnswers({"suicide-risk": "low"}, None, "#f"),)
    assert evidence.diagnoses == ("F32.1", "F41.1")
    assert evidence.start_call == StartCall("2026-12-01T09:00:00+01:00", None, "urn:uuid:3")


@pytest.mark.parametrize("status", ["entered-in-error", "in-progress", "stopped"])
def test_an_unfinished_or_mistaken_response_does_not_count_and_that_is_said(status: str) -> None:
    for sent in (response(status=status), form("elevated", status=status)):
        evidence = found(Sent(sent))
        assert evidence.madrs_s == ()
        assert evidence.forms == ()
        assert [is_error(issue) for issue in evidence.issues] == [False]


def test_a_mistaken_observation_and_a_refuted_condition_do_not_count_and_that_is_said() -> None:
    status = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]}
    evidence = found(
        Sent(observation(20, status="entered-in-error")), Sent(condition("F41.1", verificationStatus=status))
    )
    assert evidence.madrs_s == ()
    assert evidence.diagnoses == ("F32.1",)
    assert [is_error(issue) for issue in evidence.issues] == [False, False]


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "noshow", "fulfilled"])
def test_a_call_that_does_not_stand_is_not_booked_and_that_is_said(status: str) -> None:
    evidence = found(Sent(appointment(status)))
    assert evidence.start_call is None
    assert where(list(evidence.issues)) == [("informational", "Bundle.entry[1].resource.status")]


def test_the_first_call_that_stands_and_has_a_time_counts() -> None:
    later = appointment(start="2026-12-02T09:00:00+01:00", end="2026-12-02T09:30:00+01:00")
    evidence = found(Sent(appointment("cancelled")), Sent({**appointment(), "start": None}), Sent(later))
    assert evidence.start_call == StartCall("2026-12-02T09:00:00+01:00", "2026-12-02T09:30:00+01:00")


def test_a_rating_that_contradicts_itself_is_an_error_where_it_stands() -> None:
    evidence = found(Sent(response((7, 0, 0, 0, 0, 0, 0, 0, 0)), expression="Bundle.entry[4].resource"))
    assert any(is_error(i) and (i.expression or "").startswith("Bundle.entry[4].resource") for i in evidence.issues)


def test_other_resources_say_nothing() -> None:
    other = {"resourceType": "Observation", "status": "final", "code": {"text": "Blodtryck"}}
    assert found(Sent(other), Sent({"resourceType": "QuestionnaireResponse", "status": "completed"})) == found()


@given(st.sampled_from(["Observation", "QuestionnaireResponse", "Condition", "Appointment"]), any_json)
def test_nothing_that_is_sent_can_raise(type_: str, body: Json) -> None:
    gather(Sent(with_type(body, "ServiceRequest")), [Sent(with_type(body, type_))], CANONICAL)


def test_each_alerting_piece_of_evidence_has_a_key_of_its_own() -> None:
    sent = referral(
        madrs_s=(
            MadrsS(16, (*CALM[:8], 4), "2026-11-18", source="Observation/1"),
            MadrsS(12, CALM, source="Observation/2"),
            MadrsS(40, None, source="Observation/3"),
        ),
        forms=(
            FormAnswers({"suicide-risk": "elevated"}, source="#f"),
            FormAnswers({"suicide-risk": "unknown"}, source="#g"),
        ),
    )
    assert risk_evidence(sent, 4) == ("Observation/1#item-9=4@2026-11-18", "#f#suicide-risk=elevated@undated")


def test_an_unchanged_piece_keeps_its_key_and_a_graver_answer_is_a_new_one() -> None:
    def keys(item_9: int) -> tuple[str, ...]:
        return risk_evidence(referral(madrs_s=(MadrsS(12 + item_9, (*CALM[:8], item_9), source="#m"),)), 4)

    assert keys(4) == keys(4)
    assert keys(5) != keys(4)
    assert keys(3) == ()
