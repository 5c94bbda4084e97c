"""The referrer takes a referral back (contract 3): its Task ends, or the therapist is asked to abort the treatment.

The ServiceRequest itself is the referrer's; Sluss never changes it.
"""

from fhir_mappings import task as tasks
from fhir_mappings.records import Json, MessageCategory, Reference, TaskKind
from service.packs.texts import task_text
from service.referral.case import Case
from service.referral.journey.consequences import cancel_withdrawn

WITHDRAWN = ("revoked", "entered-in-error")


def is_withdrawn(order: Json) -> bool:
    """True for a ServiceRequest that its referrer has taken back."""
    return order.get("status") in WITHDRAWN


def withdraw(case: Case, before: Json) -> None:
    """What follows when a new version of the order takes it back: the Task is cancelled, or, once the treatment has
    started, the therapist is asked to abort it. `before` is the version that it replaces.
    """
    status = case.order["status"]
    case.record("withdrawn", status=status)
    if before.get("status") == status or not tasks.is_open(case.task):
        return
    if case.has_started:
        _ask_to_abort(case)
        return
    case.record("moved", task=f"Task/{case.task['id']}", **{"from": case.task["status"], "to": "cancelled"})
    cancel_withdrawn(case, "Återkallad av remittenten.")
    case.tell(MessageCategory.WITHDRAWAL_CONFIRMED)


def _ask_to_abort(case: Case) -> None:
    if any(task["status"] == "requested" for task in case.tasks_of(TaskKind.ABORT)):
        return
    current = Reference(f"Task/{case.task['id']}")
    case.add_task(
        TaskKind.ABORT,
        part_of=current,
        focus=current,
        requester=case.organisation,
        description=task_text(case.house.pack, "task-abort", reference=case.row.placer_value),
    )
    withdrawal_requested = tasks.business_status("withdrawal-requested", case.canonical)
    case.put(tasks.changed(case.task, case.at, businessStatus=withdrawal_requested))
