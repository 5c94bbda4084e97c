"""What a copy on the external server looks like."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings import r4
from fhir_mappings.issues import is_error
from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.translate import (
    Anchors,
    Peers,
    carries_key,
    identity_choices,
    is_same,
    key_condition,
    local_reference,
    local_references,
    national_identities,
    placeholder,
    to_copy,
)

CANONICAL = Canonical("https://sluss.example/fhir")
KEY = CANONICAL.resource_key
THERE = "https://fhir.example/r4"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
IDENTIFIED = {"system": PERSONNUMMER, "value": "199002222397"}
ANCHORS = Anchors(
    Reference("Patient/p1"), Reference("PractitionerRole/r1"), frozenset({("personnummer", "199002222397")})
)
TARGETS = {
    "Patient/p1": "Patient/90",
    "PractitionerRole/r1": "PractitionerRole/91",
    "Task/t1": "Task/92",
    "ServiceRequest/s1": "urn:uuid:00000000-0000-4000-8000-000000000001",
}
PEERS = Peers(CANONICAL, TARGETS, ANCHORS, "https://sluss.example/public/fhir", THERE)


def request(**elements: Any) -> Json:
    base = {
        "resourceType": "ServiceRequest",
        "id": "s1",
        "meta": {
            "versionId": "3",
            "lastUpdated": "2026-11-23T10:00:00.000001+01:00",
            "profile": ["https://p.example/x"],
        },
        "identifier": [{"system": "https://ehr.example/referral", "value": "R-1"}],
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "requester": {"reference": "PractitionerRole/r1"},
    }
    return {name: value for name, value in {**base, **elements}.items() if value is not None}


def test_a_copy_has_our_key_and_neither_our_id_nor_our_version() -> None:
    made = to_copy(request(), PEERS)
    assert "id" not in made
    assert made["meta"] == {"profile": ["https://p.example/x"]}
    assert made["identifier"] == [
        {"system": "https://ehr.example/referral", "value": "R-1"},
        {"system": KEY, "value": "ServiceRequest/s1"},
    ]
    assert carries_key(made, Reference("ServiceRequest/s1"), CANONICAL)
    assert not carries_key(made, Reference("ServiceRequest/s2"), CANONICAL)


def test_a_type_with_a_single_identifier_keeps_it_and_carries_the_key_as_a_tag() -> None:
    own = {"system": "https://ehr.example/form", "value": "F-1"}
    form = {"resourceType": "QuestionnaireResponse", "id": "q1", "identifier": own, "status": "completed"}
    made = to_copy(form, PEERS)
    assert made["identifier"] == own
    assert made["meta"]["tag"] == [{"system": KEY, "code": "QuestionnaireResponse/q1"}]
    assert carries_key(made, Reference("QuestionnaireResponse/q1"), CANONICAL)
    assert key_condition(Reference("QuestionnaireResponse/q1"), CANONICAL).startswith("_tag=")
    assert key_condition(Reference("Task/t1"), CANONICAL).startswith("identifier=")


def test_a_key_from_an_earlier_copy_is_replaced() -> None:
    stale = {"system": KEY, "value": "ServiceRequest/other"}
    assert to_copy(request(identifier=[stale]), PEERS)["identifier"] == [{"system": KEY, "value": "ServiceRequest/s1"}]


def test_references_lead_to_their_ids_or_to_entries_of_the_same_bundle() -> None:
    task = {
        "resourceType": "Task",
        "id": "t2",
        "focus": {"reference": "ServiceRequest/s1", "display": "Remissen"},
        "for": {"reference": "https://sluss.example/public/fhir/Patient/p1"},
        "partOf": [{"reference": "Task/t1/_history/4"}],
    }
    made = to_copy(task, PEERS)
    assert made["focus"] == {"reference": TARGETS["ServiceRequest/s1"], "display": "Remissen"}
    assert made["for"] == {"reference": "Patient/90"}
    assert made["partOf"] == [{"reference": "Task/92"}], "versions differ on the two sides"


def test_a_reference_to_something_that_is_not_there_never_points_at_their_resource_of_that_name() -> None:
    made = to_copy(request(supportingInfo=[{"reference": "DocumentReference/1", "display": "Epikris"}]), PEERS)
    assert made["supportingInfo"] == [
        {"identifier": {"system": KEY, "value": "DocumentReference/1"}, "display": "Epikris"}
    ]


@pytest.mark.parametrize("literal", ["https://other.example/fhir/Patient/p1", "urn:oid:1.2.3", "urn:uuid:abc", "#x"])
def test_references_elsewhere_stay_as_sent(literal: str) -> None:
    assert to_copy(request(supportingInfo=[{"reference": literal}]), PEERS)["supportingInfo"] == [
        {"reference": literal}
    ]


def test_what_stays_on_that_server_is_referred_to_as_its_own() -> None:
    copied = to_copy(request(replaces=[{"reference": f"{THERE}/ServiceRequest/7", "display": "Tidigare"}]), PEERS)
    assert copied["replaces"] == [{"reference": "ServiceRequest/7", "display": "Tidigare"}]


def test_a_contained_patient_and_requester_give_way_to_the_delivered_ones() -> None:
    sent = request(
        subject={"reference": "#pat", "type": "Patient"},
        requester={"reference": "#role", "display": "Psykosocialt team"},
        contained=[
            {"resourceType": "Patient", "id": "pat", "identifier": [IDENTIFIED]},
            {"resourceType": "PractitionerRole", "id": "role", "organization": {"reference": "#org"}},
            {"resourceType": "Organization", "id": "org", "name": "Hälsocentral"},
        ],
    )
    made = to_copy(sent, PEERS)
    assert made["subject"] == {"reference": "Patient/90"}
    assert made["requester"] == {"display": "Psykosocialt team", "reference": "PractitionerRole/91"}
    assert "contained" not in made


def test_contained_evidence_stays_and_speaks_of_the_delivered_patient() -> None:
    sent = request(
        subject={"reference": "#pat"},
        supportingInfo=[{"reference": "#madrs"}],
        contained=[
            {"resourceType": "Patient", "id": "pat", "identifier": [IDENTIFIED]},
            {
                "resourceType": "Observation",
                "id": "madrs",
                "subject": {"reference": "#pat"},
                "device": {"reference": "#d"},
            },
            {"resourceType": "Device", "id": "d"},
            {"resourceType": "Device", "id": "unused"},
        ],
    )
    made = to_copy(sent, PEERS)
    assert [inner["id"] for inner in made["contained"]] == ["madrs", "d"]
    assert made["contained"][0]["subject"] == {"reference": "Patient/90"}


def test_contained_resources_that_only_name_each_other_go() -> None:
    ring = [
        {"resourceType": "Device", "id": "a", "parent": {"reference": "#b"}},
        {"resourceType": "Device", "id": "b", "parent": {"reference": "#a"}},
    ]
    assert "contained" not in to_copy(request(contained=ring), PEERS)


def test_a_contained_resource_that_refers_to_its_container_stays() -> None:
    inner = {"resourceType": "Provenance", "id": "pr", "target": [{"reference": "#"}]}
    assert to_copy(request(contained=[inner]), PEERS)["contained"] == [inner]


def test_a_logical_subject_is_joined_to_the_delivered_patient_wherever_it_stands() -> None:
    observation = {"resourceType": "Observation", "id": "o1", "subject": {"identifier": IDENTIFIED, "display": "Pat"}}
    assert to_copy(observation, PEERS)["subject"] == {
        "reference": "Patient/90",
        "identifier": IDENTIFIED,
        "display": "Pat",
    }
    another = {"identifier": {"system": PERSONNUMMER, "value": "189002029800"}}
    assert to_copy({**observation, "subject": another}, PEERS)["subject"] == another


def test_an_identifier_of_the_patient_outside_a_reference_stays_what_it_is() -> None:
    inner = {"resourceType": "QuestionnaireResponse", "id": "q", "identifier": IDENTIFIED, "status": "completed"}
    made = to_copy(request(contained=[inner], supportingInfo=[{"reference": "#q"}]), PEERS)
    assert made["contained"] == [inner]


def test_the_copy_is_valid_r4_where_the_original_is() -> None:
    sent = request(
        subject={"reference": "#pat"},
        requester={"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000198-EX01"}},
        contained=[{"resourceType": "Patient", "id": "pat", "identifier": [IDENTIFIED]}],
    )
    for resource in (sent, to_copy(sent, PEERS)):
        assert [issue for issue in r4.validate(resource) if is_error(issue)] == []


def test_the_placeholder_is_the_same_for_every_attempt() -> None:
    first, second = (placeholder(Reference("Task/t1"), CANONICAL) for _ in range(2))
    assert first == second
    assert first.startswith("urn:uuid:")
    assert first != placeholder(Reference("Task/t2"), CANONICAL)


def test_a_patient_is_looked_up_under_every_system_in_use_for_the_kind() -> None:
    sent_with_root = {"identifier": [{"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "199002222397"}]}
    assert national_identities(sent_with_root) == {("personnummer", "199002222397")}
    assert identity_choices(national_identities(sent_with_root)) == (
        f"{PERSONNUMMER}|199002222397",
        "urn:oid:1.2.752.129.2.1.3.1|199002222397",
    )


def test_what_a_server_may_do_to_a_copy_leaves_it_the_same() -> None:
    ours = to_copy(request(quantityQuantity={"value": Decimal("1.00")}), PEERS)
    theirs = copy.deepcopy(ours) | {
        "id": "77",
        "meta": {"versionId": "1", "lastUpdated": "2026-11-23T09:00:00Z", "tag": [{"code": "seen"}]},
        "text": {"status": "generated", "div": "<div/>"},
        "quantityQuantity": {"value": Decimal(1)},
        "subject": {"reference": f"{THERE}/Patient/90/_history/2"},
    }
    assert is_same(ours, theirs, THERE)


@pytest.mark.parametrize(
    "change", [{"status": "revoked"}, {"priority": "stat"}, {"subject": {"reference": "Patient/9"}}]
)
def test_what_a_person_changed_there_is_not_the_same(change: Json) -> None:
    ours = to_copy(request(), PEERS)
    assert not is_same(ours, {**ours, **change}, THERE)
    assert not is_same({**ours, **change}, ours, THERE)


@pytest.mark.parametrize(
    ("literal", "ours"),
    [
        ("Task/1", "Task/1"),
        ("Task/1/_history/2", "Task/1"),
        ("https://sluss.example/public/fhir/Task/1", "Task/1"),
        ("https://other.example/Task/1", None),
        ("Task", None),
        ("Task/1?x", None),
        ("Task/1\n", None),
        (5, None),
    ],
)
def test_only_literal_references_to_us_are_ours(literal: object, ours: str | None) -> None:
    assert local_reference(literal, "https://sluss.example/public/fhir/") == ours


# ---------------------------------------------------------------- whatever the resource

ids = st.from_regex(r"[A-Za-z0-9.-]{1,8}", fullmatch=True)
literals = st.one_of(
    st.builds("{}/{}".format, st.sampled_from(["Patient", "Task", "ServiceRequest", "Observation"]), ids),
    st.sampled_from([*TARGETS, "#a", "#b", "https://x.example/Task/1", "urn:uuid:1"]),
)
references = st.fixed_dictionaries({"reference": literals}, optional={"display": st.text(max_size=5)})
leaves = st.one_of(
    references, st.text(max_size=8), st.booleans(), st.decimals(-9, 9, places=2), st.just({"identifier": IDENTIFIED})
)
elements = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{3,8}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=12,
)
resources = st.builds(
    lambda kind, held, contained: {
        **held,
        "resourceType": kind,
        "id": "s1",
        **({"contained": contained} if contained else {}),
    },
    st.sampled_from(["ServiceRequest", "Task", "QuestionnaireResponse", "Observation"]),
    st.dictionaries(st.sampled_from(["supportingInfo", "note", "extension", "text", "focus", "basedOn"]), elements),
    st.lists(
        st.builds(lambda i, e: {"resourceType": "Observation", "id": i, "extra": e}, st.sampled_from("ab"), elements),
        max_size=2,
    ),
)


def every_reference(element: Any) -> list[str]:
    inner = element.values() if isinstance(element, dict) else element if isinstance(element, list) else ()
    own = [element["reference"]] if isinstance(element, dict) and isinstance(element.get("reference"), str) else []
    return own + [reference for value in inner for reference in every_reference(value)]


@given(resources)
def test_no_reference_of_ours_is_left_in_any_copy(resource: Json) -> None:
    led = set(every_reference(to_copy(resource, PEERS)))
    assert {reference for reference in led if local_reference(reference)} <= set(TARGETS.values())


@given(resources)
def test_translating_never_changes_what_is_stored(resource: Json) -> None:
    before = copy.deepcopy(resource)
    to_copy(resource, PEERS)
    assert resource == before


@given(resources)
def test_every_copy_is_the_same_as_itself_and_found_by_its_key(resource: Json) -> None:
    made = to_copy(resource, PEERS)
    assert is_same(made, {**made, "id": "1", "meta": {**made.get("meta", {}), "versionId": "4"}}, THERE)
    assert carries_key(made, Reference(f"{resource['resourceType']}/s1"), CANONICAL)


@given(resources)
def test_what_refers_to_nothing_of_ours_but_its_key_says_the_same_there(resource: Json) -> None:
    elsewhere = Peers(CANONICAL, {})
    if not local_references(resource) and "contained" not in resource:
        made = to_copy(resource, elsewhere)
        assert {n: v for n, v in made.items() if n not in ("identifier", "meta")} == {
            n: v for n, v in resource.items() if n != "id"
        }
