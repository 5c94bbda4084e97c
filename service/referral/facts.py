"""What is known of a referral on a given day, as the named variables of the pack's conditions. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from fhir_mappings.datetimes import day_in_sweden, has_time, is_day
from fhir_mappings.identity import age_on
from fhir_mappings.madrs_s import highest_item_9, newest
from fhir_mappings.records import MadrsS, Referral
from fhir_mappings.referral_form import QUESTIONS, SUICIDE_RISK, gravest_suicide_risk, merged
from service.packs.model import Pack
from service.packs.vocabulary import OpenReferral


def facts(
    referral: Referral,
    pack: Pack,
    today: date,
    open_referral: OpenReferral | None = None,
    *,
    possible_duplicate: bool = False,
) -> dict[str, Any]:
    """Every variable of `service.packs.vocabulary`, the form's questions by linkId and the pack's limits by id.

    Scalars and lists of text, because FHIRPath over them costs microseconds. What is not known is the empty
    collection `[]`, never a default.
    """
    rating = newest(referral.madrs_s)
    unit = pack.units.get(referral.requester.unit)
    answers = merged(referral.forms)
    return {
        **{link_id: _known(answers.get(link_id)) for link_id in QUESTIONS},
        **{name: limit.value for name, limit in pack.limits.items()},
        SUICIDE_RISK: _known(gravest_suicide_risk(referral.forms)),
        "suicideRisk": _known(gravest_suicide_risk(referral.forms)),
        "programme": referral.programme,
        "ageYears": _known(age_on(referral.patient.identity, today)),
        "patientInactive": not referral.patient.active,
        "patientDeceased": referral.patient.deceased,
        "diagnoses": list(referral.diagnoses),
        "diagnosesFitting": _fitting(referral, pack),
        "madrsSRatings": len(referral.madrs_s),
        "madrsSTotal": _known(rating.total if rating else None),
        "madrsSAgeDays": _known(_age_days(rating, today) if rating else None),
        "madrsSItem9": _known(highest_item_9(referral.madrs_s)),
        "madrsSWithoutItems": rating is not None and rating.items is None,
        "unitKind": _known(unit.kind if unit else None),
        "referrerKinds": sorted(pack.referrer_kinds),
        "openReferral": _known(open_referral),
        "possibleDuplicate": possible_duplicate,
        "startCallBooked": referral.start_call is not None,
        "mayBookStartCall": unit is not None and unit.may_book_start_call,
    }


def told(variables: Mapping[str, Any]) -> dict[str, str]:
    """The variables as text, for the placeholders of a rule's texts; what is not known is `okänt`."""
    return {name: _in_words(value) for name, value in variables.items()}


def _known(value: Any) -> Any:
    return [] if value is None else value


def _in_words(value: Any) -> str:
    if value == []:
        return "okänt"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _fitting(referral: Referral, pack: Pack) -> list[str]:
    """The diagnoses on the pack's list for the programme; all of them where the pack has no list."""
    programme = pack.programmes.get(referral.programme)
    expected = programme.diagnoses if programme else ()
    return [code for code in referral.diagnoses if not expected or code.startswith(expected)]


def _age_days(rating: MadrsS, today: date) -> int | None:
    """Whole days since the patient answered, by the Swedish calendar; None without a full date."""
    answered = rating.answered
    if answered is None or not (is_day(answered) or has_time(answered)):
        return None  # a year or a month alone does not say how many days ago it was
    day = day_in_sweden(answered)
    return (today - day).days if day else None
