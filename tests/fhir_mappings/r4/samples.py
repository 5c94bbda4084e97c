"""A full referral as an EHR sends it, for the tests of structure. Invented people and units only."""

from typing import Any

from fhir_mappings.records import Json

S = "https://sluss.example/fhir"
_CODED = {"suicide-risk": "low", "stress-phase": "early", "self-esteem-purpose": "treatment"}
_QUESTIONS = (
    "motivated",
    "works-independently",
    "computer-habit",
    "internet-access",
    "reads-and-writes",
    "patient-interested",
    "sets-aside-time",
    "assessment-held",
    "patient-informed",
    "device",
    "e-identification",
    "suicide-risk",
    "parallel-therapy",
    "parallel-homework",
    "major-cognitive-difficulties",
    "stress-phase",
    "sleep-apnoea",
    "restless-legs",
    "self-esteem-purpose",
)


def url(number: int) -> str:
    """The fullUrl of the entry with this number, from 1."""
    return f"urn:uuid:00000000-0000-4000-8000-{number:012d}"


def ref(number: int) -> Json:
    """A Reference to the entry with this number."""
    return {"reference": url(number)}


def concept(system: str, code: str) -> Json:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code}]}


def _answer(question: str) -> Json:
    if question in _CODED:
        return {"valueCoding": {"system": f"{S}/CodeSystem/ikbt-referral-answer", "code": _CODED[question]}}
    return {"valueBoolean": True}


def _resources() -> list[Json]:
    hsa, madrs_s = "urn:oid:1.2.752.29.4.19", f"{S}/CodeSystem/madrs-s"
    terminology = "http://terminology.hl7.org/CodeSystem"
    return [
        {
            "resourceType": "Patient",
            "identifier": [{"system": "http://electronichealth.se/identifier/personnummer", "value": "199002222397"}],
            "name": [{"use": "official", "family": "Testsson", "given": ["Test"]}],
            "telecom": [{"system": "phone", "value": "070-1740605", "use": "mobile"}],
            "birthDate": "1990-02-22",
            "address": [
                {
                    "extension": [{"url": f"{S}/StructureDefinition/municipality-code", "valueCode": "2180"}],
                    "use": "home",
                    "city": "Gävle",
                }
            ],
        },
        {
            "resourceType": "Organization",
            "identifier": [{"system": hsa, "value": "SE2321000198-EX01"}],
            "name": "Testhälsocentralen",
        },
        {"resourceType": "Practitioner", "identifier": [{"system": hsa, "value": "SE2321000198-EX99"}]},
        {"resourceType": "PractitionerRole", "practitioner": ref(3), "organization": ref(2)},
        {
            "resourceType": "Condition",
            "clinicalStatus": concept(f"{terminology}/condition-clinical", "active"),
            "verificationStatus": concept(f"{terminology}/condition-ver-status", "confirmed"),
            "code": concept("https://www.icd10.se/", "F32.1"),
            "subject": ref(1),
        },
        {
            "resourceType": "QuestionnaireResponse",
            "questionnaire": f"{S}/Questionnaire/ikbt-referral",
            "status": "completed",
            "subject": ref(1),
            "authored": "2026-11-20T10:00:00+01:00",
            "item": [{"linkId": question, "answer": [_answer(question)]} for question in _QUESTIONS],
        },
        {
            "resourceType": "QuestionnaireResponse",
            "questionnaire": f"{S}/Questionnaire/madrs-s",
            "status": "completed",
            "subject": ref(1),
            "item": [{"linkId": f"item-{number}", "answer": [{"valueInteger": 2}]} for number in range(1, 10)],
        },
        {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(madrs_s, "total"),
            "subject": ref(1),
            "effectiveDateTime": "2026-11-18",
            "valueQuantity": {"value": 18, "system": "http://unitsofmeasure.org", "code": "{score}"},
            "component": [{"code": concept(madrs_s, f"item-{n}"), "valueInteger": 2} for n in range(1, 10)],
        },
        {
            "resourceType": "ServiceRequest",
            "identifier": [
                {
                    "type": concept(f"{terminology}/v2-0203", "PLAC"),
                    "system": "https://ehr.example/referral",
                    "value": "R-1",
                }
            ],
            "status": "active",
            "intent": "order",
            "priority": "routine",
            "code": concept(f"{S}/CodeSystem/ikbt-programme", "depression"),
            "subject": ref(1),
            "requester": ref(4),
            "authoredOn": "2026-11-20T10:05:00+01:00",
            "reasonCode": [concept("https://www.icd10.se/", "F32.1")],
            "reasonReference": [ref(5)],
            "supportingInfo": [ref(6), ref(7), ref(8)],
            "note": [{"text": "Samtal var tredje vecka, inga hemuppgifter"}],
        },
        {
            "resourceType": "Appointment",
            "status": "booked",
            "start": "2026-12-01T10:00:00+01:00",
            "end": "2026-12-01T10:30:00+01:00",
            "basedOn": [ref(9)],
            "participant": [{"actor": ref(1), "status": "accepted"}],
        },
    ]


def referral_bundle() -> Json:
    """A transaction of ten entries: the referral, both questionnaires, the score, a diagnosis, a booked start call."""
    entries: list[Any] = [
        {"fullUrl": url(number), "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for number, resource in enumerate(_resources(), start=1)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def resource_of(kind: str) -> Json:
    """The first resource of this type in the referral, free to be changed."""
    return next(resource for resource in _resources() if resource["resourceType"] == kind)
