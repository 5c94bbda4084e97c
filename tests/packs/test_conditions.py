"""Conditions in FHIRPath: what holds, and what is refused when a pack is loaded."""

import pytest

from service.packs.conditions import BadCondition, compile_condition


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("%age < 18", True),
        ("%age > 18", False),
        ("%unknown = true", False),
        ("(%unknown = true).not()", False),
        ("%unknown.empty()", True),
        ("%`works-independently` = false", True),
        ("%codes.exists(startsWith('G47.3'))", True),
        ("%codes", False),
    ],
)
def test_a_condition_holds_only_when_it_is_exactly_true(text: str, holds: bool) -> None:
    variables = {"age": 17, "unknown": [], "works-independently": False, "codes": ["F32.1", "G47.3"]}
    assert compile_condition(text).holds(variables) is holds


@pytest.mark.parametrize("text", ["", "%age <", "(%age < 18", "%age < 18 rubbish", "true true", "# 1", "%age = 'x"])
def test_what_is_not_one_whole_expression_is_refused(text: str) -> None:
    with pytest.raises(BadCondition, match="column"):
        compile_condition(text)


def test_the_variables_of_a_condition_are_those_outside_its_texts() -> None:
    condition = compile_condition("%age < 18 and %`madrs-s-age` > 1 and 'about %nothing' = %kind")
    assert condition.variables == ("age", "kind", "madrs-s-age")


@pytest.mark.parametrize("text", ["%age > 1 and today() > @2026-01-01", "now().exists()"])
def test_a_condition_may_not_ask_for_the_clock(text: str) -> None:
    with pytest.raises(BadCondition, match="asks for the clock"):
        compile_condition(text)


def test_a_condition_remembers_nothing_of_other_values() -> None:
    condition = compile_condition("%a = 1")
    assert [condition.holds({"a": value}) for value in (1, 2, 1, [], [1], [2])] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_two_conditions_of_the_same_text_are_equal() -> None:
    assert compile_condition("%a = 1") == compile_condition("%a = 1")
