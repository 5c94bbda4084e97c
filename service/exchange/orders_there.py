"""The referrer's ServiceRequest was changed or taken back on the external server, where it was posted."""

from service.exchange.arrivals import Arrivals
from service.exchange.both_sides import BothSides, Step
from service.exchange.evidence_there import renew
from service.exchange.moves import is_said
from service.exchange.take_in import take_in_amendment
from service.referral.journey.elsewhere import turn_down
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import Outcome, Standing

CHANGE = "Remittentens ändring av remissen"


def amended(sides: BothSides, step: Step, standing: Standing) -> Outcome | None:
    """A new version, with what it refers to; None where it says what it said. One that does not stand is told on the
    Task, and to whoever posted it. Raises Away, and Refusal when the database cannot take it now.
    """
    reference = standing.copy.reference
    arrivals = Arrivals(sides.house, sides.deliverer, sides.state, sides.reader)
    renew(sides, step.change.resource)
    # the patient comes along: an address may have changed with the order
    gathered = arrivals.gather(step.change, leave=("Patient",), referral_id=sides.referral_id)
    new = [part for part in gathered.parts if part["resourceType"] != "Patient"]
    same = is_said(sides.stored(reference).content, sides.original(step.change.resource))
    if same and not new:
        sides.adopt(step, reference)
        arrivals.mended(step.change.id)
        return None
    try:
        taken = take_in_amendment(sides.house, sides.row(), gathered, sides.reader.base_url)
    except Refusal as refusal:
        if refusal.kind in (Kind.UNAVAILABLE, Kind.STALE):
            raise
        turn_down(sides.house, sides.referrer(), reference, CHANGE, refusal.issues)
        arrivals.set_aside(step.change, gathered, refusal.issues)
        sides.adopt(step, reference)
        return Outcome.SET_ASIDE
    sides.state.join(taken.joined, sides.referral_id)
    sides.adopt(step, reference)
    arrivals.mended(step.change.id)
    sides.journal(step, sides.referrer())
    return Outcome.TAKEN
