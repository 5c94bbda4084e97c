"""`_summary` and `_elements`: what stays of a resource, and that it says so."""

import pytest

from fhir_mappings.r4 import definition, validate
from fhir_mappings.records import Json
from fhir_mappings.subset import SUBSETTED, summarised, with_elements
from tests.fhir_mappings.r4 import samples

TASK: Json = {
    "resourceType": "Task",
    "id": "1",
    "meta": {"versionId": "3", "tag": [{"code": "mine"}]},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "status": "requested",
    "_status": {"extension": [{"url": "u", "valueString": "x"}]},
    "intent": "order",
    "priority": "urgent",
    "note": [{"text": "x"}],
    "focus": {"reference": "ServiceRequest/1"},
}
MANDATORY = {"resourceType", "id", "meta", "status", "_status", "intent"}


def test_a_summary_has_what_r4_marks_as_one() -> None:
    assert set(summarised(TASK, "true")) == {*MANDATORY, "focus"}


def test_text_and_data_divide_the_resource() -> None:
    assert set(summarised(TASK, "text")) == {*MANDATORY, "text"}
    assert set(summarised(TASK, "data")) == set(TASK) - {"text"}


def test_false_is_the_whole_as_it_is() -> None:
    assert summarised(TASK, "false") is TASK


@pytest.mark.parametrize("elements", [["priority", "note"], ["Task.priority", "Task.note"], ["priority", "note", "x"]])
def test_elements_are_those_named_and_the_mandatory_ones(elements: list[str]) -> None:
    assert set(with_elements(TASK, elements)) == {*MANDATORY, "priority", "note"}
    assert set(with_elements(TASK, ["Patient.note"])) == MANDATORY


@pytest.mark.parametrize("name", ["value", "valueQuantity"])
def test_a_choice_is_named_with_or_without_its_type(name: str) -> None:
    observation: Json = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "valueQuantity": {"value": 1},
        "note": [{"text": "x"}],
    }
    assert set(with_elements(observation, [name])) == {"resourceType", "meta", "status", "code", "valueQuantity"}


def test_what_is_not_whole_is_tagged_beside_other_tags() -> None:
    for made in (summarised(TASK, "true"), summarised(TASK, "data"), with_elements(TASK, ["note"])):
        assert made["meta"] == {"versionId": "3", "tag": [{"code": "mine"}, SUBSETTED]}
    assert TASK["meta"]["tag"] == [{"code": "mine"}]


@pytest.mark.parametrize("type_", sorted({e["resource"]["resourceType"] for e in samples.referral_bundle()["entry"]}))
def test_what_is_left_is_still_valid_r4(type_: str) -> None:
    whole = samples.resource_of(type_)
    assert definition(type_)
    for made in (summarised(whole, "true"), summarised(whole, "text"), with_elements(whole, ["id"])):
        assert [i for i in validate(made) if i.code != "invariant"] == []
