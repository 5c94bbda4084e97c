"""What every QuestionnaireResponse has in common: which form it answers, whether it counts, and its questions.

https://hl7.org/fhir/R4/questionnaireresponse.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.records import Json

FINISHED = ("completed", "amended")
"""The statuses of a response that counts; the others are unfinished, stopped or withdrawn."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a response, with every answer given to it."""

    link_id: str
    expression: str
    """Of the item, `QuestionnaireResponse.item[2]`."""
    answers: tuple[tuple[str, str, Any], ...]
    """(expression of the answer, name of its value in JSON, the value), for example
    `("QuestionnaireResponse.item[2].answer[0]", "valueBoolean", True)`. Empty where it was not answered."""


def answers_form(resource: Mapping[str, Any], questionnaire: str) -> bool:
    """True for a QuestionnaireResponse to the Questionnaire with that canonical URL, in any version (`url|1.0`)."""
    if resource.get("resourceType") != "QuestionnaireResponse":
        return False
    return (text(resource, "questionnaire") or "").split("|", 1)[0] == questionnaire


def why_it_does_not_count(resource: Mapping[str, Any], expression: str, name: str) -> Issue | None:
    """None for a finished response; else the advice that the response to form `name` is left out, and why."""
    status = resource.get("status")
    if status in FINISHED:
        return None
    return Issue(
        Severity.INFORMATION,
        IssueCode.INFORMATIONAL,
        f"{name} räknas inte: formuläret är "
        + ("felaktigt infört." if status == "entered-in-error" else "inte färdigt ifyllt."),
        f"The QuestionnaireResponse has status {status!r}; only {' and '.join(FINISHED)} count.",
        f"{expression}.status",
    )


def questions(element: Json, expression: str) -> Iterator[Question]:
    """Every question, in order. Groups and sub-questions are walked through: an item with items of its own and no
    answer is a group, and a group asks nothing.
    """
    for position, item in children(element, "item"):
        here = f"{expression}.item[{position}]"
        answers: list[tuple[str, str, Any]] = []
        for number, answer in children(item, "answer"):
            place = f"{here}.answer[{number}]"
            # An answer may hold only an extension such as data-absent-reason: then nothing was answered.
            answers.extend((place, name, value) for name, value in answer.items() if name.startswith("value"))
            yield from questions(answer, place)
        if answers or not item.get("item"):
            yield Question(text(item, "linkId") or "", here, tuple(answers))
        yield from questions(item, here)
