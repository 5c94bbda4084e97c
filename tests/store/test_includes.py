"""What comes with the matches, and searches over a reference."""

import pytest

from fhir_mappings.records import Json
from service.store.database import Store
from service.store.includes import MAX_INCLUDES
from service.store.records import Write
from service.store.sight import Sight
from tests.store.examples import HSA, ORGANISATION, communication, patient, query, referral, service_request, task


@pytest.fixture
def stored(store: Store) -> Store:
    """A referral, its Task with a child, a message, and those they are about."""
    everything: list[Json] = [
        patient(managingOrganization={"reference": "Organization/o-1"}),
        patient("p-2", name=[{"family": "Öberg"}], identifier=[{"system": "https://a.example", "value": "2"}]),
        {
            "resourceType": "Organization",
            "id": "o-1",
            "name": "Hälsocentralen",
            "identifier": [{"system": HSA, "value": ORGANISATION}],
        },
        service_request(requester={"reference": "Organization/o-1"}),
        service_request("sr-2", subject={"reference": "Patient/p-2"}),
        task("t-1"),
        task("t-2", partOf=[{"reference": "Task/t-1"}], focus={"reference": "ServiceRequest/sr-1"}),
        task("t-3", focus={"reference": "ServiceRequest/sr-2"}, **{"for": {"reference": "Patient/p-2"}}),
        communication("c-1", basedOn=[{"reference": "ServiceRequest/sr-1"}], partOf=[{"reference": "Task/t-1"}]),
        {
            "resourceType": "Questionnaire",
            "id": "q-1",
            "status": "active",
            "url": "https://a.example/q",
            "version": "1",
        },
        {
            "resourceType": "Questionnaire",
            "id": "q-2",
            "status": "active",
            "url": "https://a.example/q",
            "version": "2",
        },
        {
            "resourceType": "QuestionnaireResponse",
            "id": "qr-1",
            "status": "completed",
            "questionnaire": "https://a.example/q|2",
        },
    ]
    with store.change() as change:
        change.write([Write(resource) for resource in everything])
    return store


@pytest.mark.parametrize(
    ("type_", "parameters", "expected"),
    [
        ("ServiceRequest", [("_id", "sr-1"), ("_revinclude", "Task:focus")], ["Task/t-1", "Task/t-2"]),
        ("ServiceRequest", [("_id", "sr-1"), ("_revinclude", "Task:focus:ServiceRequest")], ["Task/t-1", "Task/t-2"]),
        (
            "ServiceRequest",
            [("_id", "sr-1"), ("_revinclude", "Task:focus"), ("_revinclude", "Communication:based-on")],
            ["Communication/c-1", "Task/t-1", "Task/t-2"],
        ),
        ("Task", [("_id", "t-1"), ("_include", "Task:focus"), ("_include:iterate", "ServiceRequest:requester")],
         ["Organization/o-1", "ServiceRequest/sr-1"]),
        ("Task", [("_id", "t-2"), ("_include:iterate", "Task:part-of")], ["Task/t-1"]),
        ("Task", [("_id", "t-1"), ("_include:iterate", "Patient:organization")], []),
        ("Task", [("_id", "t-1"), ("_include", "Task:patient"), ("_include:iterate", "Patient:organization"),
                  ("_revinclude:iterate", "ServiceRequest:patient")],
         ["Organization/o-1", "Patient/p-1", "ServiceRequest/sr-1"]),
        ("Patient", [("_id", "p-1"), ("_revinclude", "Task:patient"), ("_revinclude:iterate", "Communication:part-of")],
         ["Communication/c-1", "Task/t-1", "Task/t-2"]),
        ("Task", [("_include", "Task:patient:Patient"), ("_id", "t-3")], ["Patient/p-2"]),
        ("Task", [("_include", "Task:part-of")], []),
        ("QuestionnaireResponse", [("_include", "QuestionnaireResponse:questionnaire")], ["Questionnaire/q-2"]),
    ],
)  # fmt: skip
def test_includes_bring(stored: Store, type_: str, parameters: list[tuple[str, str]], expected: list[str]) -> None:
    page = stored.view().search(query(type_, *parameters))
    assert sorted(included.reference for included in page.includes) == expected
    assert not page.includes_cut


def test_more_includes_than_a_page_shows_are_cut_and_that_is_told(stored: Store) -> None:
    many = [task(f"m-{number}") for number in range(MAX_INCLUDES)]
    with stored.change() as change:
        change.write([Write(resource) for resource in many])
    page = stored.view().search(query("ServiceRequest", ("_id", "sr-1"), ("_revinclude", "Task:focus")))
    assert (len(page.includes), page.includes_cut) == (MAX_INCLUDES, True)


@pytest.mark.parametrize(
    ("type_", "name", "value", "expected"),
    [
        ("Task", "patient.identifier", "199002222397", ["t-1", "t-2"]),
        ("Task", "patient.identifier", "https://a.example|2", ["t-3"]),
        ("Task", "subject:Patient.family", "oberg", ["t-3"]),
        ("Task", "patient.family:exact", "Öberg", ["t-3"]),
        ("Task", "patient.name", "te,ö", ["t-1", "t-2", "t-3"]),
        ("Task", "patient.birthdate", "lt2000", ["t-1", "t-2", "t-3"]),
        ("Task", "patient.birthdate", "gt2000", []),
        ("Task", "patient._id", "p-2,p-9", ["t-3"]),
        ("Task", "patient.organization", "Organization/o-1", ["t-1", "t-2"]),
        ("Task", "patient.organization:missing", "true", ["t-3"]),
        ("Task", "focus.identifier", "PMO-2026-000123", ["t-1", "t-2", "t-3"]),
        ("Task", "focus:ServiceRequest.requester", "Organization/o-1", ["t-1", "t-2"]),
        ("Task", "focus.status:not", "active", []),
        ("Task", "requester.name", "hälso", ["t-1", "t-2", "t-3"]),
        ("Task", "requester:Organization.identifier", f"{HSA}|{ORGANISATION}", ["t-1", "t-2", "t-3"]),
        ("Task", "requester:Practitioner.name", "hälso", []),
        ("Communication", "based-on.authored", "2026-11-23", ["c-1"]),
        ("Communication", "part-of:Task.owner", "HealthcareService/gavle", ["c-1"]),
    ],
)
def test_a_chain_finds_by_what_is_referred_to(
    stored: Store, type_: str, name: str, value: str, expected: list[str]
) -> None:
    for sort in ([], [("_sort", "_id")], [("_sort", "-_lastUpdated")]):
        page = stored.view().search(query(type_, (name, value), *sort))
        assert sorted(found.id for found in page.matches) == expected, sort


def test_rights_keep_matches_chains_and_includes_alike(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral("r-1", patient="p-1"))
        change.open_referral(referral("r-2", organisation="SE2321000198-EX02", patient="p-1"))
        change.write([Write(service_request(), "r-1"), Write(service_request("sr-2"), "r-2"), Write(patient("p-1"))])
        change.write([Write(task("t-1"), "r-1"), Write(task("t-2", focus={"reference": "ServiceRequest/sr-2"}), "r-1")])
        change.write([Write(communication("c-2", basedOn=[{"reference": "ServiceRequest/sr-1"}]), "r-2")])
    own = store.view().seen_by(Sight(organisations=frozenset({ORGANISATION})))

    def seen(type_: str, *parameters: tuple[str, str]) -> tuple[list[str], list[str]]:
        page = own.search(query(type_, *parameters))
        return [m.id for m in page.matches], [i.reference for i in page.includes]

    assert seen("ServiceRequest") == (["sr-1"], [])
    assert seen("Task", ("focus.status", "active")) == (["t-1"], [])
    assert seen("Task", ("focus.identifier", "PMO-2026-000123")) == (["t-1"], [])
    found, included = seen("Task", ("_include", "Task:focus"), ("_include", "Task:patient"))
    assert (found, included) == (["t-1", "t-2"], ["Patient/p-1", "ServiceRequest/sr-1"])
    assert seen("ServiceRequest", ("_revinclude", "Communication:based-on")) == (["sr-1"], [])
