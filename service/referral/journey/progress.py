"""A Task is moved: by the therapist who owns it, by the referrer who withdraws, by coordination that routes it.

Contract 7. Every move is checked against the state tables, every other element against what is stored.
"""

from dataclasses import dataclass

from fhir_mappings import task as tasks
from fhir_mappings.elements import child, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json, Reference, TaskKind, Team
from service.access.caller import Caller
from service.access.rights import Actor, actors
from service.access.seeing import is_of_the_team
from service.referral.case import Case
from service.referral.house import House
from service.referral.journey.consequences import (
    EFFECTS,
    final_reply_text,
    posted_final_reply,
    tell_interim_replies,
)
from service.referral.journey.elsewhere import progress_set_aside
from service.referral.journey.opening import open_case
from service.referral.journey.ownership import reroute, team_of
from service.referral.journey.treatment import out_of_turn, unfinished, unready
from service.referral.refusal import Kind, Refusal, stale
from service.referral.states import Denied, Needs, advance
from service.referral.task_guard import guard, is_move
from service.referral.withheld import as_stored
from service.store.records import Stored


def progress(house: House, caller: Caller, sent: Json, if_match: frozenset[int] | None = None) -> Stored:
    """Store a changed Task after checking who, what and whether, with all that the move brings about.

    `sent` is the whole Task as a client PUTs it, valid R4. Raises Refusal: not found, stale, forbidden, invalid.
    """
    reference = Reference(f"Task/{sent['id']}")
    with house.store.change() as change:
        try:
            case = open_case(house, change, caller, reference, "u")
        except Refusal:
            aside = progress_set_aside(house, change, caller, sent, if_match)
            if aside is None:
                raise
            return aside
        current = case.get(reference)
        assert current is not None  # noqa: S101  open_case found it
        check_version(case, reference, if_match)
        if not is_of_the_team(caller):
            sent = as_stored(sent, current, house.pack, house.canonical)
        move = _Move.of(case, current, sent)
        move.check()
        move.carry_out()
        written = case.save()
        stored = written.get(reference) or change.get("Task", sent["id"])
        assert stored is not None  # noqa: S101  it was read under the lock
        return stored


def check_version(case: Case, reference: Reference, if_match: frozenset[int] | None) -> None:
    """A stale If-Match is refused; none at all is fine (most clients send none)."""
    if if_match is not None and case.version(reference) not in if_match:
        raise stale(case.version(reference))


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
    needs: Needs | None = None
    """What the move asks for besides the right to make it."""

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
        denied = None
        if self.is_status_move:
            answer = advance(
                self.kind,
                self.current["status"],
                self.sent["status"],
                self.who,
                started=self._is_referral_task and self.case.has_started,
            )
            denied = answer if isinstance(answer, Denied) else None
            self.needs = answer if isinstance(answer, Needs) else None
        if denied is not None and denied.wrong_actor:
            raise Refusal(Kind.FORBIDDEN, [denied.issue])
        issues = [denied.issue] if denied else []
        issues += guard(self.current, self.sent, self.who, self.case.canonical)
        issues += self._owner_problems()
        issues += self._unmet()
        if issues:
            raise Refusal(Kind.INVALID, issues)

    def carry_out(self) -> None:
        """Store what was sent and do what follows from it."""
        case = self.case
        case.put(self._as_moved())
        if self.changes_team:
            reroute(case, self.current)
        if self._is_referral_task and self._is_current:
            tell_interim_replies(case, self.current, self.sent)
        if not self.is_status_move:
            if is_move(self.current, self.sent):
                case.record("changed", task=f"Task/{self.sent['id']}")
            return
        case.record(
            "moved", task=f"Task/{self.sent['id']}", **{"from": self.current["status"], "to": self.sent["status"]}
        )
        effect = EFFECTS.get((self.kind, self.sent["status"])) if self._is_current else None
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
                if name in sent and sent[name] == self.current.get(name) and not self._still_holds(name):
                    del sent[name]
        if self.is_status_move and self.sent["status"] == "on-hold" and "businessStatus" not in sent:
            sent["businessStatus"] = tasks.business_status("information-requested", self.case.canonical)
        return tasks.changed(sent, self.case.at)

    def _still_holds(self, name: str) -> bool:
        """True for what the move leaves as it was: a reason that it needs too, a referral that nobody has routed yet,
        a withdrawal that nobody has answered.
        """
        if name == "statusReason":
            return self.needs is Needs.REASON
        status = tasks.business_status_of(self.current, self.case.canonical)
        return (status == "needs-routing" and self.sent["status"] == "received") or (
            status == "withdrawal-requested" and tasks.is_open(self.sent)
        )

    def _owner_problems(self) -> list[Issue]:
        if tasks.owner_of(self.sent) == tasks.owner_of(self.current):
            return []
        if self.new_team is None:
            known = ", ".join(f"HealthcareService/{team}" for team in self.case.house.pack.teams)
            return [
                error(
                    IssueCode.VALUE,
                    _OWNER,
                    "Ägaren är inget känt team och ingen av teamens behandlare.",
                    f"owner must be one of {known} or a PractitionerRole of one of these teams",
                )
            ]
        return self._rerouting_problems() if self.changes_team else []

    def _rerouting_problems(self) -> list[Issue]:
        """Why the Task cannot go to another team like this."""
        if not self._is_referral_task:
            return [_FOLLOWS]
        before_acceptance = self.current["status"] in ("requested", "received") or (
            self.current["status"] == "on-hold" and not self.case.has_started
        )
        broken = (
            (not before_acceptance, _BY_TAKE_OVER),
            (self.is_status_move, _REROUTE_ALONE),
            (not tasks.owner_of(self.sent).startswith("HealthcareService/"), _TEAM_FIRST),
        )
        return [issue for is_broken, issue in broken if is_broken]

    def _unmet(self) -> list[Issue]:
        case = self.case
        match self.needs:
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


_OWNER = "Task.owner.reference"

_FOLLOWS = error(
    IssueCode.BUSINESS_RULE,
    _OWNER,
    "Bara remissens egen uppgift kan byta team; de andra följer med den.",
    "only the referral's own Task moves to another team; the others follow it",
)
_BY_TAKE_OVER = error(
    IssueCode.BUSINESS_RULE,
    _OWNER,
    "Efter att remissen accepterats byter den team genom en uppgift take-over som det andra teamet accepterar.",
    "after acceptance another team takes over through a child Task take-over that it accepts",
)
_REROUTE_ALONE = error(
    IssueCode.BUSINESS_RULE,
    _OWNER,
    "Fördela om remissen för sig; det nya teamet flyttar den sedan.",
    "rerouting keeps the status; the new team moves the Task",
)
_TEAM_FIRST = error(
    IssueCode.BUSINESS_RULE,
    _OWNER,
    "Fördela om till teamet; dess behandlare tar sedan remissen själv.",
    "reroute to the other team's HealthcareService; a PractitionerRole of it claims the Task afterwards",
)


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
