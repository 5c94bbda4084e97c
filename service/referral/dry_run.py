"""What would become of a referral, without taking it in: nothing is stored, nothing is told of others' referrals."""

from dataclasses import replace

from fhir_mappings.records import Assessment, Route
from service.access.caller import Caller
from service.access.rights import may_refer
from service.referral.absences import entered_absences
from service.referral.eligibility import assess
from service.referral.house import House
from service.referral.intake import Submission
from service.referral.routing import choose_route
from service.referral.sights import sight_for


def dry_run(house: House, caller: Caller, submission: Submission) -> tuple[Assessment, Route]:
    """The assessment and the route as the caller may know them. An open referral counts only where it is one that the
    caller may have sent itself.
    """
    referral = submission.referral
    view = house.store.view()
    sight = sight_for(house, caller)
    route = choose_route(referral, house.pack, house.today(), entered_absences(view))
    unit = referral.requester.unit
    own_open = may_refer(caller, unit) and any(
        row.organisation == unit
        and sight.covers(row.organisation, row.team, row.involved)
        and (row.placer_system, row.placer_value) != (referral.placer.system, referral.placer.value)
        for row in view.open_referrals(referral.patient.identity.key)
    )
    assessment = assess(
        referral,
        house.pack,
        house.today(),
        open_referral="own" if own_open else None,  # never a word of another unit's referral
        extra_findings=route.findings,
    )
    return replace(assessment, findings=tuple(f for f in assessment.findings if not f.team_only)), route
