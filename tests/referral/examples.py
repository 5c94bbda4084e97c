"""Referrals that nothing is wrong with, and strategies that make referrals of any kind."""

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import strategies as st

from fhir_mappings.records import (
    Answer,
    Channel,
    FormAnswers,
    HsaId,
    Identifier,
    IdentityKind,
    MadrsS,
    Patient,
    PatientIdentity,
    Referral,
    Requester,
    StartCall,
)
from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.terminology import PROGRAMMES
from service.packs.loading import load

TODAY = date(2026, 11, 23)
GAVLEBORG = load("gavleborg")
PRAKTIKERTJANST = load("praktikertjanst")

UNIT = HsaId("SE2321000198-EX03")
"""A health centre in the directory that may not book start calls."""
BOOKING_UNIT = HsaId("SE2321000198-EX01")
STRANGER = HsaId("SE2321000198-EX99")
"""A unit outside the directory."""

ADULT = PatientIdentity(IdentityKind.PERSONNUMMER, "199002222397")
UNKNOWN_AGE = PatientIdentity(IdentityKind.RESERVNUMMER, "98240301AA06")

DIAGNOSIS = {
    "stress": "F43.8A",
    "sleep": "G47.0",
    "anxiety": "F41.0",
    "worry": "F41.1",
    "depression": "F32.1",
    "self-esteem": "F33.0",
}

GOOD_ANSWERS: dict[str, Answer] = {
    "motivated": True,
    "works-independently": True,
    "computer-habit": True,
    "internet-access": True,
    "reads-and-writes": True,
    "patient-interested": True,
    "sets-aside-time": True,
    "assessment-held": True,
    "patient-informed": True,
    "device": True,
    "e-identification": True,
    "suicide-risk": "low",
    "parallel-therapy": False,
    "parallel-homework": False,
    "major-cognitive-difficulties": False,
    "stress-phase": "early",
    "sleep-apnoea": False,
    "restless-legs": False,
    "self-esteem-purpose": "treatment",
}

MILD = MadrsS(total=12, items=(2, 2, 2, 1, 1, 2, 1, 1, 0), answered="2026-11-18")


def referral(programme: str = "depression", **changes: Any) -> Referral:
    """A referral in which the rules of pack gavleborg find nothing, with the given fields changed."""
    good = Referral(
        placer=Identifier("https://ehr.example/referral", "R-1"),
        programme=programme,
        patient=Patient(ADULT, "Test Testsson", municipality="2101"),
        requester=Requester(UNIT, municipality="2101"),
        authored_on="2026-11-20",
        diagnoses=(DIAGNOSIS[programme],),
        forms=(FormAnswers(GOOD_ANSWERS, "2026-11-20"),),
        madrs_s=(MILD,),
    )
    return replace(good, **changes)


def answered(programme: str = "depression", /, **answers: Answer | None) -> Referral:
    """A good referral with some answers changed (`suicide_risk="elevated"`), or left out (None)."""
    changed = {name.replace("_", "-"): value for name, value in answers.items()}
    form = {name: value for name, value in {**GOOD_ANSWERS, **changed}.items() if value is not None}
    return referral(programme, forms=(FormAnswers(form, "2026-11-20"),))


def rated(programme: str = "depression", /, *ratings: MadrsS) -> Referral:
    """A good referral with these ratings and no others."""
    return referral(programme, madrs_s=ratings)


def _answers() -> st.SearchStrategy[dict[str, Answer]]:
    one: dict[str, st.SearchStrategy[Answer]] = {
        link_id: st.sampled_from(codes) if codes else st.booleans() for link_id, codes in QUESTIONS.items()
    }
    return st.fixed_dictionaries({}, optional=one)


_DATES = st.sampled_from([None, "2026", "2026-11", "2026-10-01", "2026-11-18", "2026-11-23T08:00:00+01:00"])

RATINGS = st.one_of(
    st.builds(MadrsS, total=st.integers(0, 54), answered=_DATES),
    st.builds(
        lambda items, answered: MadrsS(sum(items), tuple(items), answered),
        st.lists(st.integers(0, 6), min_size=9, max_size=9),
        _DATES,
    ),
)

MUNICIPALITIES = st.one_of(st.none(), st.sampled_from([*GAVLEBORG.municipalities, "0180", "0380", ""]))

REFERRALS: st.SearchStrategy[Referral] = st.builds(
    Referral,
    placer=st.just(Identifier("https://ehr.example/referral", "R-1")),
    programme=st.sampled_from(PROGRAMMES),
    patient=st.builds(
        Patient,
        identity=st.sampled_from(
            [ADULT, UNKNOWN_AGE, PatientIdentity(IdentityKind.PERSONNUMMER, "200302022389")],
        ),
        municipality=MUNICIPALITIES,
        active=st.booleans(),
        deceased=st.booleans(),
    ),
    requester=st.builds(
        Requester,
        unit=st.sampled_from([*GAVLEBORG.units, *PRAKTIKERTJANST.units, STRANGER]),
        municipality=MUNICIPALITIES,
    ),
    authored_on=st.just("2026-11-20"),
    diagnoses=st.lists(st.sampled_from([*DIAGNOSIS.values(), "G47.3", "G25.8", "E11.9"]), max_size=3).map(tuple),
    forms=st.lists(st.builds(FormAnswers, _answers(), _DATES), max_size=2).map(tuple),
    madrs_s=st.lists(RATINGS, max_size=3).map(tuple),
    start_call=st.one_of(st.none(), st.just(StartCall("2026-11-30T09:00:00+01:00"))),
    channel=st.sampled_from(Channel),
)
