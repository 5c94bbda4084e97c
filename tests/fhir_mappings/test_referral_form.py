"""The referral form, question by question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.records import Answer, FormAnswers, Json, Reference
from fhir_mappings.referral_form import (
    QUESTIONS,
    from_fhir_form,
    gravest_suicide_risk,
    is_answer,
    is_referral_form,
    merged,
    to_fhir_form,
)
from tests.fhir_mappings.examples import CANONICAL, S, any_json, damaged, where, with_type

PLACE = "Bundle.entry[4].resource"
CODED = {
    "suicide-risk": ("low", "elevated", "unknown"),
    "stress-phase": ("early", "rehabilitation", "other"),
    "self-esteem-purpose": ("treatment", "relapse-prevention", "personal-development"),
}


def code(answer: str, system: str | None = f"{S}/CodeSystem/ikbt-referral-answer") -> Json:
    return {"valueCoding": {"code": answer, **({"system": system} if system else {})}}


def item(link_id: str, *answers: Json) -> Json:
    return {"linkId": link_id, **({"answer": list(answers)} if answers else {})}


def form(*items: Json, status: str = "completed", version: str = "") -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/ikbt-referral{version}",
        "status": status,
        "authored": "2026-11-20T10:00:00+01:00",
        "item": list(items),
    }


def read(resource: Json) -> tuple[FormAnswers | None, list[tuple[str, str | None]]]:
    answers, issues = from_fhir_form(resource, PLACE, CANONICAL, "urn:uuid:f")
    return answers, where(issues)


def test_the_questions_are_those_of_the_contract() -> None:
    assert {link_id: codes for link_id, codes in QUESTIONS.items() if codes} == CODED
    assert set(QUESTIONS) - set(CODED) == {
        "motivated",
        "works-independently",
        "computer-habit",
        "internet-access",
        "reads-and-writes",
        "patient-interested",
        "sets-aside-time",
        "assessment-held",
        "patient-informed",
        "device",
        "e-identification",
        "parallel-therapy",
        "parallel-homework",
        "major-cognitive-difficulties",
        "sleep-apnoea",
        "restless-legs",
    }


def test_answers_are_read_as_yes_no_and_codes() -> None:
    sent = form(
        item("motivated", {"valueBoolean": True}),
        item("device", {"valueBoolean": False}),
        item("suicide-risk", code("elevated")),
        item("stress-phase"),
    )

    assert read(sent) == (
        FormAnswers(
            {"motivated": True, "device": False, "suicide-risk": "elevated"}, "2026-11-20T10:00:00+01:00", "urn:uuid:f"
        ),
        [],
    )


@pytest.mark.parametrize("version", ["", "|1.0.0"])
def test_the_form_is_known_in_any_version(version: str) -> None:
    assert is_referral_form(form(version=version), CANONICAL)
    assert not is_referral_form(form() | {"questionnaire": f"{S}/Questionnaire/madrs-s{version}"}, CANONICAL)
    assert not is_referral_form(form() | {"resourceType": "Questionnaire"}, CANONICAL)


def test_questions_in_groups_and_below_answers_are_read() -> None:
    below = {"valueBoolean": True, "item": [item("parallel-homework", {"valueBoolean": False})]}
    group = {"linkId": "about-treatment", "item": [item("parallel-therapy", below)]}

    answers, issues = read(form(group))

    assert issues == []
    assert answers is not None
    assert answers.answers == {"parallel-therapy": True, "parallel-homework": False}


@pytest.mark.parametrize("status", ["in-progress", "stopped", "entered-in-error"])
def test_a_form_that_is_not_finished_does_not_count_and_that_is_said(status: str) -> None:
    answers, issues = from_fhir_form(form(item("nonsense"), status=status), PLACE, CANONICAL)

    assert answers is None
    assert [(issue.severity, issue.expression) for issue in issues] == [("information", f"{PLACE}.status")]


@pytest.mark.parametrize("status", ["completed", "amended"])
def test_a_finished_form_counts(status: str) -> None:
    assert read(form(item("motivated", {"valueBoolean": True}), status=status))[0] is not None


@pytest.mark.parametrize(
    ("wrong", "issues"),
    [
        (item("shoe-size", {"valueInteger": 43}), [("value", "linkId")]),
        (item("shoe-size"), [("value", "linkId")]),
        (item("motivated", {"valueString": "ja"}), [("value", "answer[0].value")]),
        (item("motivated", code("low")), [("value", "answer[0].value")]),
        (item("suicide-risk", {"valueBoolean": True}), [("value", "answer[0].value")]),
        (item("suicide-risk", {"valueString": "low"}), [("value", "answer[0].value")]),
        (item("suicide-risk", code("high")), [("code-invalid", "answer[0].value.code")]),
        (item("suicide-risk", code("early")), [("code-invalid", "answer[0].value.code")]),
        (item("suicide-risk", code("low", "urn:x")), [("code-invalid", "answer[0].value.system")]),
        (item("suicide-risk", code("low", None)), [("code-invalid", "answer[0].value.system")]),
        (
            item("suicide-risk", code("high", "urn:x")),
            [("code-invalid", "answer[0].value.system"), ("code-invalid", "answer[0].value.code")],
        ),
        (item("suicide-risk", code("low"), code("elevated")), [("value", "answer")]),
    ],
)
def test_a_wrong_answer_is_refused_where_it_stands(wrong: Json, issues: list[tuple[str, str]]) -> None:
    _, told = read(form(item("motivated-not-at-all"), wrong))

    assert told == [("value", f"{PLACE}.item[0].linkId"), *((c, f"{PLACE}.item[1].{place}") for c, place in issues)]


def test_a_question_answered_in_two_places_is_refused_and_the_alarm_kept() -> None:
    answers, told = read(form(item("suicide-risk", code("elevated")), item("suicide-risk", code("low"))))

    assert told == [("value", f"{PLACE}.item[1].answer")]
    assert answers is not None
    assert answers.answers == {"suicide-risk": "elevated"}


def test_an_answer_that_only_says_why_there_is_none_is_no_answer() -> None:
    why = {"_valueBoolean": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}}

    assert read(form(item("motivated", why)))[0] == FormAnswers({}, "2026-11-20T10:00:00+01:00", "urn:uuid:f")


def test_the_newest_form_that_answered_a_question_decides() -> None:
    older = FormAnswers({"motivated": False, "device": True}, "2026-11-18")
    newer = FormAnswers({"motivated": True}, "2026-11-18T08:00:00+01:00")
    undated = FormAnswers({"motivated": False, "sleep-apnoea": True})

    assert merged([newer, older, undated]) == {"motivated": True, "device": True, "sleep-apnoea": True}


@pytest.mark.parametrize(
    ("answers", "risk"),
    [
        ([], None),
        ([(None, "2026-11-18")], None),
        ([("low", "2026-11-18")], "low"),
        ([("low", "2026-11-18"), ("unknown", "2026-11-19")], "unknown"),
        ([("elevated", "2026-11-18"), ("low", "2026-11-19")], "elevated"),
        ([("low", "2026-11-19"), ("elevated", None)], "elevated"),
    ],
)
def test_a_stated_elevated_risk_is_not_silenced_by_a_newer_form(
    answers: list[tuple[str | None, str | None]], risk: str | None
) -> None:
    forms = [FormAnswers({"suicide-risk": answer} if answer else {}, authored) for answer, authored in answers]

    assert gravest_suicide_risk(forms) == risk


@pytest.mark.parametrize(
    ("link_id", "value", "allowed"),
    [
        ("motivated", True, True),
        ("motivated", "yes", False),
        ("motivated", 1, False),
        ("suicide-risk", "low", True),
        ("suicide-risk", "high", False),
        ("suicide-risk", True, False),
        ("shoe-size", True, False),
    ],
)
def test_a_plain_answer_is_checked_against_the_same_table(link_id: str, value: object, allowed: bool) -> None:
    assert is_answer(link_id, value) is allowed


@st.composite
def form_answers(draw: st.DrawFn) -> FormAnswers:
    """Any allowed answers to any of the questions."""
    asked = draw(st.sets(st.sampled_from(sorted(QUESTIONS))))
    answers: dict[str, Answer] = {}
    for link_id in asked:
        codes = QUESTIONS[link_id]
        answers[link_id] = draw(st.sampled_from(codes)) if codes else draw(st.booleans())
    return FormAnswers(answers, draw(st.none() | st.dates().map(str)), "x")


@given(form_answers())
def test_a_form_that_is_written_reads_the_same(original: FormAnswers) -> None:
    written = to_fhir_form(original, CANONICAL, Reference("Patient/p1"))

    assert is_referral_form(written, CANONICAL)
    assert from_fhir_form(written, PLACE, CANONICAL, "x") == (original, [])


@given(st.lists(form_answers(), max_size=4))
def test_every_question_answered_anywhere_is_answered_in_the_end(forms: list[FormAnswers]) -> None:
    answers = merged(forms)

    assert set(answers) == {link_id for each in forms for link_id in each.answers}
    assert all(is_answer(link_id, answer) for link_id, answer in answers.items())


@given(any_json, damaged(form(item("motivated", {"valueBoolean": True}), item("suicide-risk", code("low")))))
def test_reading_a_form_never_raises(resource: Json, almost: Json) -> None:
    for each in (with_type(resource, "QuestionnaireResponse"), almost):
        is_referral_form(each, CANONICAL)
        answers, issues = from_fhir_form(each, PLACE, CANONICAL)
        assert answers or issues
        assert answers is None or all(is_answer(link_id, answer) for link_id, answer in answers.answers.items())
