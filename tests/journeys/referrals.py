"""Referrals as an EHR sends them: one that nothing is wrong with, and ways to make others of it. Synthetic."""

from typing import Any

from fhir_mappings.records import Json

S = "https://sluss.example/fhir"
HSA = "urn:oid:1.2.752.29.4.19"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
PLACER = "https://ehr.example/referral"

UNIT = "SE2321000198-EX07"
"""Private health centre in Gävle, on the platform, may not book start calls."""
BOOKING_UNIT = "SE2321000198-EX01"
"""Region-run health centre in Gävle, on the platform, may book start calls."""
OTHER_UNIT = "SE2321000198-EX03"
"""Health centre of västra Gästrikland, on the platform, may not book."""
STRANGER = "SE2321000198-EX99"
"""Not in the directory."""

ADULT = "199002222397"
SECOND_ADULT = "200302022389"

ORDER = "urn:uuid:10000000-0000-4000-8000-000000000001"
PATIENT = "urn:uuid:10000000-0000-4000-8000-000000000002"
ORGANISATION = "urn:uuid:10000000-0000-4000-8000-000000000003"
ROLE = "urn:uuid:10000000-0000-4000-8000-000000000004"
FORM = "urn:uuid:10000000-0000-4000-8000-000000000005"
MADRS = "urn:uuid:10000000-0000-4000-8000-000000000006"

MILD = (2, 2, 2, 1, 1, 2, 1, 1, 0)
"""A rating of 12 without signs of risk."""
GRAVE = (2, 2, 2, 1, 1, 2, 1, 1, 5)
"""The same with item 9 above the threshold."""
SEVERE = (4, 4, 4, 4, 4, 4, 4, 4, 0)
"""32 points, above the maximum, without signs of risk."""

DIAGNOSIS = {
    "stress": "F43.8A",
    "sleep": "G47.0",
    "anxiety": "F41.0",
    "worry": "F41.1",
    "depression": "F32.1",
    "self-esteem": "F33.0",
}

GOOD_ANSWERS: dict[str, bool | str] = {
    "motivated": True,
    "works-independently": True,
    "computer-habit": True,
    "internet-access": True,
    "reads-and-writes": True,
    "patient-interested": True,
    "sets-aside-time": True,
    "assessment-held": True,
    "patient-informed": True,
    "device": True,
    "e-identification": True,
    "suicide-risk": "low",
    "parallel-therapy": False,
    "parallel-homework": False,
    "major-cognitive-difficulties": False,
    "stress-phase": "early",
    "sleep-apnoea": False,
    "restless-legs": False,
    "self-esteem-purpose": "treatment",
}


def order(placer: str = "R-1", programme: str = "depression", **changes: Any) -> Json:
    """A ServiceRequest about PATIENT from ROLE; a change to None leaves the element out."""
    resource: Json = {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": PLACER, "value": placer}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-programme", "code": programme}]},
        "subject": {"reference": PATIENT},
        "authoredOn": "2026-11-20",
        "requester": {"reference": ROLE},
        "reasonCode": [{"coding": [{"system": "https://www.icd10.se/", "code": DIAGNOSIS[programme]}]}],
        "supportingInfo": [{"reference": MADRS}, {"reference": FORM}],
    }
    return _with(resource, changes)


def patient(identity: str = ADULT, **changes: Any) -> Json:
    """A Patient of Gävle."""
    resource: Json = {
        "resourceType": "Patient",
        "identifier": [{"system": PERSONNUMMER, "value": identity}],
        "name": [{"text": "Test Testsson"}],
        "address": [{"city": "Gävle"}],
    }
    return _with(resource, changes)


def organisation(unit: str = UNIT, **changes: Any) -> Json:
    """An Organization known by its HSA-id."""
    return _with(
        {
            "resourceType": "Organization",
            "identifier": [{"system": HSA, "value": unit}],
            "name": "Exempelmottagningen",
        },
        changes,
    )


def role(organization: Json | None = None, **changes: Any) -> Json:
    """A PractitionerRole at ORGANISATION."""
    return _with(
        {
            "resourceType": "PractitionerRole",
            "organization": organization or {"reference": ORGANISATION},
            "code": [{"text": "Psykolog"}],
        },
        changes,
    )


def madrs_s(items: tuple[int, ...] = MILD, **changes: Any) -> Json:
    """An answered MADRS-S."""
    resource: Json = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/madrs-s",
        "status": "completed",
        "subject": {"reference": PATIENT},
        "authored": "2026-11-18T09:00:00+01:00",
        "item": [
            {"linkId": f"item-{number}", "answer": [{"valueInteger": value}]} for number, value in enumerate(items, 1)
        ],
    }
    return _with(resource, changes)


def form(**answers: bool | str | None) -> Json:
    """The referral form with good answers, some changed (`suicide_risk="elevated"`) or left out (None)."""
    changed = {name.replace("_", "-"): value for name, value in answers.items()}
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/ikbt-referral",
        "status": "completed",
        "subject": {"reference": PATIENT},
        "authored": "2026-11-20T09:00:00+01:00",
        "item": [
            {"linkId": link, "answer": [_answer(value)]}
            for link, value in {**GOOD_ANSWERS, **changed}.items()
            if value is not None
        ],
    }


def bundle(*resources: tuple[str, Json]) -> Json:
    """A transaction that POSTs each (fullUrl, resource)."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry(full_url, resource) for full_url, resource in resources],
    }


def entry(full_url: str, resource: Json, **request: str) -> Json:
    """One entry of a transaction."""
    asked = {"method": "POST", "url": resource["resourceType"], **request}
    return {"fullUrl": full_url, "resource": resource, "request": asked}


def referral(
    placer: str = "R-1",
    programme: str = "depression",
    *,
    unit: str = UNIT,
    identity: str = ADULT,
    items: tuple[int, ...] | None = MILD,
    answers: dict[str, Any] | None = None,
    extra: tuple[tuple[str, Json], ...] = (),
    **changes: Any,
) -> Json:
    """A referral's Bundle in which the rules of pack gavleborg find nothing, with changes: `items` of MADRS-S (None:
    without), `answers` of the form, elements of the ServiceRequest, and further entries.
    """
    supporting = [{"reference": MADRS}] * (items is not None) + [{"reference": FORM}]
    return bundle(
        (PATIENT, patient(identity)),
        (ORGANISATION, organisation(unit)),
        (ROLE, role()),
        *(((MADRS, madrs_s(items)),) if items is not None else ()),
        (FORM, form(**(answers or {}))),
        *extra,
        (ORDER, order(placer, programme, **{"supportingInfo": supporting, **changes})),
    )


def alone(
    placer: str = "R-1", programme: str = "stress", *, unit: str = UNIT, identity: str = ADULT, **changes: Any
) -> Json:
    """A ServiceRequest without a Bundle: subject and requester by identifier, the form contained."""
    contained = {**form(), "id": "form", "subject": logical_patient(identity)}
    return order(
        placer,
        programme,
        **{
            "contained": [contained],
            "subject": logical_patient(identity),
            "requester": {"type": "Organization", "identifier": {"system": HSA, "value": unit}},
            "supportingInfo": [{"reference": "#form"}],
            **changes,
        },
    )


def logical_patient(identity: str = ADULT) -> Json:
    """A reference to the patient by national identifier."""
    return {"type": "Patient", "identifier": {"system": PERSONNUMMER, "value": identity}, "display": "Test Testsson"}


def plain(**changes: Any) -> Json:
    """A referral as plain JSON, in which the rules find nothing."""
    body: Json = {
        "channel": "record-message",
        "received": "2026-11-20",
        "referrer": {"unit": UNIT, "name": "Psykosocialt team", "reference": "PMO-2026-000123"},
        "patient": {"identifier": ADULT, "name": "Test Testsson", "phone": "070-1740605", "municipality": "2180"},
        "programme": "depression",
        "diagnoses": ["F32.1"],
        "madrs_s": {"date": "2026-11-18", "items": list(MILD)},
        "answers": dict(GOOD_ANSWERS),
    }
    return _with(body, changes)


def located(answer_entry: Json) -> str:
    """`Type/id` of an entry of a transaction-response."""
    return "/".join(answer_entry["response"]["location"].split("/")[:2])


def _with(resource: Json, changes: dict[str, Any]) -> Json:
    return {name: value for name, value in (resource | changes).items() if value is not None}


def _answer(value: bool | str) -> Json:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    return {"valueCoding": {"system": f"{S}/CodeSystem/ikbt-referral-answer", "code": value}}
