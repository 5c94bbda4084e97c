import copy
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_mappings import r4
from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.r4.problems import MAX_DEPTH
from fhir_mappings.records import Json
from tests.fhir_mappings.r4.samples import concept, referral_bundle, resource_of


def told(resource: Json) -> set[tuple[str, str | None]]:
    """(code, expression) of every issue."""
    return {(str(issue.code), issue.expression) for issue in r4.validate(resource)}


def keys(resource: Json) -> set[str]:
    """The keys of the invariants that are broken."""
    return {issue.diagnostics.partition(":")[0] for issue in r4.validate(resource)}


def changed(kind: str, **changes: object) -> Json:
    resource = {**resource_of(kind), **changes}
    return {name: value for name, value in resource.items() if value is not ...}


TASK: Json = {
    "resourceType": "Task",
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/1"},
    "input": [{"type": {"text": "x"}, "valueString": "y"}],
    "authoredOn": "2026-11-23T10:00:00+01:00",
    "lastModified": "2026-11-23T10:00:00+01:00",
}


# ---------------------------------------------------------------- what is sound


def test_a_full_referral_is_sound() -> None:
    assert r4.validate(referral_bundle()) == []


@pytest.mark.parametrize("entry", referral_bundle()["entry"], ids=lambda entry: str(entry["resource"]["resourceType"]))
def test_each_of_its_resources_is_sound_alone(entry: Json) -> None:
    assert r4.validate(entry["resource"]) == []


def test_decimals_of_any_precision_are_sound() -> None:
    quantity = {"value": Decimal("1.00"), "unit": "x"}
    assert r4.validate(changed("Observation", valueQuantity=quantity, component=...)) == []


def test_a_value_may_be_absent_when_an_extension_says_why() -> None:
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    name = {"given": ["Test", None], "_given": [None, absent]}
    assert r4.validate(changed("Patient", birthDate=..., _birthDate=absent, name=[name])) == []
    assert r4.validate(changed("Observation", status=..., _status=absent)) == []


def test_beside_a_value_an_id_alone_is_sound_and_without_one_it_is_not() -> None:
    named = {"given": ["Test", "A"], "_given": [{"id": "g1"}, None], "family": "B", "_family": {"id": "f1"}}
    assert r4.validate(changed("Patient", name=[named])) == []
    assert told(changed("Patient", name=[{"_family": {"id": "f1"}, "given": ["A"]}])) == {
        ("invariant", "Patient.name[0].family")
    }
    assert told(changed("Patient", name=[{"family": "B", "_family": {"id": 7}}])) == {
        ("value", "Patient.name[0].family.id"),
        ("invariant", "Patient.name[0].family"),
    }


def test_meta_is_an_open_type_of_r4() -> None:
    assert (
        r4.validate(
            {"resourceType": "Patient", "extension": [{"url": "https://x.example", "valueMeta": {"source": "a"}}]}
        )
        == []
    )


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({}, {("required", "Resource")}),
        ({"resourceType": 1}, {("value", "Resource")}),
        ({"resourceType": ["Patient"]}, {("value", "Resource")}),
        ({"resourceType": "Patent"}, {("structure", "Resource")}),
        ({"resourceType": "DomainResource"}, {("structure", "Resource")}),
        ({"resourceType": "SubscriptionTopic"}, {("structure", "Resource")}),
        ({"resourceType": "EffectEvidenceSynthesis"}, {("not-supported", "Resource")}),
        ({"resourceType": "Evidence"}, {("not-supported", "Resource")}),
    ],
)
def test_the_type_of_a_resource_must_be_one_of_r4(resource: Json, expected: set[tuple[str, str]]) -> None:
    assert told(resource) == expected


def test_a_near_miss_is_helped_along() -> None:
    (issue,) = r4.validate(changed("ServiceRequest", requestor={"reference": "Organization/1"}))
    assert issue.expression == "ServiceRequest.requestor"
    assert issue.diagnostics == "Unknown element 'requestor' in ServiceRequest. Did you mean 'requester'?"
    assert issue.text == "Elementet ”requestor” finns inte i ServiceRequest."
    assert issue.severity == Severity.ERROR


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nonsense": 1}, ("structure", "Patient.nonsense")),
        ({"fhir_comments": "x"}, ("structure", "Patient")),
        ({"name": [{"nonsense": 1}]}, ("structure", "Patient.name[0].nonsense")),
        ({"name": [{"resourceType": "HumanName", "text": "x"}]}, ("structure", "Patient.name[0].resourceType")),
        ({"name": []}, ("structure", "Patient.name")),
        ({"name": {"text": "x"}}, ("structure", "Patient.name")),
        ({"name": [{}]}, ("invariant", "Patient.name[0]")),
        ({"name": [{"id": "a"}]}, ("invariant", "Patient.name[0]")),
        ({"name": [None]}, ("structure", "Patient.name[0]")),
        ({"name": None}, ("structure", "Patient.name")),
        ({"name": ["Test"]}, ("structure", "Patient.name[0]")),
        ({"name": [{"given": [None]}]}, ("structure", "Patient.name[0].given[0]")),
        ({"name": [{"given": ["A"], "_given": [None, None]}]}, ("structure", "Patient.name[0].given")),
        ({"name": [{"_given": [None]}]}, ("structure", "Patient.name[0].given[0]")),
        ({"birthDate": None}, ("structure", "Patient.birthDate")),
        ({"birthDate": ["1990-02-22"]}, ("structure", "Patient.birthDate")),
        ({"_birthDate": {}}, ("invariant", "Patient.birthDate")),
        ({"_birthDate": "x"}, ("structure", "Patient.birthDate")),
        ({"birthDate": "1990-02-30"}, ("value", "Patient.birthDate")),
        ({"active": "true"}, ("value", "Patient.active")),
        ({"active": 1}, ("value", "Patient.active")),
        ({"multipleBirthInteger": True}, ("value", "Patient.multipleBirth")),
        ({"multipleBirthInteger": Decimal("2.0")}, ("value", "Patient.multipleBirth")),
        ({"id": "åäö"}, ("value", "Patient.id")),
        ({"language": ""}, ("value", "Patient.language")),
        ({"gender": "kvinna"}, ("code-invalid", "Patient.gender")),
        ({"deceasedBoolean": True, "deceasedDateTime": "2026-01-01"}, ("structure", "Patient.deceased")),
        ({"extension": [{"valueString": "x"}]}, ("required", "Patient.extension[0].url")),
        ({"communication": [{"preferred": True}]}, ("required", "Patient.communication[0].language")),
        ({"contained": [{"resourceType": "Nonsense", "id": "a"}]}, ("structure", "Patient.contained[0]")),
    ],
)
def test_each_fault_is_told_with_its_place(change: Json, expected: tuple[str, str]) -> None:
    assert expected in told(changed("Patient", **change))


def test_all_faults_are_told_at_once() -> None:
    bad = changed("ServiceRequest", status="nonsense", intent=..., subject="Patient/1", authoredOn="i går", foo=1)
    assert told(bad) == {
        ("code-invalid", "ServiceRequest.status"),
        ("required", "ServiceRequest.intent"),
        ("structure", "ServiceRequest.subject"),
        ("value", "ServiceRequest.authoredOn"),
        ("structure", "ServiceRequest.foo"),
    }


def test_a_choice_that_must_be_made_is_required() -> None:
    assert told({**TASK, "input": [{"type": {"text": "x"}}]}) == {("required", "Task.input[0].value")}
    assert ("structure", "Task.input[0].value") in told(
        {**TASK, "input": [{"type": {"text": "x"}, "valueString": "y", "valueInteger": 1}]}
    )


def test_what_only_r4b_has_is_refused() -> None:
    plan = {"resourceType": "PlanDefinition", "status": "active", "subjectCanonical": "https://x.example"}
    (issue,) = r4.validate(plan)
    assert issue.diagnostics.endswith("It exists in R4B only.")
    extension = {"url": "https://x.example", "valueCodeableReference": {"concept": {"text": "x"}}}
    assert ("structure", "Patient.extension[0].valueCodeableReference") in told(
        changed("Patient", extension=[extension])
    )


def test_entries_and_contained_resources_have_their_own_paths() -> None:
    sent = referral_bundle()
    sent["entry"][2]["resource"] = {
        "resourceType": "PractitionerRole",
        "organization": {"reference": "#o"},
        "contained": [{"resourceType": "Organization", "id": "o", "name": "X", "telecom": [{"system": "telefon"}]}],
    }
    assert told(sent) >= {("code-invalid", "Bundle.entry[2].resource.contained[0].telecom[0].system")}


def test_a_resource_can_be_told_where_it_stands() -> None:
    (issue,) = r4.validate({**TASK, "status": "nonsense"}, "Parameters.parameter[0].resource")
    assert issue.expression == "Parameters.parameter[0].resource.status"


def test_values_are_not_told_again() -> None:
    secret = "199002222397"
    bad = changed("Patient", gender=secret, birthDate=secret, **{secret: secret}, active=secret, name=[{secret: 1}])
    assert all(secret not in f"{i.text}{i.diagnostics}{i.expression}" for i in r4.validate(bad))


# ---------------------------------------------------------------- required bindings


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({**TASK, "status": "open"}, "Task.status"),
        ({**TASK, "intent": "directive"}, "Task.intent"),
        ({**TASK, "priority": "high"}, "Task.priority"),
        (changed("Observation", status="done"), "Observation.status"),
        (changed("QuestionnaireResponse", status="final"), "QuestionnaireResponse.status"),
        (changed("Appointment", status="no-show"), "Appointment.status"),
        (changed("Condition", clinicalStatus=concept("https://x.example", "active")), "Condition.clinicalStatus"),
        (changed("Condition", verificationStatus={"text": "säker"}), "Condition.verificationStatus"),
    ],
)
def test_a_code_outside_a_required_binding_is_refused(resource: Json, place: str) -> None:
    assert told(resource) == {("code-invalid", place)}


def test_a_wrong_code_is_told_with_those_that_are_allowed() -> None:
    (issue,) = r4.validate({**TASK, "status": "nonsense"})
    assert issue.diagnostics.startswith("'nonsense' is not in the required binding: accepted, cancelled, completed")


# ---------------------------------------------------------------- references


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "HealthcareService/gavle"},
        {"reference": "https://other.example/fhir/HealthcareService/gavle/_history/1"},
        {"reference": "HealthcareService?identifier=a|b"},
        {"type": "HealthcareService", "identifier": {"value": "x"}},
    ],
)
def test_a_reference_to_a_type_that_is_not_allowed_is_refused(reference: Json) -> None:
    assert told({**TASK, "requester": reference}) == {("value", "Task.requester")}


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Organization/1"},
        {"reference": "https://other.example/what/ever"},
        {"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"},
        {"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000198-EX01"}},
        {"display": "Psykosocialt team"},
        {"type": "Organization", "reference": "Organization/1"},
    ],
)
def test_other_references_are_sound(reference: Json) -> None:
    assert r4.validate({**TASK, "requester": reference}) == []


def test_the_type_of_an_entry_counts_where_its_full_url_is_referred_to() -> None:
    sent = referral_bundle()
    sent["entry"][8]["resource"]["requester"] = {"reference": sent["entry"][4]["fullUrl"]}
    assert told(sent) == {("value", "Bundle.entry[8].resource.requester")}


def test_a_reference_whose_type_disagrees_or_does_not_exist_is_refused() -> None:
    assert told({**TASK, "for": {"reference": "Patent/1"}}) == {("value", "Task.for.reference")}
    assert told({**TASK, "for": {"reference": "Patient/1", "type": "Group"}}) == {("value", "Task.for.type")}


def test_a_local_reference_needs_its_contained_resource_and_the_other_way_round() -> None:
    organization = {"resourceType": "Organization", "id": "o", "name": "X"}
    assert r4.validate({**TASK, "contained": [organization], "requester": {"reference": "#o"}}) == []
    assert keys({**TASK, "requester": {"reference": "#o"}}) == {"ref-1"}
    assert keys({**TASK, "contained": [organization]}) == {"dom-3"}
    assert told({**TASK, "contained": [{"resourceType": "Device", "id": "d"}], "for": {"reference": "#d"}}) == set()
    assert told({**TASK, "contained": [{**organization, "resourceType": "Device", "name": ...}]}) != set()


def test_a_contained_resource_that_refers_to_its_container_is_in_use() -> None:
    provenance: Json = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2026-11-23T10:00:00Z",
        "agent": [{"who": {"display": "x"}}],
    }
    assert r4.validate({**TASK, "contained": [provenance]}) == []


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"contained": [{"resourceType": "Patient", "id": "p"}]}, "dom-2"),
        ({"meta": {"versionId": "1"}}, "dom-4"),
        ({"meta": {"security": [{"code": "R"}]}}, "dom-5"),
    ],
)
def test_a_contained_resource_has_no_life_of_its_own(more: Json, key: str) -> None:
    contained = {"resourceType": "Organization", "id": "o", "name": "X", **more}
    assert key in keys({**TASK, "contained": [contained], "requester": {"reference": "#o"}})


# ---------------------------------------------------------------- invariants

QUANTITY = {"value": 1, "code": "kg"}
PROBLEM = concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "entered-in-error")


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        ({**TASK, "lastModified": "2026-11-20"}, "inv-1"),
        ({**TASK, "executionPeriod": {"start": "2026-11-23", "end": "2026-11-22"}}, "per-1"),
        (changed("ServiceRequest", code=..., orderDetail=[{"text": "x"}]), "prr-1"),
        (changed("ServiceRequest", quantityQuantity=QUANTITY), "qty-3"),
        (changed("ServiceRequest", quantityRatio={"numerator": {"value": 1}}), "rat-1"),
        (changed("ServiceRequest", quantityRange={"low": {"value": 2}, "high": {"value": 1}}), "rng-2"),
        (changed("ServiceRequest", quantityRange={"low": {"value": 2, "comparator": "<"}}), "sqty-1"),
        (changed("ServiceRequest", occurrenceTiming={"repeat": {"period": 1}}), "tim-2"),
        (changed("ServiceRequest", occurrenceTiming={"repeat": {"period": -1, "periodUnit": "d"}}), "tim-5"),
        (changed("ServiceRequest", occurrenceTiming={"repeat": {"countMax": 1}}), "tim-8"),
        (changed("ServiceRequest", occurrenceTiming={"repeat": {"offset": 5, "when": ["C"]}}), "tim-9"),
        (changed("ServiceRequest", occurrenceTiming={"repeat": {"timeOfDay": ["10:00:00"], "when": ["HS"]}}), "tim-10"),
        (changed("Patient", extension=[{"url": "https://x.example"}]), "ext-1"),
        (changed("Patient", photo=[{"data": "YQ=="}]), "att-1"),
        (changed("Patient", telecom=[{"value": "070"}]), "cpt-2"),
        (changed("Patient", contact=[{"gender": "female"}]), "pat-1"),
        (changed("Organization", name=..., identifier=..., active=True), "org-1"),
        (changed("Organization", address=[{"use": "home"}]), "org-2"),
        (changed("Organization", telecom=[{"use": "home", "system": "phone"}]), "org-3"),
        (changed("Observation", dataAbsentReason={"text": "x"}), "obs-6"),
        (changed("Observation", component=[{"code": resource_of("Observation")["code"]}]), "obs-7"),
        (changed("Observation", referenceRange=[{"appliesTo": [{"text": "x"}]}]), "obs-3"),
        (
            changed(
                "QuestionnaireResponse",
                item=[{"linkId": "a", "answer": [{"valueInteger": 1}], "item": [{"linkId": "b"}]}],
            ),
            "qrs-1",
        ),
        (changed("Condition", abatementDateTime="2026-01-01"), "con-4"),
        (changed("Condition", verificationStatus=PROBLEM), "con-5"),
        (changed("Condition", stage=[{"type": {"text": "x"}}]), "con-1"),
        (
            changed("Condition", evidence=[{"id": "a", "extension": [{"url": "https://x.example", "valueCode": "a"}]}]),
            "con-2",
        ),
        (changed("Appointment", participant=[{"status": "accepted"}]), "app-1"),
        (changed("Appointment", status="proposed", end=...), "app-2"),
        (changed("Appointment", start=..., end=...), "app-3"),
        (changed("Appointment", cancelationReason={"text": "x"}), "app-4"),
        (
            {
                "resourceType": "CarePlan",
                "status": "active",
                "intent": "plan",
                "subject": {"reference": "Patient/1"},
                "activity": [{"reference": {"reference": "Task/1"}, "detail": {"status": "not-started"}}],
            },
            "cpl-3",
        ),
        ({"resourceType": "Parameters", "parameter": [{"name": "a"}]}, "inv-1"),
        (
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "a", "valueCode": "b", "part": [{"name": "c", "valueCode": "d"}]}],
            },
            "inv-1",
        ),
    ],
)
def test_a_broken_invariant_is_told_by_its_key(resource: Json, key: str) -> None:
    assert keys(resource) == {key}


def questionnaire(*items: Json) -> Json:
    return {"resourceType": "Questionnaire", "status": "active", "item": list(items)}


OPTION = [{"valueString": "a"}]


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"type": "group"}, "que-1"),
        ({"type": "display", "item": [{"linkId": "b", "type": "string"}]}, "que-1"),
        ({"type": "group", "item": [{"linkId": "a", "type": "string"}]}, "que-2"),
        ({"type": "display", "code": [{"code": "x"}]}, "que-3"),
        ({"type": "choice", "answerOption": OPTION, "answerValueSet": "https://x.example"}, "que-4"),
        ({"type": "boolean", "answerOption": OPTION}, "que-5"),
        ({"type": "display", "required": True}, "que-6"),
        ({"type": "boolean", "enableWhen": [{"question": "b", "operator": "exists", "answerInteger": 1}]}, "que-7"),
        ({"type": "display", "initial": OPTION}, "que-8"),
        ({"type": "display", "readOnly": True}, "que-9"),
        ({"type": "choice", "maxLength": 3}, "que-10"),
        ({"type": "choice", "answerOption": OPTION, "initial": OPTION}, "que-11"),
        (
            {"type": "boolean", "enableWhen": [{"question": "b", "operator": "exists", "answerBoolean": True}] * 2},
            "que-12",
        ),
        ({"type": "string", "initial": OPTION * 2}, "que-13"),
    ],
)
def test_a_questionnaire_holds_together(item: Json, key: str) -> None:
    assert keys(questionnaire({"linkId": "a", **item})) == {key}


def test_dates_that_cannot_be_compared_are_no_fault() -> None:
    assert r4.validate({**TASK, "authoredOn": "2026-11-23T23:30:00+01:00", "lastModified": "2026-11-23"}) == []
    assert r4.validate({**TASK, "authoredOn": "2026-11-23", "lastModified": "2026-11"}) == []


def altered(change: Callable[[Json], object]) -> Json:
    sent = referral_bundle()
    change(sent)
    return sent


def entry_of(sent: Json) -> Json:
    entry: Json = sent["entry"][0]
    return entry


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (altered(lambda b: b.update(total=1)), "bdl-1"),
        (altered(lambda b: entry_of(b).update(search={"mode": "match"})), "bdl-2"),
        (altered(lambda b: entry_of(b).pop("request")), "bdl-3"),
        (altered(lambda b: entry_of(b).update(response={"status": "200"})), "bdl-4"),
        (altered(lambda b: b.update(type="collection", entry=[{"fullUrl": "urn:uuid:x"}])), "bdl-5"),
        (altered(lambda b: entry_of(b).update(fullUrl=b["entry"][1]["fullUrl"])), "bdl-7"),
        (altered(lambda b: entry_of(b).update(fullUrl="https://x.example/Patient/1/_history/2")), "bdl-8"),
        (altered(lambda b: entry_of(b).pop("resource")), "entry-resource"),
        (
            {
                "resourceType": "Bundle",
                "type": "document",
                "identifier": {"value": "x"},
                "timestamp": "2026-11-23T10:00:00Z",
            },
            "bdl-9",
        ),
        ({"resourceType": "Bundle", "type": "document", "identifier": {"system": "urn:x", "value": "x"}}, "bdl-10"),
        ({"resourceType": "Bundle", "type": "message"}, "bdl-12"),
    ],
)
def test_a_bundle_holds_together(sent: Json, key: str) -> None:
    assert key in keys(sent)


def test_a_full_url_that_disagrees_with_the_id_is_refused() -> None:
    sent = referral_bundle()
    sent["entry"][0]["fullUrl"] = "https://x.example/Patient/1"
    sent["entry"][0]["resource"]["id"] = "2"
    assert "full-url-id" in keys(sent)


def test_an_empty_transaction_is_sound() -> None:
    assert r4.validate({"resourceType": "Bundle", "type": "transaction"}) == []


CAPABILITIES: Json = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": "2026-11-23",
    "kind": "instance",
    "implementation": {"description": "Sluss"},
    "fhirVersion": "4.0.1",
    "format": ["application/fhir+json"],
    "rest": [{"mode": "server", "resource": [{"type": "Task", "interaction": [{"code": "read"}]}]}],
}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"rest": ...}, "cpb-1"),
        ({"kind": "capability"}, "cpb-15"),
        ({"kind": "requirements"}, "cpb-16"),
        ({"implementation": ..., "description": "x"}, "cpb-14"),
        ({"rest": [{"mode": "server", "resource": [{"type": "Task"}, {"type": "Task"}]}]}, "cpb-9"),
        (
            {
                "rest": [
                    {
                        "mode": "server",
                        "resource": [{"type": "Task", "searchParam": [{"name": "a", "type": "token"}] * 2}],
                    }
                ]
            },
            "cpb-12",
        ),
    ],
)
def test_a_capability_statement_holds_together(change: Json, key: str) -> None:
    assert r4.validate(CAPABILITIES) == []
    assert keys({name: value for name, value in {**CAPABILITIES, **change}.items() if value is not ...}) == {key}


# ---------------------------------------------------------------- whatever comes


def nested(levels: int, within: Callable[[Any], Any]) -> Any:
    value: Any = {"url": "https://x.example", "valueCode": "x"}
    for _ in range(levels):
        value = within(value)
    return value


@pytest.mark.parametrize("levels", [MAX_DEPTH, 50_000])
def test_depth_is_bounded(levels: int) -> None:
    extension = nested(levels, lambda inner: {"url": "https://x.example", "extension": [inner]})
    codes = {issue.code for issue in r4.validate({"resourceType": "Patient", "extension": [extension]})}
    assert codes == {IssueCode.TOO_COSTLY}
    bundle = nested(
        levels, lambda inner: {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}
    )
    assert IssueCode.TOO_COSTLY in {issue.code for issue in r4.validate(bundle)}
    anything = nested(levels, lambda inner: [inner])
    assert [issue.code for issue in r4.validate({"resourceType": "Patient", "nonsense": anything})] == [
        IssueCode.STRUCTURE
    ]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a resource."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from places(value)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["", " ", "#", "#x", "x", "2026-13-01", "Patient/1", "urn:uuid:1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "url", "value", "coding", "system", "reference", "resourceType", "extension"]), inner
        )
    ),
    max_leaves=6,
)


@st.composite
def distorted(draw: st.DrawFn) -> Json:
    """A referral with up to three of its values exchanged, left out or joined by others."""
    resource: Json = copy.deepcopy(
        draw(st.sampled_from([referral_bundle(), *(e["resource"] for e in referral_bundle()["entry"]), TASK]))
    )
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(resource))))
        if draw(st.booleans()) or isinstance(container, list):
            container[key] = draw(_json)
        elif draw(st.booleans()):
            del container[key]
        else:
            container[draw(st.sampled_from(["contained", "extension", "meta", "text", "_id", "value", "entry"]))] = (
                draw(_json)
            )
        if not list(places(resource)):
            break
    return resource


@given(distorted())
@settings(max_examples=300, deadline=None)
def test_no_json_makes_it_raise_and_every_issue_can_be_shown(resource: Json) -> None:
    for issue in r4.validate(resource):
        assert isinstance(issue, Issue)
        assert issue.text
        assert issue.diagnostics
        assert issue.expression


@given(distorted())
@settings(max_examples=300, deadline=None)
def test_whatever_the_models_of_fhir_resources_refuse_is_refused(resource: Json) -> None:
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except Exception:  # the models raise KeyError, AttributeError and others besides ValidationError
        assert r4.validate(resource)


def test_definitions_can_be_prepared() -> None:
    r4.prepare()
    assert {"Task", "Patient"} <= r4.SUPPORTED_TYPES
    assert r4.is_resource_type("Bundle")
    assert not r4.is_resource_type("HumanName")
    assert "valueQuantity" in r4.definition("Observation").elements
