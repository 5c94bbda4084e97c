"""Everything that the mappings write is valid FHIR R4, whatever the record holds."""

from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.madrs_s import to_fhir_observation, to_fhir_response
from fhir_mappings.patient import to_fhir_patient
from fhir_mappings.providers import to_fhir_organization, to_fhir_practitioner_role
from fhir_mappings.r4 import validate
from fhir_mappings.records import FormAnswers, MadrsS, Patient, Reference, Referral, Requester, Team
from fhir_mappings.referral_form import to_fhir_form
from fhir_mappings.service_request import to_fhir_service_request
from fhir_mappings.teams import to_fhir_healthcare_service, to_fhir_team_role
from tests.fhir_mappings.examples import CANONICAL
from tests.fhir_mappings.test_madrs_s import COMPONENTS, ITEMS
from tests.fhir_mappings.test_patient import patients
from tests.fhir_mappings.test_providers import requesters
from tests.fhir_mappings.test_referral_form import form_answers
from tests.fhir_mappings.test_service_request import referrals
from tests.fhir_mappings.test_teams import TEAM

PATIENT, UNIT, ROLE = Reference("Patient/p1"), Reference("Organization/o1"), Reference("PractitionerRole/r1")


@given(patients)
def test_a_patient_is_valid(patient: Patient) -> None:
    assert validate(to_fhir_patient(patient, CANONICAL)) == []


@given(requesters)
def test_a_unit_and_a_role_in_it_are_valid(requester: Requester) -> None:
    organization = to_fhir_organization(requester.unit, requester.unit_name, requester.municipality, CANONICAL)

    assert validate(organization) == []
    assert validate(to_fhir_practitioner_role(requester, UNIT)) == []


@given(st.sampled_from([TEAM, Team("t", "T", "S", TEAM.hsa_id, "1")]))
def test_a_team_and_a_therapist_of_it_are_valid(team: Team) -> None:
    assert validate(to_fhir_healthcare_service(team, CANONICAL, UNIT)) == []
    assert validate(to_fhir_team_role(team, "gavle-1", UNIT, CANONICAL)) == []


@given(referrals, st.lists(st.sampled_from([Reference("Observation/o1"), Reference("Condition/c1")]), max_size=2))
def test_a_service_request_is_valid(referral: Referral, supporting: list[Reference]) -> None:
    assert validate(to_fhir_service_request(referral, CANONICAL, PATIENT, ROLE, supporting)) == []


@given(form_answers())
def test_a_form_is_valid(form: FormAnswers) -> None:
    assert validate(to_fhir_form(form, CANONICAL, PATIENT)) == []


def test_a_rating_is_valid_as_response_and_as_observation() -> None:
    rating = MadrsS(sum(ITEMS), ITEMS, "2026-11-18")
    order, response = Reference("ServiceRequest/s1"), Reference("QuestionnaireResponse/q1")
    written = to_fhir_observation(rating, CANONICAL, PATIENT, order, response)

    assert written["component"] == COMPONENTS
    assert validate(written) == []
    assert validate(to_fhir_response(rating, CANONICAL, PATIENT)) == []
