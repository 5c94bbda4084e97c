"""Who refers: every way of writing the requester."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.issues import Issue, is_error
from fhir_mappings.providers import (
    from_fhir_organization,
    resolve_requester,
    to_fhir_organization,
    to_fhir_practitioner_role,
)
from fhir_mappings.records import HsaId, Json, Reference, Requester
from tests.fhir_mappings.examples import CANONICAL, HSA, HSA_RIV, MUNICIPALITIES, UNIT, S, any_json, damaged, where

REQUESTER = "ServiceRequest.requester"


def hsa(value: str, system: str = HSA) -> Json:
    return {"system": system, "value": value}


def organization(*identifiers: Json, **elements: object) -> Json:
    return {"resourceType": "Organization", "identifier": list(identifiers) or [hsa(UNIT)], **elements}


def role(**elements: object) -> Json:
    return {"resourceType": "PractitionerRole", "organization": {"reference": "Organization/o1"}, **elements}


def resolve(
    reference: Json, resources: dict[str, Json] | None = None, roles: Sequence[Json] = ()
) -> tuple[Requester | None, list[Issue]]:
    return resolve_requester(reference, REQUESTER, (resources or {}).get, roles, CANONICAL, MUNICIPALITIES)


def test_an_organization_is_a_requester_by_its_hsa_id() -> None:
    sent = organization(name="Exempel hälsocentral", address=[{"city": "Gävle"}])

    assert resolve({"reference": "Organization/o1"}, {"Organization/o1": sent}) == (
        Requester(HsaId(UNIT), "Exempel hälsocentral", "2180"),
        [],
    )


@pytest.mark.parametrize("system", [HSA, HSA_RIV])
@pytest.mark.parametrize("literal", ["#o", "urn:uuid:6f1f5d3c-52ae-4c4e-9c40-9c1c8a4f0a11", "Organization/o1"])
def test_the_hsa_id_is_read_from_both_systems_wherever_the_organization_is(system: str, literal: str) -> None:
    found, issues = resolve({"reference": literal}, {literal: organization(hsa(UNIT, system))})

    assert (found, issues) == (Requester(HsaId(UNIT)), [])


def test_an_hsa_id_in_small_letters_is_the_same_unit() -> None:
    found, _ = resolve({"reference": "#o"}, {"#o": organization(hsa("se2321000198-ex01"))})

    assert found == Requester(HsaId(UNIT))


def test_a_role_gives_unit_role_and_person() -> None:
    sent = role(
        identifier=[hsa("SE2321000198-EX0R")],
        practitioner={"reference": "Practitioner/p1"},
        code=[{"coding": [{"display": "Kurator"}]}],
    )
    resources = {
        "PractitionerRole/r1": sent,
        "Organization/o1": organization(name="Exempel hälsocentral"),
        "Practitioner/p1": {"resourceType": "Practitioner", "identifier": [hsa("SE2321000198-EX0P")]},
    }

    assert resolve({"reference": "PractitionerRole/r1"}, resources) == (
        Requester(
            HsaId(UNIT),
            "Exempel hälsocentral",
            role=HsaId("SE2321000198-EX0R"),
            practitioner=HsaId("SE2321000198-EX0P"),
            role_name="Kurator",
        ),
        [],
    )


def test_a_role_may_name_its_organization_by_hsa_id_alone() -> None:
    sent = role(organization={"identifier": hsa(UNIT), "display": "Exempel hälsocentral"})

    assert resolve({"reference": "#r"}, {"#r": sent}) == (Requester(HsaId(UNIT), "Exempel hälsocentral"), [])


@pytest.mark.parametrize("declared", [{}, {"type": "Organization"}, {"type": "http://hl7.org/fhir/x/Organization"}])
def test_a_logical_reference_by_hsa_id_is_the_organization(declared: Json) -> None:
    reference = {"identifier": hsa(UNIT), "display": "Exempel hälsocentral", **declared}

    assert resolve(reference) == (Requester(HsaId(UNIT), "Exempel hälsocentral"), [])


def test_the_identifier_is_used_when_nothing_is_found_behind_the_literal_reference() -> None:
    reference = {"reference": "https://ehr.example/Organization/9", "identifier": hsa(UNIT)}

    assert resolve(reference) == (Requester(HsaId(UNIT)), [])


def test_a_practitioner_joined_by_one_role_is_that_role() -> None:
    practitioner = {"resourceType": "Practitioner", "identifier": [hsa("SE2321000198-EX0P")]}
    resources = {"urn:uuid:p": practitioner, "Organization/o1": organization()}
    joining = role(practitioner={"reference": "urn:uuid:p"}, code=[{"text": "Läkare"}])
    others = role(practitioner={"reference": "urn:uuid:other"})

    found, issues = resolve({"reference": "urn:uuid:p"}, resources, [others, joining])

    assert not issues
    assert found == Requester(HsaId(UNIT), practitioner=HsaId("SE2321000198-EX0P"), role_name="Läkare")


def test_a_role_joins_a_practitioner_by_hsa_id_too() -> None:
    practitioner = {"resourceType": "Practitioner", "identifier": [hsa("SE2321000198-EX0P")]}
    joining = role(
        practitioner={"identifier": hsa("SE2321000198-EX0P", HSA_RIV)}, organization={"identifier": hsa(UNIT)}
    )

    found, _ = resolve({"reference": "#p"}, {"#p": practitioner}, [joining])

    assert found is not None
    assert found.unit == UNIT


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param([], id="none"),
        pytest.param([role(practitioner={"reference": "#p"})] * 2, id="two"),
        pytest.param([role(practitioner={"reference": "#p"}, active=False)], id="one that has ended"),
        pytest.param([{"resourceType": "PractitionerRole", "practitioner": {"reference": "#p"}}], id="no organization"),
    ],
)
def test_a_practitioner_not_joined_by_exactly_one_role_is_refused(roles: list[Json]) -> None:
    resources = {"#p": {"resourceType": "Practitioner"}, "Organization/o1": organization()}

    found, issues = resolve({"reference": "#p"}, resources, roles)

    assert found is None
    assert where(issues) == [("required", REQUESTER)]


@pytest.mark.parametrize(
    ("reference", "resources", "expression"),
    [
        ({"display": "Exempel"}, {}, REQUESTER),
        ({"reference": "Organization/9"}, {}, f"{REQUESTER}.reference"),
        ({"identifier": {"system": "urn:x", "value": UNIT}}, {}, f"{REQUESTER}.identifier"),
        ({"identifier": hsa("12345")}, {}, f"{REQUESTER}.identifier"),
        ({"type": "PractitionerRole", "identifier": hsa(UNIT)}, {}, f"{REQUESTER}.type"),
        ({"reference": "#x"}, {"#x": {"resourceType": "Patient"}}, REQUESTER),
        ({"reference": "#x"}, {"#x": {"resourceType": "Organization", "name": "Utan id"}}, REQUESTER),
        ({"reference": "#x"}, {"#x": organization(hsa(UNIT), hsa("SE2321000198-EX02"))}, REQUESTER),
        ({"reference": "#x"}, {"#x": role(organization={})}, REQUESTER),
        ({"reference": "#x"}, {"#x": role()}, REQUESTER),
        ({"reference": "#x"}, {"#x": role(organization={"identifier": hsa("fel")})}, REQUESTER),
    ],
)
def test_a_requester_whose_unit_cannot_be_read_is_refused_as_required(
    reference: Json, resources: dict[str, Json], expression: str
) -> None:
    found, issues = resolve(reference, resources)

    assert found is None
    assert where(issues) == [("required", expression)]


def test_a_missing_hsa_id_is_told_beside_an_unreadable_municipality() -> None:
    unreadable = {"extension": [{"url": f"{S}/StructureDefinition/municipality-code", "valueCode": "x"}]}

    found, issues = resolve({"reference": "#o"}, {"#o": {"resourceType": "Organization", "address": [unreadable]}})

    assert found is None
    assert [is_error(issue) for issue in issues] == [True, False]


def test_a_role_with_an_unreadable_id_still_refers_for_its_unit() -> None:
    sent = role(identifier=[hsa("fel")], organization={"identifier": hsa(UNIT)})

    found, issues = resolve({"reference": "#r"}, {"#r": sent})

    assert found == Requester(HsaId(UNIT))
    assert [(issue.severity, issue.expression) for issue in issues] == [("warning", REQUESTER)]


_names = st.none() | st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
_hsa_ids = st.from_regex(r"SE[0-9]{10}-[0-9A-Z]{1,18}", fullmatch=True).filter(str.isascii).map(HsaId)
requesters = st.builds(
    Requester,
    unit=_hsa_ids,
    unit_name=_names,
    municipality=st.none() | st.sampled_from(["2180", "2161"]),
    role=st.none() | _hsa_ids,
    practitioner=st.none() | _hsa_ids,
    role_name=_names,
)


@given(requesters)
def test_a_requester_that_is_written_reads_the_same(original: Requester) -> None:
    resources = {
        "Organization/o1": to_fhir_organization(original.unit, original.unit_name, original.municipality, CANONICAL),
        "PractitionerRole/r1": to_fhir_practitioner_role(original, Reference("Organization/o1")),
    }

    assert resolve({"reference": "PractitionerRole/r1"}, resources) == (original, [])


@given(_hsa_ids, _names, st.none() | st.sampled_from(["2180", "0180"]))
def test_an_organization_that_is_written_reads_the_same(
    unit: HsaId, name: str | None, municipality: str | None
) -> None:
    written = to_fhir_organization(unit, name, municipality, CANONICAL)

    assert from_fhir_organization(written, "Organization", CANONICAL, MUNICIPALITIES) == (
        Requester(unit, name, municipality),
        [],
    )


_ROLE = role(
    identifier=[hsa("SE2321000198-EX0R")],
    practitioner={"reference": "#p", "identifier": hsa("SE2321000198-EX0P")},
    code=[{"text": "Kurator", "coding": [{"display": "Kurator"}]}],
    active=True,
)
_ORGANIZATION = organization(hsa(UNIT), hsa(UNIT, HSA_RIV), name="Exempel", address=[{"city": "Gävle"}])


@given(
    any_json,
    damaged(_ROLE),
    damaged(_ORGANIZATION),
    damaged({"resourceType": "Practitioner", "identifier": [hsa("SE2321000198-EX0P")]}),
    damaged({"reference": "#r", "identifier": hsa(UNIT), "type": "Organization"}),
)
def test_reading_a_requester_never_raises(
    anything: Json, almost_role: Json, almost_organization: Json, almost_practitioner: Json, reference: Json
) -> None:
    resources = {"#r": almost_role, "#p": almost_practitioner, "Organization/o1": almost_organization, "#x": anything}

    for each in (anything, reference, *({"reference": literal} for literal in resources)):
        found, issues = resolve(each, resources, [almost_role, anything])
        assert found or issues
