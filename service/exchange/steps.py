"""What was done to one referral on the external server, step by step, done here by the same journey functions.

A Task's moves are walked through in the server's history where it keeps one, because between two looks a Task may have
been accepted and started. A step that breaks a rule is told on the Task, and our version is written back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Json
from service.exchange import evidence_there, messages_there, orders_there, tasks_there
from service.exchange.both_sides import BothSides, Step, check
from service.exchange.foreign import Standings
from service.exchange.poll import Change, change_of
from service.referral.journey.elsewhere import (
    answered_set_aside,
    progress_set_aside,
    turn_down,
    turn_down_set_aside,
)
from service.referral.lookup import EVIDENCE
from service.referral.refusal import Refusal
from service.store.collection_state import Outcome, Standing
from service.store.records import Stored

_NEW: Mapping[str, Callable[[BothSides, Step], Outcome | None]] = {
    "Task": tasks_there.made,
    "Communication": messages_there.posted,
    **dict.fromkeys(EVIDENCE, evidence_there.added),
}
_CHANGED: Mapping[str, Callable[[BothSides, Step, Standing], Outcome | None]] = {
    "ServiceRequest": orders_there.amended,
    "Communication": messages_there.edited,
    **dict.fromkeys(EVIDENCE, evidence_there.changed),
}
"""By type, what was made there and is not ours to write."""

_NOT_TO_BE_CHANGED = error(
    IssueCode.BUSINESS_RULE,
    None,
    "Det är en kopia; bara det som uppgiftens ägare får ändra på uppgiften tas emot därifrån.",
    "a copy of ours was changed there; ours is written back",
)


@dataclass(frozen=True)
class Steps:
    """Carries out the steps of one referral, by the holder of its lock."""

    sides: BothSides

    def of(self, change: Change) -> list[Step]:
        """Every version since what we last knew, as it is now; none for what we know already. Raises Away."""
        sides = self.sides
        standing = Standings(sides.state, [change.key]).of(change.key, sides.referral_id)
        if standing is not None and standing.shows(change.version):
            return []
        past = self._past(change, standing) if change.type == "Task" and standing else None
        if past is not None:
            walked = [change_of(version) for version in past]
            return [Step(later, standing, past[i]) for i, later in enumerate(walked[1:]) if later is not None]
        now = sides.read(*change.key)
        return [Step(now, standing)] if now is not None and not (standing and standing.shows(now.version)) else []

    def _past(self, change: Change, standing: Standing) -> list[Json] | None:
        """The versions there since the last one whose content we know; None where the server does not tell."""
        sides = self.sides
        if standing.copy.acknowledged:
            version = standing.copy.remote_version
            return sides.reader.history("Task", change.id, version) if version else None
        stored = sides.stored(standing.copy.reference)
        past = sides.reader.history("Task", change.id, None) or []
        ours = [i for i, version in enumerate(past) if sides.shown(stored, version)]
        if not ours:
            return None
        # what we said last is looked at too: from now on it is known
        return [past[ours[-1]], *past[ours[-1] :]]

    def carry_out(self, step: Step) -> Outcome | None:
        """Do it here; None where there is nothing to do. Raises Away, StaleVersion and StoreUnavailable."""
        sides, standing, type_ = self.sides, step.standing, step.change.type
        if sides.known_row is None:
            return self._of_set_aside(step)
        if standing is None:
            make = _NEW.get(type_)
            return make(sides, step) if make else None
        if type_ == "Task":
            return tasks_there.moved(sides, step, standing)
        if standing.is_theirs:
            change = _CHANGED.get(type_)
            return change(sides, step, standing) if change else None
        return self._overruled(step, standing)

    def _overruled(self, step: Step, standing: Standing) -> Outcome | None:
        """A copy that nobody there may change: ours is written back."""
        sides, reference = self.sides, standing.copy.reference
        stored = sides.stored(reference)
        echo = sides.shown(stored, step.change.resource)
        if echo is None:
            somebody = sides.owner_of(sides.task())
            turn_down(sides.house, somebody, reference, _called(stored.type), [_NOT_TO_BE_CHANGED])
        sides.adopt(step, reference, echo)
        return None if echo else Outcome.TURNED_DOWN

    def _of_set_aside(self, step: Step) -> Outcome | None:
        """About a referral that could not be read: coordination may close its Task, and anybody may answer."""
        sides = self.sides
        if step.standing is None:
            return self._answered(step)
        reference = step.standing.copy.reference
        stored = sides.stored(reference)
        echo = sides.shown(stored, step.change.resource)
        outcome = None if echo else self._changed_set_aside(step, stored)
        sides.adopt(step, reference, echo)
        return outcome

    def _changed_set_aside(self, step: Step, stored: Stored) -> Outcome:
        sides = self.sides
        issues: Sequence[Issue] = [_NOT_TO_BE_CHANGED]
        if stored.type == "Task":
            sent = {**sides.original(step.change.resource), "id": stored.id}
            try:
                check(sent)
                with sides.house.store.change() as change:
                    progress_set_aside(sides.house, change, sides.owner_of(stored.content), sent)
            except Refusal as refusal:
                issues = refusal.issues
            else:
                return Outcome.TAKEN
        turn_down_set_aside(sides.house, sides.referral_id, _called(stored.type), issues)
        return Outcome.TURNED_DOWN

    def _answered(self, step: Step) -> Outcome | None:
        """A message about it, for coordination to read."""
        if step.change.type != "Communication" or step.change.resource.get("status") != "completed":
            return None
        told = answered_set_aside(self.sides.house, self.sides.referral_id, self.sides.original(step.change.resource))
        return Outcome.TAKEN if told else None


def _called(type_: str) -> str:
    return {"Task": tasks_there.MOVE, "Communication": messages_there.CHANGE}.get(type_, f"Ändringen av {type_}")
