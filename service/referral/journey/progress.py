"""A Task is moved: by the therapist who owns it, by the referrer who withdraws, by coordination that routes it.

Contract 7. Every move is checked against the state tables, every other element against what is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fhir_mappings import task as tasks
from fhir_mappings.communication import category_of, passed_on
from fhir_mappings.elements import child, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, MessageCategory, Reference, TaskKind, Team
from service.access.caller import Caller
from service.access.rights import Actor, actors
from service.referral.case import Case, team_reference
from service.referral.house import House
from service.referral.journey.opening import open_case
from service.referral.journey.treatment import (
    close_with_reply,
    end_treatment,
    hand_over_children,
    out_of_turn,
    plan_treatment,
    set_plan,
    start_treatment,
    unfinished,
    unready,
)
from service.referral.refusal import Kind, Refusal
from service.referral.states import Denied, Needs, advance
from service.referral.task_guard import guard, is_move
from service.store.records import Stored


def progress(house: House, caller: Caller, sent: Json, if_match: int | None = None) -> Stored:
    """Store a changed Task after checking who, what and whether, with all that the move brings about.

    `sent` is the whole Task as a client PUTs it, valid R4. Raises Refusal: not found, stale, forbidden, invalid.
    """
    reference = Reference(f"Task/{sent['id']}")
    with house.store.change() as change:
        case = open_case(house, change, caller, reference)
        current = case.get(reference)
        assert current is not None  # noqa: S101  open_case found it
        check_version(case, reference, if_match)
        move = _Move.of(case, current, sent)
        move.check()
        move.carry_out()
        written = case.save()
        stored = written.get(reference) or change.get("Task", sent["id"])
        assert stored is not None  # noqa: S101  it was read under the lock
        return stored


def check_version(case: Case, reference: Reference, if_match: int | None) -> None:
    """A stale If-Match is refused; none at all is fine (most clients send none)."""
    if if_match is not None and if_match != case.version(reference):
        raise Refusal(
            Kind.STALE,
            [
                error(
                    IssueCode.CONFLICT,
                    None,
                    "Resursen har ändrats sedan du läste den. Läs om den och försök igen.",
                    f'If-Match W/"{if_match}" is stale; the current version is W/"{case.version(reference)}"',
                )
            ],
        )


@dataclass(slots=True)
class _Move:
    """One change to one Task."""

    case: Case
    current: Json
    sent: Json
    kind: TaskKind
    who: frozenset[Actor]
    new_team: Team | None
    """The team that the new owner belongs to; None when it is unknown."""

    @classmethod
    def of(cls, case: Case, current: Json, sent: Json) -> "_Move":
        kind = tasks.kind_of(current, case.canonical)
        assert kind is not None  # noqa: S101  only Tasks of our kinds are stored
        owner = team_of(case.house, tasks.owner_of(current))
        who = actors(
            case.caller,
            owner.id if owner else None,
            case.row.organisation,  # type: ignore[arg-type]  # stored as text
            case.house.pack.coordination,
        )
        return cls(case, current, sent, kind, who, team_of(case.house, tasks.owner_of(sent)))

    @property
    def is_status_move(self) -> bool:
        return bool(self.sent["status"] != self.current["status"])

    @property
    def changes_team(self) -> bool:
        old = team_of(self.case.house, tasks.owner_of(self.current))
        return self.new_team is not None and old is not None and self.new_team.id != old.id

    def check(self) -> None:
        """Who first, then what (contract 2), every problem of the latter at once."""
        if not self.who:
            raise Refusal(Kind.FORBIDDEN, [_stranger(self.case.caller)])
        denied, needs = None, None
        if self.is_status_move:
            answer = advance(
                self.kind,
                self.current["status"],
                self.sent["status"],
                self.who,
                started=self._is_referral_task and self.case.has_started,
            )
            denied = answer if isinstance(answer, Denied) else None
            needs = answer if isinstance(answer, Needs) else None
        if denied is not None and denied.wrong_actor:
            raise Refusal(Kind.FORBIDDEN, [denied.issue])
        issues = [denied.issue] if denied else []
        issues += guard(self.current, self.sent, self.who, self.case.canonical)
        issues += self._owner_problems()
        issues += self._unmet(needs)
        if issues:
            raise Refusal(Kind.INVALID, issues)

    def carry_out(self) -> None:
        """Store what was sent and do what follows from it."""
        case = self.case
        case.put(self._as_moved())
        if self.changes_team:
            reroute(case, self.current)
        if self._is_referral_task and self._is_current:
            _tell_interim_replies(case, self.current, self.sent)
        if not self.is_status_move:
            if is_move(self.current, self.sent):
                case.record("changed", task=f"Task/{self.sent['id']}")
            return
        case.record(
            "moved", task=f"Task/{self.sent['id']}", **{"from": self.current["status"], "to": self.sent["status"]}
        )
        effect = _EFFECTS.get((self.kind, self.sent["status"])) if self._is_current else None
        if effect is not None:
            effect(case, self.current, case.get(Reference(f"Task/{self.sent['id']}")) or self.sent)

    # ------------------------------------------------------------ private

    @property
    def _is_referral_task(self) -> bool:
        return self.kind is TaskKind.REFERRAL

    @property
    def _is_current(self) -> bool:
        """False for an earlier Task on the same focus, whose moves concern nobody any more."""
        return not self._is_referral_task or self.current["id"] == self.case.task["id"]

    def _as_moved(self) -> Json:
        """What was sent, without the reason and business status of the state that it has left."""
        sent = {name: value for name, value in self.sent.items() if name != "meta"}
        if self.is_status_move:
            for name in ("statusReason", "businessStatus"):
                if name in sent and sent[name] == self.current.get(name):
                    del sent[name]
        if self.is_status_move and self.sent["status"] == "on-hold" and "businessStatus" not in sent:
            sent["businessStatus"] = tasks.business_status("information-requested", self.case.canonical)
        return tasks.changed(sent, self.case.at)

    def _owner_problems(self) -> list[Issue]:
        if tasks.owner_of(self.sent) == tasks.owner_of(self.current):
            return []
        expression = "Task.owner.reference"
        if self.new_team is None:
            known = ", ".join(f"HealthcareService/{team}" for team in self.case.house.pack.teams)
            return [
                error(
                    IssueCode.VALUE,
                    expression,
                    "Ägaren är inget känt team och ingen av teamens behandlare.",
                    f"owner must be one of {known} or a PractitionerRole of one of these teams",
                )
            ]
        if not self.changes_team:
            return []
        if not self._is_referral_task:
            return [
                error(
                    IssueCode.BUSINESS_RULE,
                    expression,
                    "Bara remissens egen uppgift kan byta team; de andra följer med den.",
                    "only the referral's own Task moves to another team; the others follow it",
                )
            ]
        before = self.current["status"] in ("requested", "received") or (
            self.current["status"] == "on-hold" and not self.case.has_started
        )
        if not before:
            return [
                error(
                    IssueCode.BUSINESS_RULE,
                    expression,
                    "Efter att remissen accepterats byter den team genom en uppgift take-over som det andra teamet "
                    "accepterar.",
                    "after acceptance another team takes over through a child Task take-over that it accepts",
                )
            ]
        if self.is_status_move:
            return [
                error(
                    IssueCode.BUSINESS_RULE,
                    expression,
                    "Fördela om remissen för sig; det nya teamet flyttar den sedan.",
                    "rerouting keeps the status; the new team moves the Task",
                )
            ]
        return []

    def _unmet(self, needs: Needs | None) -> list[Issue]:
        case = self.case
        match needs:
            case Needs.REASON:
                reason = child(self.sent, "statusReason")
                if text(reason, "text") or reason.get("coding"):
                    return []
                return [
                    error(
                        IssueCode.REQUIRED,
                        "Task.statusReason",
                        "Ange varför (statusReason).",
                        f"statusReason is required to move to {self.sent['status']}",
                    )
                ]
            case Needs.READY:
                return unready(case)
            case Needs.REPLY:
                replied = final_reply_text(self.sent, case) or posted_final_reply(case)
                return unfinished(case) + ([] if replied else [_no_reply()])
        if self.kind is TaskKind.ACTIVITY and self.sent["status"] == "completed" and self.is_status_move:
            return out_of_turn(case, tasks.activity_of(self.current, case.canonical) or "")
        return []


def team_of(house: House, owner: Reference) -> Team | None:
    """The team that an owner is (HealthcareService) or belongs to (PractitionerRole); None for anybody else."""
    type_, _, id_ = owner.partition("/")
    if type_ == "HealthcareService":
        return house.pack.teams.get(id_)
    if type_ == "PractitionerRole":
        return next((team for team in house.pack.teams.values() if id_ in team.roles), None)
    return None


def reroute(case: Case, before: Json, *, keep_business_status: bool = False) -> None:
    """The referral's Task has a new team: it waits there anew, and the referrer is told."""
    new = team_of(case.house, tasks.owner_of(case.task))
    assert new is not None  # noqa: S101  checked before
    previous = case.team
    case.set(team=new.id)
    task = case.task
    changes: dict[str, object] = {}
    if tasks.business_status_of(task, case.canonical) == "needs-routing" and not keep_business_status:
        changes["businessStatus"] = None
    if task["status"] == "received":
        changes["status"] = "requested"
    if changes:
        case.put(tasks.changed(task, case.at, **changes))
    hand_over_children(case, new.id)
    case.tell(MessageCategory.REROUTED, previous_team=previous)
    case.record("rerouted", before=tasks.owner_of(before), after=tasks.owner_of(case.task))


def reason_text(task: Json) -> str:
    """The reason that a therapist gave, in words; the codes where there are no words."""
    reason = child(task, "statusReason")
    words = text(reason, "text")
    if words:
        return words
    return ", ".join(c.get("display") or c.get("code", "") for c in reason.get("coding", ()))


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


# ---------------------------------------------------------------- what follows from a move


def _tell_interim_replies(case: Case, before: Json, after: Json) -> None:
    """Every interim reply that the therapist has added as output goes to the referrer."""
    old = len(tasks.outputs_of(before, "interim-reply", case.canonical))
    for output in tasks.outputs_of(after, "interim-reply", case.canonical)[old:]:
        if output.get("valueString"):
            case.tell(MessageCategory.INTERIM_REPLY, text=output["valueString"])


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
    case.tell(MessageCategory.INFORMATION_REQUEST, text=reason_text(after))


def _rejected(case: Case, _before: Json, after: Json) -> None:
    case.tell(MessageCategory.RETURNED, text=reason_text(after))


def _cancelled(case: Case, before: Json, after: Json) -> None:
    by_requester = case.caller.organisation == case.row.organisation
    end_treatment(case, "revoked", "Remissens uppgift är avbruten.")
    if by_requester:
        case.tell(MessageCategory.WITHDRAWAL_CONFIRMED)
    elif before["status"] != "cancelled":
        case.tell(MessageCategory.DISCONTINUED, text=reason_text(after))


def _failed(case: Case, _before: Json, after: Json) -> None:
    end_treatment(case, "revoked", "Behandlingen är avbruten.")
    case.tell(MessageCategory.DISCONTINUED, text=reason_text(after))


def _completed(case: Case, _before: Json, after: Json) -> None:
    close_with_reply(case)
    end_treatment(case, "completed", "Behandlingen är avslutad.")
    if posted_final_reply(case) is None:
        case.tell(MessageCategory.FINAL_REPLY, text=final_reply_text(after, case) or "")


def _abort_accepted(case: Case, _before: Json, after: Json) -> None:
    cancel_withdrawn(case, "Återkallad av remittenten; avbrottet är godtaget av behandlaren.")
    case.tell(MessageCategory.WITHDRAWAL_CONFIRMED, text=reason_text(after))


def _abort_rejected(case: Case, _before: Json, after: Json) -> None:
    task = case.task
    if tasks.business_status_of(task, case.canonical) == "withdrawal-requested":
        case.put(tasks.changed(task, case.at, businessStatus=None))
    case.tell(MessageCategory.WITHDRAWAL_REFUSED, text=reason_text(after))


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
    """The other team accepts: the referral's Task and its open child Tasks are theirs."""
    team = team_of(case.house, tasks.owner_of(after))
    assert team is not None  # noqa: S101  checked when the take-over was made
    before = case.task
    case.put(tasks.changed(before, case.at, owner={"reference": team_reference(team.id)}))
    reroute(case, before)


def _not_taken_over(case: Case, _before: Json, after: Json) -> None:
    case.note(f"Övertagandet avböjdes: {reason_text(after)}")


_Effect = Callable[[Case, Json, Json], None]

_EFFECTS: Mapping[tuple[TaskKind, str], _Effect] = {
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


def _stranger(caller: Caller) -> Issue:
    return error(
        IssueCode.FORBIDDEN,
        None,
        "Uppgiften ägs inte av ditt team och remissen är inte din enhets.",
        f"caller {caller.label!r} is neither the owner's team nor the requester's organisation",
    )


def _no_reply() -> Issue:
    return error(
        IssueCode.REQUIRED,
        "Task.output",
        "Ett svar till remittenten behövs för att avsluta: output final-reply, eller en Communication final-reply.",
        "completing needs an output of type final-reply, or a Communication final-reply with partOf this Task",
    )
