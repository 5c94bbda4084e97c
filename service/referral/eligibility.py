"""Is the referral fit for the programme? The pack's rules applied to what is known. Pure.

Contract 4: a referral's verdict is the gravest of its findings; advice changes nothing; an alert comes on top of any.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from fhir_mappings.records import Assessment, Finding, Referral, Verdict
from service.packs.model import Outcome, Pack, Rule, Stage
from service.packs.texts import fill
from service.packs.vocabulary import OpenReferral
from service.referral.facts import facts, told


def assess(
    referral: Referral,
    pack: Pack,
    today: date,
    open_referral: OpenReferral | None = None,
    extra_findings: Sequence[Finding] = (),
    *,
    possible_duplicate: bool = False,
    open_elsewhere: bool = False,
) -> Assessment:
    """The verdict on a referral by the pack's rules, with its findings gravest first, then in the pack's order.

    `today` is the day of assessment in Sweden. `open_referral` says whether the patient already has one and whose,
    `open_elsewhere` that another unit has one too: neither takes the other's place, as the unit would miss its own;
    `possible_duplicate` that a letter or call without its own number looks like one already here; `extra_findings`
    are those of the route (`choose_route`), which count as the others do.
    """
    found: dict[Finding, None] = {}
    for whose in dict.fromkeys((open_referral, "other") if open_elsewhere else (open_referral,)):
        variables = facts(referral, pack, today, whose, possible_duplicate=possible_duplicate)
        found |= dict.fromkeys(found_by(pack, Stage.ASSESSMENT, referral.programme, variables))
    return judgement([*found, *extra_findings], pack)


def judgement(findings: Sequence[Finding], pack: Pack) -> Assessment:
    """The verdict that the findings amount to, and the findings in order. No finding, or advice only: eligible."""
    place = {rule.id: position for position, rule in enumerate(pack.rules)}
    ordered = sorted(findings, key=lambda finding: (-finding.verdict.rank, place.get(finding.rule, len(place))))
    gravest = max((finding.verdict for finding in findings), key=lambda verdict: verdict.rank, default=Verdict.ELIGIBLE)
    return Assessment(Verdict.ELIGIBLE if gravest is Verdict.ADVICE else gravest, tuple(ordered))


def found_by(pack: Pack, stage: Stage, programme: str, variables: Mapping[str, Any]) -> list[Finding]:
    """What the rules of one stage find for a referral to `programme`, in the pack's order."""
    return [
        _finding(rule, rule.outcomes[position], variables)
        for rule, position in fired(pack, stage, programme, variables)
    ]


def fired(pack: Pack, stage: Stage, programme: str, variables: Mapping[str, Any]) -> list[tuple[Rule, int]]:
    """The rules of one stage that fire for a referral to `programme`, each with the position of its outcome."""
    asked = (rule for rule in pack.rules if rule.stage is stage and rule.concerns(programme))
    positions = ((rule, rule.fired(variables)) for rule in asked)
    return [(rule, position) for rule, position in positions if position is not None]


def _finding(rule: Rule, outcome: Outcome, variables: Mapping[str, Any]) -> Finding:
    words = told(variables)
    return Finding(
        rule=rule.id,
        verdict=outcome.verdict,
        text=fill(outcome.text, words),
        text_en=fill(outcome.text_en, words),
        passage=rule.passage,
        row=rule.row,
        alert=outcome.alert,
        team_only=outcome.team_only,
    )
