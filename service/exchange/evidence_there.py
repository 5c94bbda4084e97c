"""Evidence was added or changed on the external server: ratings and forms, by the referrer or by who treats."""

from functools import partial

from fhir_mappings.records import Json, Reference
from service.access.caller import Caller
from service.exchange.both_sides import BothSides, Step, check
from service.exchange.foreign import Standings, key_of
from service.exchange.original import literals, their_references, without_server_elements
from service.exchange.poll import Change
from service.referral.journey.amend import add_evidence, change_evidence
from service.referral.lookup import EVIDENCE
from service.store.collection_state import Outcome, Standing
from service.store.exchange_state import THEIRS

_RATED = ("Observation", "QuestionnaireResponse")
_WHAT = "Underlaget"
CHANGE = "Ändringen av underlaget"


def added(sides: BothSides, step: Step) -> Outcome | None:
    """New evidence that is based on the ServiceRequest; None for anything else."""
    if step.change.type not in _RATED:
        return None
    return _add(sides, step, sides.informant(), sides.original(step.change.resource))


def changed(sides: BothSides, step: Step, standing: Standing) -> Outcome | None:
    """A new version of evidence that came from there; None where it says what it said."""
    reference = standing.copy.reference
    sent = {**sides.original(step.change.resource), "id": reference.partition("/")[2]}
    if without_server_elements(sent) == without_server_elements(sides.stored(reference).content):
        sides.adopt(step, reference)
        return None
    caller = sides.informant()

    def change() -> None:
        check(sent)
        change_evidence(sides.collecting(step.change, reference), caller, sent)

    return sides.changed(step, caller, reference, CHANGE, change)


def renew(sides: BothSides, order: Json) -> None:
    """What the order refers to may have changed with it. Raises Away."""
    there = their_references(order, sides.reader.base_url)
    keys = [key_of(reference) for reference in there if reference.partition("/")[0] in EVIDENCE]
    standings = Standings(sides.state, keys)
    for key in keys:
        standing = standings.of(key, sides.referral_id)
        if standing is None or not standing.is_theirs:
            continue
        change = sides.read(*key)
        if change is not None and change.version != standing.copy.remote_version:
            changed(sides, Step(change, standing), standing)


def with_evidence(sides: BothSides, task: Json) -> Json:
    """The Task as it would stand here, after what its outputs name and what is not here has been taken in: a rating
    that the therapist has put there. Raises Away.
    """
    for reference in their_references({"output": task.get("output", ())}, sides.reader.base_url):
        key = key_of(reference)
        if key[0] not in _RATED or Standings(sides.state, [key]).all(key):
            continue
        change = sides.read(*key)
        if change is None:
            continue
        order = {"reference": f"ServiceRequest/{sides.row().service_request}"}
        sent = sides.original(change.resource)
        if order["reference"] not in literals(sent, "basedOn"):
            sent["basedOn"] = [*sent.get("basedOn", ()), order]
        _add(sides, Step(change, None), sides.owner_of(sides.task()), sent)
    return sides.original(task)


def _add(sides: BothSides, step: Step, caller: Caller, sent: Json) -> Outcome:
    store = partial(_store, sides, step.change, caller, sent)
    return sides.made(step, caller, sent, _WHAT, store, acknowledged=THEIRS)


def _store(sides: BothSides, change: Change, caller: Caller, sent: Json) -> Reference:
    check(sent)
    stored, _ = add_evidence(sides.making(change), caller, without_server_elements(sent))
    return stored.reference
