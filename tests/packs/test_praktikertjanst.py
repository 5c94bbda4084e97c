"""Pack praktikertjanst, passage by passage; the same code, another region's rules."""

import pytest

from fhir_mappings.records import FormAnswers, HsaId, MadrsS, Referral, Requester
from service.referral.eligibility import assess
from tests.referral.examples import GOOD_ANSWERS, PRAKTIKERTJANST, TODAY, answered, rated, referral

PROGRAMMES = ("anxiety", "depression")


def found(one: Referral) -> list[tuple[str, str, bool]]:
    return [(each.rule, each.verdict, each.alert) for each in assess(one, PRAKTIKERTJANST, TODAY).findings]


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_a_good_referral_from_the_clinic_is_eligible(programme: str) -> None:
    assert found(referral(programme, requester=Requester(HsaId("SE2321000198-EX61")))) == []


@pytest.mark.parametrize(
    "question",
    [
        pytest.param("device", id="L8-device"),
        pytest.param("internet_access", id="L8-internet"),
        pytest.param("e_identification", id="L9"),
        pytest.param("works_independently", id="L10-alone"),
        pytest.param("motivated", id="L10-motivated"),
        pytest.param("reads_and_writes", id="L10-text"),
    ],
)
def test_what_the_leaflet_requires(question: str) -> None:
    rule = question.replace("_", "-")
    assert found(answered(**{question: False})) == [(rule, "return", False)]
    assert found(answered(**{question: None})) == [(rule, "advice", False)]


def test_the_rules_of_the_other_region_do_not_hold_here() -> None:
    severe = MadrsS(30, (4, 4, 4, 4, 4, 4, 4, 2, 0), "2020-01-01")
    without = {name: value for name, value in GOOD_ANSWERS.items() if name != "assessment-held"}
    assert found(rated("depression", severe)) == []
    assert found(rated("depression")) == []
    assert found(referral(diagnoses=())) == []
    assert found(referral(forms=(FormAnswers(without),))) == []


def test_signs_of_suicide_risk_alert_here_too() -> None:
    assert found(answered(suicide_risk="elevated")) == [("suicide-risk-low", "review", True)]
    assert found(answered(suicide_risk=None)) == [("suicide-risk-low", "advice", False)]
    assert found(answered(suicide_risk="unknown")) == [("suicide-risk-low", "advice", False)]
    item_9 = MadrsS(4, (0, 0, 0, 0, 0, 0, 0, 0, 4), "2026-11-18")
    assert found(rated("anxiety", item_9)) == [("madrs-s-item-9", "review", True)]
    assert found(rated("anxiety", MadrsS(4, None, "2026-11-18"))) == [("madrs-s-item-9", "advice", False)]


def test_l14_anxiety_and_depression_are_offered() -> None:
    assert tuple(PRAKTIKERTJANST.programmes) == PROGRAMMES


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_l1_and_l4_what_the_treatment_is(programme: str) -> None:
    description = PRAKTIKERTJANST.programmes[programme].description
    assert "Kognitiv beteendeterapi via internet" in description
    assert "film och ljudfiler" in description


def test_l2_who_treats() -> None:
    team = PRAKTIKERTJANST.teams["psykosociala-teamet"]
    assert PRAKTIKERTJANST.role_titles[team.role_code] == "Leg. psykolog eller leg. psykoterapeut med KBT-utbildning"


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_l3_l5_l6_l7_and_l11_the_steps_of_the_treatment(programme: str) -> None:
    one = PRAKTIKERTJANST.programmes[programme]
    assert one.weeks == (8, 12)
    assert [(each.code, each.count, each.most) for each in one.activities] == [
        ("assessment-visit", 1, 2),
        ("access-programme", 1, 1),
        ("weekly-message", 8, 12),
        ("extra-contact", 0, 99),
        ("closing-visit", 1, 1),
        ("final-reply", 1, 1),
    ]
    assert [each.code for each in one.activities if each.before_start] == ["assessment-visit", "access-programme"]
    assert [each.code for each in one.activities if each.before_reply] == ["closing-visit"]


def test_l13_the_digital_platform() -> None:
    assert PRAKTIKERTJANST.platform == "Praktikertjänst24"


def test_there_is_one_team_and_it_coordinates_too() -> None:
    assert list(PRAKTIKERTJANST.teams) == [PRAKTIKERTJANST.coordination]
