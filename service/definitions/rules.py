"""The pack's rules as one PlanDefinition, their FHIRPath conditions as they are. https://hl7.org/fhir/R4/plandefinition.html

Each rule is an action, and each of its outcomes an action below it, of which the first that is true counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_mappings.records import Json
from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.terminology import Canonical
from service.definitions.about import headed
from service.packs.model import Outcome, Pack, Rule
from service.packs.vocabulary import FACT_MEANINGS

FHIRPATH = "text/fhirpath"


def rules_id(pack: Pack) -> str:
    """`{pack}-rules`"""
    return f"{pack.name}-rules"


def to_fhir_rules(pack: Pack, canonical: Canonical) -> Json:
    """The PlanDefinition of all the pack's rules, eligibility and routing."""
    return {
        **headed(
            "PlanDefinition",
            rules_id(pack),
            canonical.base,
            pack.version,
            title=f"Regler, {pack.title}",
            description="Whether a referral is fit for its programme. The verdict is the gravest of what is found.",
        ),
        "type": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/plan-definition-type", "code": "eca-rule"}]
        },
        "usage": _usage(pack),
        "relatedArtifact": [
            {"type": "derived-from", "label": source.publisher, "display": source.title} for source in pack.sources
        ],
        "action": [_rule(rule, canonical) for rule in pack.rules],
    }


def rule_conditions(definition: Mapping[str, Any]) -> Iterator[tuple[str, str | None, tuple[tuple[str, str], ...]]]:
    """(rule id, condition on the programme, ((condition, verdict) of each outcome in order)) of the PlanDefinition; the
    pair of `to_fhir_rules`.
    """
    for action in definition["action"]:
        concerned = action.get("condition")
        outcomes = tuple(
            (outcome["condition"][0]["expression"]["expression"], outcome["code"][0]["coding"][0]["code"])
            for outcome in action["action"]
        )
        yield action["id"], concerned[0]["expression"]["expression"] if concerned else None, outcomes


def _rule(rule: Rule, canonical: Canonical) -> Json:
    concerned = sorted(rule.programmes or ())
    action: Json = {
        "id": rule.id,
        "code": [{"coding": [{"system": canonical.rule, "code": rule.id}]}],
        "title": rule.id,
        "groupingBehavior": "logical-group",
        "selectionBehavior": "at-most-one",
        "action": [_outcome(outcome, canonical) for outcome in rule.outcomes],
    }
    if rule.passage:
        label = {"label": rule.row} if rule.row else {}
        action["documentation"] = [
            {"type": "justification", **label, "display": f"{rule.set_by}", "citation": rule.passage}
        ]
    if concerned:
        action["condition"] = [_condition(" or ".join(f"%programme = '{code}'" for code in concerned))]
    return action


def _outcome(outcome: Outcome, canonical: Canonical) -> Json:
    codes = [{"system": canonical.code_system("ikbt-verdict"), "code": str(outcome.verdict)}]
    if outcome.alert:
        codes.append({"system": canonical.code_system("ikbt-alert"), "code": "suicide-risk"})
    return {
        "title": outcome.text,
        "description": outcome.text_en,
        "code": [{"coding": codes}],
        **({"priority": "stat"} if outcome.alert else {}),
        "condition": [_condition(outcome.when.text)],
    }


def _condition(expression: str) -> Json:
    return {"kind": "applicability", "expression": {"language": FHIRPATH, "expression": expression}}


def _usage(pack: Pack) -> str:
    """What the names in the conditions stand for. What is not known is the empty collection."""
    lines = [
        "The conditions name values; what is not known is the empty collection.",
        *(f"%{name}: {meaning}" for name, meaning in FACT_MEANINGS.items()),
        f"%`linkId`: the answer to a question of the referral form, a boolean or a code: {', '.join(QUESTIONS)}",
        *(f"%`{name}` = {limit.value}: {limit.why}" for name, limit in pack.limits.items()),
    ]
    return "\n".join(lines)
