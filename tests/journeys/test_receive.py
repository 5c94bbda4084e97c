"""What makes a referral, and what is refused, over HTTP (contract 3, the table)."""

from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import (
    ADULT,
    FORM,
    HSA,
    MADRS,
    ORDER,
    ORGANISATION,
    PATIENT,
    PERSONNUMMER,
    PLACER,
    ROLE,
    SECOND_ADULT,
    UNIT,
    S,
    alone,
    bundle,
    entry,
    form,
    logical_patient,
    madrs_s,
    order,
    organisation,
    patient,
    referral,
    role,
)
from tests.journeys.steps import findings_of, issues_of, refer, refer_alone, task_of

PLAC = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC"}]}


def refused(service: Service, resource: Json, status: int = 422) -> list[tuple[str, str | None]]:
    """The issues of a refused single ServiceRequest, after checking that nothing of it was stored."""
    answer = service.referrer().post("/fhir/ServiceRequest", resource)
    assert answer.status_code == status, answer.text
    assert service.count("ServiceRequest") == 0
    assert service.count("Patient") == 0
    return issues_of(answer)


@pytest.mark.parametrize(
    ("changes", "code", "expression"),
    [
        ({"identifier": None}, "required", "ServiceRequest.identifier"),
        ({"identifier": [{"value": "R-1"}]}, "required", "ServiceRequest.identifier[0].system"),
        (
            {"identifier": [{"system": PLACER, "value": "1"}, {"system": f"{PLACER}/2", "value": "2"}]},
            "required",
            "ServiceRequest.identifier",
        ),
        ({"status": "draft"}, "business-rule", "ServiceRequest.status"),
        ({"intent": "plan"}, "business-rule", "ServiceRequest.intent"),
        ({"doNotPerform": True}, "business-rule", "ServiceRequest.doNotPerform"),
        ({"code": None}, "code-invalid", "ServiceRequest.code"),
        (
            {"code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-programme", "code": "gambling"}]}},
            "code-invalid",
            "ServiceRequest.code.coding[0].code",
        ),
        (
            {
                "code": {
                    "coding": [
                        {"system": f"{S}/CodeSystem/ikbt-programme", "code": "sleep"},
                        {"system": f"{S}/CodeSystem/ikbt-programme", "code": "worry"},
                    ]
                }
            },
            "code-invalid",
            "ServiceRequest.code.coding",
        ),
        ({"subject": {"display": "Test Testsson"}}, "required", "ServiceRequest.subject"),
        ({"subject": logical_patient("199002222398")}, "value", "ServiceRequest.subject.identifier"),
        ({"requester": None}, "required", "ServiceRequest.requester"),
        ({"requester": {"display": "Exempelmottagningen"}}, "required", "ServiceRequest.requester"),
        ({"authoredOn": "2026-11-24"}, "value", "ServiceRequest.authoredOn"),
        ({"authoredOn": "2026-11-23T10:00:01+01:00"}, "value", "ServiceRequest.authoredOn"),
        ({"authoredOn": None}, "value", "ServiceRequest.authoredOn"),
        ({"modifierExtension": [{"url": "https://ehr.example/not", "valueBoolean": True}]}, "extension", None),
    ],
)
def test_a_broken_rule_of_the_table_refuses_the_referral(
    service: Service, changes: dict[str, Any], code: str, expression: str | None
) -> None:
    issues = refused(service, alone(**changes))
    assert any(found == code and (expression or "") in (where or "") for found, where in issues), issues


def test_a_date_time_without_offset_is_not_valid_r4(service: Service) -> None:
    issues = refused(service, alone(authoredOn="2026-11-20T10:00:00"), 400)
    assert ("value", "ServiceRequest.authoredOn") in issues


def test_the_number_typed_placer_is_the_one_that_counts(service: Service) -> None:
    numbers = [{"system": f"{PLACER}/other", "value": "X"}, {"type": PLAC, "system": PLACER, "value": "R-9"}]
    received = refer_alone(service, alone(identifier=numbers))
    row = service.row(received)
    assert (row.placer_system, row.placer_value, row.organisation) == (PLACER, "R-9", UNIT)


def test_every_problem_is_told_at_once_with_place_and_in_two_languages(service: Service) -> None:
    answer = service.referrer().post("/fhir/ServiceRequest", alone(identifier=None, status="draft", authoredOn=None))
    assert answer.status_code == 422
    told = answer.json()["issue"]
    assert {issue["expression"][0] for issue in told} == {
        "ServiceRequest.identifier",
        "ServiceRequest.status",
        "ServiceRequest.authoredOn",
    }
    for issue in told:
        assert issue["severity"] == "error"
        assert issue["details"]["text"]
        assert issue["diagnostics"]
        assert issue["details"]["text"] != issue["diagnostics"]


def test_what_r4_refuses_and_what_sluss_refuses_are_told_together_as_400(service: Service) -> None:
    issues = refused(service, alone(priority="soon", identifier=None), 400)
    assert "ServiceRequest.priority" in {where for _, where in issues}
    assert ("required", "ServiceRequest.identifier") in issues


def test_nothing_of_a_refused_bundle_is_stored(service: Service) -> None:
    answer = service.referrer().post("/fhir", referral(status="draft"))
    assert answer.status_code == 422
    for type_ in ("ServiceRequest", "Patient", "QuestionnaireResponse", "PractitionerRole", "Task", "Communication"):
        resources = service.administrator.search(type_)
        assert [r for r in resources if r["resourceType"] != "PractitionerRole" or "ikbt-role" not in str(r)] == []
    # and the number is free for a right one
    refer(service, referral())


@pytest.mark.parametrize(
    ("system", "value"),
    [
        (PERSONNUMMER, ADULT),
        ("http://electronichealth.se/identifier/samordningsnummer", "196109732393"),
        ("http://electronichealth.se/identifier/nationelltReservnummer", "98240301AA06"),
    ],
)
def test_each_kind_of_national_identifier_names_a_patient(service: Service, system: str, value: str) -> None:
    subject = {"identifier": {"system": system, "value": value}}
    contained = {**form(), "id": "form", "subject": subject}
    received = refer_alone(service, alone(subject=subject, contained=[contained]))
    (found,) = service.administrator.search("Patient", identifier=f"{system}|{value}")
    assert task_of(service, received)["for"] == {"reference": f"Patient/{found['id']}"}


def test_a_patient_may_be_one_that_is_stored_already(service: Service) -> None:
    first = refer(service, referral())
    known = task_of(service, first)["for"]["reference"]
    contained = {**form(), "id": "form", "subject": {"reference": known}}
    second = refer_alone(service, alone("R-2", subject={"reference": known}, contained=[contained]))
    assert task_of(service, second)["for"]["reference"] == known


def test_a_patient_stored_by_another_organisation_is_unknown(service: Service) -> None:
    theirs = task_of(service, refer(service, referral(unit="SE2321000198-EX03"), "SE2321000198-EX03"))["for"]
    answer = service.referrer().post("/fhir/ServiceRequest", alone(subject=theirs, contained=None, supportingInfo=None))
    assert answer.status_code == 422
    assert issues_of(answer) == [("required", "ServiceRequest.subject.reference")]


def test_a_practitioner_refers_when_exactly_one_role_joins_them_to_an_organisation(service: Service) -> None:
    practitioner = "urn:uuid:10000000-0000-4000-8000-000000000009"
    person: Json = {"resourceType": "Practitioner", "identifier": [{"system": HSA, "value": "SE2321000198-EXP1"}]}
    joined = role(practitioner={"reference": practitioner})
    whole = bundle(
        (PATIENT, patient()),
        (ORGANISATION, organisation()),
        (practitioner, person),
        (ROLE, joined),
        (MADRS, madrs_s()),
        (FORM, form()),
        (ORDER, order(requester={"reference": practitioner})),
    )
    assert service.row(refer(service, whole)).organisation == UNIT
    whole["entry"] = [e for e in whole["entry"] if e["fullUrl"] != ROLE]
    whole["entry"][-1]["resource"]["identifier"][0]["value"] = "R-2"
    answer = service.referrer().post("/fhir", whole)
    assert answer.status_code == 422
    assert ("required", "Bundle.entry[5].resource.requester") in issues_of(answer)


@pytest.mark.parametrize("written", ["F32.1", "F321", "f32.1"])
@pytest.mark.parametrize(
    "system", ["https://www.icd10.se/", "urn:oid:1.2.752.116.1.1.1", "http://hl7.org/fhir/sid/icd-10-se"]
)
def test_a_diagnosis_is_read_from_any_known_system_with_or_without_the_dot(
    service: Service, system: str, written: str
) -> None:
    received = refer(service, referral(reasonCode=[{"coding": [{"system": system, "code": written}]}]))
    assert findings_of(task_of(service, received)) == []


def test_a_referral_without_diagnosis_is_asked_for_information(service: Service) -> None:
    received = refer(service, referral(reasonCode=None))
    assert findings_of(task_of(service, received)) == ["diagnosis-code"]


def test_a_condition_in_the_bundle_is_a_diagnosis_and_a_refuted_one_is_not(service: Service) -> None:
    condition: Json = {
        "resourceType": "Condition",
        "subject": {"reference": PATIENT},
        "code": {"coding": [{"system": "https://www.icd10.se/", "code": "F32.1"}]},
    }
    url = "urn:uuid:10000000-0000-4000-8000-00000000000a"
    received = refer(service, referral(reasonCode=None, extra=((url, condition),)))
    assert findings_of(task_of(service, received)) == []
    refuted = {
        **condition,
        "verificationStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]
        },
    }
    answer = service.referrer().post("/fhir", referral("R-2", reasonCode=None, extra=((url, refuted),)))
    assert answer.headers["Sluss-Verdict"] == "information"
    outcome = answer.json()["entry"][-1]["response"]["outcome"]["issue"]
    assert any(i["severity"] == "information" and "Bundle.entry[5]" in i.get("expression", [""])[0] for i in outcome)


@pytest.mark.parametrize("status", ["entered-in-error", "in-progress"])
def test_a_rating_that_is_withdrawn_or_unfinished_does_not_count_and_that_is_said(
    service: Service, status: str
) -> None:
    sent = referral()
    sent["entry"][3]["resource"]["status"] = status
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 200
    assert answer.headers["Sluss-Verdict"] == "information"
    outcome = answer.json()["entry"][-1]["response"]["outcome"]["issue"]
    assert any(i.get("expression") == ["Bundle.entry[3].resource.status"] for i in outcome)


def test_evidence_counts_that_is_simply_in_the_bundle(service: Service) -> None:
    received = refer(service, referral(supportingInfo=None))
    assert findings_of(task_of(service, received)) == []


def test_evidence_that_is_stored_counts_when_the_referral_points_at_it(service: Service) -> None:
    first = refer(service, referral(status="active"))
    (stored,) = [r for r in service.all_of(first, "QuestionnaireResponse") if "madrs" in r["questionnaire"]]
    pointed = [{"reference": f"QuestionnaireResponse/{stored['id']}"}, {"reference": FORM}]
    second = refer(service, referral("R-2", items=None, supportingInfo=pointed))
    assert "madrs-s-required" not in findings_of(task_of(service, second))


def test_of_several_ratings_the_newest_decides_and_the_highest_item_9_alerts(service: Service) -> None:
    url = "urn:uuid:10000000-0000-4000-8000-00000000000b"
    older = madrs_s((4, 4, 4, 4, 4, 4, 4, 4, 5), authored="2026-11-10T09:00:00+01:00")
    answer = service.referrer().post("/fhir", referral(extra=((url, older),)))
    assert answer.headers["Sluss-Alert"] == "suicide-risk"
    assert answer.headers["Sluss-Verdict"] == "review"  # 12 points now, and the alert to be looked at


@pytest.mark.parametrize("change", [{"active": False}, {"deceasedBoolean": True}, {"deceasedDateTime": "2026-11-01"}])
def test_an_inactive_or_deceased_patient_is_for_a_person_to_decide(service: Service, change: Json) -> None:
    sent = referral()
    sent["entry"][0]["resource"] |= change
    received = refer(service, sent)
    assert findings_of(task_of(service, received)) == ["patient-status"]
    assert task_of(service, received)["status"] == "requested"


@pytest.mark.parametrize("position", range(6))
def test_an_unknown_modifier_extension_anywhere_refuses_the_referral(service: Service, position: int) -> None:
    sent = referral()
    sent["entry"][position]["resource"]["modifierExtension"] = [{"url": "https://ehr.example/not", "valueCode": "x"}]
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 422, answer.text
    assert issues_of(answer) == [("extension", f"Bundle.entry[{position}].resource.modifierExtension[0]")]


def test_an_unknown_modifier_extension_in_a_contained_resource_is_told_once(service: Service) -> None:
    contained = {
        **form(),
        "id": "form",
        "subject": logical_patient(),
        "modifierExtension": [{"url": "https://ehr.example/not", "valueCode": "x"}],
    }
    assert refused(service, alone(contained=[contained])) == [
        ("extension", "ServiceRequest.contained[0].modifierExtension[0]")
    ]


@pytest.mark.parametrize("position", [3, 4])
def test_evidence_about_another_patient_is_refused(service: Service, position: int) -> None:
    sent = referral()
    sent["entry"][position]["resource"]["subject"] = logical_patient(SECOND_ADULT)
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 422
    assert issues_of(answer) == [("value", f"Bundle.entry[{position}].resource.subject")]


def test_evidence_about_the_same_patient_may_say_so_by_identifier(service: Service) -> None:
    sent = referral()
    sent["entry"][3]["resource"]["subject"] = logical_patient()
    assert findings_of(task_of(service, refer(service, sent))) == []


def test_a_start_call_booked_for_another_patient_is_refused(service: Service) -> None:
    booked = appointment({"actor": logical_patient(SECOND_ADULT), "status": "accepted"})
    answer = service.referrer().post(
        "/fhir", referral(extra=(("urn:uuid:10000000-0000-4000-8000-0000000000a1", booked),))
    )
    assert answer.status_code == 422
    assert issues_of(answer) == [("value", "Bundle.entry[5].resource.participant[0].actor")]


def test_a_patient_that_the_referral_is_not_about_is_refused(service: Service) -> None:
    sent = referral()
    sent["entry"].append(entry("urn:uuid:10000000-0000-4000-8000-0000000000a2", patient(SECOND_ADULT)))
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 422
    assert issues_of(answer) == [("value", "Bundle.entry[6].resource")]
    assert service.count("Patient") == 0


def test_a_patient_in_the_bundle_belongs_to_a_subject_by_identifier(service: Service) -> None:
    sent = referral(subject=logical_patient())
    received = refer(service, sent)
    assert task_of(service, received)["for"]["reference"].startswith("Patient/")
    (stored,) = service.administrator.search("Patient")
    assert stored["address"] == [{"city": "Gävle"}]


def test_entries_without_full_url_are_taken_in_like_the_others(service: Service) -> None:
    sent = referral(subject=logical_patient(), requester=logical_unit(), supportingInfo=None)
    for item in sent["entry"]:
        del item["fullUrl"]
        if "subject" in item["resource"]:
            item["resource"]["subject"] = logical_patient()
    sent["entry"][2]["resource"]["organization"] = logical_unit()
    received = refer(service, sent)
    assert findings_of(task_of(service, received)) == []
    (known,) = service.administrator.search("Patient")
    assert [p["id"] for p in service.all_of(received, "Patient")] == []
    assert task_of(service, received)["for"]["reference"] == f"Patient/{known['id']}"


def test_a_referral_of_another_unit_is_refused_to_a_referrer(service: Service) -> None:
    answer = service.referrer("SE2321000198-EX03").post("/fhir", referral())
    assert answer.status_code == 403
    assert service.count("ServiceRequest") == 0


def test_two_referrals_in_one_bundle_are_refused(service: Service) -> None:
    sent = referral()
    sent["entry"].append(entry("urn:uuid:10000000-0000-4000-8000-00000000000c", order("R-2")))
    answer = service.referrer().post("/fhir", sent)
    assert answer.status_code == 422
    assert ("business-rule", "Bundle.entry") in issues_of(answer)


def test_sluss_never_changes_the_programme_or_anything_of_the_order(service: Service) -> None:
    received = refer_alone(service, alone(programme="sleep"))
    stored = service.administrator.read(received)
    assert {k: v for k, v in stored.items() if k not in ("id", "meta")} == alone(programme="sleep")


def logical_unit(unit: str = UNIT) -> Json:
    return {"type": "Organization", "identifier": {"system": HSA, "value": unit}}


def appointment(*participants: Json, **changes: Any) -> Json:
    """A booked start call."""
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2026-12-01T09:00:00+01:00",
        "end": "2026-12-01T09:30:00+01:00",
        "participant": list(participants) or [{"actor": {"reference": PATIENT}, "status": "accepted"}],
        **changes,
    }
