"""What a move of a Task brings about: treatment begins, pauses or ends, and the referrer is told (contract 6, 7)."""

from collections.abc import Callable, Mapping
from typing import Any

from fhir_mappings import task as tasks
from fhir_mappings.communication import category_of, passed_on
from fhir_mappings.elements import child, text
from fhir_mappings.records import Json, MessageCategory, Reference, TaskKind
from service.referral.case import Case, team_reference
from service.referral.journey.ownership import reroute, team_of
from service.referral.journey.treatment import (
    cancel_open,
    close_with_reply,
    end_treatment,
    plan_treatment,
    set_plan,
    start_treatment,
)


def _reason(task: Json) -> dict[str, Any]:
    """What a message says of the reason on a Task: its words and, where it has them, its codes."""
    return {"text": reason_text(task), "reason": task.get("statusReason")}


def _accepted(case: Case, _before: Json, _after: Json) -> None:
    plan_treatment(case)


def _started_or_resumed(case: Case, before: Json, _after: Json) -> None:
    if before["status"] == "on-hold":
        set_plan(case, "active")
        return
    start_treatment(case)
    case.tell(MessageCategory.STARTED)


def _held(case: Case, before: Json, after: Json) -> None:
    if before["status"] == "in-progress":
        set_plan(case, "on-hold")
    case.tell(MessageCategory.INFORMATION_REQUEST, **_reason(after))


def _rejected(case: Case, _before: Json, after: Json) -> None:
    case.tell(MessageCategory.RETURNED, **_reason(after))


def _cancelled(case: Case, _before: Json, after: Json) -> None:
    by_requester = case.row.organisation in case.caller.organisations
    end_treatment(case, "revoked", "Remissens uppgift är avbruten.")
    if by_requester:
        case.tell(MessageCategory.WITHDRAWAL_CONFIRMED)
    else:
        case.tell(MessageCategory.DISCONTINUED, **_reason(after))


def _failed(case: Case, _before: Json, after: Json) -> None:
    end_treatment(case, "revoked", "Behandlingen är avbruten.")
    case.tell(MessageCategory.DISCONTINUED, **_reason(after))


def _completed(case: Case, _before: Json, after: Json) -> None:
    close_with_reply(case)
    end_treatment(case, "completed", "Behandlingen är avslutad.")
    if posted_final_reply(case) is None:
        case.tell(MessageCategory.FINAL_REPLY, text=final_reply_text(after, case) or "")


def _abort_accepted(case: Case, _before: Json, after: Json) -> None:
    task = case.task
    case.record("moved", task=f"Task/{task['id']}", **{"from": task["status"], "to": "cancelled"})
    cancel_withdrawn(case, "Återkallad av remittenten; avbrottet är godtaget av behandlaren.")
    case.tell(MessageCategory.WITHDRAWAL_CONFIRMED, **_reason(after))


def _abort_rejected(case: Case, _before: Json, after: Json) -> None:
    task = case.task
    if tasks.business_status_of(task, case.canonical) == "withdrawal-requested":
        case.put(tasks.changed(task, case.at, businessStatus=None))
    case.tell(MessageCategory.WITHDRAWAL_REFUSED, **_reason(after))


def cancel_withdrawn(case: Case, why: str) -> None:
    """The referral's Task is cancelled because the referrer has withdrawn it; its CarePlan is revoked."""
    reason = tasks.own_reason("withdrawn", why, case.canonical)
    case.put(tasks.changed(case.task, case.at, status="cancelled", statusReason=reason, businessStatus=None))
    end_treatment(case, "revoked", why)


def _relayed(case: Case, _before: Json, after: Json) -> None:
    communication = case.get(Reference(after["focus"]["reference"]))
    if communication is not None and communication["status"] == "preparation":
        case.put(passed_on(communication, case.at))


def _not_relayed(case: Case, _before: Json, after: Json) -> None:
    """Nobody could pass it on: the Communication says so, and coordination gets a reminder to find a way."""
    communication = case.get(Reference(after["focus"]["reference"]))
    if communication is not None and communication["status"] == "preparation":
        case.put({**communication, "status": "not-done", "statusReason": after["statusReason"]})
    case.add_task(
        TaskKind.REMINDER,
        owner=team_reference(case.house.pack.coordination),
        focus=Reference(f"Task/{after['id']}"),
        description="Ett meddelande till remittenten kunde inte vidarebefordras: " + reason_text(after),
    )


def _taken_over(case: Case, _before: Json, after: Json) -> None:
    """The other team accepts: the referral's Task and its open child Tasks are theirs. Any other team that was asked
    need not answer any more.
    """
    team = team_of(case.house, tasks.owner_of(after))
    assert team is not None  # noqa: S101  checked when the take-over was made
    before = case.task
    case.put(tasks.changed(before, case.at, owner={"reference": team_reference(team.id)}))
    cancel_open(case, (TaskKind.TAKE_OVER,), f"{team.name} har tagit över.")
    reroute(case, before)


def _not_taken_over(case: Case, _before: Json, after: Json) -> None:
    case.note(f"Övertagandet avböjdes: {reason_text(after)}")


def tell_interim_replies(case: Case, before: Json, after: Json) -> None:
    """Every interim reply that the therapist has added as output goes to the referrer."""
    old = len(tasks.outputs_of(before, "interim-reply", case.canonical))
    for output in tasks.outputs_of(after, "interim-reply", case.canonical)[old:]:
        if output.get("valueString"):
            case.tell(MessageCategory.INTERIM_REPLY, text=output["valueString"])


def final_reply_text(task: Json, case: Case) -> str | None:
    """The final reply that stands on the Task as output, the newest."""
    replies = [o["valueString"] for o in tasks.outputs_of(task, "final-reply", case.canonical) if o.get("valueString")]
    return replies[-1] if replies else None


def posted_final_reply(case: Case) -> Json | None:
    """The final reply that the therapist has posted as a Communication for the current Task."""
    mine = f"Task/{case.task['id']}"
    for communication in reversed(case.all_of("Communication")):
        parts = [p.get("reference") for p in communication.get("partOf", ())]
        if category_of(communication, case.canonical) is MessageCategory.FINAL_REPLY and mine in parts:
            return communication
    return None


def reason_text(task: Json) -> str:
    """The reason that a therapist gave, in words; the codes where there are no words."""
    reason = child(task, "statusReason")
    words = text(reason, "text")
    if words:
        return words
    return ", ".join(c.get("display") or c.get("code", "") for c in reason.get("coding", ()))


Effect = Callable[[Case, Json, Json], None]

EFFECTS: Mapping[tuple[TaskKind, str], Effect] = {
    (TaskKind.REFERRAL, "accepted"): _accepted,
    (TaskKind.REFERRAL, "in-progress"): _started_or_resumed,
    (TaskKind.REFERRAL, "on-hold"): _held,
    (TaskKind.REFERRAL, "rejected"): _rejected,
    (TaskKind.REFERRAL, "cancelled"): _cancelled,
    (TaskKind.REFERRAL, "failed"): _failed,
    (TaskKind.REFERRAL, "completed"): _completed,
    (TaskKind.ABORT, "accepted"): _abort_accepted,
    (TaskKind.ABORT, "rejected"): _abort_rejected,
    (TaskKind.RELAY_MESSAGE, "completed"): _relayed,
    (TaskKind.RELAY_MESSAGE, "failed"): _not_relayed,
    (TaskKind.TAKE_OVER, "accepted"): _taken_over,
    (TaskKind.TAKE_OVER, "rejected"): _not_taken_over,
}
"""What a move brings about, by kind of Task and new state. A move that is not here brings about nothing more."""
