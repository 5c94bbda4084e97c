"""What waits, and until when (contract 6). Pure."""

from datetime import datetime

from fhir_mappings import task as tasks
from fhir_mappings.records import Json, TaskKind
from fhir_mappings.terminology import Canonical
from service.packs.model import Pack

_WAITING = {
    TaskKind.ABORT: "abort",
    TaskKind.SAFETY_FOLLOW_UP: "safety-follow-up",
    TaskKind.RELAY_MESSAGE: "relay-message",
}


_REFERRAL_WAITS = {
    "requested": "requested",
    "received": "requested",
    "on-hold": "on-hold",
    "accepted": "accepted",
    "in-progress": "progress",
}
"""Which limit runs for the referral's Task, by its status."""


def waiting_for(task: Json, canonical: Canonical) -> str | None:
    """Which of the pack's time limits runs for a Task in its present state; None when nothing waits.

    A treatment that has started and been put on hold waits as `on-hold`; one that goes on, for `progress`.
    """
    kind = tasks.kind_of(task, canonical)
    if kind is TaskKind.REFERRAL:
        unrouted = tasks.business_status_of(task, canonical) == "needs-routing" and tasks.is_open(task)
        return "needs-routing" if unrouted else _REFERRAL_WAITS.get(task["status"])
    answered = kind is TaskKind.ABORT and task["status"] == "accepted"
    if kind is None or answered or not tasks.is_open(task):
        return None
    return _WAITING.get(kind)


def first_due(waits: str, since: datetime, pack: Pack) -> datetime:
    """When the team is reminded."""
    return since + pack.time_limits[waits].remind_after


def escalation_due(waits: str, reminded: datetime, pack: Pack) -> datetime:
    """When coordination is reminded, after the team was."""
    limit = pack.time_limits[waits]
    return reminded + (limit.escalate_after - limit.remind_after)
