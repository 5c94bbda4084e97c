"""A Task was moved or made on the external server: the same is done here, by the same rules, as its owner's."""

from fhir_mappings import task as tasks
from fhir_mappings.records import Json, Reference
from service.exchange.both_sides import BothSides, Step, check
from service.exchange.evidence_there import with_evidence
from service.exchange.moves import applied, changes_of, is_said, way
from service.referral.journey.delegate import add_task
from service.referral.journey.progress import progress
from service.store.collection_state import Outcome, Standing
from service.store.exchange_state import OVERRULED

MOVE = "Ändringen av uppgiften"


def moved(sides: BothSides, step: Step, standing: Standing) -> Outcome | None:
    """A new version of a Task that stands for ours; None where it says nothing that ours does not."""
    reference = standing.copy.reference
    stored, after = sides.stored(reference), sides.original(step.change.resource)
    echo = sides.shown(stored, step.change.resource)
    if echo is not None:
        sides.adopt(step, reference, echo)
        return None
    before = sides.original(step.before) if step.before is not None else sides.last_known(stored, standing)
    changes = changes_of(before, after)
    if "output" in changes:
        changes = changes_of(before, with_evidence(sides, step.change.resource))
    if is_said(stored.content, applied(stored.content, changes)):
        sides.adopt(step, reference)
        return None

    def move() -> None:
        current = stored.content
        wanted = applied(current, changes)["status"]
        if step.before is None and current["status"] != wanted:
            # nobody tells which states it went through
            kind = tasks.kind_of(current, sides.house.canonical)
            between = way(kind, current["status"], wanted, started=sides.has_started) if kind else ()
            for state in between:
                current = progress(sides.house, sides.owner_of(current), {**current, "status": state}).content
        now = applied(current, changes)
        check(now)
        progress(sides.collecting(step.change, reference), sides.owner_of(current), now)

    return sides.changed(step, sides.owner_of(stored.content), reference, MOVE, move)


def made(sides: BothSides, step: Step) -> Outcome | None:
    """A Task that somebody has added there; None for a draft."""
    if step.change.resource.get("status") == "draft":
        return None
    sent = sides.original(step.change.resource)
    caller = sides.owner_of(sides.task())

    def add() -> Reference:
        check(sent)
        return add_task(sides.making(step.change), caller, _without_id(sent)).reference

    return sides.made(step, caller, sent, "Den nya uppgiften", add, acknowledged=OVERRULED)


def _without_id(sent: Json) -> Json:
    return {name: value for name, value in sent.items() if name != "id"}
