"""One round of a delivery: what is shared first, then the patient, then the referral's own resources together.

Before anything is sent whose earlier fate is not known, the copies are looked up by our key and compared with what we
ever said: an answer that was lost makes no second copy, and what somebody did over there is never written over.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.client import Answered, FhirClient, Found, Permanent, Reason, Transient
from service.exchange.transaction import found_copy, leading_to, receipts, to_transaction
from service.exchange.translate import (
    Anchors,
    Peers,
    carries_key,
    identity_choices,
    is_same,
    key_parameter,
    local_references,
    national_identities,
    to_copy,
)
from service.store.exchange_state import Copy, Held
from service.store.records import Stored

Failure = Transient | Permanent

_ONCE_MORE = (Reason.CONFLICT, Reason.RACE)
_PAUSE = (0.05, 0.25)
"""Seconds before what met somebody else's transaction is tried again."""


@dataclass(frozen=True, slots=True)
class Load:
    """A referral as it is here, and what it refers to, each in the order of the Bundle."""

    own: tuple[Stored, ...]
    shared: tuple[Stored, ...]
    patients: tuple[Stored, ...]
    anchors: Anchors

    @property
    def all(self) -> tuple[Stored, ...]:
        """Everything that a reference may lead to."""
        return (*self.patients, *self.shared, *self.own)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a round achieved."""

    delivered: int
    """How many of the referral's own resources the server is now known to show."""
    complete: bool
    """False when another round is needed, because something was learnt that changes what is to be sent."""


@dataclass
class Handover:
    """The rounds of one delivery, by the holder of the referral's lock."""

    held: Held
    client: FhirClient
    canonical: Canonical
    clock: Callable[[], datetime]
    history: Callable[[str, str], Sequence[Stored]]
    """All versions of a resource of ours, newest first."""
    referral_id: str
    unsure: bool
    """True while something may have been carried out over there that we do not know of."""
    own_base: str | None = None
    _locks: list[str] = field(default_factory=list)
    _known: dict[Reference, Copy] | None = None
    """The copies, as long as nobody else can have learnt of one that matters here."""
    _unseen: bool = False
    """True while a patient is to be created whom nobody has looked for."""
    _looks: bool = False
    """True once such a transaction was refused: perhaps there are several."""

    def send(self, load: Load) -> Progress | Failure:
        """Bring the copies up to `load`; Progress, or why it failed. What it locks stays so until the next round, or
        until the referral is let go of.
        """
        if self._locks:
            self.held.unlock(*self._locks)
            self._locks.clear()
        self._known = None
        before = _outdated(load.own, self._copies(load))
        if not before:
            return Progress(0, complete=True)
        new_patients = self._send_shared(load) or self._find_patients(load)
        if isinstance(new_patients, Transient | Permanent):
            return new_patients
        if self.unsure:
            problem = self._settle(before, load)
            if problem is not None:
                return problem
            self.unsure = False
        copies = self._copies(load)
        changes = _outdated(load.own, copies)
        settled = len(before) - len(changes)
        outcome = self._transact(changes, new_patients, copies, load) if changes else 0
        if isinstance(outcome, int):
            return Progress(settled + outcome, complete=not self.unsure)
        problem = self._after_refusal(outcome, changes, load)
        if problem is None:  # something was learnt, or two were at it at the same moment
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - jitter, no secret
            return Progress(settled, complete=False)
        return problem

    def _after_refusal(self, refusal: Failure, changes: Sequence[Stored], load: Load) -> Failure | None:
        """Why the referral must wait; None when another round may succeed."""
        if isinstance(refusal, Permanent):
            for patient in load.patients:  # perhaps merged or removed over there: a person's retry looks it up anew
                self._forget(patient.reference)
        match refusal.reason:
            case Reason.CONFLICT if self._unseen:
                self._looks = True
                return None
            case Reason.CONFLICT:
                return self._settle(changes, load)
            case Reason.RACE:
                return None
            case Reason.MISSING_REFERENCE:
                return self._forget_the_gone(load)
        return refusal

    def _forget_the_gone(self, load: Load) -> Failure | None:
        """Something that we refer to is not there: forget the copies that are no longer, so that they are looked up or
        created anew. A dead letter when all of them are there.
        """
        gone = []
        for reference, copy in self._copies(load).items():
            shown = self.client.read(reference.partition("/")[0], copy.remote_id)
            if isinstance(shown, Permanent) and shown.reason is Reason.MISSING:
                gone.append(reference)
            elif isinstance(shown, Transient):
                return shown
        for reference in gone:
            self._forget(reference)
        return None if gone else Permanent(Reason.MISSING_REFERENCE)

    def _send_shared(self, load: Load) -> Failure | None:
        """Directory data that many referrals need. Ours wins over there; and once it is there in any version, trouble
        with it stops no referral.
        """
        outdated = _outdated(load.shared, self._copies(load))
        if not outdated:
            return None
        if not self._lock(*(f"shared {stored.reference}" for stored in outdated)):
            return Transient(Reason.BUSY)
        problem: Failure | None = None
        for look_first in (self.unsure, True):
            if look_first:
                problem = self._settle(_outdated(load.shared, self._copies(load)), load, ours_wins=True)
                if problem is not None:
                    break
            copies = self._copies(load)
            outdated = _outdated(load.shared, copies)
            if not outdated:
                return None
            before = self.unsure
            outcome = self._transact(outdated, (), copies, load)
            if isinstance(outcome, int):
                self.unsure, problem = before, None
                if outcome == len(outdated):
                    return None
                continue
            problem = outcome
            if problem.reason is Reason.MISSING_REFERENCE:
                problem = self._forget_the_gone(load)
            elif problem.reason not in _ONCE_MORE:
                break
        copies = self._copies(load)
        there = all(stored.reference in copies for stored in load.shared)
        tolerable = problem is None or isinstance(problem, Permanent) or problem.reason in _ONCE_MORE
        return None if there and tolerable else problem or Transient(Reason.CONFLICT)

    def _find_patients(self, load: Load) -> list[Stored] | Failure:
        """The patients who are not there and are to be created; those who are, are noted. Held until the round ends,
        so that two units' referrals of one patient do not create them twice.

        A server whose conditional create finds them itself is not asked first, unless something is not as expected.
        """
        copies = self._copies(load)
        unknown = [patient for patient in load.patients if patient.reference not in copies]
        self._unseen = False
        new = []
        for patient in unknown:
            identities = national_identities(patient.content)
            if not identities:
                return Permanent(Reason.UNIDENTIFIED)
            if not self._lock(*(f"patient {kind} {value}" for kind, value in identities)):
                return Transient(Reason.BUSY)
            if patient.reference in self._copies(load):  # somebody else's delivery was a moment earlier
                continue
            as_usual = len(unknown) == 1 and not (self.unsure or self._looks)
            if as_usual and self.client.peer().creates_once:
                self._unseen = True
                return unknown
            answer = self.client.search("Patient", [("identifier", ",".join(identity_choices(identities)))])
            if not isinstance(answer, Found):
                return answer
            matches = [one for one in answer.resources if national_identities(one) & identities]
            if len(matches) > 1 or (matches and answer.more):
                return Permanent(Reason.MULTIPLE_MATCHES)
            copy = found_copy(patient.reference, matches[0], patient.version) if matches else None
            if copy is not None:
                self._learn([copy], load)
            else:
                new.append(patient)
        return new

    def _transact(
        self, changes: Sequence[Stored], patients: Sequence[Stored], copies: Mapping[Reference, Copy], load: Load
    ) -> int | Failure:
        """How many of `changes` the server acknowledged, or why none."""
        peers = self._peers(copies, (*patients, *changes), load)
        bundle = to_transaction(changes, patients, copies, peers, self.client.base_url)
        certain = not self.unsure
        self.held.sending(self.referral_id, self.clock())
        self.unsure = True
        outcome = self.client.transaction(bundle)
        if not isinstance(outcome, Answered):
            self.unsure = not certain or (isinstance(outcome, Transient) and outcome.unanswered)
            return outcome
        told = receipts((*patients, *changes), copies, outcome.resource)
        of_patients, of_changes = told[: len(patients)], told[len(patients) :]
        certainly = (*of_patients, *(receipt for receipt in of_changes if not receipt.existed))
        self._learn([receipt.copy for receipt in certainly if receipt.copy is not None], load)
        acknowledged = sum(receipt.copy is not None and not receipt.existed for receipt in of_changes)
        self.unsure = acknowledged < len(changes)
        return acknowledged

    def _settle(self, unsettled: Sequence[Stored], load: Load, ours_wins: bool = False) -> Failure | None:
        """Look up what the server shows of these, and note which version of ours it is. A copy that says what we never
        said was changed there: a conflict, unless `ours_wins`.
        """
        copies = self._copies(load)
        found: dict[Reference, Json] = {}
        for stored in unsettled:
            shown = self._look_up(stored, copies.get(stored.reference))
            if isinstance(shown, Transient | Permanent):
                return shown
            if shown is not None:
                found[stored.reference] = shown
        there = {reference: copy for reference, shown in found.items() if (copy := found_copy(reference, shown))}
        learnt, changed_there = [], False
        for stored in unsettled:
            copy, known = there.get(stored.reference), copies.get(stored.reference)
            if copy is None or (known and known.acknowledged and known.remote_version == copy.remote_version):
                continue
            said = self._version_shown(stored, found[stored.reference], {**copies, **there}, load)
            if said or ours_wins:
                learnt.append(Copy(copy.reference, copy.remote_id, copy.remote_version, said))
            else:
                changed_there = True
        self._learn(learnt, load)
        return Transient(Reason.CONFLICT) if changed_there else None

    def _look_up(self, stored: Stored, copy: Copy | None) -> Json | Failure | None:
        if copy is not None:
            outcome = self.client.read(stored.type, copy.remote_id)
            return outcome.resource if isinstance(outcome, Answered) else outcome
        answer = self.client.search(stored.type, [key_parameter(stored.reference, self.canonical)])
        if not isinstance(answer, Found):
            return answer
        matches = [one for one in answer.resources if carries_key(one, stored.reference, self.canonical)]
        if len(matches) > 1 or (matches and answer.more):
            return Permanent(Reason.MULTIPLE_MATCHES)
        return matches[0] if matches else None

    def _version_shown(self, stored: Stored, shown: Json, copies: Mapping[Reference, Copy], load: Load) -> int:
        """The newest version of ours that says what the copy shows; 0 when none does."""
        for version in (stored, *self.history(stored.type, stored.id)):
            elsewhere = local_references(version.content, self.own_base) - set(copies)
            peers = self._peers({**copies, **self.held.copies(elsewhere)}, (), load)
            if is_same(to_copy(version.content, peers), shown, self.client.base_url):
                return version.version
        return 0

    def _peers(self, copies: Mapping[Reference, Copy], arriving: Sequence[Stored], load: Load) -> Peers:
        targets = leading_to(copies, arriving, self.canonical)
        return Peers(self.canonical, targets, load.anchors, self.own_base, self.client.base_url)

    def _copies(self, load: Load) -> dict[Reference, Copy]:
        if self._known is None:
            self._known = self.held.copies([stored.reference for stored in load.all])
        return self._known

    def _learn(self, copies: Sequence[Copy], load: Load) -> None:
        if copies:
            self._known = None
            self.held.learnt(copies, {stored.reference: stored.referral_id for stored in load.all})

    def _forget(self, reference: Reference) -> None:
        self._known = None
        self.held.forget(reference)

    def _lock(self, *names: str) -> bool:
        self._known = None  # whoever held it may have learnt something
        self._locks.extend(names)
        return self.held.lock(*names)


def _outdated(resources: Sequence[Stored], copies: Mapping[Reference, Copy]) -> list[Stored]:
    return [
        stored
        for stored in resources
        if stored.reference not in copies or copies[stored.reference].acknowledged < stored.version
    ]
