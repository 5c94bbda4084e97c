"""`rules.toml`: the eligibility rules, with their conditions compiled and tried."""

from collections.abc import Mapping

from fhir_mappings.records import Verdict
from service.packs.conditions import BadCondition, Condition, compile_condition
from service.packs.model import Outcome, Rule, SetBy, Stage
from service.packs.reading import Section, unknown
from service.packs.texts import placeholders
from service.packs.vocabulary import names, samples


def read_rules(file: Section, programmes: Mapping[str, object], limits: Mapping[str, int]) -> tuple[Rule, ...]:
    """The rules in the pack's order; every problem is noted in the file's section."""
    rules: list[Rule] = []
    for section in file.sections("rule"):
        concerned = section.texts("programmes", default=())
        for code in unknown(concerned, programmes):
            section.problem("programmes", f"the pack has no programme {code!r}")
        rule = Rule(
            id=section.text("id"),
            outcomes=tuple(_outcome(outcome, limits) for outcome in section.sections("outcome")),
            programmes=frozenset(concerned) or None,
            passage=section.text("passage"),
            row=section.text("row", default=""),
            set_by=section.choice("set_by", SetBy, SetBy.ROUTINE),
            stage=section.choice("stage", Stage, Stage.ASSESSMENT),
        )
        if any(other.id == rule.id for other in rules):
            section.problem("id", f"is the id of two rules: {rule.id}")
        if rule.set_by is SetBy.ROUTINE and not rule.row:
            section.problem("row", "is missing; what the routine sets names its row in the source table")
        if not rule.outcomes:
            section.problem("outcome", "at least one outcome is needed")
        section.close()
        rules.append(rule)
    file.close()
    return tuple(rules)


def _outcome(section: Section, limits: Mapping[str, int]) -> Outcome:
    outcome = Outcome(
        when=_condition(section, limits),
        verdict=section.choice("verdict", Verdict),
        text=section.text("text"),
        text_en=section.text("text_en"),
        alert=section.flag("alert"),
        team_only=section.flag("team_only"),
    )
    if outcome.verdict is Verdict.ELIGIBLE:
        section.problem("verdict", "a finding is advice, review, information or return; eligible is the lack of them")
    for name, template in (("text", outcome.text), ("text_en", outcome.text_en)):
        for word in unknown(placeholders(template), names(limits)):
            section.problem(name, f"names {{{word}}}, which is no variable and no limit")
    section.close()
    return outcome


def _condition(section: Section, limits: Mapping[str, int]) -> Condition:
    """The compiled condition, tried with samples of every variable."""
    never = compile_condition("false")
    text = section.text("when")
    if not text:
        return never
    try:
        condition = compile_condition(text)
    except BadCondition as bad:
        section.problem("when", f"is not FHIRPath: {bad}")
        return never
    strange = unknown(condition.variables, names(limits))
    for name in strange:
        section.problem("when", f"names %{name}, which is no variable and no limit")
    if not strange:
        _try_out(section, condition, limits)
    return condition


def _try_out(section: Section, condition: Condition, limits: Mapping[str, int]) -> None:
    for sample in samples(limits):
        try:
            result = condition.evaluate(sample)
        except Exception as problem:  # fhirpathpy raises bare Exception for wrong types and unknown functions
            section.problem("when", f"cannot be evaluated: {problem}")
            return
        if result not in ([], [True], [False]):
            section.problem("when", f"gives {result!r} where true or false is needed")
            return
