"""The words that conditions and texts of a pack may use, apart from its limits and the form's questions.

`service.referral.facts` gives every one of them a value for a referral. Each stands here with values to try a condition
with when a pack is loaded, so that a misspelt name or a comparison of a number with a text is found then, not when the
first patient comes.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal

from fhir_mappings.records import MessageCategory
from fhir_mappings.referral_form import QUESTIONS

OpenReferral = Literal["own", "other"]
"""Whose open referral the patient already has: the same organisation's, or another's."""

FACTS: Mapping[str, tuple[Any, Any]] = {
    # name: two values of the kind that it has
    "programme": ("depression", "sleep"),
    "ageYears": (17, 40),
    "patientInactive": (True, False),
    "patientDeceased": (True, False),
    "diagnoses": (["F32.1", "G47.3"], ["Z73.3"]),
    "diagnosesFitting": (["F32.1"], []),
    "madrsSRatings": (1, 0),
    "madrsSTotal": (27, 12),
    "madrsSAgeDays": (31, 2),
    "madrsSItem9": (5, 0),
    "madrsSWithoutItems": (True, False),
    "suicideRisk": ("elevated", "low"),
    "unitKind": ("health-centre", "hospital"),
    "referrerKinds": (["health-centre", "youth-clinic"], ["hospital"]),
    "openReferral": ("own", "other"),
    "possibleDuplicate": (True, False),
    "startCallBooked": (True, False),
    "mayBookStartCall": (True, False),
}

FACT_MEANINGS: Mapping[str, str] = {
    "programme": "code of the programme asked for",
    "ageYears": "the patient's age in whole years on the day of assessment, by the identifier",
    "patientInactive": "true when the Patient is not active",
    "patientDeceased": "true when the Patient is deceased",
    "diagnoses": "ICD-10-SE codes of the referral, with the dot",
    "diagnosesFitting": "those of them that the pack expects for the programme; all where it expects none",
    "madrsSRatings": "number of MADRS-S ratings that count",
    "madrsSTotal": "total of the newest rating",
    "madrsSAgeDays": "whole days since the newest rating was answered",
    "madrsSItem9": "highest item 9 of all ratings",
    "madrsSWithoutItems": "true when the newest rating is a total only",
    "suicideRisk": "the gravest stated suicide risk: low, elevated, unknown",
    "unitKind": "kind of the referring unit in the directory",
    "referrerKinds": "kinds of unit that may refer",
    "openReferral": "own or other: whose open referral the patient already has",
    "possibleDuplicate": "true when a letter or call looks like one already here",
    "startCallBooked": "true when the referrer has booked the start call",
    "mayBookStartCall": "true when the unit may book it",
}
"""What each fact stands for, for those who read or evaluate a published condition."""

PLACEHOLDERS: Mapping[MessageCategory, frozenset[str]] = {
    category: frozenset(
        {"reference", "programme", "team", "phone", "seat", "demo_link", "patient_information", "platform", *own}
    )
    for category, own in {
        MessageCategory.ACKNOWLEDGEMENT: ("start", "findings"),
        MessageCategory.INFORMATION_REQUEST: ("findings", "text"),
        MessageCategory.RETURNED: ("findings", "text"),
        MessageCategory.SAFETY_ALERT: ("findings",),
        MessageCategory.STARTED: ("weeks",),
        MessageCategory.REROUTED: ("previous_team", "text"),
        MessageCategory.DISCONTINUED: ("text",),
        MessageCategory.WITHDRAWAL_CONFIRMED: (),
        MessageCategory.WITHDRAWAL_REFUSED: ("text",),
        MessageCategory.INTERIM_REPLY: ("text",),
        MessageCategory.FINAL_REPLY: ("text",),
        MessageCategory.CORRECTION: ("text",),
        MessageCategory.INFORMATION: ("text",),
    }.items()
}
"""What each message's template may name in braces. `text` is what a person has written: the reason, the reply."""

SENTENCES: Mapping[str, frozenset[str]] = {
    # Sentences that are put into messages, and texts of our own Tasks.
    "start-therapist-phones": frozenset({"team", "phone", "platform"}),
    "start-booked": frozenset({"team", "phone", "platform"}),
    "findings-acknowledged": frozenset({"findings"}),
    "task-safety-follow-up": frozenset({"programme", "reference", "findings"}),
    "task-relay-message": frozenset({"unit", "reach"}),
    "task-abort": frozenset({"reference"}),
    "task-take-over": frozenset({"previous_team", "team"}),
    "task-reminder": frozenset({"waiting", "days"}),
    "reach-record-message": frozenset(),
    "reach-letter": frozenset(),
}

MADRS_S = "madrs-s"
REFERRAL_FORM = "ikbt-referral"
NEEDED_QUESTIONNAIRES = (MADRS_S, REFERRAL_FORM)
"""The Questionnaires that every pack must have: contract 4."""

QUESTION_SAMPLES: Mapping[str, tuple[Any, Any]] = {
    link_id: (codes[0], codes[1]) if codes else (True, False) for link_id, codes in QUESTIONS.items()
}
"""The form's questions by linkId, with two answers to try conditions with."""


def samples(limits: Mapping[str, int]) -> Iterable[Mapping[str, Any]]:
    """Variables to try conditions with: nothing known, then two sets of known values. All names are always there."""
    known = {**FACTS, **QUESTION_SAMPLES}
    yield {**{name: [] for name in known}, **limits}
    for which in (0, 1):
        yield {**{name: values[which] for name, values in known.items()}, **limits}


def names(limits: Iterable[str]) -> frozenset[str]:
    """Every variable that a condition may name."""
    return frozenset(chain(FACTS, QUESTION_SAMPLES, limits))
