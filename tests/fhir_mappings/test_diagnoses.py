"""Diagnosis codes in every way of writing them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.diagnoses import diagnoses_from, normalise_icd10, to_fhir_reason
from fhir_mappings.records import Json
from fhir_mappings.terminology import ICD_10_SE_SYSTEMS
from tests.fhir_mappings.examples import any_json, damaged, service_request, where

VER_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def concept(code: str, system: str = "https://www.icd10.se/") -> Json:
    return {"coding": [{"system": system, "code": code}]}


def condition(code: str, verification: str | None = None) -> Json:
    resource: Json = {"resourceType": "Condition", "code": concept(code)}
    if verification:
        resource["verificationStatus"] = {"coding": [{"system": VER_STATUS, "code": verification}]}
    return resource


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("F32.1", "F32.1"),
        ("F321", "F32.1"),
        ("f321", "F32.1"),
        (" F32.1 ", "F32.1"),
        ("F32", "F32"),
        ("F32.-", "F32"),
        ("F32-", "F32"),
        ("F32-P", "F32-P"),
        ("F41.9P", "F41.9P"),
        ("F438A", "F43.8A"),
        ("F43.8a", "F43.8A"),
        ("G25.8", "G25.8"),
        ("F00.0*", "F00.0"),
        ("M16.12", "M16.12"),
    ],
)
def test_a_code_is_read_with_and_without_its_dot(written: str, code: str) -> None:
    assert normalise_icd10(written) == code


@pytest.mark.parametrize("written", ["", "F3", "32.1", "FF2.1", "F32.", "F32..1", "F32.1234", "Depression", "F３２.1"])
def test_what_is_no_icd_10_code_is_not_read(written: str) -> None:
    assert normalise_icd10(written) is None


@pytest.mark.parametrize("system", sorted(ICD_10_SE_SYSTEMS))
def test_every_uri_of_icd_10_se_is_read(system: str) -> None:
    codes, issues = diagnoses_from({"reasonCode": [concept("F321", str(system))]}, "ServiceRequest")

    assert (codes, issues) == (("F32.1",), [])


def test_other_systems_and_texts_are_no_diagnoses() -> None:
    resource = {"reasonCode": [concept("35489007", "http://snomed.info/sct"), {"text": "Depression F32.1"}]}

    assert diagnoses_from(resource, "ServiceRequest") == ((), [])


def test_reasons_and_conditions_give_each_code_once_in_order() -> None:
    resource = {"reasonCode": [concept("F32.1"), concept("F51.0")]}
    conditions = [(condition("F321"), "Bundle.entry[2].resource"), (condition("F41.1"), "Bundle.entry[3].resource")]

    assert diagnoses_from(resource, "ServiceRequest", conditions) == (("F32.1", "F51.0", "F41.1"), [])


@pytest.mark.parametrize("status", ["refuted", "entered-in-error"])
def test_a_withdrawn_condition_does_not_count_and_that_is_said(status: str) -> None:
    codes, issues = diagnoses_from({}, "ServiceRequest", [(condition("F32.1", status), "Bundle.entry[2].resource")])

    assert codes == ()
    assert [(issue.severity, issue.expression) for issue in issues] == [
        ("information", "Bundle.entry[2].resource.verificationStatus")
    ]


@pytest.mark.parametrize("status", ["unconfirmed", "provisional", "differential", "confirmed"])
def test_any_other_condition_counts(status: str) -> None:
    assert diagnoses_from({}, "ServiceRequest", [(condition("F32.1", status), "x")]) == (("F32.1",), [])


def test_an_unreadable_code_is_told_and_the_others_count() -> None:
    resource = {"reasonCode": [{"text": "x"}, {"coding": [{"code": "F32.1"}, *concept("?")["coding"]]}, concept("F33")]}

    codes, issues = diagnoses_from(resource, "Bundle.entry[0].resource")

    assert codes == ("F33",)
    assert where(issues) == [("code-invalid", "Bundle.entry[0].resource.reasonCode[1].coding[1].code")]
    assert issues[0].severity == "information"


_codes = st.from_regex(r"[A-Z][0-9]{2}(\.[0-9]{1,2}[A-Z]?|-[A-Z])?", fullmatch=True).filter(str.isascii)


@given(st.lists(_codes, unique=True).map(tuple))
def test_diagnoses_that_are_written_read_the_same(codes: tuple[str, ...]) -> None:
    assert diagnoses_from({"reasonCode": [to_fhir_reason(code) for code in codes]}, "x") == (codes, [])


@given(_codes)
def test_a_code_is_the_same_without_its_dot_in_small_letters_and_read_twice(code: str) -> None:
    assert normalise_icd10(code.replace(".", "").lower()) == code
    assert normalise_icd10(normalise_icd10(code) or "") == code


@given(any_json, damaged(service_request()), damaged(condition("F32.1", "confirmed")))
def test_reading_diagnoses_never_raises(one: Json, resource: Json, other: Json) -> None:
    codes, issues = diagnoses_from(resource, "ServiceRequest", [(one, "x"), (other, "y")])

    assert all(normalise_icd10(code) == code for code in codes)
    assert all(issue.severity == "information" for issue in issues)
