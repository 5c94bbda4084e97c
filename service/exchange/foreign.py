"""What of the external server stands for what of ours, and which referral something there belongs to."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fhir_mappings.records import Reference
from fhir_mappings.terminology import Canonical
from service.exchange.original import Known, literals
from service.exchange.poll import Change
from service.exchange.translate import local_reference
from service.store.collection_state import Collected, CollectionState, Key, Standing
from service.store.records import ReferralRow

_BELONGS_BY: Mapping[str, tuple[str, ...]] = {
    "Communication": ("partOf", "basedOn", "inResponseTo"),
    "Task": ("partOf", "focus", "basedOn"),
    "Observation": ("basedOn",),
    "QuestionnaireResponse": ("basedOn",),
}
"""By which references something there belongs to a referral, the strongest first."""


class Standings:
    """What stands for ours among some resources there, asked once."""

    def __init__(self, state: CollectionState, keys: Collection[Key]) -> None:
        self._found: dict[Key, list[Standing]] = {}
        for key, standing in state.standing_for(keys):
            self._found.setdefault(key, []).append(standing)

    def of(self, key: Key, referral_id: str | None = None) -> Standing | None:
        """What it stands for; of several, that of the referral."""
        found = self._found.get(key, [])
        return next((s for s in found if s.referral_id == referral_id), found[0] if found else None)

    def all(self, key: Key) -> list[Standing]:
        """Everything that it stands for."""
        return self._found.get(key, [])

    def shows(self, key: Key, version: str) -> bool:
        """True when it is as we last knew it."""
        return any(standing.shows(version) for standing in self._found.get(key, ()))


@dataclass(frozen=True)
class Foreign:
    """The other side, seen from ours."""

    state: CollectionState
    base: str

    def referrals_of(self, changes: Sequence[Change]) -> Iterator[tuple[Change, str | None, Collected | None]]:
        """Each change with the referral that it belongs to, None for what concerns nobody here; or with the
        ServiceRequest that it belongs to and that has not been taken in.
        """
        named = {change.key: list(self.belongs_to(change)) for change in changes}
        keys = {key for keys in named.values() for key in keys} | {change.key for change in changes}
        standings = Standings(self.state, keys)
        orders = self.state.collected([key for key in keys if key[0] == "ServiceRequest" and not standings.of(key)])
        for change in changes:
            found = (standings.of(key) for key in (change.key, *named[change.key]))
            referral = next((s.referral_id for s in found if s is not None and s.referral_id is not None), None)
            order = next((orders[key] for key in named[change.key] if key in orders), None)
            yield change, referral, order if referral is None else None

    def known(
        self,
        references: Collection[Reference],
        canonical: Canonical,
        row: ReferralRow | None,
        leave: Collection[str] = (),
    ) -> Known:
        """What these stand for, seen from a referral: of one Patient or Practitioner there its own unit's, of the rest
        its own. Types in `leave` stand for nothing.
        """
        wanted = [reference for reference in references if reference.partition("/")[0] not in leave]
        standings = Standings(self.state, [key_of(reference) for reference in wanted])
        own_patient = f"Patient/{row.patient}" if row else None
        ours: dict[str, str] = {}
        for reference in wanted:
            found = standings.all(key_of(reference))
            if not found:
                continue
            own = [
                s
                for s in found
                if s.copy.reference == own_patient or (row and (s.referral_id == row.id or s.unit == row.organisation))
            ]
            ours[reference] = (own or found)[0].copy.reference
        return Known(canonical, self.base, ours)

    def belongs_to(self, change: Change) -> Iterator[Key]:
        """What it refers to as what it is about, the strongest first."""
        for name in _BELONGS_BY.get(change.type, ()):
            for literal in literals(change.resource, name):
                there = local_reference(literal, self.base)
                if there is not None:
                    yield key_of(there)


def key_of(reference: Reference) -> Key:
    """(type, id) of `Type/id`"""
    type_, _, id_ = reference.partition("/")
    return type_, id_
