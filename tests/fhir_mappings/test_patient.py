"""The patient, from a Patient or a logical reference and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.patient import from_fhir_patient, from_logical_subject, to_fhir_patient
from fhir_mappings.records import IdentityKind, Json, Patient, PatientIdentity
from tests.fhir_mappings.examples import (
    CANONICAL,
    MUNICIPALITIES,
    PERSONNUMMER,
    RESERVNUMMER,
    SAMORDNINGSNUMMER,
    TODAY,
    S,
    any_json,
    damaged,
    where,
    with_type,
)

EXTENSION = f"{S}/StructureDefinition/municipality-code"
SECURITY_LABEL = "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel"
PERSON = PatientIdentity(IdentityKind.PERSONNUMMER, "199002222397")


def patient(**elements: object) -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": PERSONNUMMER, "value": "199002222397"}],
        **elements,
    }


def read(resource: Json) -> tuple[Patient | None, list[tuple[str, str | None]]]:
    found, issues = from_fhir_patient(resource, "Bundle.entry[1].resource", TODAY, CANONICAL, MUNICIPALITIES)
    return found, where(issues)


def the_patient(resource: Json) -> Patient:
    found, issues = read(resource)
    assert found is not None
    assert not issues
    return found


def test_a_patient_with_an_identifier_alone_is_enough() -> None:
    assert the_patient(patient()) == Patient(PERSON)


def test_a_personnummer_goes_before_a_samordningsnummer_and_a_local_number_is_nobody() -> None:
    identifiers = [
        {"system": "https://ehr.example/patient", "value": "4711"},
        {"system": SAMORDNINGSNUMMER, "value": "196109732393"},
        {"system": PERSONNUMMER, "value": "199002222397"},
    ]

    assert the_patient(patient(identifier=identifiers)).identity == PERSON


def test_the_same_number_in_both_families_of_systems_is_one_patient() -> None:
    twice = [{"system": system, "value": "199002222397"} for system in (PERSONNUMMER, "urn:oid:1.2.752.129.2.1.3.1")]

    assert the_patient(patient(identifier=twice)).identity == PERSON


def test_an_old_number_does_not_count() -> None:
    identifiers = [
        {"use": "old", "system": PERSONNUMMER, "value": "200302022389"},
        {"system": PERSONNUMMER, "value": "199002222397"},
    ]

    assert the_patient(patient(identifier=identifiers)).identity == PERSON


@pytest.mark.parametrize(
    ("identifiers", "issues"),
    [
        (None, [("required", "identifier")]),
        ([{"system": "https://ehr.example/patient", "value": "4711"}], [("required", "identifier")]),
        ([{"value": "199002222397"}], [("required", "identifier")]),
        ([{"system": PERSONNUMMER}], [("required", "identifier[0].value")]),
        ([{"system": PERSONNUMMER, "value": "199002222398"}], [("value", "identifier[0].value")]),
        (
            [
                {"system": RESERVNUMMER, "value": "20210325K069"},
                {"system": PERSONNUMMER, "value": "199002222398"},
                {"system": SAMORDNINGSNUMMER, "value": "1961"},
            ],
            [("value", "identifier[1].value"), ("value", "identifier[2].value")],
        ),
        (
            [{"system": PERSONNUMMER, "value": "199002222397"}, {"system": PERSONNUMMER, "value": "200302022389"}],
            [("value", "identifier")],
        ),
    ],
)
def test_a_patient_without_one_valid_identity_is_refused_where_it_is_wrong(
    identifiers: list[Json] | None, issues: list[tuple[str, str]]
) -> None:
    found, told = read({"resourceType": "Patient", **({"identifier": identifiers} if identifiers else {})})

    assert found is None
    assert told == [(code, f"Bundle.entry[1].resource.{place}") for code, place in issues]


def test_a_subject_that_is_no_patient_is_refused() -> None:
    assert read({"resourceType": "Group"}) == (None, [("required", "Bundle.entry[1].resource")])


@pytest.mark.parametrize("code", ["sekretessmarkering", "skyddadFolkbokforing"])
def test_protected_identity_is_carried_through(code: str) -> None:
    protected = the_patient(
        patient(
            identifier=[{"system": PERSONNUMMER, "value": "200001252386"}],
            meta={"security": [{"system": SECURITY_LABEL, "code": code, "display": "x"}]},
            name=[{"text": "Skyddad uppgift"}],
        )
    )

    written = to_fhir_patient(protected, CANONICAL)

    assert protected.security == ((SECURITY_LABEL, code),)
    assert written["meta"] == {"security": [{"system": SECURITY_LABEL, "code": code}]}
    assert written["name"] == [{"text": "Skyddad uppgift"}]


@pytest.mark.parametrize(
    ("elements", "active", "deceased"),
    [
        ({}, True, False),
        ({"active": True, "deceasedBoolean": False}, True, False),
        ({"active": False}, False, False),
        ({"deceasedBoolean": True}, True, True),
        ({"deceasedDateTime": "2026-11"}, True, True),
    ],
)
def test_inactive_and_deceased_are_read(elements: Json, active: bool, deceased: bool) -> None:
    found = the_patient(patient(**elements))

    assert (found.active, found.deceased) == (active, deceased)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ([{"given": ["Test", "Tolvan"], "family": "Testsson"}], "Test Tolvan Testsson"),
        ([{"use": "nickname", "text": "Tolvan"}, {"use": "official", "text": "Test Testsson"}], "Test Testsson"),
        ([{"use": "old", "text": "Förra"}, {"family": "Testsson"}], "Testsson"),
        ([{"given": [None, "Test"], "_given": [{"extension": []}, None]}], "Test"),
        ([{"period": {"start": "2020"}}], None),
    ],
)
def test_the_name_in_use_is_read(names: list[Json], name: str | None) -> None:
    assert the_patient(patient(name=names)).name == name


@pytest.mark.parametrize(
    ("contacts", "phone"),
    [
        ([{"system": "email", "value": "t@example.se"}, {"system": "phone", "value": "070-1740605"}], "070-1740605"),
        ([{"system": "phone", "value": "1"}, {"system": "phone", "value": "2", "rank": 1}], "2"),
        ([{"system": "phone", "value": "1", "use": "old"}], None),
        ([{"system": "phone"}], None),
    ],
)
def test_the_preferred_telephone_is_read(contacts: list[Json], phone: str | None) -> None:
    assert the_patient(patient(telecom=contacts)).phone == phone


@pytest.mark.parametrize(
    ("addresses", "municipality"),
    [
        ([{"extension": [{"url": EXTENSION, "valueCode": "2180"}], "city": "Ljusdal"}], "2180"),
        ([{"city": "Ljusdal"}, {"extension": [{"url": EXTENSION, "valueCode": "2180"}]}], "2180"),
        ([{"district": "Ljusdal", "city": "Gävle"}], "2161"),
        ([{"city": "Ljusdal"}, {"district": "Gävle"}], "2180"),
        ([{"city": "GÄVLE"}], "2180"),
        ([{"city": " Ga\u0308vle "}], "2180"),
        ([{"district": "Gävle kommun"}], "2180"),
        ([{"district": "Ljusdals kommun"}], "2161"),
        ([{"district": "Bollnäs kommun"}], "2183"),
        ([{"city": "Forsbacka"}], None),
        ([{"use": "old", "city": "Gävle"}], None),
        ([{"extension": [{"url": "https://other.example", "valueCode": "2180"}]}], None),
        ([], None),
    ],
)
def test_the_municipality_is_read_from_the_extension_and_else_by_name(
    addresses: list[Json], municipality: str | None
) -> None:
    assert the_patient(patient(address=addresses)).municipality == municipality


@pytest.mark.parametrize("extension", [{"valueCode": "21800"}, {"valueString": "2180"}, {"valueCode": "２１８０"}])
def test_an_unreadable_municipality_code_is_told_and_the_name_read_instead(extension: Json) -> None:
    found, issues = from_fhir_patient(
        patient(address=[{"extension": [{"url": EXTENSION, **extension}], "city": "Gävle"}]),
        "Patient",
        TODAY,
        CANONICAL,
        MUNICIPALITIES,
    )

    assert found is not None
    assert found.municipality == "2180"
    assert [(issue.severity, issue.expression) for issue in issues] == [
        ("warning", "Patient.address[0].extension[0].value")
    ]


def test_a_logical_reference_is_a_patient_with_identity_and_name() -> None:
    reference = {"identifier": {"system": PERSONNUMMER, "value": "199002222397"}, "display": "Test Testsson"}

    assert from_logical_subject(reference, "ServiceRequest.subject", TODAY) == (Patient(PERSON, "Test Testsson"), [])


@pytest.mark.parametrize(
    ("reference", "issues"),
    [
        ({"display": "Test"}, [("required", "identifier")]),
        ({"identifier": {"value": "199002222397"}}, [("required", "identifier.system")]),
        ({"identifier": {"use": "official"}}, [("required", "identifier.system"), ("required", "identifier.value")]),
        ({"identifier": {"system": PERSONNUMMER, "value": "1"}}, [("value", "identifier.value")]),
        ({"identifier": {"system": "urn:x", "value": "1"}}, [("value", "identifier.system")]),
        ({"type": "Group", "identifier": {"system": PERSONNUMMER, "value": "199002222397"}}, [("required", "type")]),
    ],
)
def test_a_logical_reference_that_names_nobody_is_refused(reference: Json, issues: list[tuple[str, str]]) -> None:
    found, told = from_logical_subject(reference, "ServiceRequest.subject", TODAY)

    assert found is None
    assert where(told) == [(code, f"ServiceRequest.subject.{place}") for code, place in issues]


def test_a_patient_is_written_as_hl7_sweden_does() -> None:
    assert to_fhir_patient(Patient(PERSON, "Test Testsson", "070-1740605", "2180"), CANONICAL) == {
        "resourceType": "Patient",
        "identifier": [{"system": PERSONNUMMER, "value": "199002222397"}],
        "active": True,
        "name": [{"text": "Test Testsson"}],
        "telecom": [{"system": "phone", "value": "070-1740605"}],
        "birthDate": "1990-02-22",
        "address": [{"extension": [{"url": EXTENSION, "valueCode": "2180"}]}],
    }


_written = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
patients = st.builds(
    Patient,
    identity=st.sampled_from(
        [
            PERSON,
            PatientIdentity(IdentityKind.SAMORDNINGSNUMMER, "196109732393"),
            PatientIdentity(IdentityKind.RESERVNUMMER, "98240301AA06"),
        ]
    ),
    name=st.none() | _written,
    phone=st.none() | _written,
    municipality=st.none() | st.sampled_from(["2180", "2161", "0180"]),
    security=st.lists(st.tuples(_written, _written), max_size=2).map(tuple),
    active=st.booleans(),
    deceased=st.booleans(),
)


@given(patients)
def test_a_patient_that_is_written_reads_the_same(original: Patient) -> None:
    assert the_patient(to_fhir_patient(original, CANONICAL)) == original


COMPLETE = patient(
    meta={"security": [{"system": SECURITY_LABEL, "code": "sekretessmarkering"}]},
    active=True,
    name=[{"use": "official", "given": ["Test"], "family": "Testsson"}],
    telecom=[{"system": "phone", "value": "070-1740605", "rank": 1}, {"system": "phone", "value": "1"}],
    address=[{"extension": [{"url": EXTENSION, "valueCode": "2180"}], "district": "Gävle"}],
)


@given(any_json, damaged(COMPLETE), damaged({"identifier": COMPLETE["identifier"][0], "display": "Test"}))
def test_reading_a_patient_never_raises(resource: Json, almost: Json, reference: Json) -> None:
    for each in (with_type(resource, "Patient"), almost):
        found, issues = from_fhir_patient(each, "Patient", TODAY, CANONICAL, MUNICIPALITIES)
        assert found or issues
    for each in (resource, reference):
        by_reference, told = from_logical_subject(each, "ServiceRequest.subject", TODAY)
        assert by_reference or told
