"""Searches over what is stored."""

from datetime import timedelta

import pytest

from fhir_mappings.records import Json
from service.store.database import Store
from service.store.moments import instant
from service.store.records import Page, Write
from tests.store.examples import HSA, ORGANISATION, communication, patient, query, service_request, task

MADRS_S = "https://sluss.example/fhir/Questionnaire/madrs-s"


def _store(store: Store, *resources: Json) -> None:
    """Each in a change of its own, so that their stamps differ."""
    for resource in resources:
        with store.change() as change:
            change.write([Write(resource)])


def _ids(page: Page) -> list[str]:
    return [stored.id for stored in page.matches]


def _found(store: Store, type_: str, *parameters: tuple[str, str]) -> list[str]:
    return _ids(store.view().search(query(type_, *parameters)))


def test_the_work_list_of_a_therapist_is_newest_first_with_its_referrals_and_patients(store: Store) -> None:
    _store(
        store,
        service_request(),
        patient(),
        task("t-1"),
        task("t-2", status="completed"),
        task("t-3", owner={"reference": "PractitionerRole/own"}, status="in-progress"),
        task("t-4", owner={"reference": "HealthcareService/norra-halsingland"}),
    )
    page = store.view().search(
        query(
            "Task",
            ("owner", "HealthcareService/gavle,PractitionerRole/own"),
            ("status", "requested,received,accepted,in-progress,on-hold"),
            ("_sort", "-_lastUpdated"),
            ("_include", "Task:focus"),
            ("_include", "Task:patient"),
        )
    )
    assert _ids(page) == ["t-3", "t-1"]
    assert [stored.reference for stored in page.includes] == ["Patient/p-1", "ServiceRequest/sr-1"]
    assert page.next is None


def test_the_replies_to_an_organisation_are_polled_by_its_hsa_id(store: Store) -> None:
    other = {"reference": "Organization/o-2", "identifier": {"system": HSA, "value": "SE2321000198-EX02"}}
    _store(
        store,
        communication("c-1"),
        communication("c-2", recipient=[other]),
        communication("c-3", status="preparation"),
        communication("c-4", recipient=[other, communication()["recipient"][0]]),
    )
    poll = (("recipient:identifier", f"{HSA}|{ORGANISATION}"), ("status", "completed"), ("_sort", "_lastUpdated"))
    assert _found(store, "Communication", *poll) == ["c-1", "c-4"]
    first = store.view().get("Communication", "c-1")
    assert first is not None
    assert _found(store, "Communication", *poll, ("_lastUpdated", f"gt{instant(first.last_updated)}")) == ["c-4"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([("identifier", "https://a.example|1")], ["t-1"]),
        ([("identifier", "1")], ["t-1", "t-2"]),
        ([("identifier", "https://a.example|1,https://b.example|1")], ["t-1", "t-2"]),
        ([("identifier", "https://a.example|")], ["t-1", "t-3"]),
        ([("identifier", "|2")], ["t-4"]),
        ([("identifier", "1"), ("status", "accepted")], ["t-2"]),
        ([("status", "accepted")], ["t-2"]),
        ([("status", "http://hl7.org/fhir/task-status|accepted")], ["t-2"]),
        ([("status:not", "accepted")], ["t-1", "t-3", "t-4"]),
        ([("owner", "gavle"), ("status:not", "accepted,on-hold")], ["t-1", "t-4"]),
        ([("owner:HealthcareService", "gavle"), ("code", "abort")], ["t-4"]),
        ([("owner", "PractitionerRole/gavle")], []),
        ([("code", "http://hl7.org/fhir/CodeSystem/task-code|abort")], ["t-4"]),
        ([("code", "https://wrong.example|abort")], []),
        ([("code:not", "abort")], ["t-1", "t-2", "t-3"]),
        ([("patient", "p-1"), ("owner", "gavle"), ("status", "accepted")], ["t-2"]),
        ([("subject", "Patient/p-1")], ["t-1", "t-2", "t-3", "t-4"]),
        ([("patient", "p-2")], []),
        ([("focus", "ServiceRequest/sr-1"), ("identifier:missing", "true")], []),
        ([("business-status:missing", "false")], ["t-3"]),
        ([("authored-on", "2026-11-22")], ["t-2"]),
        ([("authored-on", "ge2026-11-23")], ["t-1", "t-3", "t-4"]),
        ([("authored-on", "lt2026-11-22T12:00:00+01:00")], ["t-2"]),
        ([("authored-on", "sa2026-11-22"), ("authored-on", "eb2026-11-23T10:00:00+01:00")], ["t-1", "t-3"]),
        ([("authored-on", "ne2026-11-23")], ["t-2"]),
        ([("authored-on", "ap2026-11-21")], ["t-2"]),
        ([("period", "2026-12")], ["t-4"]),
        ([("period", "gt2026-12-10")], ["t-4"]),
        ([("period", "le2026-11")], []),
        ([("_id", "t-3,t-1,t-9")], ["t-1", "t-3"]),
        ([("_id", "t-3,t-1"), ("_id", "t-3"), ("patient", "p-1")], ["t-3"]),
        ([("_sort", "authored-on"), ("owner", "gavle")], ["t-2", "t-1", "t-3", "t-4"]),
        ([("_sort", "-authored-on")], ["t-4", "t-3", "t-1", "t-2"]),
        ([], ["t-1", "t-2", "t-3", "t-4"]),
    ],
)
def test_tasks_are_found_by(store: Store, parameters: list[tuple[str, str]], expected: list[str]) -> None:
    abort = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    _store(
        store,
        task("t-1", identifier=[{"system": "https://a.example", "value": "1"}]),
        task(
            "t-2",
            identifier=[{"system": "https://b.example", "value": "1"}],
            status="accepted",
            authoredOn="2026-11-22",
        ),
        task(
            "t-3",
            identifier=[{"system": "https://a.example", "value": "2"}],
            status="on-hold",
            businessStatus={"text": "väntar"},
        ),
        task(
            "t-4",
            identifier=[{"value": "2"}],
            code=abort,
            authoredOn="2026-11-23T12:00:00Z",
            executionPeriod={"start": "2026-12-01", "end": "2026-12-31"},
        ),
    )
    assert _found(store, "Task", *parameters) == expected


def test_people_and_forms_are_found_by_text_and_url(store: Store) -> None:
    form = {
        "resourceType": "Questionnaire",
        "id": "q-1",
        "status": "active",
        "url": MADRS_S,
    }
    answers = {
        "resourceType": "QuestionnaireResponse",
        "id": "qr-1",
        "status": "completed",
        "questionnaire": f"{MADRS_S}|1.0",
    }
    _store(store, patient(active=True), form, answers)
    assert _found(store, "Patient", ("name", "test")) == ["p-1"]
    assert _found(store, "Patient", ("family", "Sson")) == []
    assert _found(store, "Patient", ("family:contains", "SSON")) == ["p-1"]
    assert _found(store, "Patient", ("given:exact", "test")) == []
    assert _found(store, "Patient", ("active", "true")) == ["p-1"]
    assert _found(store, "Patient", ("active", "false")) == []
    assert _found(store, "Patient", ("birthdate", "1990-02")) == ["p-1"]
    assert _found(store, "Questionnaire", ("url", MADRS_S)) == ["q-1"]
    madrs_s = ("questionnaire", MADRS_S)
    assert _found(store, "QuestionnaireResponse", madrs_s) == ["qr-1"]


def test_a_referral_is_found_by_the_patient_made_from_its_contained_one(store: Store) -> None:
    contained = service_request("sr-2", subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p"}])
    with store.change() as change:
        change.write([Write(patient("p-9")), Write(contained, indexed_as=(("subject", "Patient/p-9"),))])
    page = store.view().search(query("ServiceRequest", ("patient", "p-9"), ("_include", "ServiceRequest:subject")))
    assert _ids(page) == ["sr-2"]
    assert [stored.reference for stored in page.includes] == ["Patient/p-9"]
    assert _found(store, "ServiceRequest", ("identifier", "PMO-2026-000123"), ("subject", "Patient/p-9")) == ["sr-2"]


def test_a_new_version_is_found_by_what_it_says_now(store: Store) -> None:
    _store(store, task("t-1"), task("t-2"))
    with store.change() as change:
        change.write([Write(task("t-1", owner={"reference": "PractitionerRole/own"}, status="accepted"), expect=1)])
    assert _found(store, "Task", ("owner", "HealthcareService/gavle")) == ["t-2"]
    assert _found(store, "Task", ("owner", "PractitionerRole/own")) == ["t-1"]
    assert _found(store, "Task", ("_sort", "-_lastUpdated")) == ["t-1", "t-2"]


def test_a_long_identifier_is_found(store: Store) -> None:
    long = "9" * 5000
    _store(store, task("t-1", identifier=[{"system": "https://a.example", "value": long}]))
    assert _found(store, "Task", ("identifier", f"https://a.example|{long}")) == ["t-1"]
    assert _found(store, "Task", ("identifier", long)) == ["t-1"]


def test_a_count_of_zero_tells_only_how_many(store: Store) -> None:
    _store(store, task("t-1"), task("t-2", status="accepted"))
    assert store.view().search(query("Task", ("_count", "0"))) == Page((), total=2)
    assert store.view().search(query("Task", ("_count", "0"), ("owner", "gavle"), ("status", "accepted"))).total == 1


def _walk(store: Store, type_: str, *parameters: tuple[str, str]) -> list[list[str]]:
    pages: list[list[str]] = []
    token: str | None = ""
    while token is not None and len(pages) < 20:
        page = store.view().search(query(type_, *parameters, *([("_page", token)] if token else [])))
        pages.append(_ids(page))
        token = page.next
    return pages


@pytest.mark.parametrize("sort", ["_lastUpdated", "-_lastUpdated", "authored-on", "-authored-on", ""])
@pytest.mark.parametrize("driver", [[], [("owner", "gavle")]])
def test_pages_give_everything_once(store: Store, sort: str, driver: list[tuple[str, str]]) -> None:
    stored = [task(f"t-{number}", authoredOn=f"2026-11-{1 + number // 2:02}") for number in range(7)]
    _store(store, *stored, task("t-7", authoredOn=None) | {"authoredOn": "2026-11-30"})
    pages = _walk(store, "Task", ("_count", "3"), ("_sort", sort), *driver)
    assert [len(page) for page in pages] == [3, 3, 2]
    ids = [id_ for page in pages for id_ in page]
    expected = [f"t-{number}" for number in range(8)]
    assert ids == (expected[::-1] if sort.startswith("-") else expected)


@pytest.mark.parametrize("sort", ["_lastUpdated", "-_lastUpdated"])
@pytest.mark.parametrize("driver", [[], [("owner", "gavle")]])
def test_a_page_never_ends_between_two_equal_stamps(store: Store, sort: str, driver: list[tuple[str, str]]) -> None:
    for group in range(4):
        with store.change() as change:
            change.write([Write(task(f"t-{group}-{number}")) for number in range(3)])
    pages = _walk(store, "Task", ("_count", "2"), ("_sort", sort), *driver)
    groups = [sorted({id_[2] for id_ in page}) for page in pages if page]
    order = ["0", "1", "2", "3"]
    assert groups == [[group] for group in (order[::-1] if sort.startswith("-") else order)]
    assert all(len(page) == 3 for page in pages if page)


@pytest.mark.parametrize("driver", [[], [("owner", "gavle")], [("owner", "gavle"), ("status", "requested,accepted")]])
def test_a_page_that_is_not_asked_for_by_age_has_no_more_than_its_count(
    store: Store, driver: list[tuple[str, str]]
) -> None:
    with store.change() as change:
        change.write([Write(task(f"t-{number}", status=("requested", "accepted")[number % 2])) for number in range(7)])
    _store(store, task("t-7"))
    pages = _walk(store, "Task", ("_count", "3"), *driver)
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [id_ for page in pages for id_ in page] == [f"t-{number}" for number in range(8)]


def test_paging_is_stable_while_others_write(store: Store) -> None:
    _store(store, *(task(f"t-{number}") for number in range(6)))
    newest_first = (("_sort", "-_lastUpdated"), ("_count", "3"))
    first = store.view().search(query("Task", *newest_first))
    assert first.next is not None
    _store(store, *(task(f"later-{number}") for number in range(3)))
    second = store.view().search(query("Task", *newest_first, ("_page", first.next)))
    assert _ids(first) + _ids(second) == ["t-5", "t-4", "t-3", "t-2", "t-1", "t-0"]


def test_last_updated_takes_every_prefix(store: Store) -> None:
    _store(store, task("t-1"), task("t-2"), task("t-3"))
    middle = store.view().get("Task", "t-2")
    assert middle is not None
    at = instant(middle.last_updated)
    expected = {
        "": ["t-2"],
        "eq": ["t-2"],
        "ne": ["t-1", "t-3"],
        "gt": ["t-3"],
        "sa": ["t-3"],
        "ge": ["t-2", "t-3"],
        "lt": ["t-1"],
        "eb": ["t-1"],
        "le": ["t-1", "t-2"],
        "ap": ["t-1", "t-2", "t-3"],
    }
    for prefix, ids in expected.items():
        assert _found(store, "Task", ("_lastUpdated", prefix + at)) == ids, prefix
        assert _found(store, "Task", ("owner", "gavle"), ("_lastUpdated", prefix + at)) == ids, prefix
    tomorrow = (middle.last_updated + timedelta(days=2)).date().isoformat()
    assert _found(store, "Task", ("_lastUpdated", f"lt{tomorrow}")) == ["t-1", "t-2", "t-3"]
    assert _found(store, "Task", ("_lastUpdated", f"gt{middle.last_updated.year}")) == []


@pytest.mark.parametrize("driver", [[], [("owner", "gavle")]])
def test_of_several_ages_one_must_hold_and_pages_follow_each_other_all_the_same(
    store: Store, driver: list[tuple[str, str]]
) -> None:
    for group in range(5):
        with store.change() as change:
            change.write([Write(task(f"t-{group}-{number}")) for number in range(2)])
    view = store.view()
    ages = [instant(view.get("Task", f"t-{group}-0").last_updated) for group in range(5)]  # type: ignore[union-attr]  # stored
    outside = ("_lastUpdated", f"lt{ages[1]},gt{ages[2]}")
    pages = _walk(store, "Task", ("_count", "1"), ("_sort", "_lastUpdated"), outside, *driver)
    assert [page for page in pages if page] == [[f"t-{group}-{number}" for number in range(2)] for group in (0, 3, 4)]
    both = (outside, ("_lastUpdated", f"{ages[0]},{ages[4]}"), *driver)
    assert _found(store, "Task", *both) == ["t-0-0", "t-0-1", "t-4-0", "t-4-1"]


def test_a_chain_leads_to_the_age_of_what_is_referred_to(store: Store) -> None:
    _store(store, patient(), task("t-1"))
    young = patient() | {"id": "p-2"}
    _store(store, young, task("t-2", **{"for": {"reference": "Patient/p-2"}}))
    stored = store.view().get("Patient", "p-2")
    assert stored is not None
    age = instant(stored.last_updated)
    assert _found(store, "Task", ("patient._lastUpdated", f"ge{age}")) == ["t-2"]
    assert _found(store, "Task", ("subject:Patient._lastUpdated", f"lt{age}")) == ["t-1"]
    assert _found(store, "Task", ("patient._lastUpdated", f"lt2001,{age}")) == ["t-2"]


def test_a_client_that_cut_off_microseconds_sees_some_again_and_skips_none(store: Store) -> None:
    _store(store, task("t-1"), task("t-2"))
    seen = store.view().get("Task", "t-1")
    assert seen is not None
    cut = seen.last_updated.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "t-2" in _found(store, "Task", ("_lastUpdated", f"gt{cut}"))
