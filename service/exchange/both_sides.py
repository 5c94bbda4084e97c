"""One referral as it is here and on the external server, in the hands of whoever holds its lock."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from fhir_mappings import task as tasks
from fhir_mappings.issues import Issue, is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json, Reference, Team
from service.access.caller import Caller, referrer_of, therapist_of
from service.exchange.client import Answered
from service.exchange.deliver import Deliverer
from service.exchange.foreign import Foreign, key_of
from service.exchange.original import absolute, literals, their_references, to_original, without_server_elements
from service.exchange.poll import Change, change_of
from service.exchange.reader import Reader
from service.exchange.take_in import VIA, id_for, making_first, there
from service.exchange.transaction import leading_to
from service.exchange.translate import Anchors, Peers, is_same, local_references, to_copy
from service.referral.house import House
from service.referral.journey.elsewhere import collected, turn_down
from service.referral.journey.ownership import team_of
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import CollectionState, Outcome, Standing
from service.store.exchange_state import Copy
from service.store.records import ReferralRow, Stored

_TREATED = ("accepted", "in-progress", "completed", "failed")


@dataclass(frozen=True, slots=True)
class Step:
    """One version of something there."""

    change: Change
    standing: Standing | None
    """What it stands for here."""
    before: Json | None = None
    """The version before it, where the server keeps them."""


@dataclass
class BothSides:
    """What each step of one referral needs to know, and the ways in which it may end."""

    house: House
    deliverer: Deliverer
    state: CollectionState
    reader: Reader
    referral_id: str

    # ------------------------------------------------------------ how a step ends

    def made(
        self, step: Step, caller: Caller, sent: Json, what: str, make: Callable[[], Reference], *, acknowledged: int
    ) -> Outcome:
        """Something new there: made here once, and joined, so that it is not copied back. `acknowledged` says whether
        ours is written over it.
        """
        id_ = self.id_of(step.change)
        joined = [Copy(Reference(f"{step.change.type}/{id_}"), step.change.id, step.change.version, acknowledged)]

        def join() -> None:
            self.state.join(joined, self.referral_id)

        if self.house.store.view().get(step.change.type, id_) is not None:
            join()  # it was made before this stopped half-way
            return Outcome.TAKEN
        return self._tried(step, caller, self._about(sent), what, do=make, done=join, settles=False)

    def changed(self, step: Step, caller: Caller, reference: Reference, what: str, do: Callable[[], object]) -> Outcome:
        """Something there that stands for ours was changed: the same is done here, or ours is written back."""

        def adopt() -> None:
            self.adopt(step, reference)

        return self._tried(step, caller, reference, what, do=do, done=adopt, settles=True)

    def adopt(self, step: Step, reference: Reference, shows: Stored | None = None) -> None:
        """The copy is known as it is now; it shows that version of ours, or else is written over."""
        if shows is None:
            self.state.adopt(reference, step.change.version)
        else:
            self.state.adopt(reference, step.change.version, shows.version)

    def _tried(
        self,
        step: Step,
        caller: Caller,
        reference: Reference,
        what: str,
        *,
        do: Callable[[], object],
        done: Callable[[], None],
        settles: bool,
    ) -> Outcome:
        try:
            do()
        except Refusal as refusal:
            if refusal.kind in (Kind.UNAVAILABLE, Kind.STALE):
                raise
            turn_down(self.house, caller, reference, what, refusal.issues)
            if settles:
                done()
            return Outcome.TURNED_DOWN
        done()
        self.journal(step, caller)
        return Outcome.TAKEN

    def journal(self, step: Step, caller: Caller) -> None:
        """A row in the journal: this was done there, and has been done here."""
        change = step.change
        collected(self.house, caller, self.referral_id, resource=f"{change.type}/{change.id}", version=change.version)

    # ------------------------------------------------------------ what there is

    @cached_property
    def known_row(self) -> ReferralRow | None:
        """The referral; None for one that could not be read. Its ids do not change while it is worked on, but for the
        current Task.
        """
        return self.house.store.view().referral(self.referral_id)

    @cached_property
    def _anchors(self) -> Anchors | None:
        return self.deliverer.anchors(self.referral_id)

    @property
    def _anchored(self) -> tuple[Reference, ...]:
        anchors = self._anchors
        return tuple(r for r in (anchors.patient, anchors.requester) if r) if anchors else ()

    def row(self) -> ReferralRow:
        """The referral as it is now."""
        row = self.house.store.view().referral(self.referral_id)
        assert row is not None  # noqa: S101 - asked before
        return row

    def task(self) -> Json:
        """The referral's current Task."""
        return self.stored(Reference(f"Task/{self.row().task}")).content

    def stored(self, reference: Reference) -> Stored:
        """A resource of ours that something there stands for."""
        stored = self.house.store.view().get(*key_of(reference))
        assert stored is not None  # noqa: S101 - nothing is ever deleted
        return stored

    def original(self, resource: Json) -> Json:
        """A resource of theirs as it would stand here."""
        references = their_references(resource, self.reader.base_url)
        known = Foreign(self.state, self.reader.base_url).known(references, self.house.canonical, self.known_row)
        return to_original(resource, known)

    def last_known(self, stored: Stored, standing: Standing) -> Json:
        """What the copy last showed, as far as we know."""
        version = self.house.store.view().version(stored.type, stored.id, standing.copy.acknowledged)
        return (version or stored).content

    def shown(self, stored: Stored, copy: Json) -> Stored | None:
        """The version of ours that a copy there shows, newest first; None when it says what we never said."""
        versions = self.house.store.view().history(stored.type, stored.id)
        return next((version for version in versions if self.is_shown(version, copy)), None)

    def is_shown(self, version: Stored, copy: Json) -> bool:
        """True when the copy is what we would send now, or what we would have: references may have been logical."""
        base = self.reader.base_url
        named = local_references(version.content, self.deliverer.own_base)
        copies = {known.reference: known for known in self.state.copies([*named, *self._anchored])}
        targets = leading_to(copies, (), self.house.canonical)
        peers = Peers(self.house.canonical, targets, self._anchors, self.deliverer.own_base, base)
        if is_same(to_copy(version.content, peers), copy, base):
            return True
        return is_same(without_server_elements(version.content), without_server_elements(self.original(copy)), base)

    def read(self, type_: str, id_: str) -> Change | None:
        """Something there as it is now; None when it is not there, or has no version. Raises Away."""
        found = self.reader.certain(type_, id_)
        return change_of(found.resource) if isinstance(found, Answered) else None

    @property
    def has_started(self) -> bool:
        """True from the start of the treatment on."""
        plans = [s.content for s in self.house.store.view().of_referral(self.referral_id) if s.type == "CarePlan"]
        return any(plan["status"] in ("active", "on-hold") for plan in plans)

    # ------------------------------------------------------------ who

    def owner_of(self, task: Json) -> Caller:
        """Whoever moves a Task there counts as its owner."""
        team = team_of(self.house, tasks.owner_of(task))
        return therapist_of(team.id if team else self.house.pack.coordination, VIA)

    def referrer(self) -> Caller:
        """The referring unit."""
        return referrer_of(HsaId(self.row().organisation), VIA)

    def informant(self) -> Caller:
        """Who gives evidence: the referrer until the referral is accepted, then the team that treats the patient."""
        task = self.task()
        return self.owner_of(task) if task["status"] in _TREATED or self.has_started else self.referrer()

    def _about(self, sent: Json) -> Reference:
        """Where it is told when something does not stand: the Task that it hangs on, else the referral's."""
        view = self.house.store.view()
        for literal in literals(sent, "partOf"):
            row = view.referral_of(*key_of(Reference(literal))) if literal.startswith("Task/") else None
            if row is not None and row.id == self.referral_id:
                return Reference(literal)
        return Reference(f"Task/{self.row().task}")

    def making(self, change: Change) -> House:
        """The house, which makes of this what it always makes of it."""
        made = Reference(f"{change.type}/{self.id_of(change)}")
        return making_first(self.collecting(change, made), self.id_of(change))

    def collecting(self, change: Change, reference: Reference) -> House:
        """The house, which knows that what it stores of this resource is what was found there."""
        url = absolute(f"{change.type}/{change.id}", self.reader.base_url)
        return replace(self.house, sources={reference: there(url, change.resource)})

    def id_of(self, change: Change) -> str:
        """The id here of what was made there."""
        return id_for(absolute(f"{change.type}/{change.id}", self.reader.base_url))


def team_caller(team: Team) -> Caller:
    """A therapist of the team, who works on the external server."""
    return therapist_of(team.id, VIA)


def check(sent: Json) -> None:
    """What comes by HTTP is checked against R4 before anything else; so is this. Raises Refusal."""
    wrong: list[Issue] = [issue for issue in validate(sent) if is_error(issue)]
    if wrong:
        raise Refusal(Kind.UNREADABLE, wrong)
