"""What people did on the external server and what does not stand: told on the Task, kept in the journal, never silent.

Referrals there that cannot be taken in at all are set aside: a Task for coordination and a message to who posted it.
"""

from collections.abc import Sequence

from fhir_mappings import task as tasks
from fhir_mappings.communication import text_of
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, Reference, TaskKind
from fhir_mappings.unreadable import Unreadable, to_unreadable_message, to_unreadable_task
from service.access.caller import SLUSS, Caller
from service.access.rights import actors
from service.referral.case import DELIVER, SLUSS_AUTHOR, team_reference
from service.referral.house import House, instant
from service.referral.journey.opening import open_case
from service.referral.refusal import Kind, Refusal, forbidden, stale
from service.referral.sights import sight_for
from service.referral.states import Denied, advance
from service.referral.task_guard import guard, is_move
from service.store.change import Change
from service.store.records import JournalEntry, Stored, Write


def turn_down(house: House, caller: Caller, reference: Reference, what: str, issues: Sequence[Issue]) -> None:
    """A change made there does not stand: a note on the Task that `reference` is (or on the referral's, for anything
    else) says why, and the journal has it. `caller` is who counts as having made it, `what` a Swedish phrase for what
    was done.
    """
    reasons = " ".join(dict.fromkeys(issue.text for issue in issues))
    note = f"{what} på den externa servern gäller inte. {reasons}".strip()
    with house.store.change() as change:
        case = open_case(house, change, SLUSS, reference)
        task = (case.get(reference) if reference.startswith("Task/") else None) or case.task
        told = [n["text"] for n in task.get("note", ())]
        if note not in told[-1:]:
            case.put(tasks.noted(task, SLUSS_AUTHOR, case.at, note))
        case.record(
            "turned-down",
            resource=reference,
            by=caller.label,
            issues=[{"code": str(issue.code), "expression": issue.expression} for issue in issues],
        )
        case.save()


def collected(house: House, caller: Caller, referral_id: str, **detail: object) -> None:
    """A row in the journal: something was done on the external server and carried out here, as done by `caller`."""
    with house.store.change() as change:
        change.journal([JournalEntry(referral_id, caller.label, "collected", detail)])


def set_aside(house: House, found: Unreadable, id_: str) -> None:
    """Tell coordination by a Task `unreadable-referral` and whoever posted it by a message, anew when what is wrong has
    changed. `id_` is the Task's, and what it and the messages are kept under.
    """
    at = instant(house.now())
    coordination = team_reference(house.pack.coordination)
    with house.store.change() as change:
        before = change.get("Task", id_)
        task = to_unreadable_task(found, id_, coordination, at, house.canonical)
        if before is not None:
            earlier = before.content
            task |= {
                "authoredOn": earlier["authoredOn"],
                "owner": earlier["owner"],
                "priority": "stat" if earlier.get("priority") == "stat" else task["priority"],
                "note": [*earlier.get("note", ()), *task["note"]],
            }
            task = tasks.changed(task, at)
        message = to_unreadable_message(found, house.new_id(), coordination, at, house.canonical)
        change.write([Write(task, id_, before.version if before else 0), Write(message, id_)])
        _told(change, id_, "unreadable", [{"code": str(i.code), "expression": i.expression} for i in found.issues])


def end_set_aside(house: House, id_: str, status: str, text: str) -> None:
    """The Task of a referral that has been mended and taken in (`completed`), or taken back (`cancelled`), ends."""
    at = instant(house.now())
    with house.store.change() as change:
        stored = change.get("Task", id_)
        if stored is None or not tasks.is_open(stored.content):
            return
        reason = tasks.own_reason("no-longer-waiting", text, house.canonical) if status == "cancelled" else None
        task = tasks.changed(
            tasks.noted(stored.content, SLUSS_AUTHOR, at, text), at, status=status, statusReason=reason
        )
        change.write([Write(task, id_, stored.version)])
        _told(change, id_, "unreadable-ended", [{"code": status}])


def progress_set_aside(
    house: House, change: Change, caller: Caller, sent: Json, if_match: frozenset[int] | None = None
) -> Stored | None:
    """The Task of a referral that could not be taken in is changed, by coordination or an administrator: a note, or its
    end. None when it is no such Task, or there is none. Raises Refusal: stale, forbidden, invalid.
    """
    stored = change.seen_by(sight_for(house, caller, "u")).get("Task", sent["id"])
    if stored is None or tasks.kind_of(stored.content, house.canonical) is not TaskKind.UNREADABLE_REFERRAL:
        return None
    if if_match is not None and stored.version not in if_match:
        raise stale(stored.version)
    current = stored.content
    who = actors(caller, house.pack.coordination, None, house.pack.coordination)
    if not who:
        raise forbidden("Uppgiften är samordningens.", f"caller {caller.label!r} is not coordination")
    issues = guard(current, sent, who, house.canonical)
    if tasks.owner_of(sent) != tasks.owner_of(current):
        issues.append(_STAYS)
    if sent["status"] != current["status"]:
        denied = advance(TaskKind.UNREADABLE_REFERRAL, current["status"], sent["status"], who)
        issues += [denied.issue] if isinstance(denied, Denied) else []
    if issues:
        raise Refusal(Kind.INVALID, issues)
    if not is_move(current, sent):
        return stored
    at = instant(house.now())
    (written,) = change.write([Write(tasks.changed(sent, at), stored.referral_id, stored.version)])
    _told(change, stored.id, "unreadable-changed", [{"code": sent["status"]}], caller)
    return written


_STAYS = error(
    IssueCode.BUSINESS_RULE,
    "Task.owner.reference",
    "Uppgiften stannar hos samordningen.",
    "a referral that could not be read belongs to no team; coordination keeps the Task",
)


def turn_down_set_aside(house: House, id_: str, what: str, issues: Sequence[Issue]) -> None:
    """A change of that Task, made there, does not stand: a note says why."""
    at = instant(house.now())
    reasons = " ".join(dict.fromkeys(issue.text for issue in issues))
    with house.store.change() as change:
        stored = change.get("Task", id_)
        if stored is not None:
            note = f"{what} på den externa servern gäller inte. {reasons}"
            change.write([Write(tasks.noted(stored.content, SLUSS_AUTHOR, at, note), id_, stored.version)])
            _told(change, id_, "turned-down", [{"code": str(issue.code)} for issue in issues])


def answered_set_aside(house: House, id_: str, message: Json) -> bool:
    """A message about a referral that could not be taken in: its text becomes a note on the Task. False when it
    has no text.
    """
    at = instant(house.now())
    text = text_of(message).strip()
    with house.store.change() as change:
        stored = change.get("Task", id_)
        if stored is None or not text:
            return False
        change.write([Write(tasks.noted(stored.content, "Externa servern", at, text), id_, stored.version)])
        _told(change, id_, "unreadable-answered", [])
        return True


def _told(change: Change, id_: str, event: str, issues: Sequence[Json], caller: Caller = SLUSS) -> None:
    change.journal([JournalEntry(id_, caller.label, event, {"issues": list(issues)})])
    change.defer(DELIVER, {"referral_id": id_}, queueing_lock=f"deliver:{id_}", lock=f"deliver:{id_}")
