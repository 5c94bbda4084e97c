"""The same referral sent again, other content under the same number, and If-None-Exist (contract 3)."""

import threading
from copy import deepcopy

import pytest
import requests

from fhir_mappings.records import Json
from tests.journeys.conftest import Service, exact
from tests.journeys.referrals import (
    ADULT,
    FORM,
    HSA,
    MADRS,
    ORDER,
    ORGANISATION,
    OTHER_UNIT,
    PATIENT,
    PERSONNUMMER,
    PLACER,
    SECOND_ADULT,
    UNIT,
    alone,
    located,
    madrs_s,
    plain,
    referral,
)
from tests.journeys.steps import findings_of, issues_of, messages, refer, task_of, tasks_of


def verdict_headers(answer: requests.Response) -> dict[str, str | None]:
    return {name: answer.headers.get(name) for name in ("Sluss-Verdict", "Sluss-Alert")}


def test_the_same_bundle_again_points_at_what_is_stored_entry_by_entry(service: Service) -> None:
    sent = referral(answers={"suicide_risk": "elevated"})
    first = service.referrer().post("/fhir", sent)
    again = service.referrer().post("/fhir", sent)
    assert again.status_code == 200
    assert [located(e) for e in again.json()["entry"]] == [located(e) for e in first.json()["entry"]]
    assert {e["response"]["status"] for e in again.json()["entry"]} == {"200 OK"}
    assert (
        verdict_headers(again) == verdict_headers(first) == {"Sluss-Verdict": "return", "Sluss-Alert": "suicide-risk"}
    )
    order = located(first.json()["entry"][-1])
    assert len(messages(service, order)) == 2
    assert [service.count(t) for t in ("ServiceRequest", "QuestionnaireResponse", "Patient")] == [1, 2, 1]


def test_each_entry_of_an_answer_is_the_resource_of_the_same_position(service: Service) -> None:
    sent = referral()
    answer = service.referrer().post("/fhir", sent)
    for item, told in zip(sent["entry"], answer.json()["entry"], strict=True):
        stored = service.administrator.read(located(told))
        assert stored["resourceType"] == item["resource"]["resourceType"]
        assert told["response"]["etag"] == f'W/"{stored["meta"]["versionId"]}"'


def test_a_replay_tells_the_same_outcome(service: Service) -> None:
    sent = referral(answers={"motivated": False, "computer_habit": None})
    first = service.referrer().post("/fhir", sent).json()["entry"][-1]["response"]["outcome"]
    again = service.referrer().post("/fhir", sent).json()["entry"][-1]["response"]["outcome"]
    assert again == first


def test_a_replay_still_tells_of_the_referrers_own_open_referral(service: Service) -> None:
    refer(service, referral("R-1"))
    sent = referral("R-2")
    first = service.referrer().post("/fhir", sent).json()["entry"][-1]["response"]["outcome"]
    assert "open-referral" in str(first)
    assert service.referrer().post("/fhir", sent).json()["entry"][-1]["response"]["outcome"] == first


def test_the_same_order_alone_again_answers_200_with_the_stored_one(service: Service) -> None:
    first = service.referrer().post("/fhir/ServiceRequest", alone())
    again = service.referrer().post("/fhir/ServiceRequest", alone())
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] == first.headers["ETag"]
    assert verdict_headers(again) == verdict_headers(first)


def test_ids_meta_and_full_urls_do_not_make_content_different(service: Service) -> None:
    order = refer(service, referral())
    sent = referral()
    text = str(sent)
    for position, item in enumerate(sent["entry"]):
        item["resource"]["id"] = f"local-{position}"
        item["resource"]["meta"] = {"versionId": "7", "tag": [{"system": "https://ehr.example/t", "code": "x"}]}
    assert str(sent) != text
    renamed = _renamed(sent)
    answer = service.referrer().post("/fhir", renamed)
    assert answer.status_code == 200, answer.text
    assert located(answer.json()["entry"][-1]) == order
    assert service.count("ServiceRequest") == 1


@pytest.mark.parametrize("change", ["note", "decimal", "order of entries", "evidence"])
def test_other_content_under_the_same_number_is_a_conflict_that_names_the_stored_one(
    service: Service, change: str
) -> None:
    order = refer(service, referral(extension=[_weight("1.0")]))
    other = referral(extension=[_weight("1.0")])
    match change:
        case "note":
            other["entry"][-1]["resource"]["note"] = [{"text": "Nås bäst efter 15"}]
        case "decimal":
            other["entry"][-1]["resource"]["extension"] = [_weight("1.00")]
        case "order of entries":
            other["entry"].reverse()
        case "evidence":
            other["entry"][3]["resource"] = madrs_s((3, 3, 3, 1, 1, 2, 1, 1, 0))
    answer = service.referrer().post("/fhir", other)
    assert answer.status_code == 409
    assert answer.headers["Location"].endswith(f"/fhir/{order}")
    assert order in answer.text
    assert "PUT" in answer.text
    assert service.administrator.read(order)["meta"]["versionId"] == "1"


def test_two_organisations_may_use_the_same_number(service: Service) -> None:
    mine = refer(service, referral())
    theirs = refer(service, referral(unit=OTHER_UNIT, identity=SECOND_ADULT), OTHER_UNIT)
    assert mine != theirs


def test_a_replay_is_answered_from_what_was_first_received_even_after_an_amendment(service: Service) -> None:
    order = refer(service, referral())
    current = service.referrer().read(order)
    assert service.referrer().put(order, {**current, "note": [{"text": "Nås bäst efter 15"}]}).status_code == 200
    again = service.referrer().post("/fhir", referral())
    assert again.status_code == 200
    assert again.json()["entry"][-1]["response"]["etag"] == 'W/"2"'


def test_if_none_exist_finds_the_referral_that_is_here(service: Service) -> None:
    first = service.referrer().post("/fhir/ServiceRequest", alone())
    condition = {"If-None-Exist": f"identifier={PLACER}|R-1"}
    other = alone(note=[{"text": "Ny anteckning"}])
    again = service.referrer().post("/fhir/ServiceRequest", other, condition)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert (
        service.referrer().post("/fhir/ServiceRequest", alone("R-2"), {"If-None-Exist": "identifier=x|y"}).status_code
        == 201
    )


def test_if_none_exist_matches_within_the_callers_organisation_only(service: Service) -> None:
    refer(service, referral(unit=OTHER_UNIT), OTHER_UNIT)
    answer = service.referrer().post("/fhir/ServiceRequest", alone(), {"If-None-Exist": f"identifier={PLACER}|R-1"})
    assert answer.status_code == 201


def test_if_none_exist_that_matches_several_is_412(service: Service) -> None:
    refer(service, referral("R-1"))
    refer(service, referral("R-2"))
    answer = service.referrer().post("/fhir/ServiceRequest", alone("R-3"), {"If-None-Exist": "status=active"})
    assert answer.status_code == 412
    assert service.count("ServiceRequest") == 2


@pytest.mark.parametrize("condition", ["no-such=1", "", "identifier"])
def test_if_none_exist_that_is_no_search_is_400(service: Service, condition: str) -> None:
    sent = referral()
    sent["entry"][0]["request"]["ifNoneExist"] = condition or " "
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 400, answer.text
    assert service.count("Patient") == 0


def test_if_none_exist_in_an_entry_uses_the_patient_that_is_stored(service: Service) -> None:
    known = task_of(service, refer(service, referral()))["for"]["reference"]
    sent = referral("R-2")
    sent["entry"][0]["request"]["ifNoneExist"] = f"identifier={PERSONNUMMER}|{ADULT}"
    sent["entry"][0]["resource"]["name"] = [{"text": "Ett annat namn"}]
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    entry = answer.json()["entry"][0]["response"]
    assert entry["status"] == "200 OK"
    assert entry["location"].startswith(known)
    # R4: an entry that matches is ignored, so what is stored stands
    assert service.administrator.read(known)["name"] == [{"text": "Test Testsson"}]
    assert service.administrator.read(located(answer.json()["entry"][-1]))["subject"] == {"reference": known}


def test_if_none_exist_of_a_patient_looks_at_the_callers_own_patients_only(service: Service) -> None:
    theirs = task_of(service, refer(service, referral(unit=OTHER_UNIT), OTHER_UNIT))["for"]["reference"]
    sent = referral()
    sent["entry"][0]["request"]["ifNoneExist"] = f"identifier={PERSONNUMMER}|{ADULT}"
    answer = service.referrer().post("/fhir", sent)
    assert answer.json()["entry"][0]["response"]["status"] == "201 Created"
    assert located(answer.json()["entry"][0]) != theirs


def test_if_none_exist_of_an_organisation_finds_the_one_with_its_hsa_id(service: Service) -> None:
    sent = referral()
    sent["entry"][1]["request"]["ifNoneExist"] = f"identifier={HSA}|{UNIT}"
    answer = service.referrer().post("/fhir", sent)
    entry = answer.json()["entry"][1]["response"]
    assert entry["status"] == "200 OK"
    (known,) = service.administrator.search("Organization", identifier=f"{HSA}|{UNIT}")
    assert entry["location"].startswith(f"Organization/{known['id']}")


def test_if_none_exist_of_evidence_uses_what_is_stored_and_what_is_stored_decides(service: Service) -> None:
    key = {"system": "https://ehr.example/response", "value": "M-1"}
    first = referral(items=(2, 2, 2, 1, 1, 2, 1, 1, 0))
    first["entry"][3]["resource"]["identifier"] = key
    stored = located(service.referrer().post("/fhir", first).json()["entry"][3])
    sent = referral("R-2", items=(6, 6, 6, 6, 6, 6, 6, 6, 0))
    sent["entry"][3]["resource"]["identifier"] = key
    sent["entry"][3]["request"]["ifNoneExist"] = f"identifier={key['system']}|{key['value']}"
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    assert located(answer.json()["entry"][3]) == stored
    order = located(answer.json()["entry"][-1])
    assert "madrs-s-maximum" not in findings_of(task_of(service, order))
    assert {"reference": stored} in service.administrator.read(order)["supportingInfo"]
    again = service.referrer().post("/fhir", sent)
    assert [located(e) for e in again.json()["entry"]] == [located(e) for e in answer.json()["entry"]]


def test_evidence_that_is_here_already_is_not_stored_twice(service: Service) -> None:
    order = refer(service, referral())
    key = {"system": "https://ehr.example/response", "value": "M-1"}
    rating = madrs_s(subject=task_of(service, order)["for"], basedOn=[{"reference": order}], identifier=key)
    condition = {"If-None-Exist": f"identifier={key['system']}|{key['value']}"}
    first = service.referrer().post("/fhir/QuestionnaireResponse", rating, condition)
    again = service.referrer().post("/fhir/QuestionnaireResponse", rating, condition)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert service.count("QuestionnaireResponse") == 3


def test_a_bundle_whose_order_exists_is_answered_entry_by_entry(service: Service) -> None:
    sent = referral()
    sent["entry"][-1]["request"]["ifNoneExist"] = f"identifier={PLACER}|R-1"
    first = service.referrer().post("/fhir", sent)
    again = service.referrer().post("/fhir", sent)
    assert [located(e) for e in again.json()["entry"]] == [located(e) for e in first.json()["entry"]]


def test_new_evidence_beside_an_order_that_exists_is_never_dropped_in_silence(service: Service) -> None:
    order = refer(service, referral())
    sent = referral(items=(2, 2, 2, 1, 1, 2, 1, 1, 6))
    sent["entry"][-1]["request"]["ifNoneExist"] = f"identifier={PLACER}|R-1"
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 409
    assert order in answer.headers["Location"]
    assert "INTE" in answer.json()["issue"][0]["details"]["text"]


def test_two_identical_posts_at_the_same_moment_make_one_referral(service: Service) -> None:
    answers = _at_once(service, [referral()] * 6)
    assert {a.status_code for a in answers} == {200}, [a.text for a in answers if a.status_code != 200]
    assert len({located(a.json()["entry"][-1]) for a in answers}) == 1
    assert len({str([located(e) for e in a.json()["entry"]]) for a in answers}) == 1
    order = located(answers[0].json()["entry"][-1])
    assert len(tasks_of(service, order, "fulfill")) == 1
    assert len(messages(service, order)) == 1


def test_of_two_referrals_of_one_patient_at_the_same_moment_one_sees_the_other(service: Service) -> None:
    answers = _at_once(service, [referral(f"R-{n}") for n in range(4)])
    verdicts = sorted(a.headers["Sluss-Verdict"] for a in answers)
    assert verdicts == ["eligible", "review", "review", "review"]
    assert service.count("Patient") == 1


def test_two_organisations_at_the_same_moment_have_a_patient_each_and_one_is_told_to_the_team(service: Service) -> None:
    mine, theirs = _at_once(service, [referral(), referral(unit=OTHER_UNIT)], callers=[UNIT, OTHER_UNIT])
    assert {mine.status_code, theirs.status_code} == {200}
    assert service.count("Patient") == 2
    verdicts = sorted([mine.headers["Sluss-Verdict"], theirs.headers["Sluss-Verdict"]])
    assert verdicts == ["eligible", "review"]


def test_plain_json_again_answers_200_with_the_same_account(service: Service) -> None:
    first = service.referrer().post("/intake/referrals", plain())
    again = service.referrer().post("/intake/referrals", plain())
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = service.referrer().post("/intake/referrals", plain(other="Nås bäst efter 15"))
    assert other.status_code == 409
    assert other.headers["Content-Type"].startswith("application/problem+json")
    assert first.json()["service_request"] in other.headers["Location"]


def _at_once(service: Service, bundles: list[Json], callers: list[str] | None = None) -> list[requests.Response]:
    """The answers to Bundles that are sent at the same moment, in their order."""
    gate = threading.Barrier(len(bundles))
    answers: dict[int, requests.Response] = {}

    def send(number: int) -> None:
        client = service.referrer(callers[number] if callers else UNIT)
        gate.wait()
        answers[number] = client.post("/fhir", bundles[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(bundles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(bundles))]


def _renamed(bundle: Json) -> Json:
    """The same Bundle with other fullUrls, wherever they stand."""
    names = {url: url.replace("urn:uuid:1", "urn:uuid:2") for url in (e["fullUrl"] for e in bundle["entry"])}
    assert {ORDER, PATIENT, ORGANISATION, FORM, MADRS} <= names.keys()

    def renamed(value: object) -> object:
        if isinstance(value, dict):
            return {name: renamed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        return names.get(value, value) if isinstance(value, str) else value

    result = renamed(deepcopy(bundle))
    assert isinstance(result, dict)
    return result


def _weight(number: str) -> Json:
    from decimal import Decimal

    return {"url": "https://ehr.example/weight", "valueDecimal": Decimal(number)}


def test_the_stored_answer_is_exact(service: Service) -> None:
    first = exact(service.referrer().post("/fhir/ServiceRequest", alone(extension=[_weight("1.00")])))
    again = exact(service.referrer().post("/fhir/ServiceRequest", alone(extension=[_weight("1.00")])))
    assert str(again["extension"][0]["valueDecimal"]) == "1.00"
    assert again == first


def test_a_refused_repeat_says_which_place_is_wrong(service: Service) -> None:
    refer(service, referral())
    answer = service.referrer().post("/fhir", referral(note=[{"text": "x"}]))
    assert issues_of(answer) == [("duplicate", "Bundle.entry[5].resource.identifier")]
