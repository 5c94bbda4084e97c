"""What is known of a referral, as the variables of the pack's conditions."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from fhir_mappings.records import FormAnswers, MadrsS, Patient, Referral
from service.packs.vocabulary import names
from service.referral.facts import facts, told
from tests.referral.examples import GAVLEBORG, MILD, REFERRALS, STRANGER, TODAY, UNKNOWN_AGE, rated, referral


def known(one: Referral) -> dict[str, Any]:
    return facts(one, GAVLEBORG, TODAY)


@settings(max_examples=60, deadline=None)
@given(REFERRALS)
def test_every_name_that_a_condition_may_use_has_a_value_and_none_is_null(one: Referral) -> None:
    variables = known(one)
    assert set(variables) == names(GAVLEBORG.limits)
    assert None not in variables.values()


def test_what_is_not_known_is_the_empty_collection() -> None:
    bare = replace(
        referral(diagnoses=(), forms=(), madrs_s=()),
        patient=Patient(UNKNOWN_AGE),
        requester=replace(referral().requester, unit=STRANGER),
    )
    variables = known(bare)
    unknown = ("ageYears", "diagnoses", "madrsSTotal", "madrsSAgeDays", "madrsSItem9", "suicideRisk", "unitKind")
    assert [variables[name] for name in unknown] == [[]] * len(unknown)
    assert variables["motivated"] == []
    assert told(variables)["ageYears"] == "okänt"


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("2026-11-23", 0),
        ("2026-11-22", 1),
        ("2026-10-24", 30),
        ("2026-11-22T23:30:00Z", 0),  # half past midnight in Sweden
        ("2026-11-22T22:30:00Z", 1),
        ("2026-11", []),
        ("2026", []),
        (None, []),
    ],
)
def test_the_age_of_a_rating_is_counted_in_swedish_days(written: str | None, days: object) -> None:
    assert known(rated("depression", replace(MILD, answered=written)))["madrsSAgeDays"] == days


def test_the_newest_rating_decides_and_the_highest_item_9_alerts() -> None:
    older = MadrsS(29, (3, 3, 3, 3, 3, 3, 3, 3, 5), "2026-10-01")
    variables = known(rated("depression", MILD, older))
    assert (variables["madrsSTotal"], variables["madrsSItem9"], variables["madrsSRatings"]) == (12, 5, 2)


def test_a_newer_form_does_not_silence_an_elevated_suicide_risk() -> None:
    forms = (
        FormAnswers({"suicide-risk": "elevated"}, "2026-11-01"),
        FormAnswers({"suicide-risk": "low"}, "2026-11-20"),
    )
    assert known(referral(forms=forms))["suicideRisk"] == "elevated"


def test_a_programme_without_a_list_takes_every_diagnosis_as_fitting() -> None:
    programme = replace(GAVLEBORG.programmes["depression"], diagnoses=())
    pack = replace(GAVLEBORG, programmes={**GAVLEBORG.programmes, "depression": programme})
    assert facts(referral(diagnoses=("E11.9",)), pack, TODAY)["diagnosesFitting"] == ["E11.9"]
