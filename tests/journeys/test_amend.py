"""The referrer amends what it sent (contract 3, amend)."""

from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service, exact
from tests.journeys.referrals import (
    FORM,
    GRAVE,
    MADRS,
    MILD,
    OTHER_UNIT,
    PLACER,
    SECOND_ADULT,
    SEVERE,
    STRANGER,
    UNIT,
    S,
    alone,
    bundle,
    entry,
    form,
    logical_patient,
    madrs_s,
    order,
    referral,
)
from tests.journeys.steps import (
    accept,
    findings_of,
    finish,
    issues_of,
    messages,
    move,
    notes_of,
    reason,
    refer,
    refer_alone,
    route_of,
    start,
    task_of,
    tasks_of,
)


def amended(service: Service, received: str, **changes: Any) -> Any:
    """PUT of the stored order with changes."""
    current = service.referrer().read(received)
    body = {name: value for name, value in {**current, **changes}.items() if value is not None}
    return service.referrer().put(received, body)


def test_an_amendment_before_acceptance_is_assessed_anew(service: Service) -> None:
    received = refer(service, referral(reasonCode=None))
    task = task_of(service, received)
    assert (task["status"], findings_of(task)) == ("on-hold", ["diagnosis-code"])
    answer = amended(service, received, reasonCode=order()["reasonCode"])
    assert (answer.status_code, answer.headers["Sluss-Verdict"], answer.headers["ETag"]) == (200, "eligible", 'W/"2"')
    task = task_of(service, received)
    assert (task["status"], findings_of(task)) == ("requested", [])
    assert "businessStatus" not in task
    assert len(messages(service, received, "acknowledgement")) == 1


def test_an_amendment_before_acceptance_is_routed_anew(service: Service) -> None:
    patients = {"subject": logical_patient(), "requester": alone(unit=STRANGER)["requester"]}
    received = refer(
        service, referral(unit=STRANGER, requester=patients["requester"], identity="199002222397"), STRANGER
    )
    assert route_of(task_of(service, received)) == "patient-municipality"
    current = service.referrer(STRANGER).read(received)
    contained = {
        "resourceType": "Organization",
        "id": "unit",
        "identifier": [{"system": "urn:oid:1.2.752.29.4.19", "value": STRANGER}],
        "address": [{"city": "Ljusdal"}],
    }
    answer = service.referrer(STRANGER).put(
        received, {**current, "contained": [contained], "requester": {"reference": "#unit"}}
    )
    assert answer.status_code == 200, answer.text
    task = task_of(service, received)
    assert route_of(task) == "requester-municipality"
    assert task["owner"] == {"reference": "HealthcareService/norra-halsingland"}
    assert len(messages(service, received, "rerouted")) == 1


def test_an_amendment_that_makes_the_referral_unfit_returns_it(service: Service) -> None:
    received = refer(service, referral())
    url = "urn:uuid:20000000-0000-4000-8000-000000000001"
    current = service.referrer().read(received)
    newer = madrs_s(SEVERE, authored="2026-11-22T09:00:00+01:00", subject=current["subject"])
    whole = bundle((url, newer))
    whole["entry"].append(entry(f"{service.base}/fhir/{received}", current, method="PUT", url=received))
    answer = service.referrer().post("/fhir", whole)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Verdict"] == "return"
    responses = [e["response"] for e in answer.json()["entry"]]
    assert responses[0]["status"] == "201 Created"
    assert responses[0]["location"].startswith("QuestionnaireResponse/")
    assert (responses[1]["status"], responses[1]["etag"]) == ("200 OK", 'W/"2"')
    assert task_of(service, received)["status"] == "rejected"


def test_after_acceptance_an_amendment_is_kept_and_the_therapist_told_by_a_note(service: Service) -> None:
    received = refer(service, referral())
    accept(service, received)
    told = len(messages(service, received))
    answer = amended(service, received, note=[{"text": "Nås bäst efter 15"}], reasonCode=None)
    assert answer.status_code == 200
    assert service.administrator.read(received)["note"] == [{"text": "Nås bäst efter 15"}]
    task = task_of(service, received)
    assert task["status"] == "accepted"
    assert findings_of(task) == []
    assert "ändrad av remittenten" in notes_of(task)
    assert len(messages(service, received)) == told
    assert answer.headers["Sluss-Verdict"] == "eligible"  # what was decided stands


def test_after_the_start_an_amendment_is_kept_and_noted(service: Service) -> None:
    received = refer(service, referral())
    start(service, received)
    assert amended(service, received, note=[{"text": "Nytt telefonnummer"}]).status_code == 200
    task = task_of(service, received)
    assert task["status"] == "in-progress"
    assert "ändrad av remittenten" in notes_of(task)


def test_after_the_end_an_amendment_is_kept(service: Service) -> None:
    received = refer(service, referral())
    finish(service, received)
    assert amended(service, received, note=[{"text": "Tack"}]).status_code == 200
    assert task_of(service, received)["status"] == "completed"


def test_after_a_rejection_an_amendment_begins_a_new_task_on_the_same_focus(service: Service) -> None:
    received = refer(service, referral(items=SEVERE))
    old = task_of(service, received)
    assert old["status"] == "rejected"
    newer = madrs_s(MILD, authored="2026-11-22T09:00:00+01:00", subject=old["for"])
    url = "urn:uuid:20000000-0000-4000-8000-000000000001"
    whole = bundle((url, newer))
    whole["entry"].append(
        entry(f"{service.base}/fhir/{received}", service.referrer().read(received), method="PUT", url=received)
    )
    answer = service.referrer().post("/fhir", whole)
    assert answer.headers["Sluss-Verdict"] == "eligible"
    new = task_of(service, received)
    assert new["id"] != old["id"]
    assert (new["status"], new["focus"]) == ("requested", {"reference": received})
    assert service.administrator.read(f"Task/{old['id']}")["status"] == "rejected"


def test_after_a_cancellation_an_active_version_begins_a_new_task(service: Service) -> None:
    received = refer(service, referral())
    old = task_of(service, received)
    move(service.referrer(), old, "cancelled")
    assert amended(service, received, note=[{"text": "Vi ångrade oss"}]).status_code == 200
    assert [t["status"] for t in tasks_of(service, received, "fulfill")] in (
        ["cancelled", "requested"],
        ["requested", "cancelled"],
    )
    assert task_of(service, received)["status"] == "requested"


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("identifier", [{"system": PLACER, "value": "R-2"}]),
        ("subject", logical_patient(SECOND_ADULT)),
        ("requester", alone(unit=OTHER_UNIT)["requester"]),
    ],
)
@pytest.mark.parametrize("status", ["active", "revoked", "entered-in-error"])
def test_patient_organisation_and_number_cannot_change_not_even_in_a_withdrawal(
    service: Service, element: str, value: Any, status: str
) -> None:
    received = refer_alone(service, alone(contained=None, supportingInfo=None))
    answer = amended(service, received, status=status, **{element: value})
    assert answer.status_code == 422, answer.text
    assert issues_of(answer) == [("business-rule", f"ServiceRequest.{element}")]
    assert service.administrator.read(received)["meta"]["versionId"] == "1"


def test_every_wrong_change_is_told_at_once(service: Service) -> None:
    received = refer_alone(service, alone(contained=None, supportingInfo=None))
    answer = amended(
        service, received, identifier=[{"system": PLACER, "value": "R-2"}], subject=logical_patient(SECOND_ADULT)
    )
    assert {where for _, where in issues_of(answer)} == {"ServiceRequest.identifier", "ServiceRequest.subject"}


def test_only_the_same_organisation_amends(service: Service) -> None:
    received = refer(service, referral())
    current = service.administrator.read(received)
    for stranger in (service.therapist(), service.platform):
        assert stranger.put(received, {**current, "note": [{"text": "x"}]}).status_code == 403
    assert service.referrer(OTHER_UNIT).put(received, {**current, "note": [{"text": "x"}]}).status_code == 404
    assert service.administrator.read(received)["meta"]["versionId"] == "1"


def test_a_stale_if_match_is_412_and_none_is_fine(service: Service) -> None:
    received = refer(service, referral())
    current = service.referrer().read(received)
    assert service.referrer().put(received, current, {"If-Match": 'W/"9"'}).status_code == 412
    assert service.referrer().put(received, current, {"If-Match": 'W/"1"'}).status_code == 200
    assert service.referrer().put(received, current).status_code == 200


def test_a_referral_that_points_at_earlier_evidence_can_be_amended(service: Service) -> None:
    first = refer(service, referral())
    (rating,) = [r for r in service.all_of(first, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    pointed = [{"reference": f"QuestionnaireResponse/{rating['id']}"}, {"reference": FORM}]
    second = refer(service, referral("R-2", items=None, supportingInfo=pointed))
    answer = amended(service, second, note=[{"text": "Nås bäst efter 15"}])
    assert answer.status_code == 200, answer.text
    assert "madrs-s-required" not in findings_of(task_of(service, second))


def test_an_amendment_makes_no_second_observation_of_the_same_rating(service: Service) -> None:
    received = refer(service, referral())
    assert amended(service, received, note=[{"text": "Nås bäst efter 15"}]).status_code == 200
    assert len(service.all_of(received, "Observation")) == 1


def test_an_amendment_of_a_contained_rating_keeps_one_observation_that_follows_it(service: Service) -> None:
    def sent(items: tuple[int, ...]) -> Json:
        rating = {**madrs_s(items), "id": "rating", "subject": logical_patient()}
        answered = {**form(), "id": "form", "subject": logical_patient()}
        return alone(
            programme="depression",
            contained=[answered, rating],
            supportingInfo=[{"reference": "#form"}, {"reference": "#rating"}],
        )

    received = refer_alone(service, sent(MILD))
    assert [o["valueQuantity"]["value"] for o in service.all_of(received, "Observation")] == [12]
    answer = service.referrer().put(received, {**sent(GRAVE), "id": received.split("/")[1]})
    assert answer.status_code == 200, answer.text
    current = [o for o in service.all_of(received, "Observation") if o["status"] != "entered-in-error"]
    assert [o["valueQuantity"]["value"] for o in current] == [17]


def test_an_amended_response_renews_its_observation(service: Service) -> None:
    received = refer(service, referral())
    (rating,) = [r for r in service.all_of(received, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    reference = f"QuestionnaireResponse/{rating['id']}"
    (before,) = service.all_of(received, "Observation")
    changed = {**rating, "status": "amended", "item": madrs_s((3, 3, 3, 1, 1, 2, 1, 1, 0))["item"]}
    assert service.referrer().put(reference, changed).status_code == 200
    (after,) = service.all_of(received, "Observation")
    assert after["id"] == before["id"]
    assert after["status"] == "amended"
    assert after["valueQuantity"]["value"] == 15
    withdrawn = {**changed, "status": "entered-in-error"}
    assert service.referrer().put(reference, withdrawn).status_code == 200
    (after,) = service.all_of(received, "Observation")
    assert after["status"] == "entered-in-error"
    assert "madrs-s-required" in findings_of(task_of(service, received))
    assert task_of(service, received)["status"] == "on-hold"


def test_a_computed_observation_is_changed_through_its_response_only(service: Service) -> None:
    received = refer(service, referral())
    (computed,) = service.all_of(received, "Observation")
    assert service.referrer().put(f"Observation/{computed['id']}", computed).status_code == 403


def test_new_evidence_before_acceptance_is_assessed(service: Service) -> None:
    received = refer(service, referral(items=None))
    assert task_of(service, received)["status"] == "on-hold"
    patient = task_of(service, received)["for"]
    rating = madrs_s(subject=patient, basedOn=[{"reference": received}])
    answer = service.referrer().post("/fhir/QuestionnaireResponse", rating)
    assert answer.status_code == 201, answer.text
    assert task_of(service, received)["status"] == "requested"
    assert [o["valueQuantity"]["value"] for o in service.all_of(received, "Observation")] == [12]


def test_evidence_of_another_patient_is_refused_also_later(service: Service) -> None:
    received = refer(service, referral(items=None))
    rating = madrs_s(subject=logical_patient(SECOND_ADULT), basedOn=[{"reference": received}])
    answer = service.referrer().post("/fhir/QuestionnaireResponse", rating)
    assert answer.status_code == 422
    assert issues_of(answer) == [("value", "QuestionnaireResponse.subject")]


def test_evidence_with_an_unknown_modifier_extension_is_refused_also_later(service: Service) -> None:
    received = refer(service, referral(items=None))
    rating = madrs_s(
        subject=task_of(service, received)["for"],
        basedOn=[{"reference": received}],
        modifierExtension=[{"url": "https://ehr.example/not", "valueBoolean": True}],
    )
    answer = service.referrer().post("/fhir/QuestionnaireResponse", rating)
    assert answer.status_code == 422
    assert issues_of(answer) == [("extension", "QuestionnaireResponse.modifierExtension[0]")]


def test_labels_and_profiles_of_an_amendment_are_kept(service: Service) -> None:
    meta = {
        "profile": ["https://ehr.example/profile"],
        "security": [{"system": "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel", "code": "x"}],
    }
    received = refer(service, referral(meta=meta))
    (rating,) = [r for r in service.all_of(received, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    assert service.referrer().put(f"QuestionnaireResponse/{rating['id']}", {**rating, "meta": meta}).status_code == 200
    answer = amended(service, received, status="revoked")
    assert answer.status_code == 200
    for reference in (received, f"QuestionnaireResponse/{rating['id']}"):
        stored = service.administrator.read(reference)["meta"]
        assert {k: stored[k] for k in meta} == meta
    assert exact(answer)["meta"]["versionId"] == "2"


def test_a_rejection_by_the_therapist_can_be_amended_too(service: Service) -> None:
    received = refer(service, referral())
    move(service.therapist(), task_of(service, received), "rejected", **reason("Behöver mer än internetbehandling."))
    assert amended(service, received, note=[{"text": "Ny bedömning"}]).status_code == 200
    assert task_of(service, received)["status"] == "requested"
    assert len(tasks_of(service, received, "fulfill")) == 2
    assert MADRS
    assert UNIT
    assert S
