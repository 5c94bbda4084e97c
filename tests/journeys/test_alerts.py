"""Signs of suicide risk: on every version and every piece of evidence, in every state, once each (contract 3, 4)."""

from collections.abc import Callable

import pytest
import requests

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import (
    BOOKING_UNIT,
    GRAVE,
    MILD,
    OTHER_UNIT,
    SEVERE,
    S,
    alone,
    bundle,
    entry,
    form,
    logical_patient,
    madrs_s,
    plain,
    referral,
)
from tests.journeys.steps import (
    accept,
    finish,
    messages,
    move,
    reason,
    refer,
    refer_alone,
    start,
    task_of,
    tasks_of,
)


def follow_ups(service: Service, received: str) -> list[Json]:
    return tasks_of(service, received, "safety-follow-up")


def add_rating(service: Service, received: str, items: tuple[int, ...] = GRAVE, **changes: object) -> requests.Response:
    """New evidence from the referrer."""
    rating = madrs_s(items, subject=task_of(service, received)["for"], basedOn=[{"reference": received}], **changes)
    answer = service.referrer().post("/fhir/QuestionnaireResponse", rating)
    assert answer.status_code == 201, answer.text
    return answer


def test_an_alert_makes_a_follow_up_at_the_team_and_a_message_to_the_referrer(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral(items=GRAVE))
    assert answer.headers["Sluss-Alert"] == "suicide-risk"
    first = answer.json()["entry"][-1]["response"]["outcome"]["issue"][0]
    assert first["severity"] == "warning"
    assert "suicidrisk" in first["details"]["text"]
    received = "/".join(answer.json()["entry"][-1]["response"]["location"].split("/")[:2])
    assert task_of(service, received)["priority"] == "stat"
    (follow_up,) = follow_ups(service, received)
    assert (follow_up["status"], follow_up["priority"]) == ("requested", "stat")
    assert follow_up["owner"] == {"reference": "HealthcareService/gavle"}
    assert "partOf" not in follow_up
    (told,) = messages(service, received, "safety-alert")
    assert (told["priority"], told["status"]) == ("stat", "completed")


def test_an_alert_comes_on_top_of_a_return(service: Service) -> None:
    received = refer(service, referral(answers={"suicide_risk": "elevated"}))
    assert task_of(service, received)["status"] == "rejected"
    assert len(messages(service, received, "returned")) == 1
    assert len(messages(service, received, "safety-alert")) == 1
    assert len(follow_ups(service, received)) == 1


def test_only_a_person_ends_the_follow_up(service: Service) -> None:
    received = refer(service, referral(items=GRAVE))
    move(service.referrer(), task_of(service, received), "cancelled")
    (follow_up,) = follow_ups(service, received)
    assert follow_up["status"] == "requested"
    move(service.therapist(), follow_up, "completed")
    assert follow_ups(service, received)[0]["status"] == "completed"


def requested(service: Service, received: str) -> None:
    assert task_of(service, received)["status"] == "requested"


def read(service: Service, received: str) -> None:
    move(service.therapist(), task_of(service, received), "received")


def on_hold(service: Service, received: str) -> None:
    move(service.therapist(), start_of(service, received), "on-hold", **reason("Patienten är bortrest."))


def start_of(service: Service, received: str) -> Json:
    return start(service, received)


def rejected(service: Service, received: str) -> None:
    move(service.therapist(), task_of(service, received), "rejected", **reason("Inte lämplig."))


def cancelled(service: Service, received: str) -> None:
    move(service.referrer(), task_of(service, received), "cancelled")


def failed(service: Service, received: str) -> None:
    move(service.therapist(), start(service, received), "failed", **reason("Patienten svarar inte."))


def revoked(service: Service, received: str) -> None:
    order = service.referrer().read(received)
    assert service.referrer().put(received, {**order, "status": "revoked"}).status_code == 200


def closed(service: Service, received: str) -> None:
    finish(service, received)
    order = service.referrer().read(received)
    assert service.referrer().put(received, {**order, "status": "completed"}).status_code == 200


STATES = [requested, read, accept, start, on_hold, finish, rejected, cancelled, failed, revoked, closed]
in_every_state = pytest.mark.parametrize("state", STATES)


@in_every_state
def test_new_evidence_alerts_in_every_state(service: Service, state: Callable[[Service, str], object]) -> None:
    received = refer(service, referral())
    state(service, received)
    add_rating(service, received)
    (follow_up,) = follow_ups(service, received)
    assert follow_up["status"] == "requested"
    assert len(messages(service, received, "safety-alert")) == 1


@in_every_state
def test_a_new_version_of_the_order_alerts_in_every_state(
    service: Service, state: Callable[[Service, str], object]
) -> None:
    received = refer(service, referral())
    state(service, received)
    current = service.referrer().read(received)
    rating = {**madrs_s(GRAVE), "id": "rating", "subject": {"reference": current["subject"]["reference"]}}
    changed = {
        **current,
        "contained": [rating],
        "supportingInfo": [*current["supportingInfo"], {"reference": "#rating"}],
    }
    answer = service.referrer().put(received, changed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Alert"] == "suicide-risk"
    assert len(follow_ups(service, received)) == 1


@in_every_state
def test_an_amended_response_alerts_in_every_state(service: Service, state: Callable[[Service, str], object]) -> None:
    received = refer(service, referral())
    state(service, received)
    (rating,) = [r for r in service.all_of(received, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    changed = {**rating, "status": "amended", "item": madrs_s(GRAVE)["item"]}
    answer = service.referrer().put(f"QuestionnaireResponse/{rating['id']}", changed)
    assert answer.status_code == 200, answer.text
    assert len(follow_ups(service, received)) == 1


def test_an_observation_alerts_as_a_response_does(service: Service) -> None:
    received = refer(service, referral())
    accept(service, received)
    (made,) = service.all_of(received, "Observation")
    sent = {k: v for k, v in made.items() if k not in ("id", "meta", "derivedFrom", "identifier")}
    sent["component"] = [*made["component"][:8], {**made["component"][8], "valueInteger": 6}]
    sent["valueQuantity"] = {**made["valueQuantity"], "value": 18}
    answer = service.referrer().post("/fhir/Observation", sent)
    assert answer.status_code == 201, answer.text
    assert len(follow_ups(service, received)) == 1


def test_the_therapists_own_follow_up_alerts_too(service: Service) -> None:
    received = refer(service, referral())
    start(service, received)
    rating = madrs_s(GRAVE, subject=task_of(service, received)["for"], basedOn=[{"reference": received}])
    assert service.therapist().post("/fhir/QuestionnaireResponse", rating).status_code == 201
    assert len(follow_ups(service, received)) == 1
    assert task_of(service, received)["status"] == "in-progress"


def test_unchanged_evidence_alerts_once(service: Service) -> None:
    sent = referral(items=GRAVE)
    received = refer(service, sent)
    assert service.referrer().post("/fhir", sent).status_code == 200
    order = service.referrer().read(received)
    assert service.referrer().put(received, {**order, "note": [{"text": "Nås bäst efter 15"}]}).status_code == 200
    accept(service, received)
    assert service.referrer().put(received, {**order, "note": [{"text": "Nås sent"}]}).status_code == 200
    add_rating(service, received, MILD, authored="2026-11-22T09:00:00+01:00")
    assert len(follow_ups(service, received)) == 1
    assert len(messages(service, received, "safety-alert")) == 1


def test_unchanged_evidence_without_full_url_alerts_once(service: Service) -> None:
    sent = referral(items=GRAVE, supportingInfo=None, subject=logical_patient())
    del sent["entry"][3]["fullUrl"]
    received = refer(service, sent)
    order = service.referrer().read(received)
    assert service.referrer().put(received, {**order, "note": [{"text": "Nås sent"}]}).status_code == 200
    assert len(follow_ups(service, received)) == 1


def test_contained_evidence_alerts_once_until_it_is_answered_again(service: Service) -> None:
    def sent(**changes: object) -> Json:
        rating = {**madrs_s(GRAVE, **changes), "id": "rating", "subject": logical_patient()}
        return alone(programme="depression", contained=[rating], supportingInfo=[{"reference": "#rating"}])

    received = refer_alone(service, sent())
    id_ = received.split("/")[1]
    assert service.referrer().put(received, {**sent(), "id": id_, "note": [{"text": "x"}]}).status_code == 200
    assert len(follow_ups(service, received)) == 1
    again = sent(authored="2026-11-22T09:00:00+01:00")
    assert service.referrer().put(received, {**again, "id": id_}).status_code == 200
    assert len(follow_ups(service, received)) == 2


def test_each_further_sign_alerts(service: Service) -> None:
    received = refer(service, referral(items=GRAVE))
    add_rating(service, received, (2, 2, 2, 1, 1, 2, 1, 1, 6))
    assert len(follow_ups(service, received)) == 2
    answered = {**form(suicide_risk="elevated"), "subject": task_of(service, received)["for"]}
    answer = service.referrer().post("/fhir/QuestionnaireResponse", {**answered, "basedOn": [{"reference": received}]})
    assert answer.status_code == 201, answer.text
    assert len(follow_ups(service, received)) == 3


def test_an_answer_that_was_taken_back_and_is_given_again_alerts_again(service: Service) -> None:
    received = refer(service, referral(items=GRAVE))
    (rating,) = [r for r in service.all_of(received, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    reference = f"QuestionnaireResponse/{rating['id']}"
    for items in (MILD, GRAVE):
        changed = {**rating, "status": "amended", "item": madrs_s(items)["item"]}
        assert service.referrer().put(reference, changed).status_code == 200
    assert len(follow_ups(service, received)) == 2


def test_a_new_task_after_a_return_keeps_the_priority_of_the_alert(service: Service) -> None:
    received = refer(service, referral(items=(*SEVERE[:8], 5)))
    assert task_of(service, received)["status"] == "rejected"
    add_rating(service, received, MILD, authored="2026-11-22T09:00:00+01:00")
    task = task_of(service, received)
    assert (task["status"], task["priority"]) == ("requested", "stat")
    assert len(follow_ups(service, received)) == 1


# ------------------------------------------------------------ refused, and said so first


def _first_issue(answer: requests.Response) -> Json:
    issue: Json = answer.json()["issue"][0]
    return issue


def _says_not_received(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    issue = _first_issue(answer)
    assert issue["severity"] == "error"
    assert "INTE" in issue["details"]["text"]
    assert "suicidrisk" in issue["details"]["text"]
    assert "MADRS-S fråga 9 = 5" in issue["details"]["text"]
    assert "NOT received" in issue["diagnostics"]


def test_a_referral_refused_as_not_r4_says_first_that_the_risk_was_not_received(service: Service) -> None:
    _says_not_received(service.referrer().post("/fhir", referral(items=GRAVE, priority="soon")), 400)


def test_a_referral_refused_by_our_rules_says_first_that_the_risk_was_not_received(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral(items=GRAVE, identifier=None))
    _says_not_received(answer, 422)
    assert "Bundle.entry[5].resource.identifier" in answer.text


def test_a_conflict_says_first_that_the_risk_was_not_received(service: Service) -> None:
    refer(service, referral())
    _says_not_received(service.referrer().post("/fhir", referral(items=GRAVE)), 409)


def test_a_forbidden_referral_says_first_that_the_risk_was_not_received(service: Service) -> None:
    _says_not_received(service.referrer(OTHER_UNIT).post("/fhir", referral(items=GRAVE)), 403)


def test_a_refused_amendment_says_first_that_the_risk_was_not_received(service: Service) -> None:
    received = refer(service, referral())
    current = service.referrer().read(received)
    rating = {**madrs_s(GRAVE), "id": "rating", "subject": current["subject"]}
    changed = {**current, "contained": [rating], "intent": "plan"}
    changed["supportingInfo"] = [{"reference": "#rating"}]
    _says_not_received(service.referrer().put(received, changed), 422)
    _says_not_received(service.referrer().put(received, {**changed, "intent": "order"}, {"If-Match": 'W/"7"'}), 412)


def test_refused_evidence_says_first_that_the_risk_was_not_received(service: Service) -> None:
    rating = madrs_s(GRAVE, subject=logical_patient(), basedOn=[{"reference": "ServiceRequest/unknown"}])
    _says_not_received(service.referrer().post("/fhir/QuestionnaireResponse", rating), 404)


@pytest.mark.parametrize("value", [{"valueInteger": 5}, {"valueQuantity": {"value": 5}}])
def test_signs_are_read_from_a_refused_observation_too(service: Service, value: Json) -> None:
    component = {"code": {"coding": [{"system": f"{S}/CodeSystem/madrs-s", "code": "item-9"}]}, **value}
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": f"{S}/CodeSystem/madrs-s", "code": "total"}]},
        "component": [component],
    }
    _says_not_received(service.referrer().post("/fhir/Observation", observation), 422)


def test_a_batch_is_refused_with_the_same_warning(service: Service) -> None:
    _says_not_received(service.referrer().post("/fhir", {**referral(items=GRAVE), "type": "batch"}), 422)


def test_a_refused_plain_referral_says_first_that_the_risk_was_not_received(service: Service) -> None:
    answer = service.referrer(BOOKING_UNIT).post(
        "/intake/referrals",
        plain(programme="gambling", madrs_s={"items": [*GRAVE]}, answers={"suicide-risk": "elevated"}),
    )
    assert answer.status_code == 422
    body = answer.json()
    assert "INTE" in body["title"]
    assert "MADRS-S fråga 9 = 5" in body["errors"][0]["text"]
    assert "suicidrisk angiven som förhöjd" in body["errors"][0]["text"]
    assert "programme" in {e.get("field") for e in body["errors"]}


def test_a_refused_referral_without_signs_says_nothing_of_risk(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral(identifier=None))
    assert "suicid" not in answer.text


def test_a_bundle_put_alerts_as_well(service: Service) -> None:
    received = refer(service, referral())
    current = service.referrer().read(received)
    whole = bundle(("urn:uuid:20000000-0000-4000-8000-000000000001", madrs_s(GRAVE, subject=current["subject"])))
    whole["entry"].append(entry(f"{service.base}/fhir/{received}", current, method="PUT", url=received))
    answer = service.referrer().post("/fhir", whole)
    assert answer.headers["Sluss-Alert"] == "suicide-risk"
    assert len(follow_ups(service, received)) == 1
