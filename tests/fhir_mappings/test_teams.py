"""A team of internet therapists as HealthcareService."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import HsaId, Json, Reference, Team
from fhir_mappings.teams import from_fhir_healthcare_service, to_fhir_healthcare_service, to_fhir_team_role
from tests.fhir_mappings.examples import CANONICAL, UNIT, S, any_json, damaged, where

TEAM = Team("gavle", "IKBT Gävle", "Exempel hälsocentral", HsaId(UNIT), "026-000000", "2", "-305-", roles=("gavle-1",))
SEAT = Reference("Organization/o1")


def test_a_team_is_written_with_seat_and_telephone() -> None:
    written = to_fhir_healthcare_service(TEAM, CANONICAL, SEAT)

    assert written["id"] == "gavle"
    assert written["providedBy"]["reference"] == "Organization/o1"
    assert written["location"] == [{"display": "Exempel hälsocentral"}]
    assert written["telecom"][0]["value"] == "026-000000"
    assert written["telecom"][0]["extension"] == [{"url": f"{S}/StructureDefinition/phone-menu", "valueString": "2"}]


def test_a_therapist_of_the_team_is_a_role_without_a_name() -> None:
    written = to_fhir_team_role(TEAM, "gavle-1", SEAT, CANONICAL)

    assert written["id"] == "gavle-1"
    assert written["healthcareService"] == [{"reference": "HealthcareService/gavle"}]
    assert "practitioner" not in written


def test_everything_that_a_team_lacks_is_told_at_once() -> None:
    found, issues = from_fhir_healthcare_service({"resourceType": "HealthcareService"}, "HealthcareService", CANONICAL)

    assert found is None
    assert where(issues) == [
        ("required", f"HealthcareService.{element}")
        for element in ("identifier", "providedBy.identifier", "location", "name", "telecom", "characteristic")
    ]


_some = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
teams = st.builds(
    Team,
    id=_some,
    name=_some,
    seat=_some,
    hsa_id=_some.map(HsaId),
    phone=_some,
    phone_menu=st.none() | _some,
    internal_post=st.none() | _some,
    role_code=_some,
)


@given(teams, st.lists(_some, max_size=3).map(tuple))
def test_a_team_that_is_written_reads_the_same(team: Team, roles: tuple[str, ...]) -> None:
    original = replace(team, roles=roles)
    written = to_fhir_healthcare_service(original, CANONICAL, SEAT)

    assert from_fhir_healthcare_service(written, "HealthcareService", CANONICAL, roles) == (original, [])


@given(any_json, damaged(to_fhir_healthcare_service(TEAM, CANONICAL, SEAT)))
def test_reading_a_team_never_raises(resource: Json, almost: Json) -> None:
    for each in (resource, almost):
        found, issues = from_fhir_healthcare_service(each, "HealthcareService", CANONICAL)
        assert found or issues
