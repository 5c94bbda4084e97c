"""A completed response as Observations: SDC's observation-based extraction for the two forms that Sluss has.

https://hl7.org/fhir/uv/sdc/extraction.html. What is extracted, and as what, stands in the Questionnaire
(`sdc-questionnaire-observationExtract`, `item.code`). Answers of MADRS-S are components of one Observation, whose
value, the total, Sluss computes; answers of the referral form are an Observation each.
"""

import re
from collections.abc import Iterator

from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, Severity, is_error
from fhir_mappings.madrs_s import from_fhir_response, is_madrs_s_response, to_fhir_observation
from fhir_mappings.questionnaire_response import questions
from fhir_mappings.records import Json, Reference
from fhir_mappings.referral_form import from_fhir_form, is_referral_form
from fhir_mappings.terminology import Canonical

_SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition"
CATEGORY = f"{_SDC}/sdc-questionnaire-observation-extract-category"

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_NO_PERFORMER = ("Device",)
_WHOLE = ("Procedure",)
"""What Observation.partOf takes of what QuestionnaireResponse.partOf may hold."""


def to_fhir_observations(response: Json, form: Json, canonical: Canonical) -> tuple[list[Json], list[Issue]]:
    """The Observations of a response to one of our forms, without ids, and what there is to say: errors as the readers
    of the forms give them (then nothing is extracted), or why something is left out. `form` is the Questionnaire.
    """
    expression = "QuestionnaireResponse"
    if is_madrs_s_response(response, canonical):
        rating, issues = from_fhir_response(response, expression, canonical)
        made = [] if rating is None else [to_fhir_observation(rating, canonical, Reference(""))]
    elif is_referral_form(response, canonical):
        answers, issues = from_fhir_form(response, expression, canonical)
        made = [] if answers is None else list(_of_answers(response, form))
    else:
        raise ValueError("not a response to a form of ours")
    if any(map(is_error, issues)):
        return [], issues
    around, unreachable = _around(response, computed=is_madrs_s_response(response, canonical))
    return [_ordered({**one, **around}) for one in made], [*issues, *unreachable]


def _of_answers(response: Json, form: Json) -> Iterator[Json]:
    """One Observation for each answer to a question that the form has a code for."""
    coded = {item["linkId"]: item["code"] for _, item in children(form, "item") if item.get("code")}
    categories = [e["valueCodeableConcept"] for _, e in children(form, "extension") if e["url"] == CATEGORY]
    for question in questions(response, "QuestionnaireResponse"):
        for _, name, value in question.answers:
            if question.link_id in coded:
                yield {
                    "resourceType": "Observation",
                    "status": "final",
                    "category": categories,
                    "code": {"coding": coded[question.link_id]},
                    # Observation takes no Coding
                    **({"valueCodeableConcept": {"coding": [value]}} if name == "valueCoding" else {name: value}),
                }


def _around(response: Json, *, computed: bool) -> tuple[Json, list[Issue]]:
    """What every Observation takes over from its response, and which references cannot be taken over. A computed value
    has no performer.
    """
    issues: list[Issue] = []

    def reached(name: str, references: list[Json]) -> list[Json]:
        outside = [each for each in references if not (text(each, "reference") or "").startswith("#")]
        if len(outside) < len(references):
            issues.append(_contained(name))
        return outside

    subject = reached("subject", [child(response, "subject")])
    author = [] if computed else reached("author", [child(response, "author")])
    encounter = reached("encounter", [child(response, "encounter")])
    authored = text(response, "authored")
    around: Json = {
        "basedOn": reached("basedOn", [each for _, each in children(response, "basedOn")]),
        "partOf": [each for _, each in children(response, "partOf") if _type_of(each) in _WHOLE],
        "subject": subject[0] if subject else None,
        "encounter": encounter[0] if encounter else None,
        "effectiveDateTime": authored,
        "issued": authored if authored and _INSTANT.fullmatch(authored) else None,
        "performer": [each for each in author if each and _type_of(each) not in _NO_PERFORMER],
        "derivedFrom": _origin(response),
    }
    return around, issues


def _ordered(observation: Json) -> Json:
    """Without what is empty."""
    return {name: value for name, value in observation.items() if value not in (None, [], {})}


def _origin(response: Json) -> list[Json]:
    """The response, by its id or else its identifier; nothing where it has neither."""
    if text(response, "id"):
        return [{"reference": f"QuestionnaireResponse/{response['id']}"}]
    identifier = child(response, "identifier")
    return [{"type": "QuestionnaireResponse", "identifier": identifier}] if identifier else []


def _type_of(reference: Json) -> str | None:
    literal = text(reference, "reference")
    return text(reference, "type") or (literal.rstrip("/").split("/")[-2] if literal and "/" in literal else None)


def _contained(name: str) -> Issue:
    return Issue(
        Severity.WARNING,
        IssueCode.NOT_SUPPORTED,
        "En resurs inuti formulärsvaret kan ingen Observation hänvisa till; hänvisningen är utelämnad.",
        f"{name} is contained in the response, where no Observation can refer to it; left out.",
        f"QuestionnaireResponse.{name}",
    )
