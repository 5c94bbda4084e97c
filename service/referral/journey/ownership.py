"""Which team has a referral: who an owner is, another team, and none that any rule knows (contract 5, 7)."""

from fhir_mappings import task as tasks
from fhir_mappings.records import Json, MessageCategory, Reference, Team
from service.referral.case import Case
from service.referral.house import House
from service.referral.journey.treatment import hand_over_children
from service.referral.routing import NEEDS_ROUTING


def team_of(house: House, owner: Reference) -> Team | None:
    """The team that an owner is (HealthcareService) or belongs to (PractitionerRole); None for anybody else."""
    type_, _, id_ = owner.partition("/")
    if type_ == "HealthcareService":
        return house.pack.teams.get(id_)
    if type_ == "PractitionerRole":
        return next((team for team in house.pack.teams.values() if id_ in team.roles), None)
    return None


def reroute(case: Case, before: Json) -> None:
    """The referral's Task has a new team, which has not received it yet; the referrer is told."""
    new = team_of(case.house, tasks.owner_of(case.task))
    assert new is not None  # noqa: S101  checked before
    previous = case.team
    case.set(team=new.id)
    task = case.task
    changes: dict[str, object] = {}
    routed = new.id != case.house.pack.coordination
    if routed and tasks.business_status_of(task, case.canonical) == "needs-routing":
        changes["businessStatus"] = None
    if task["status"] == "received":
        changes["status"] = "requested"
        case.record("moved", task=f"Task/{task['id']}", **{"from": "received", "to": "requested"})
    if changes:
        case.put(tasks.changed(task, case.at, **changes))
    hand_over_children(case, new.id)
    case.tell(MessageCategory.REROUTED, previous_team=previous)
    case.record("rerouted", before=tasks.owner_of(before), after=tasks.owner_of(case.task))


def mark_unrouted(case: Case) -> None:
    """No rule knows the team: coordination must say, once nothing else is asked for."""
    task = tasks.routed(case.task, case.at, NEEDS_ROUTING, case.canonical)
    if task["status"] != "on-hold":
        task = tasks.changed(task, case.at, businessStatus=tasks.business_status(NEEDS_ROUTING, case.canonical))
    case.put(task)


def is_unrouted(case: Case) -> bool:
    """True while coordination has the referral because no rule knew its team."""
    coordination = case.house.pack.coordination
    return tasks.route_rule_of(case.task, case.canonical) == NEEDS_ROUTING and case.team.id == coordination
