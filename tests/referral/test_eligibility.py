"""The verdict on a referral: what one finding means, and what they amount to together."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_mappings.records import Assessment, Finding, FormAnswers, Referral, Verdict
from fhir_mappings.terminology import PROGRAMMES
from service.packs.model import Pack
from service.packs.vocabulary import OpenReferral
from service.referral.eligibility import assess, judgement
from tests.referral.examples import (
    GAVLEBORG,
    MILD,
    PRAKTIKERTJANST,
    REFERRALS,
    TODAY,
    answered,
    rated,
    referral,
)

PACKS = st.sampled_from([GAVLEBORG, PRAKTIKERTJANST])
OPEN: st.SearchStrategy[OpenReferral | None] = st.sampled_from([None, "own", "other"])
FEW = settings(max_examples=60, deadline=None)


def finding(rule: str, verdict: Verdict, alert: bool = False) -> Finding:
    return Finding(rule, verdict, "text", "text", alert=alert)


def assessed(one: Referral, pack: Pack = GAVLEBORG) -> Assessment:
    return assess(one, pack, TODAY)


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_a_referral_without_anything_to_remark_is_eligible_and_has_no_findings(programme: str) -> None:
    assert assessed(referral(programme)) == Assessment(Verdict.ELIGIBLE)


@FEW
@given(REFERRALS, PACKS, OPEN, st.booleans())
def test_the_verdict_is_always_the_gravest_finding(
    one: Referral, pack: Pack, open_referral: OpenReferral | None, duplicate: bool
) -> None:
    assessment = assess(one, pack, TODAY, open_referral, possible_duplicate=duplicate)
    gravest = max((each.verdict for each in assessment.findings), key=lambda each: each.rank, default=Verdict.ADVICE)
    assert assessment.verdict == (Verdict.ELIGIBLE if gravest is Verdict.ADVICE else gravest)


@FEW
@given(REFERRALS, PACKS)
def test_findings_come_gravest_first_and_then_in_the_order_of_the_pack(one: Referral, pack: Pack) -> None:
    place = {rule.id: position for position, rule in enumerate(pack.rules)}
    order = [(-each.verdict.rank, place[each.rule]) for each in assessed(one, pack).findings]
    assert order == sorted(order)


@FEW
@given(REFERRALS, PACKS)
def test_a_rule_finds_at_most_one_thing(one: Referral, pack: Pack) -> None:
    rules = [each.rule for each in assessed(one, pack).findings]
    assert len(rules) == len(set(rules))


@FEW
@given(REFERRALS, PACKS)
def test_every_text_is_filled_in(one: Referral, pack: Pack) -> None:
    for each in assessed(one, pack).findings:
        assert each.text
        assert each.text_en
        assert "{" not in each.text + each.text_en


@FEW
@given(REFERRALS, PACKS)
def test_an_elevated_suicide_risk_always_alerts_whatever_else_is_known(one: Referral, pack: Pack) -> None:
    alarming = FormAnswers({"suicide-risk": "elevated"}, "2020-01-01")
    assert assessed(replace(one, forms=(*one.forms, alarming)), pack).alert


@FEW
@given(REFERRALS, PACKS)
def test_a_high_item_9_always_alerts_even_if_a_newer_rating_is_mild(one: Referral, pack: Pack) -> None:
    alarming = replace(MILD, total=17, items=(2, 2, 2, 1, 1, 2, 1, 1, 5), answered="2020-01-01")
    assert assessed(replace(one, madrs_s=(*one.madrs_s, alarming)), pack).alert


@FEW
@given(REFERRALS, PACKS)
def test_an_assessment_is_the_same_every_time(one: Referral, pack: Pack) -> None:
    assert assessed(one, pack) == assessed(one, pack)


@given(st.lists(st.sampled_from([Verdict.ADVICE, Verdict.REVIEW, Verdict.INFORMATION, Verdict.RETURN]), max_size=6))
def test_more_findings_never_make_the_verdict_milder(verdicts: list[Verdict]) -> None:
    findings = [finding("any", verdict) for verdict in verdicts]
    for count in range(len(findings)):
        fewer, more = judgement(findings[:count], GAVLEBORG), judgement(findings[: count + 1], GAVLEBORG)
        assert fewer.verdict.rank <= more.verdict.rank


def test_advice_alone_leaves_the_referral_eligible() -> None:
    assert judgement([finding("patient-informed", Verdict.ADVICE)], GAVLEBORG).verdict is Verdict.ELIGIBLE


def test_what_the_route_finds_counts_as_the_other_findings_do() -> None:
    extra = finding("start-call-not-booked", Verdict.ADVICE)
    assessment = assess(answered(assessment_held=False), GAVLEBORG, TODAY, extra_findings=[extra])
    assert [each.rule for each in assessment.findings] == ["assessment-held", "start-call-not-booked"]


def test_an_alert_comes_on_top_of_a_return() -> None:
    assessment = assessed(answered(suicide_risk="elevated"))
    assert (assessment.verdict, assessment.alert) == (Verdict.RETURN, True)


def test_a_finding_carries_the_passage_it_rests_on() -> None:
    total = replace(MILD, total=27, items=(3, 3, 3, 3, 3, 3, 3, 3, 3))
    found = assessed(rated("depression", total)).findings[0]
    assert (found.rule, found.row) == ("madrs-s-maximum", "R14")
    assert found.passage == "För depression gäller att resultat på MADRS-S inte är över 26."
    assert "27" in found.text


def test_another_units_open_referral_is_for_the_team_only() -> None:
    found = assess(referral(), GAVLEBORG, TODAY, "other").findings
    assert [(each.rule, each.verdict, each.team_only) for each in found] == [("open-referral", Verdict.REVIEW, True)]


def test_the_callers_own_open_referral_may_be_told() -> None:
    found = assess(referral(), GAVLEBORG, TODAY, "own").findings
    assert [(each.rule, each.team_only) for each in found] == [("open-referral", False)]


def test_a_possible_duplicate_is_for_the_therapist_to_judge() -> None:
    assessment = assess(referral(), GAVLEBORG, TODAY, possible_duplicate=True)
    assert [(each.rule, each.verdict) for each in assessment.findings] == [("possible-duplicate", Verdict.REVIEW)]
