"""`QuestionnaireResponse/$extract`: a response to one of our forms as Observations, as SDC says (contract 2)."""

from collections.abc import Callable

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.web.caller import S, Sluss, content, issues

Rows = Callable[[], dict[str, int]]
EXTRACT = "/fhir/QuestionnaireResponse/$extract"
PATIENT = {"reference": "Patient/7"}
AUTHORED = "2026-11-18T19:42:11+01:00"


def madrs_s(*scores: int, **changes: object) -> Json:
    items = [{"linkId": f"item-{n}", "answer": [{"valueInteger": score}]} for n, score in enumerate(scores, 1)]
    return response("madrs-s", items, **changes)


def response(form: str, items: list[Json], **changes: object) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "12",
        "questionnaire": f"{S}/Questionnaire/{form}|1.0.0",
        "status": "completed",
        "subject": PATIENT,
        "authored": AUTHORED,
        "author": {"reference": "PractitionerRole/3"},
        "item": items,
        **changes,
    }


def extracted(answer: Json) -> list[Json]:
    assert answer["resourceType"] == "Bundle"
    assert answer["type"] == "transaction"
    assert validate(answer) == []
    for entry in answer["entry"]:
        assert entry["request"] == {"method": "POST", "url": "Observation"}
        assert entry["fullUrl"].startswith("urn:uuid:")
    return [entry["resource"] for entry in answer["entry"]]


NINE = (2, 3, 3, 1, 3, 3, 2, 3, 1)


def test_madrs_s_becomes_one_observation_with_a_component_for_each_question(sluss: Sluss, rows: Rows) -> None:
    before = rows()
    (observation,) = extracted(content(sluss.post(EXTRACT, madrs_s(*NINE))))
    assert observation["status"] == "final"
    assert observation["code"]["coding"] == [{"system": f"{S}/CodeSystem/madrs-s", "code": "total"}]
    assert observation["category"][0]["coding"][0]["code"] == "survey"
    assert observation["valueQuantity"]["value"] == sum(NINE)
    assert [c["valueInteger"] for c in observation["component"]] == list(NINE)
    assert observation["subject"] == PATIENT
    assert observation["effectiveDateTime"] == observation["issued"] == AUTHORED
    assert observation["derivedFrom"] == [{"reference": "QuestionnaireResponse/12"}]
    assert "performer" not in observation, "a computed total has none"
    assert rows() == before


def test_it_is_the_observation_that_a_referral_with_the_same_answers_gets(sluss: Sluss) -> None:
    sluss.refer()
    forms = sluss.search("QuestionnaireResponse")
    (stored,) = [form for form in forms if form["questionnaire"].split("|")[0] == f"{S}/Questionnaire/madrs-s"]
    origin = [{"reference": f"QuestionnaireResponse/{stored['id']}"}]
    (made,) = [each for each in sluss.search("Observation") if each.get("derivedFrom") == origin]
    (observation,) = extracted(content(sluss.post(EXTRACT, stored)))
    for name in ("code", "category", "subject", "effectiveDateTime", "valueQuantity", "component", "derivedFrom"):
        assert observation.get(name) == made.get(name), name


def test_the_referral_form_becomes_an_observation_for_each_answer(sluss: Sluss) -> None:
    low = {"system": f"{S}/CodeSystem/ikbt-referral-answer", "code": "low"}
    items: list[Json] = [
        {"linkId": "motivated", "answer": [{"valueBoolean": True}]},
        {"linkId": "suicide-risk", "answer": [{"valueCoding": low}]},
        {"linkId": "internet-access"},
    ]
    motivated, risk = extracted(content(sluss.post(EXTRACT, response("ikbt-referral", items))))
    question = f"{S}/CodeSystem/ikbt-referral-question"
    assert motivated["code"]["coding"] == [{"system": question, "code": "motivated"}]
    assert motivated["valueBoolean"] is True
    assert risk["valueCodeableConcept"] == {"coding": [low]}
    for each in (motivated, risk):
        assert each["category"][0]["coding"][0]["code"] == "survey"
        assert each["performer"] == [{"reference": "PractitionerRole/3"}]
        assert each["derivedFrom"] == [{"reference": "QuestionnaireResponse/12"}]
        assert each["effectiveDateTime"] == AUTHORED


def test_the_response_may_stand_in_parameters(sluss: Sluss) -> None:
    named = {"name": "questionnaire-response", "resource": madrs_s(*NINE)}
    answer = sluss.post(EXTRACT, {"resourceType": "Parameters", "parameter": [named]})
    assert len(extracted(content(answer))) == 1
    refused = sluss.post(EXTRACT, {"resourceType": "Parameters", "parameter": []})
    assert refused.status_code == 400


def test_one_that_is_stored_is_extracted_at_its_own_address(sluss: Sluss, rows: Rows) -> None:
    sluss.refer()
    before = rows()
    for stored in sluss.search("QuestionnaireResponse"):
        address = f"/fhir/QuestionnaireResponse/{stored['id']}/$extract"
        as_sent = extracted(content(sluss.post(EXTRACT, stored)))
        empty = {"resourceType": "Parameters"}
        for answer in (sluss.get(address), sluss.call("POST", address), sluss.post(address, empty)):
            assert answer.status_code == 200
            assert extracted(content(answer)) == as_sent
    assert rows() == before


def test_what_one_may_not_see_is_not_there_to_extract(sluss: Sluss) -> None:
    sluss.refer()
    (stored, *_) = sluss.search("QuestionnaireResponse")
    other = sluss.acting("therapist norra-halsingland")
    for id_ in (stored["id"], "nothing"):
        answer = other.get(f"/fhir/QuestionnaireResponse/{id_}/$extract")
        assert answer.status_code == 404
        assert [issue["code"] for issue in issues(answer)] == ["not-found"]


def test_another_response_than_the_one_at_the_address_is_refused(sluss: Sluss) -> None:
    sluss.refer()
    (stored, *_) = sluss.search("QuestionnaireResponse")
    address = f"/fhir/QuestionnaireResponse/{stored['id']}/$extract"
    named = {"name": "questionnaire-response", "resource": madrs_s(*NINE)}
    for sent in ({"resourceType": "Parameters", "parameter": [named]}, madrs_s(*NINE)):
        answer = sluss.post(address, sent)
        assert answer.status_code == 400
        assert [issue["code"] for issue in issues(answer)] == ["invalid"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (madrs_s(*NINE, status="in-progress"), "only completed and amended count"),
        (response("ikbt-referral", [{"linkId": "motivated"}]), "nothing is answered"),
    ],
)
def test_where_there_is_nothing_to_extract_the_reason_is_told(sluss: Sluss, given: Json, words: str) -> None:
    answer = sluss.post(EXTRACT, given)
    assert answer.status_code == 200
    told = content(answer)
    assert validate(told) == []
    (issues_,) = told["parameter"]
    assert issues_["name"] == "issues"
    assert words in issues_["resource"]["issue"][0]["diagnostics"]


def test_what_is_contained_in_the_response_is_not_referred_to_from_outside(sluss: Sluss) -> None:
    inside = {"resourceType": "Patient", "id": "p", "active": True}
    told = content(sluss.post(EXTRACT, madrs_s(*NINE, contained=[inside], subject={"reference": "#p"})))
    assert validate(told) == []
    returned, outcome = told["parameter"]
    (observation,) = extracted(returned["resource"])
    assert "subject" not in observation
    assert outcome["resource"]["issue"][0]["expression"] == ["QuestionnaireResponse.subject"]


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (madrs_s(*NINE[:8]), 422, "required"),
        (madrs_s(*NINE[:8], 7), 422, "value"),
        (madrs_s(*NINE, questionnaire="http://example.org/Questionnaire/phq-9"), 422, "not-supported"),
        (madrs_s(*NINE, nonsense=1), 400, "structure"),
        ({"resourceType": "Observation"}, 400, "invalid"),
    ],
)
def test_what_cannot_be_extracted_is_refused_and_not_called_a_referral(
    sluss: Sluss, given: Json, status: int, code: str
) -> None:
    answer = sluss.post(EXTRACT, given)
    assert answer.status_code == status
    assert code in [issue["code"] for issue in issues(answer)]
    assert "suicid" not in answer.text
