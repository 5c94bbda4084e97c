"""The referral form: a QuestionnaireResponse to `{S}/Questionnaire/ikbt-referral`, in both directions.

Contract 4, "Form". Whether an answer is good or bad is for the pack's rules; here it is only read.
"""

from collections.abc import Iterable, Mapping

from fhir_mappings.datetimes import age_order
from fhir_mappings.elements import text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.questionnaire_response import Question, answers_form, questions, why_it_does_not_count
from fhir_mappings.records import Answer, FormAnswers, Json, Reference
from fhir_mappings.terminology import Canonical

YES_NO: tuple[str, ...] = ()
"""What `QUESTIONS` gives for a question that is answered with yes or no."""

SUICIDE_RISK = "suicide-risk"
"""linkId of the question whose gravest answer counts, not only the newest."""

ELEVATED = "elevated"
"""The answer to `SUICIDE_RISK` that alerts."""

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "motivated": YES_NO,
    "works-independently": YES_NO,
    "computer-habit": YES_NO,
    "internet-access": YES_NO,
    "reads-and-writes": YES_NO,
    "patient-interested": YES_NO,
    "sets-aside-time": YES_NO,
    "assessment-held": YES_NO,
    "patient-informed": YES_NO,
    "device": YES_NO,
    "e-identification": YES_NO,
    SUICIDE_RISK: ("low", ELEVATED, "unknown"),
    "parallel-therapy": YES_NO,
    "parallel-homework": YES_NO,
    "major-cognitive-difficulties": YES_NO,
    "stress-phase": ("early", "rehabilitation", "other"),
    "sleep-apnoea": YES_NO,
    "restless-legs": YES_NO,
    "self-esteem-purpose": ("treatment", "relapse-prevention", "personal-development"),
}
"""Every question by linkId, with the codes that may answer it; `YES_NO` (no codes) for a boolean."""

_NAME = "Remissformuläret"


def is_referral_form(resource: Json, canonical: Canonical) -> bool:
    """True for a response to the referral form, whatever its version and status."""
    return answers_form(resource, canonical.referral_form)


def is_answer(link_id: str, value: object) -> bool:
    """True when `value` (a bool, or a code as text) may answer the question. False for an unknown question."""
    if link_id not in QUESTIONS:
        return False
    codes = QUESTIONS[link_id]
    return value in codes if codes and isinstance(value, str) else not codes and isinstance(value, bool)


def from_fhir_form(
    resource: Json, expression: str, canonical: Canonical, source: str | None = None
) -> tuple[FormAnswers | None, list[Issue]]:
    """The answers of a referral form, and every problem with it.

    A form that is not finished gives None and one Issue of severity information: it does not count. A form with errors
    still gives the answers that could be read, because signs of suicide risk must be told even when it is refused.
    `source` is kept as where the form stands (fullUrl, `#id` or `Type/id`).
    """
    left_out = why_it_does_not_count(resource, expression, _NAME)
    if left_out:
        return None, [left_out]
    answers: dict[str, Answer] = {}
    issues: list[Issue] = []
    for question in questions(resource, expression):
        read = _read(question, canonical)
        if isinstance(read, list):
            issues.extend(read)
        elif read is not None:
            if question.link_id in answers:
                issues.append(_answered_twice(question))
            answers[question.link_id] = _graver(answers.get(question.link_id), read)
    return FormAnswers(answers, text(resource, "authored"), source), issues


def to_fhir_form(form: FormAnswers, canonical: Canonical, subject: Reference) -> Json:
    """A completed QuestionnaireResponse with the answers, in the form's own order. The pair of `from_fhir_form`."""
    resource: Json = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": canonical.referral_form,
        "status": "completed",
        "subject": {"reference": subject},
    }
    if form.authored:
        resource["authored"] = form.authored
    items = [
        {"linkId": link_id, "answer": [_to_fhir_answer(form.answers[link_id], canonical)]}
        for link_id in QUESTIONS
        if link_id in form.answers
    ]
    if items:
        resource["item"] = items
    return resource


def merged(forms: Iterable[FormAnswers]) -> dict[str, Answer]:
    """One answer per question: the newest form that answered it decides. An undated form counts as the oldest; of two
    of the same time the later in order decides.
    """
    answers: dict[str, Answer] = {}
    for form in sorted(forms, key=lambda form: age_order(form.authored)):
        answers.update(form.answers)
    return answers


def gravest_suicide_risk(forms: Iterable[FormAnswers]) -> str | None:
    """`elevated` if any form says so, however old; else the newest answer; None where no form answered.

    A newer, milder answer never silences an older alarm: a person does that.
    """
    every = tuple(forms)
    if any(form.answers.get(SUICIDE_RISK) == ELEVATED for form in every):
        return ELEVATED
    newest = merged(every).get(SUICIDE_RISK)
    return newest if isinstance(newest, str) else None


def _read(question: Question, canonical: Canonical) -> Answer | list[Issue] | None:
    """The answer, None where the question was left open, or what is wrong with it."""
    link_id = question.link_id
    if link_id not in QUESTIONS:
        return [
            error(
                IssueCode.VALUE,
                f"{question.expression}.linkId",
                f"{_NAME} har ingen fråga med beteckningen ”{link_id}”.",
                f"Unknown linkId {link_id!r}; {canonical.referral_form} has {', '.join(QUESTIONS)}.",
            )
        ]
    if len(question.answers) > 1:
        return [_answered_twice(question)]
    if not question.answers:
        return None
    place, name, value = question.answers[0]
    codes = QUESTIONS[link_id]
    wanted = "valueCoding" if codes else "valueBoolean"
    if name != wanted or not isinstance(value, dict if codes else bool):
        return [
            error(
                IssueCode.VALUE,
                f"{place}.value",
                f"Frågan ”{link_id}” ska besvaras med {'en kod' if codes else 'ja eller nej'}.",
                f"Question {link_id!r} takes {wanted}, not {name}.",
            )
        ]
    return _read_code(link_id, f"{place}.value", value, canonical) if isinstance(value, dict) else bool(value)


def _read_code(link_id: str, expression: str, coding: Json, canonical: Canonical) -> str | list[Issue]:
    system, code, codes = text(coding, "system"), text(coding, "code"), QUESTIONS[link_id]
    issues = []
    if system != canonical.answer:
        issues.append(
            error(
                IssueCode.CODE_INVALID,
                f"{expression}.system",
                f"Svaret på ”{link_id}” ska vara en kod ur formulärets eget kodverk.",
                f"Answers to {link_id!r} are coded in {canonical.answer}, not {system}.",
            )
        )
    if code not in codes:
        issues.append(
            error(
                IssueCode.CODE_INVALID,
                f"{expression}.code",
                f"Svaret på ”{link_id}” är inget av de svar som går att välja.",
                f"Unknown answer to {link_id!r}; it takes {', '.join(codes)}.",
            )
        )
    return issues or code or ""


def _answered_twice(question: Question) -> Issue:
    return error(
        IssueCode.VALUE,
        f"{question.expression}.answer",
        f"Frågan ”{question.link_id}” har besvarats mer än en gång.",
        f"Question {question.link_id!r} takes one answer.",
    )


def _graver(earlier: Answer | None, later: Answer) -> Answer:
    """Of two answers in one (refused) form the one that must not be lost."""
    return ELEVATED if ELEVATED in (earlier, later) else later


def _to_fhir_answer(answer: Answer, canonical: Canonical) -> Json:
    if isinstance(answer, bool):
        return {"valueBoolean": answer}
    return {"valueCoding": {"system": canonical.answer, "code": answer}}
