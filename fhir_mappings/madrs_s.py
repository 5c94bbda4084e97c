"""MADRS-S ratings, as QuestionnaireResponse and as Observation, in both directions (contract 4 and 6).

Nine items of 0 to 6 in whole points and their sum, 0 to 54. What contradicts itself is refused; what was withdrawn or
is not finished does not count.
"""

from collections.abc import Iterable, Iterator

from fhir_mappings.datetimes import age_order
from fhir_mappings.elements import child, children, codings, text, whole_number
from fhir_mappings.issues import Issue, IssueCode, Severity, error
from fhir_mappings.questionnaire_response import Question, answers_form, questions, why_it_does_not_count
from fhir_mappings.records import Json, MadrsS, Reference
from fhir_mappings.terminology import Canonical, Systems

ITEMS = tuple(f"item-{number}" for number in range(1, 10))
"""linkIds in the Questionnaire and codes in the CodeSystem; `item-9` is livslust (zest for life)."""

_SCORE = range(7)
_TOTAL = range(55)
_NAME = "MADRS-S"
_COUNTING = ("final", "amended", "corrected")
"""The statuses of an Observation that holds a result: https://hl7.org/fhir/R4/valueset-observation-status.html"""


def is_madrs_s_response(resource: Json, canonical: Canonical) -> bool:
    """True for a response to the MADRS-S Questionnaire, whatever its version and status."""
    return answers_form(resource, canonical.madrs_s_form)


def is_madrs_s_observation(resource: Json, canonical: Canonical) -> bool:
    """True for an Observation of the MADRS-S total, whatever its status."""
    return resource.get("resourceType") == "Observation" and (canonical.madrs_s, "total") in codings(resource, "code")


def from_fhir_response(
    resource: Json, expression: str, canonical: Canonical, source: str | None = None
) -> tuple[MadrsS | None, list[Issue]]:
    """The rating in a QuestionnaireResponse, and every problem with it.

    None with one Issue of severity information where the response is not finished; None with errors where it does not
    hold exactly nine answers of 0 to 6. `canonical` names the form that `is_madrs_s_response` has recognised.
    """
    left_out = why_it_does_not_count(resource, expression, _NAME)
    if left_out:
        return None, [left_out]
    scores: dict[str, int] = {}
    issues: list[Issue] = []
    asked = list(questions(resource, expression))
    for question in asked:
        score = _score_of(question, canonical)
        if isinstance(score, Issue):
            issues.append(score)
        elif question.link_id in scores:
            issues.append(_twice(question.expression, question.link_id))
        else:
            scores[question.link_id] = score
    there = {question.link_id for question in asked}
    issues += [_missing(f"{expression}.item", item) for item in ITEMS if item not in there]
    if issues:
        return None, issues
    items = tuple(scores[item] for item in ITEMS)
    return MadrsS(sum(items), items, text(resource, "authored"), source, from_response=True), []


def from_fhir_observation(
    resource: Json, expression: str, canonical: Canonical, source: str | None = None
) -> tuple[MadrsS | None, list[Issue]]:
    """The rating in an Observation, with its items where it has components, and every problem with it.

    None with one Issue of severity information where its status or `dataAbsentReason` says that there is no result;
    None with errors where it contradicts itself. A total that is left out is the sum of the nine components.
    """
    left_out = _why_no_result(resource, expression, canonical)
    if left_out:
        return None, [left_out]
    items, issues = _items_of(resource, expression, canonical)
    total = _total_of(resource, expression)
    if isinstance(total, Issue):
        return None, [total, *issues]
    if issues:
        return None, issues
    if total is None and items is None:
        return None, [
            error(
                IssueCode.REQUIRED,
                f"{expression}.value",
                "MADRS-S saknar totalpoäng.",
                "The Observation has neither a value nor the nine components.",
            )
        ]
    if items is not None and total not in (None, sum(items)):
        return None, [
            error(
                IssueCode.VALUE,
                f"{expression}.value",
                "MADRS-S motsäger sig självt: totalpoängen är inte summan av de nio frågorna.",
                f"The total is not the sum of the nine components, {sum(items)}.",
            )
        ]
    points = sum(items) if items is not None else total or 0
    return MadrsS(points, items, _effective(resource), source, from_response=False), []


def to_fhir_observation(
    madrs: MadrsS,
    canonical: Canonical,
    subject: Reference,
    based_on: Reference | None = None,
    derived_from: Reference | None = None,
) -> Json:
    """The Observation of contract 6; the pair of `from_fhir_observation`. Without performer: the total is computed."""
    resource: Json = {"resourceType": "Observation", "status": "final"}
    if based_on:
        resource["basedOn"] = [{"reference": based_on}]
    resource["category"] = [{"coding": [{"system": Systems.OBSERVATION_CATEGORY.value, "code": "survey"}]}]
    resource["code"] = {"coding": [{"system": canonical.madrs_s, "code": "total"}], "text": "MADRS-S, totalpoäng"}
    resource["subject"] = {"reference": subject}
    if madrs.answered:
        resource["effectiveDateTime"] = madrs.answered
    resource["valueQuantity"] = {
        "value": madrs.total,
        "unit": "poäng",
        "system": Systems.UCUM.value,
        "code": "{score}",
    }
    if derived_from:
        resource["derivedFrom"] = [{"reference": derived_from}]
    if madrs.items is not None:
        resource["component"] = [
            {"code": {"coding": [{"system": canonical.madrs_s, "code": item}]}, "valueInteger": score}
            for item, score in zip(ITEMS, madrs.items, strict=True)
        ]
    return resource


def to_fhir_response(madrs: MadrsS, canonical: Canonical, subject: Reference) -> Json:
    """A completed QuestionnaireResponse; the pair of `from_fhir_response`. ValueError for a rating without items."""
    if madrs.items is None:
        raise ValueError("A MADRS-S total without items cannot be written as a QuestionnaireResponse.")
    resource: Json = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": canonical.madrs_s_form,
        "status": "completed",
        "subject": {"reference": subject},
    }
    if madrs.answered:
        resource["authored"] = madrs.answered
    resource["item"] = [
        {"linkId": item, "answer": [{"valueInteger": score}]} for item, score in zip(ITEMS, madrs.items, strict=True)
    ]
    return resource


def newest(ratings: Iterable[MadrsS]) -> MadrsS | None:
    """The rating that decides. An undated one counts as the oldest; of two from the same time the one with items
    decides, then the one with the higher total, so that nothing grave is hidden by order.
    """
    return max(ratings, key=lambda rating: (age_order(rating.answered), bool(rating.items), rating.total), default=None)


def highest_item_9(ratings: Iterable[MadrsS]) -> int | None:
    """The highest item 9 of all ratings, however old; None where none has items."""
    return max((rating.items[8] for rating in ratings if rating.items is not None), default=None)


def _score_of(question: Question, canonical: Canonical) -> int | Issue:
    link_id = question.link_id
    if link_id not in ITEMS:
        return error(
            IssueCode.VALUE,
            f"{question.expression}.linkId",
            f"MADRS-S har ingen fråga med beteckningen ”{link_id}”.",
            f"Unknown linkId {link_id!r}; {canonical.madrs_s_form} has item-1 to item-9.",
        )
    if not question.answers:
        return _missing(f"{question.expression}.answer", link_id)
    if len(question.answers) > 1:
        return _twice(f"{question.expression}.answer", link_id)
    place, name, value = question.answers[0]
    score = whole_number(value) if name == "valueInteger" else None
    return score if score is not None and score in _SCORE else _no_score(f"{place}.value", link_id)


def _items_of(resource: Json, expression: str, canonical: Canonical) -> tuple[tuple[int, ...] | None, list[Issue]]:
    """The nine components, or None where there is no component of ours at all."""
    scores: dict[str, int] = {}
    seen: set[str] = set()
    issues: list[Issue] = []
    for position, code, component in _components(resource, canonical):
        here = f"{expression}.component[{position}]"
        if code not in ITEMS:
            issues.append(
                error(
                    IssueCode.CODE_INVALID,
                    f"{here}.code",
                    "MADRS-S har frågorna 1 till 9 och ingen annan.",
                    f"Components are coded item-1 to item-9 in {canonical.madrs_s}, not {code}.",
                )
            )
            continue
        if code in seen:
            issues.append(_twice(here, code))
        seen.add(code)
        score = _points(component)
        if score is None or score not in _SCORE:
            issues.append(_no_score(f"{here}.value", code))
        else:
            scores[code] = score
    if not seen and not issues:
        return None, []
    issues += [_missing(f"{expression}.component", item) for item in ITEMS if item not in seen]
    return (None, issues) if issues else (tuple(scores[item] for item in ITEMS), [])


def _components(resource: Json, canonical: Canonical) -> Iterator[tuple[int, str | None, Json]]:
    """(position, code, component) of the components that are coded in our system; others' are theirs."""
    for position, component in children(resource, "component"):
        for system, code in codings(component, "code"):
            if system == canonical.madrs_s:
                yield position, code, component
                break


def _points(element: Json) -> int | None:
    """The whole number in value[x] of an Observation or component; a quantity with comparator is no exact one."""
    quantity = child(element, "valueQuantity")
    return None if quantity.get("comparator") else whole_number(element.get("valueInteger", quantity.get("value")))


def _has_value(element: Json) -> bool:
    return any(name.startswith("value") for name in element)


def _total_of(resource: Json, expression: str) -> int | Issue | None:
    """The total, None where the Observation has no value, or what is wrong with it."""
    if not _has_value(resource):
        return None
    total = _points(resource)
    if total is not None and total in _TOTAL:
        return total
    return error(
        IssueCode.VALUE,
        f"{expression}.value",
        "MADRS-S totalpoäng ska vara ett heltal från 0 till 54.",
        "The total is a whole number of 0 to 54, as valueQuantity (without comparator) or valueInteger.",
    )


def _why_no_result(resource: Json, expression: str, canonical: Canonical) -> Issue | None:
    status = resource.get("status")
    if status not in _COUNTING:
        why = "det är felaktigt infört" if status == "entered-in-error" else "det är inte ett färdigt resultat"
        place = "status"
    elif child(resource, "dataAbsentReason") and not _has_value(resource) and not any(_components(resource, canonical)):
        why, place = "värdet saknas", "dataAbsentReason"
    else:
        return None
    return Issue(
        Severity.INFORMATION,
        IssueCode.INFORMATIONAL,
        f"MADRS-S räknas inte: {why}.",
        f"Only Observations with a value and status {', '.join(_COUNTING)} count.",
        f"{expression}.{place}",
    )


def _effective(resource: Json) -> str | None:
    """When the patient answered. Of a period, its end; of a timing nothing, as it may hold many events."""
    period = child(resource, "effectivePeriod")
    return (
        text(resource, "effectiveDateTime")
        or text(resource, "effectiveInstant")
        or text(period, "end")
        or text(period, "start")
    )


def _missing(expression: str, item: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        expression,
        f"MADRS-S är inte komplett: fråga {item[-1]} saknas.",
        f"MADRS-S has nine items of 0 to 6; {item} is missing.",
    )


def _twice(expression: str, item: str) -> Issue:
    return error(
        IssueCode.VALUE,
        expression,
        f"MADRS-S motsäger sig självt: fråga {item[-1]} har mer än ett svar.",
        f"{item} is answered more than once.",
    )


def _no_score(expression: str, item: str) -> Issue:
    return error(
        IssueCode.VALUE,
        expression,
        f"MADRS-S fråga {item[-1]} ska ha ett heltal från 0 till 6.",
        f"{item} takes a whole number of 0 to 6.",
    )
