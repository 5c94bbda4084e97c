"""What waits too long is seen: a reminder to the team, then to coordination (contract 6).

Also the absences that begin today: what an absent team has not yet accepted moves on (contract 5).
"""

from datetime import datetime, timedelta

from fhir_mappings import task as tasks
from fhir_mappings.records import Reference, TaskKind
from service.access.caller import SLUSS
from service.packs.model import Absence
from service.packs.texts import task_text
from service.referral.absences import entered_absences
from service.referral.case import Case, team_reference
from service.referral.house import House
from service.referral.journey.ownership import mark_unrouted, reroute
from service.referral.routing import present_team
from service.referral.time_limits import escalation_due
from service.store.records import AbsenceRow, Deadline

AT_ONCE = 100
"""Deadlines handled per transaction, so that none stays open long."""

WAITING = {
    "requested": "remissen väntar på att tas emot",
    "on-hold": "remissen väntar på komplettering",
    "accepted": "den accepterade remissen väntar på start",
    "needs-routing": "remissen väntar på att fördelas",
    "abort": "begäran om att avbryta väntar på svar",
    "safety-follow-up": "uppföljningen av suicidrisk är inte avslutad",
    "relay-message": "ett meddelande väntar på att vidarebefordras",
    "progress": "inget framsteg är antecknat i behandlingen",
}
"""What a reminder says is waiting."""


def run_timers(house: House, now: datetime) -> int:
    """Remind of everything that is overdue at `now`; gives how many reminders were made. Safe to run at any time and
    by several workers at once: each deadline is taken by one of them.
    """
    made = 0
    while handled := _remind_some(house, now):
        made += handled
    move_from_absent_teams(house)
    return made


def _remind_some(house: House, now: datetime) -> int:
    """One transaction for each deadline, so that no write transaction stays open long."""
    due = house.store.view().overdue(now, AT_ONCE)
    return sum(_remind(house, deadline, now) for deadline in due)


def _remind(house: House, deadline: Deadline, now: datetime) -> bool:
    with house.store.change() as change:
        case = Case(house, change, change.lock_referral(deadline.referral_id), SLUSS)
        if deadline not in change.deadlines_of(deadline.task_id):
            return False  # somebody moved it while this waited for the lock
        about = Reference(f"Task/{deadline.task_id}")
        task = case.get(about)
        assert task is not None  # noqa: S101  a deadline is of a Task of the referral
        first = deadline.level == 0
        limit = house.pack.time_limits[deadline.kind]
        waited = limit.remind_after if first else limit.escalate_after
        case.add_task(
            TaskKind.REMINDER,
            focus=about,
            owner=team_reference(case.team.id if first else house.pack.coordination),
            description=task_text(
                house.pack,
                "task-reminder",
                waiting=WAITING[deadline.kind],
                days=str(max(1, waited // timedelta(days=1))),
            ),
        )
        case.record("reminded", task=about, kind=deadline.kind, level=deadline.level + 1)
        case.save()
        change.clear_deadlines([deadline.task_id])
        if first:
            later = Deadline(
                deadline.referral_id,
                deadline.task_id,
                deadline.kind,
                escalation_due(deadline.kind, now, house.pack),
                level=1,
            )
            change.set_deadlines([later])
        return True


NOT_ACCEPTED = ("requested", "received", "on-hold")


def enter_absence(house: House, absence: Absence) -> int:
    """A team is away; what it has not accepted moves at once if that is today. Gives how many referrals moved. Raises
    ValueError for a team that the pack does not have, or days in the wrong order.
    """
    unknown = [team for team in (absence.team, absence.substitute) if team and team not in house.pack.teams]
    if unknown:
        known = ", ".join(house.pack.teams)
        raise ValueError(f"no such team: {', '.join(unknown)}; teams: {known}")
    if absence.last < absence.first:
        raise ValueError(f"the last day {absence.last} comes before the first {absence.first}")
    with house.store.change() as change:
        change.enter_absence(AbsenceRow(absence.team, absence.first, absence.last, absence.substitute))
    return move_from_absent_teams(house)


def move_from_absent_teams(house: House) -> int:
    """Referrals that an absent team has not yet accepted go to its substitute today, or to coordination where the
    substitutes go in a circle. Gives how many moved.
    """
    view = house.store.view()
    absences = [*house.pack.absences, *entered_absences(view)]
    away = sorted({absence.team for absence in absences if absence.covers(house.today())})
    waiting = [row for team in away for row in view.waiting_at(team, NOT_ACCEPTED)]
    return sum(_move(house, row.id, absences) for row in waiting)


def _move(house: House, referral_id: str, absences: list[Absence]) -> bool:
    with house.store.change() as change:
        case = Case(house, change, change.lock_referral(referral_id), SLUSS)
        task = case.task
        team, _ = present_team(case.team.id, absences, house.today())
        target = team or house.pack.coordination
        waits = task["status"] in ("requested", "received") or (task["status"] == "on-hold" and not case.has_started)
        if not waits or target == case.team.id:
            return False
        case.put(tasks.changed(task, case.at, owner={"reference": team_reference(target)}))
        if team is None:
            mark_unrouted(case)
        reroute(case, task)
        case.save()
        return True
