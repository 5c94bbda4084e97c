"""Trying a pack on its cases: the same decisions as for a referral that has come in, without anything being kept."""

from collections.abc import Callable, Sequence

from fhir_mappings.records import Referral
from service.packs.cases import Case
from service.packs.check import Report, Trial, check
from service.packs.model import Pack, Stage
from service.packs.reading import Problem
from service.referral.eligibility import assess, fired
from service.referral.facts import facts
from service.referral.routing import choose_route


def rehearse(
    pack: Pack,
    cases: Sequence[Case],
    read: Callable[[Case], Referral | None],
    problems: Sequence[Problem] = (),
) -> Report:
    """What the check of a pack gives. `read` makes a case's input a Referral, None where it is refused; `problems` are
    those of reading the cases.
    """

    def attempt(case: Case) -> Trial | None:
        referral = read(case)
        return None if referral is None else decide(referral, pack, case)

    return check(pack, cases, attempt, problems)


def decide(referral: Referral, pack: Pack, case: Case) -> Trial:
    """The decisions on a case, with the outcomes that led to them."""
    route = choose_route(referral, pack, case.today, case.absences)
    assessment = assess(
        referral,
        pack,
        case.today,
        case.open_referral,
        route.findings,
        possible_duplicate=case.possible_duplicate,
    )
    variables = facts(referral, pack, case.today, case.open_referral, possible_duplicate=case.possible_duplicate)
    outcomes = [
        (rule.id, position) for stage in Stage for rule, position in fired(pack, stage, referral.programme, variables)
    ]
    return Trial(referral.programme, assessment, route, frozenset(outcomes))
