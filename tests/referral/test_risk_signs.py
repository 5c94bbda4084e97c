"""Signs of suicide risk in what was refused: read leniently, so that nobody believes that they arrived (contract 3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.issues import Severity
from service.referral.risk_signs import not_received, risk_signs
from tests.fhir_mappings.examples import S, any_json, with_type

ITEM_9 = "MADRS-S fråga 9 = 5"
STATED = "suicidrisk angiven som förhöjd"

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["item-9", "elevated"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "linkId",
                    "answer",
                    "valueInteger",
                    "valueCoding",
                    "code",
                    "coding",
                    "madrs_s",
                    "items",
                    "answers",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(_json, st.integers(0, 6))
def test_nothing_that_is_sent_can_raise(body: Any, threshold: int) -> None:
    assert all(isinstance(sign, str) for sign in risk_signs(body, threshold))


@given(any_json)
def test_no_resource_can_raise(body: dict[str, Any]) -> None:
    risk_signs(with_type(body, "QuestionnaireResponse"), 4)


def test_deep_nesting_is_not_followed_to_the_end() -> None:
    body: Any = {"linkId": "item-9", "answer": [{"valueInteger": 5}]}
    for _ in range(5000):
        body = {"item": [body]}
    assert risk_signs(body, 4) == []


def item(value: Any, link: str = "item-9") -> dict[str, Any]:
    return {"linkId": link, "answer": [{"valueInteger": value}]}


def stated(code: str) -> dict[str, Any]:
    return {
        "linkId": "suicide-risk",
        "answer": [{"valueCoding": {"system": f"{S}/CodeSystem/ikbt-referral-answer", "code": code}}],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "QuestionnaireResponse", "item": [item(5)]},
        {"resourceType": "QuestionnaireResponse", "item": [{"linkId": "group", "item": [item(5)]}]},
        {"resourceType": "Bundle", "entry": [{"resource": {"item": [item(1, "item-8"), item(5)]}}]},
        {"resourceType": "ServiceRequest", "contained": [{"item": [item(5)]}]},
        {
            "resourceType": "Observation",
            "component": [
                {"code": {"coding": [{"system": f"{S}/CodeSystem/madrs-s", "code": "item-9"}]}, "valueInteger": 5}
            ],
        },
        {"madrs_s": {"items": [0, 0, 0, 0, 0, 0, 0, 0, 5]}},
        # not even what is wrong with the rest hides them
        {"resourceType": "QuestionnaireResponse", "status": 7, "item": ["x", None, item(5)]},
        {"madrs_s": {"items": [9, "x", None, 0, 0, 0, 0, 0, 5]}, "programme": "nonsense"},
    ],
)
def test_item_9_is_found_wherever_it_stands(body: dict[str, Any]) -> None:
    assert risk_signs(body, 4) == [ITEM_9]


@pytest.mark.parametrize(
    "body",
    [
        {"item": [stated("elevated")]},
        {"item": [{"linkId": "suicide-risk", "answer": [{"valueString": "elevated"}]}]},
        {"answers": {"suicide-risk": "elevated"}},
    ],
)
def test_a_stated_risk_is_found_wherever_it_stands(body: dict[str, Any]) -> None:
    assert risk_signs(body, 4) == [STATED]


@pytest.mark.parametrize(
    "body",
    [
        {"item": [item(3)]},
        {"item": [item(7)]},  # no score of the scale
        {"item": [item(True)]},
        {"item": [item("5")]},
        {"item": [item(5, "item-8")]},
        {"item": [stated("low"), stated("unknown")]},
        {"madrs_s": {"items": [6, 6, 6, 6, 6, 6, 6, 6]}},
        {"madrs_s": {"total": 40}},
        {"answers": {"suicide-risk": "low"}},
        {"text": "elevated"},
        {},
    ],
)
def test_what_is_no_sign_is_not_told_as_one(body: dict[str, Any]) -> None:
    assert risk_signs(body, 4) == []


@pytest.mark.parametrize(("value", "threshold", "is_sign"), [(4, 4, True), (3, 4, False), (3, 3, True), (6, 4, True)])
def test_the_threshold_is_the_packs(value: int, threshold: int, *, is_sign: bool) -> None:
    assert bool(risk_signs({"item": [item(value)]}, threshold)) is is_sign


def test_several_signs_are_told_in_the_order_they_stand() -> None:
    assert risk_signs({"item": [item(5), stated("elevated")]}, 4) == [ITEM_9, STATED]


def test_the_issue_says_that_it_was_not_received_and_carries_the_signs() -> None:
    issue = not_received([ITEM_9, STATED])
    assert issue.severity is Severity.ERROR
    assert "INTE tagits emot" in issue.text
    assert ITEM_9 in issue.text
    assert STATED in issue.text
    assert issue.diagnostics.startswith("NOT received")
