"""The ServiceRequest, row by row as contract 3 lists them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import (
    HsaId,
    Identifier,
    IdentityKind,
    Json,
    Patient,
    PatientIdentity,
    Priority,
    Reference,
    Referral,
    Requester,
)
from fhir_mappings.service_request import (
    Order,
    diagnoses_from,
    from_fhir_service_request,
    to_fhir_service_request,
)
from fhir_mappings.terminology import PROGRAMMES
from tests.fhir_mappings.examples import (
    CANONICAL,
    NOW,
    PLAC,
    UNIT,
    S,
    any_json,
    damaged,
    service_request,
    where,
    with_type,
)

PROGRAMME = f"{S}/CodeSystem/ikbt-programme"


def read(resource: Json) -> tuple[Order | None, list[tuple[str, str | None]]]:
    order, issues = from_fhir_service_request(resource, "Bundle.entry[0].resource", CANONICAL, NOW)
    return order, where(issues)


def the_order(resource: Json) -> Order:
    order, issues = read(resource)
    assert issues == []
    assert order is not None
    return order


def refused(resource: Json) -> list[tuple[str, str]]:
    """(code, place in the ServiceRequest) of each problem."""
    order, issues = read(resource)
    assert order is None
    return [(code, str(place).removeprefix("Bundle.entry[0].resource.")) for code, place in issues]


def test_a_complete_referral_is_read_whole() -> None:
    resource = service_request(
        priority="urgent",
        supportingInfo=[{"reference": "Observation/o1"}, {"display": "Brev"}, {"reference": "urn:uuid:q"}],
        reasonReference=[{"reference": "#c1"}],
        note=[{"text": "Samtal var tredje vecka"}, {"text": "Nås bäst efter 15"}],
    )

    assert the_order(resource) == Order(
        placer=Identifier("https://ehr.example/referral", "R-1"),
        programme="depression",
        authored_on="2026-11-20",
        priority=Priority.URGENT,
        subject={"reference": "Patient/p1"},
        requester={"reference": "PractitionerRole/r1"},
        reasons=(("https://www.icd10.se/", "F32.1"),),
        notes=("Samtal var tredje vecka", "Nås bäst efter 15"),
        supporting=("Observation/o1", "urn:uuid:q", "#c1"),
    )


def test_a_referral_without_priority_is_routine() -> None:
    assert the_order(service_request()).priority is Priority.ROUTINE


def test_the_identifier_typed_plac_is_the_referrers_own() -> None:
    identifiers = [
        {"system": "https://ehr.example/encounter", "value": "E-1"},
        {"type": PLAC, "system": "https://ehr.example/referral", "value": "R-1"},
    ]

    assert the_order(service_request(identifier=identifiers)).placer == Identifier(
        "https://ehr.example/referral", "R-1"
    )


@pytest.mark.parametrize(
    ("identifiers", "issues"),
    [
        (None, [("required", "identifier")]),
        ([{"value": "R-1"}], [("required", "identifier[0].system")]),
        ([{"system": "urn:x"}], [("required", "identifier[0].value")]),
        ([{"use": "official"}], [("required", "identifier[0].system"), ("required", "identifier[0].value")]),
        ([{"system": "urn:x", "value": "1"}, {"system": "urn:y", "value": "2"}], [("required", "identifier")]),
        ([{"type": PLAC, "system": "urn:x", "value": "1"}, {"type": PLAC, "system": "urn:x", "value": "2"}],
         [("required", "identifier")]),
        ([{"system": "urn:x", "value": "1"}, {"type": PLAC, "value": "2"}], [("required", "identifier[1].system")]),
    ],
)  # fmt: skip
def test_without_one_own_number_with_system_the_referral_is_refused(
    identifiers: list[Json] | None, issues: list[tuple[str, str]]
) -> None:
    assert refused(service_request(identifier=identifiers)) == issues


@pytest.mark.parametrize(
    ("change", "place"),
    [
        *(({"status": status}, "status") for status in ("draft", "on-hold", "completed", "revoked", "unknown")),
        *(({"intent": intent}, "intent") for intent in ("proposal", "plan", "original-order", "directive")),
        ({"doNotPerform": True}, "doNotPerform"),
    ],
)
def test_only_an_active_order_to_do_something_is_taken(change: Json, place: str) -> None:
    assert refused(service_request(**change)) == [("business-rule", place)]


def test_an_order_that_says_it_is_not_forbidden_is_taken() -> None:
    assert the_order(service_request(doNotPerform=False))


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_every_programme_is_read_beside_codes_of_other_systems(programme: str) -> None:
    coding = [{"system": "http://snomed.info/sct", "code": "304891004"}, {"system": PROGRAMME, "code": programme}]

    assert the_order(service_request(code={"coding": coding})).programme == programme


@pytest.mark.parametrize(
    ("code", "place"),
    [
        (None, "code"),
        ({"text": "IKBT depression"}, "code.coding"),
        ({"coding": [{"system": "http://snomed.info/sct", "code": "304891004"}]}, "code.coding"),
        ({"coding": [{"code": "depression"}]}, "code.coding"),
        ({"coding": [{"system": PROGRAMME, "code": "stress"}, {"system": PROGRAMME, "code": "sleep"}]}, "code.coding"),
        ({"coding": [{"code": "x"}, {"system": PROGRAMME, "code": "pain"}]}, "code.coding[1].code"),
        ({"coding": [{"system": PROGRAMME, "code": "Depression"}]}, "code.coding[0].code"),
        ({"coding": [{"system": PROGRAMME, "display": "Depression"}]}, "code.coding[0].code"),
    ],
)
def test_without_exactly_one_known_programme_the_referral_is_refused(code: Json | None, place: str) -> None:
    assert refused(service_request(code=code)) == [("code-invalid", place)]


@pytest.mark.parametrize(
    "written",
    ["2026-11-23", "2020-01-01", "2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z", "2026-11-23T10:30:00.5+02:00"],
)
def test_a_date_or_instant_that_has_begun_is_taken(written: str) -> None:
    assert the_order(service_request(authoredOn=written)).authored_on == written


@pytest.mark.parametrize(
    "written",
    [None, "2026", "2026-11", "2026-11-24", "2026-11-23T10:00:01+01:00", "2026-11-23T09:30:00Z", "2026-11-23T08:00:00"],
)
def test_a_date_that_is_missing_incomplete_or_in_the_future_is_refused(written: str | None) -> None:
    assert refused(service_request(authoredOn=written)) == [("value", "authoredOn")]


def test_today_is_the_swedish_day_also_when_it_is_still_yesterday_in_utc() -> None:
    just_after_midnight = NOW.replace(hour=0, minute=30)
    order, issues = from_fhir_service_request(
        service_request(authoredOn="2026-11-23"), "x", CANONICAL, just_after_midnight
    )

    assert order is not None
    assert issues == []


@pytest.mark.parametrize("element", ["subject", "requester"])
def test_without_patient_or_referrer_the_referral_is_refused(element: str) -> None:
    assert refused(service_request(**{element: None})) == [("required", element)]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "modifierExtension[0]"),
        (
            {"contained": [{"resourceType": "Patient", "contact": [{"modifierExtension": [{"url": "urn:x"}]}]}]},
            "contained[0].contact[0].modifierExtension[0]",
        ),
        ({"occurrenceTiming": {"modifierExtension": [{"url": "urn:x"}]}}, "occurrence.modifierExtension[0]"),
    ],
)
def test_an_unknown_modifier_extension_is_refused_anywhere(change: Json, place: str) -> None:
    assert refused(service_request(**change)) == [("extension", place)]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"implicitRules": "urn:x"}, "implicitRules"),
        ({"contained": [{"resourceType": "Patient", "implicitRules": "urn:x"}]}, "contained[0].implicitRules"),
    ],
)
def test_so_are_rules_that_nobody_here_knows(change: Json, place: str) -> None:
    """https://hl7.org/fhir/R4/resource-definitions.html#Resource.implicitRules"""
    assert refused(service_request(**change)) == [("not-supported", place)]


def test_an_unknown_extension_is_no_problem() -> None:
    assert the_order(service_request(extension=[{"url": "urn:x", "valueDecimal": 1}]))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    resource = {"resourceType": "ServiceRequest", "status": "draft", "doNotPerform": True, "priority": "soon"}

    assert refused(resource) == [
        ("required", "identifier"),
        ("business-rule", "status"),
        ("business-rule", "intent"),
        ("business-rule", "doNotPerform"),
        ("code-invalid", "code"),
        ("value", "authoredOn"),
        ("code-invalid", "priority"),
        ("required", "subject"),
        ("required", "requester"),
    ]


_text = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
referrals = st.builds(
    Referral,
    placer=st.builds(Identifier, _text, _text),
    programme=st.sampled_from(PROGRAMMES),
    patient=st.just(Patient(PatientIdentity(IdentityKind.PERSONNUMMER, "199002222397"))),
    requester=st.just(Requester(HsaId(UNIT))),
    authored_on=st.dates(max_value=NOW.date()).map(str)
    | st.timedeltas(timedelta(0), timedelta(days=9000)).map(lambda age: (NOW - age).isoformat()),
    priority=st.sampled_from(Priority),
    diagnoses=st.lists(st.sampled_from(["F32.1", "F41", "F43.8A"]), unique=True).map(tuple),
    notes=st.lists(_text, max_size=3).map(tuple),
)


@given(referrals, st.lists(_text.map(Reference), max_size=3))
def test_a_referral_that_is_written_reads_the_same(referral: Referral, supporting: list[Reference]) -> None:
    subject, requester = Reference("Patient/p1"), Reference("Organization/o1")
    written = to_fhir_service_request(referral, CANONICAL, subject, requester, supporting)
    order = the_order(written)

    assert (order.placer, order.programme, order.authored_on) == (
        referral.placer,
        referral.programme,
        referral.authored_on,
    )
    assert (order.priority, order.notes, order.supporting) == (referral.priority, referral.notes, tuple(supporting))
    assert (order.subject, order.requester) == ({"reference": subject}, {"reference": requester})
    assert diagnoses_from(written, "ServiceRequest") == (referral.diagnoses, [])


@given(any_json, damaged(service_request(priority="stat", note=[{"text": "x"}], supportingInfo=[{"reference": "a/b"}])))
def test_reading_a_service_request_never_raises(resource: Json, almost: Json) -> None:
    for each in (with_type(resource, "ServiceRequest"), almost):
        order, issues = from_fhir_service_request(each, "ServiceRequest", CANONICAL, NOW)
        assert (order is None) == bool(issues)
