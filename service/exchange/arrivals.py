"""ServiceRequests that appear on the external server: taken in and joined, or set aside and told of, never ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from fhir_mappings.issues import Issue
from fhir_mappings.records import HsaId, Reference
from service.access.caller import referrer_of
from service.exchange.client import Permanent
from service.exchange.deliver import Deliverer
from service.exchange.foreign import Foreign, Standings
from service.exchange.original import Known
from service.exchange.poll import Change, change_of
from service.exchange.reader import Away, Reader
from service.exchange.take_in import (
    VIA,
    Gathered,
    digest,
    gather,
    id_for,
    order_url,
    providers,
    take_in,
    unreadable_of,
)
from service.referral.house import House
from service.referral.journey.elsewhere import collected, end_set_aside, set_aside
from service.referral.lookup import EVIDENCE
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import CollectionState, Outcome, Quarantined

_HELD_BACK = timedelta(minutes=10)
_ENDED = ("revoked", "entered-in-error", "completed")
_MENDED = "Remissen är rättad och mottagen."
_TAKEN_BACK = "Remissen är återkallad på den externa servern."
OTHERS = ("Patient", "Practitioner", *EVIDENCE)
"""What belongs to one referral or one unit: never shared with another's, whatever stands for it already."""


@dataclass(frozen=True)
class Arrivals:
    """Takes in what is new."""

    house: House
    deliverer: Deliverer
    state: CollectionState
    reader: Reader

    def arrive(self, change: Change, beside: Sequence[Change] = ()) -> Outcome | None:
        """A ServiceRequest with one of our programmes that nothing here stands for, and evidence that is based on it.
        None where there is nothing to do. Raises Away, and Refusal when the database cannot take it now.
        """
        status = change.resource.get("status")
        if status == "draft":
            return None
        if status in _ENDED:
            return self._gone(change.id)
        referral_id = self.referral_of(change.id)
        with self.deliverer.exchange.held(f"referral {referral_id}") as held:
            if held is None:
                raise Away
            gathered = self.gather(change, leave=OTHERS, beside=beside)
            # until it is joined, its delivery would make a second one over there
            self.state.hold_back(referral_id, self.deliverer.clock() + _HELD_BACK)
            try:
                taken = take_in(self.house, gathered, self.reader.base_url, providers(self.house))
            except Refusal as refusal:
                self.state.drop(referral_id)
                if refusal.kind is Kind.UNAVAILABLE:
                    raise
                return self.set_aside(change, gathered, refusal.issues)
            self.state.join(taken.joined, taken.referral_id)
            collected(
                self.house,
                referrer_of(HsaId(taken.organisation), VIA),
                taken.referral_id,
                resource=f"ServiceRequest/{change.id}",
                version=change.version,
                new=True,
            )
            self.state.drop(referral_id)
            self.state.release(taken.referral_id, self.deliverer.clock())
        self.wake(taken.referral_id)
        self.mended(change.id)
        return Outcome.TAKEN

    def again(self, quarantined: Quarantined) -> Outcome | None:
        """Try once more what could not be read: something that it refers to may have been mended."""
        read = self.reader.certain("ServiceRequest", quarantined.remote_id)
        if isinstance(read, Permanent):
            return self._gone(quarantined.remote_id)
        change = change_of(read.resource)
        if change is None:
            raise Away
        key = ("ServiceRequest", quarantined.remote_id)
        if Standings(self.state, [key]).of(key) is not None:  # an amendment: the next version shows it
            self.state.quarantine(quarantined.remote_id, quarantined.id, quarantined.told, self.deliverer.clock())
            return None
        outcome = self.arrive(change)
        if outcome is not None:
            self.state.record(key, change.version, outcome, self.deliverer.clock())
        return outcome

    def referral_of(self, remote_id: str) -> str:
        """The id that the referral of a ServiceRequest there has here, or will have."""
        return id_for(order_url(self.reader.base_url, remote_id))

    def gather(
        self, change: Change, leave: Sequence[str], referral_id: str | None = None, beside: Sequence[Change] = ()
    ) -> Gathered:
        """The ServiceRequest with what it refers to. Raises Away."""
        foreign = Foreign(self.state, self.reader.base_url)
        row = self.house.store.view().referral(referral_id) if referral_id else None

        def standing(references: Sequence[Reference]) -> Mapping[str, str]:
            return foreign.known(references, self.house.canonical, row, leave).ours

        return gather(
            self.reader,
            change,
            standing,
            lambda ours: Known(self.house.canonical, self.reader.base_url, ours),
            beside,
        )

    def set_aside(self, change: Change, gathered: Gathered, issues: Sequence[Issue]) -> Outcome | None:
        """Tell of what cannot be taken in, once for each thing that there is to tell."""
        found = unreadable_of(self.house, gathered, self.reader.base_url, issues)
        before = self.state.quarantined(change.id)
        told = digest(found)
        news = before is None or before.ended_at is not None or before.told != told
        id_ = id_for(f"unreadable {found.about}")
        if news:
            set_aside(self.house, found, id_)
        self.state.quarantine(change.id, id_, told, self.deliverer.clock())
        return Outcome.SET_ASIDE if news else None

    def mended(self, remote_id: str) -> None:
        """What was set aside has been taken in."""
        self._end(remote_id, "completed", _MENDED)

    def wake(self, referral_id: str) -> None:
        """Have it delivered."""
        lock = f"deliver:{referral_id}"
        with self.house.store.change() as change:
            change.defer("deliver_referral", {"referral_id": referral_id}, queueing_lock=lock, lock=lock)

    def _gone(self, remote_id: str) -> Outcome | None:
        return Outcome.TAKEN if self._end(remote_id, "cancelled", _TAKEN_BACK) else None

    def _end(self, remote_id: str, status: str, text: str) -> bool:
        quarantined = self.state.quarantined(remote_id)
        if quarantined is None or quarantined.ended_at is not None:
            return False
        end_set_aside(self.house, quarantined.id, status, text)
        self.state.end_quarantine(remote_id, self.deliverer.clock())
        return True
