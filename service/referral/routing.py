"""Which team treats the patient, and how the first contact comes about. Pure and total: every referral gets a team.

Contract 5. First match wins: the unit in the directory, the requester's municipality, the patient's municipality, else
nobody guesses and coordination must say.
"""

from collections.abc import Sequence
from datetime import date

from fhir_mappings.records import Referral, Route, StartMode
from service.packs.model import Absence, Pack, Stage
from service.referral.eligibility import found_by
from service.referral.facts import facts

UNIT_DIRECTORY = "unit-directory"
REQUESTER_MUNICIPALITY = "requester-municipality"
PATIENT_MUNICIPALITY = "patient-municipality"
NEEDS_ROUTING = "needs-routing"


def choose_route(referral: Referral, pack: Pack, today: date, absences: Sequence[Absence] = ()) -> Route:
    """The team, the rule that chose it, how the start call comes about, and what there is to say of the start call.

    `absences` are those known outside the pack (`sluss team absent`), besides the pack's own. A team that is away
    today is passed over for its substitute; where the substitutes go in a circle or end, coordination must say.
    """
    variables = facts(referral, pack, today)
    findings = tuple(found_by(pack, Stage.ROUTING, referral.programme, variables))
    booked = variables["startCallBooked"] and variables["mayBookStartCall"]
    start = StartMode.BOOKED if booked else StartMode.THERAPIST_PHONES
    matched = _matched(referral, pack)
    if matched is None:
        return Route(pack.coordination, NEEDS_ROUTING, start, findings)
    rule, wanted = matched
    team, passed_over = present_team(wanted, [*pack.absences, *absences], today)
    if team is None:
        return Route(pack.coordination, NEEDS_ROUTING, start, findings, passed_over)
    return Route(team, rule, start, findings, passed_over)


def present_team(wanted: str, absences: Sequence[Absence], today: date) -> tuple[str | None, tuple[str, ...]]:
    """The team that takes new referrals for `wanted` today, and the teams that were passed over, in order. None when
    the substitutes go in a circle or an absent team has none. Of several absences on the day the latest entered
    counts.
    """
    away = {absence.team: absence.substitute for absence in absences if absence.covers(today)}
    passed_over: list[str] = []
    team: str | None = wanted
    while team is not None and team in away:
        if team in passed_over:
            return None, tuple(passed_over)
        passed_over.append(team)
        team = away[team]
    return team, tuple(passed_over)


def _matched(referral: Referral, pack: Pack) -> tuple[str, str] | None:
    """The first routing rule that knows, and the team it names."""
    unit = pack.units.get(referral.requester.unit)
    if unit:
        return UNIT_DIRECTORY, pack.areas[unit.area].team
    for rule, municipality in (
        (REQUESTER_MUNICIPALITY, referral.requester.municipality),
        (PATIENT_MUNICIPALITY, referral.patient.municipality),
    ):
        area = pack.area_of(municipality) if municipality else None
        if area:
            return rule, area.team
    return None
