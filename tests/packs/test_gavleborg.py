"""Pack gavleborg, passage by passage: what each row of the routine does to a referral."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import pytest

from fhir_mappings.records import (
    Assessment,
    Channel,
    HsaId,
    IdentityKind,
    MadrsS,
    Patient,
    PatientIdentity,
    Reach,
    Referral,
    Requester,
)
from service.packs.model import SetBy
from service.referral.eligibility import assess
from tests.referral.examples import ADULT, GAVLEBORG, MILD, STRANGER, TODAY, UNKNOWN_AGE, answered, rated, referral

Found = tuple[str, str]
"""(rule, verdict), with `!` after the verdict where it alerts."""


def found(one: Referral, today: date = TODAY) -> list[Found]:
    return _in_short(assess(one, GAVLEBORG, today))


def _in_short(assessment: Assessment) -> list[Found]:
    return [(each.rule, f"{each.verdict}{'!' if each.alert else ''}") for each in assessment.findings]


def with_identity(kind: IdentityKind, value: str) -> Referral:
    one = referral()
    return replace(one, patient=replace(one.patient, identity=PatientIdentity(kind, value)))


def score(total: int) -> MadrsS:
    return replace(MILD, total=total, items=(*_spread(total), 0))


def _spread(total: int) -> Iterable[int]:
    return [min(6, max(0, total - 6 * place)) for place in range(8)]


@pytest.mark.parametrize(
    ("today", "findings"),
    [
        (date(2021, 2, 1), [("age-minimum", "return")]),
        (date(2021, 2, 2), []),
        (date(2021, 2, 3), []),
    ],
)
def test_r1_the_eighteenth_birthday_decides(today: date, findings: list[Found]) -> None:
    one = replace(with_identity(IdentityKind.PERSONNUMMER, "200302022389"), madrs_s=(replace(MILD, answered=None),))
    assert [each for each in found(one, today) if each[0] == "age-minimum"] == findings


def test_r1_an_age_that_cannot_be_told_is_for_the_therapist_to_judge() -> None:
    assert found(with_identity(UNKNOWN_AGE.kind, UNKNOWN_AGE.value)) == [("age-minimum", "review")]


@pytest.mark.parametrize(
    "question",
    [
        pytest.param("motivated", id="R2"),
        pytest.param("works_independently", id="R2-alone"),
        pytest.param("computer_habit", id="R3"),
        pytest.param("internet_access", id="R3-internet"),
        pytest.param("reads_and_writes", id="R3-text"),
        pytest.param("sets_aside_time", id="R4"),
        pytest.param("patient_interested", id="R19"),
    ],
)
def test_what_the_routine_requires_returns_when_answered_no_and_is_advice_when_not_answered(question: str) -> None:
    rule = question.replace("_", "-")
    assert found(answered(**{question: False})) == [(rule, "return")]
    assert found(answered(**{question: None})) == [(rule, "advice")]


def test_r6_without_an_assessment_conversation_information_is_asked_for() -> None:
    assert found(answered(assessment_held=False)) == [("assessment-held", "information")]
    assert found(answered(assessment_held=None)) == [("assessment-held", "advice")]


def test_r7_parallel_therapy_with_much_homework_is_reviewed() -> None:
    assert found(answered(parallel_therapy=True, parallel_homework=True)) == [("parallel-homework-therapy", "review")]
    assert found(answered(parallel_therapy=True, parallel_homework=False)) == []


@pytest.mark.parametrize(("therapy", "findings"), [(True, 1), (None, 1), (False, 0)])
def test_r7_unanswered_homework_is_advice_unless_there_is_no_therapy(therapy: bool | None, findings: int) -> None:
    assert (
        found(answered(parallel_therapy=therapy, parallel_homework=None))
        == [("parallel-homework-therapy", "advice")] * findings
    )


def test_r8_the_six_programmes_are_offered() -> None:
    assert set(GAVLEBORG.programmes) == {"stress", "sleep", "anxiety", "worry", "depression", "self-esteem"}


def test_r9_too_exhausted_for_the_stress_programme() -> None:
    rule = "stress-cognitive-difficulties"
    assert found(answered("stress", major_cognitive_difficulties=True)) == [(rule, "return")]
    assert found(answered("stress", major_cognitive_difficulties=None)) == [(rule, "advice")]
    assert found(answered("anxiety", major_cognitive_difficulties=True)) == []


@pytest.mark.parametrize(
    ("phase", "findings"),
    [
        ("early", []),
        ("rehabilitation", []),
        ("other", [("stress-timing", "advice")]),
        (None, [("stress-timing", "advice")]),
    ],
)
def test_r10_stress_is_best_early_or_in_rehabilitation(phase: str | None, findings: list[Found]) -> None:
    assert found(answered("stress", stress_phase=phase)) == findings
    assert found(answered("sleep", stress_phase=phase)) == []


@pytest.mark.parametrize(
    ("question", "diagnosis"),
    [("sleep_apnoea", "G47.3"), ("restless_legs", "G25.8"), ("sleep_apnoea", "G47.3P")],
)
def test_r11_sleep_apnoea_and_restless_legs_are_not_insomnia(question: str, diagnosis: str) -> None:
    rule = question.replace("_", "-")
    assert found(answered("sleep", **{question: True})) == [(rule, "return")]
    assert found(answered("sleep", **{question: None})) == [(rule, "advice")]
    assert found(referral("sleep", diagnoses=("G47.0", diagnosis))) == [(rule, "review")]
    assert found(referral("depression", diagnoses=("F32.1", diagnosis))) == []


@pytest.mark.parametrize(
    ("programme", "diagnosis", "fits"),
    [
        pytest.param("anxiety", "F41.0", True, id="R12-panic"),
        pytest.param("anxiety", "F40.1", True, id="R12-social-phobia"),
        pytest.param("anxiety", "F42.9", True, id="R12-compulsions"),
        pytest.param("anxiety", "F32.1", False, id="R12-depression"),
        pytest.param("worry", "F41.1", True, id="R13-worry"),
        pytest.param("worry", "F41.1P", True, id="R13-primary-care-variant"),
        pytest.param("worry", "F42.0", False, id="R13-compulsions"),
        pytest.param("stress", "F43.8A", True, id="exhaustion"),
        pytest.param("stress", "F43.1", False, id="post-traumatic"),
        pytest.param("sleep", "F51.0", True, id="insomnia"),
        pytest.param("depression", "E11.9", False, id="diabetes"),
    ],
)
def test_a_diagnosis_outside_the_packs_list_is_advice(programme: str, diagnosis: str, fits: bool) -> None:
    expected = [] if fits else [("diagnosis-fits-programme", "advice")]
    assert found(referral(programme, diagnoses=(diagnosis,))) == expected


def test_a_second_diagnosis_outside_the_list_is_nothing_to_remark() -> None:
    assert found(referral(diagnoses=("E11.9", "F32.1"))) == []


@pytest.mark.parametrize(
    ("total", "findings"),
    [
        (0, []),
        (19, []),
        (20, [("madrs-s-preferred", "advice")]),
        (26, [("madrs-s-preferred", "advice")]),
        (27, [("madrs-s-maximum", "return")]),
        (48, [("madrs-s-maximum", "return")]),
    ],
)
def test_r14_and_r15_madrs_s_is_at_most_26_and_rather_lower(total: int, findings: list[Found]) -> None:
    assert found(rated("depression", score(total))) == findings
    assert found(rated("anxiety", score(total))) == []


def test_r14_depression_without_madrs_s_is_asked_for_it() -> None:
    assert found(rated("depression")) == [("madrs-s-required", "information")]
    assert found(rated("worry")) == []


@pytest.mark.parametrize(
    ("programme", "risk", "findings"),
    [
        ("depression", "low", []),
        ("depression", "elevated", [("suicide-risk-low", "return!")]),
        ("depression", "unknown", [("suicide-risk-low", "information")]),
        ("depression", None, [("suicide-risk-low", "information")]),
        ("sleep", "low", []),
        ("sleep", "elevated", [("suicide-risk-low", "review!")]),
        ("sleep", "unknown", [("suicide-risk-low", "advice")]),
        ("sleep", None, [("suicide-risk-low", "advice")]),
    ],
)
def test_r16_suicide_risk_must_be_low(programme: str, risk: str | None, findings: list[Found]) -> None:
    assert found(answered(programme, suicide_risk=risk)) == findings


@pytest.mark.parametrize(("item_9", "findings"), [(3, []), (4, [("madrs-s-item-9", "review!")])])
def test_r16_item_9_alerts_from_the_threshold(item_9: int, findings: list[Found]) -> None:
    rating = MadrsS(item_9, (0, 0, 0, 0, 0, 0, 0, 0, item_9), "2026-11-18")
    assert found(rated("stress", rating)) == findings


def test_r16_a_total_without_items_is_advice() -> None:
    assert found(rated("depression", MadrsS(12, None, "2026-11-18"))) == [("madrs-s-item-9", "advice")]


@pytest.mark.parametrize(
    ("answered_on", "findings"),
    [
        ("2026-10-24", []),
        ("2026-10-23", [("madrs-s-age", "advice")]),
        (None, [("madrs-s-age", "advice")]),
        ("2026-11", [("madrs-s-age", "advice")]),
    ],
)
def test_a_rating_older_than_thirty_days_or_undated_is_advice(answered_on: str | None, findings: list[Found]) -> None:
    assert found(rated("depression", replace(MILD, answered=answered_on))) == findings


@pytest.mark.parametrize(
    ("purpose", "findings"),
    [
        ("treatment", []),
        ("relapse-prevention", []),
        ("personal-development", [("self-esteem-purpose", "return")]),
        (None, [("self-esteem-purpose", "advice")]),
    ],
)
def test_r17_self_esteem_is_not_personal_development(purpose: str | None, findings: list[Found]) -> None:
    assert found(answered("self-esteem", self_esteem_purpose=purpose)) == findings
    assert found(answered("depression", self_esteem_purpose=purpose)) == []


@pytest.mark.parametrize(
    ("unit", "findings"),
    [
        ("SE2321000198-EX03", []),  # health centre
        ("SE2321000198-EX07", []),  # private health centre
        ("SE2321000198-EX09", []),  # child and family health
        ("SE2321000198-EX10", []),  # youth clinic
        ("SE2321000198-EX11", []),  # hospital
        ("SE2321000198-EX12", [("referrer-entitled", "review")]),  # occupational health
        (STRANGER, [("referrer-entitled", "review")]),
    ],
)
def test_r21_who_may_refer(unit: str, findings: list[Found]) -> None:
    assert found(referral(requester=Requester(HsaId(unit)))) == findings


@pytest.mark.parametrize("informed", [False, None])
def test_r23_a_patient_who_is_not_informed_is_advice(informed: bool | None) -> None:
    assert found(answered(patient_informed=informed)) == [("patient-informed", "advice")]


def test_r26_a_referral_without_diagnosis_is_asked_for_information() -> None:
    assert found(referral(diagnoses=())) == [("diagnosis-code", "information")]


@pytest.mark.parametrize(("active", "deceased"), [(False, False), (True, True), (False, True)])
def test_a_deceased_or_inactive_patient_is_reviewed(active: bool, deceased: bool) -> None:
    one = referral(patient=Patient(ADULT, municipality="2101", active=active, deceased=deceased))
    assert found(one) == [("patient-status", "review")]


def test_a_form_that_was_never_filled_in_changes_nothing_for_the_other_programmes() -> None:
    findings = found(referral("anxiety", forms=()))
    assert {verdict for _, verdict in findings} == {"advice"}


def test_r4_six_to_thirteen_weeks() -> None:
    assert {programme.weeks for programme in GAVLEBORG.programmes.values()} == {(6, 13)}


@pytest.mark.parametrize("programme", GAVLEBORG.programmes)
def test_r5_the_patient_works_alone_and_when_it_suits(programme: str) -> None:
    assert "på egen hand" in GAVLEBORG.programmes[programme].description
    assert "på tider som passar dem" in GAVLEBORG.programmes[programme].description


def test_r20_and_r25_the_demo_and_the_written_information() -> None:
    assert GAVLEBORG.demo_link == "https://www.livanda.se/sob/info/?region=rg"
    assert "09-503795" in (GAVLEBORG.patient_information or "")


@pytest.mark.parametrize("programme", GAVLEBORG.programmes)
def test_r30_r32_r34_and_r35_the_steps_of_the_treatment_in_order(programme: str) -> None:
    activities = GAVLEBORG.programmes[programme].activities
    assert [each.code for each in activities] == [
        "first-call",
        "access-1177",
        "follow-up-call",
        "extra-contact",
        "final-reply",
    ]
    assert [each.code for each in activities if each.before_start] == ["first-call", "access-1177"]
    assert [(each.count, each.most) for each in activities if each.code == "follow-up-call"] == [(2, 3)]
    assert [each.code for each in activities if each.closes_with_reply] == ["final-reply"]


@pytest.mark.parametrize(
    ("team", "seat", "phone", "menu", "post"),
    [
        ("gavle", "Sätra", "026-157777", "välj rådgivning, välj sen psykosociala teamet", "-305-"),
        ("vastra-gastrikland", "Ockelbo", "026-278059", None, "-308-"),
        ("norra-halsingland", "Iggesund", "0650-92816", None, "-775-"),
        ("sodra-halsingland", "Arbrå", "0278-38806", None, "-504-"),
    ],
)
def test_r37_the_four_teams(team: str, seat: str, phone: str, menu: str | None, post: str) -> None:
    one = GAVLEBORG.teams[team]
    assert (one.seat, one.phone, one.phone_menu, one.internal_post) == (f"{seat} Din hälsocentral", phone, menu, post)
    assert GAVLEBORG.units[one.hsa_id].name == one.seat
    assert one.roles


def test_r29_only_region_run_health_centres_in_gavle_may_book() -> None:
    booking = [unit for unit in GAVLEBORG.units.values() if unit.may_book_start_call]
    assert booking
    assert {(unit.kind, unit.municipality) for unit in booking} == {("health-centre", "2180")}
    assert not any("privat" in unit.name for unit in booking)
    assert any("privat" in unit.name for unit in GAVLEBORG.units.values())


def test_the_directory_has_every_kind_that_may_refer_every_area_and_every_reach() -> None:
    units = GAVLEBORG.units.values()
    assert {unit.kind for unit in units} >= GAVLEBORG.referrer_kinds
    assert {unit.area for unit in units} == set(GAVLEBORG.areas)
    assert {unit.municipality for unit in units} == set(GAVLEBORG.municipalities)
    assert {unit.reach for unit in units} == set(Reach)
    assert all(unit.hsa_id.startswith("SE2321000198-EX") for unit in units)


@pytest.mark.parametrize(
    ("channel", "reach"),
    [
        (Channel.FHIR, Reach.PLATFORM),
        (Channel.RECORD_MESSAGE, Reach.RECORD_MESSAGE),
        (Channel.PAPER_LETTER, Reach.LETTER),
        (Channel.PHONE, Reach.LETTER),
    ],
)
def test_a_unit_outside_the_directory_is_reached_the_way_its_referral_came(channel: Channel, reach: Reach) -> None:
    assert GAVLEBORG.reach_of(STRANGER, channel) is reach
    assert GAVLEBORG.reach_of(HsaId("SE2321000198-EX02"), channel) is Reach.RECORD_MESSAGE


def test_what_the_routine_does_not_set_says_so() -> None:
    by_pack = {name for name, limit in GAVLEBORG.limits.items() if limit.set_by is SetBy.PACK}
    assert by_pack == {"madrs-s-preferred", "madrs-s-item-9", "madrs-s-age"}
    assert {name: limit.value for name, limit in GAVLEBORG.limits.items()} == {
        "age-minimum": 18,
        "madrs-s-maximum": 26,
        "madrs-s-preferred": 19,
        "madrs-s-item-9": 4,
        "madrs-s-age": 30,
    }
    assert all(rule.row for rule in GAVLEBORG.rules if rule.set_by is SetBy.ROUTINE)
    assert all(not rule.row for rule in GAVLEBORG.rules if rule.set_by is not SetBy.ROUTINE)


def test_the_published_form_lets_every_question_be_answered_as_intake_takes_them() -> None:
    (form,) = [each for name, each in GAVLEBORG.questionnaires.items() if name == "ikbt-referral"]
    assert [item["linkId"] for item in form["item"] if "enableWhen" in item] == []
