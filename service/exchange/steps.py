"""What was done to one referral on the external server, step by step, done here by the same journey functions.

A Task's moves are walked through in the server's history where it keeps one, because between two looks a Task may have
been accepted and started. A step that breaks a rule is told on the Task, and our version is written back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from fhir_mappings import task as tasks
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json, Reference, Team
from service.access.caller import Caller, Role
from service.exchange.arrivals import Arrivals
from service.exchange.client import Answered
from service.exchange.deliver import Deliverer
from service.exchange.foreign import Foreign, Standings, key_of
from service.exchange.moves import applied, changes_of, is_said, way
from service.exchange.original import absolute, literals, their_references, to_original, without_server_elements
from service.exchange.poll import Change, change_of
from service.exchange.reader import Reader
from service.exchange.take_in import Away, id_for, making_first, take_in_amendment
from service.referral.house import House
from service.referral.journey.amend import add_evidence, change_evidence
from service.referral.journey.correspond import correspond
from service.referral.journey.delegate import add_task
from service.referral.journey.elsewhere import close_set_aside, collected, turn_down
from service.referral.journey.ownership import team_of
from service.referral.journey.progress import progress
from service.referral.lookup import EVIDENCE
from service.referral.refusal import Kind, Refusal
from service.store.collection_state import CollectionState, Outcome, Standing
from service.store.exchange_state import OVERRULED, THEIRS, Copy
from service.store.records import ReferralRow, Stored

_TREATED = ("accepted", "in-progress", "completed", "failed")
_CALLED = {"Task": "Ändringen av uppgiften", "Communication": "Ändringen av meddelandet"}
_NOT_TO_BE_CHANGED = error(
    IssueCode.BUSINESS_RULE,
    None,
    "Det är en kopia; bara det som uppgiftens ägare får ändra på uppgiften tas emot därifrån.",
    "a copy of ours was changed there; ours is written back",
)
_ORDER_IS_LED = ("subject", "requester", "contained", "supportingInfo", "reasonReference")
"""What a copy of a ServiceRequest may say in other words than ours."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version of something there."""

    change: Change
    standing: Standing | None
    """What it stands for here."""
    before: Json | None = None
    """The version before it, where the server keeps them."""


@dataclass
class Steps:
    """Carries out the steps of one referral, by the holder of its lock."""

    house: House
    deliverer: Deliverer
    state: CollectionState
    reader: Reader
    referral_id: str

    def expand(self, changes: Sequence[Change]) -> list[Step]:
        """Every version since what we last knew, as it is now. Raises Away."""
        standings = Standings(self.state, [change.key for change in changes])
        steps: list[Step] = []
        for change in changes:
            standing = standings.of(change.key, self.referral_id)
            version = standing.copy.remote_version if standing else None
            past = self.reader.history("Task", change.id, version) if change.type == "Task" and version else None
            if past is not None:
                walked = [change_of(resource) for resource in past]
                steps += [Step(later, standing, past[i]) for i, later in enumerate(walked[1:]) if later is not None]
                continue
            now = self._now(change)
            if now is not None and now.version != version:
                steps.append(Step(now, standing))
        return steps

    def carry_out(self, step: Step) -> Outcome | None:
        """Do it here; None where there is nothing to do. Raises Away, StaleVersion and StoreUnavailable."""
        if self.row is None:
            return self._of_set_aside(step)
        standing, type_ = step.standing, step.change.type
        if standing is None:
            make = {"Task": self._new_task, "Communication": self._message}.get(type_, self._evidence)
            return make(step)
        if type_ == "Task":
            change = self._moved
        elif not standing.is_theirs:
            change = self._overruled
        else:
            change = {"ServiceRequest": self._amended, "Communication": self._edited}.get(type_, self._changed_evidence)
        return change(step, standing)

    # ------------------------------------------------------------ Tasks

    def _moved(self, step: Step, standing: Standing) -> Outcome | None:
        reference = standing.copy.reference
        stored, after = self._stored(reference), self._original(step.change.resource)
        echo = self._said(stored, after)
        if echo is not None:
            self.state.adopt(reference, step.change.version, echo.version)
            return None
        before = self._original(step.before) if step.before is not None else self._last_known(stored, standing)
        changes = changes_of(before, after)
        if "output" in changes:
            after = self._with_evidence(step.change.resource)
            changes = changes_of(before, after)
        sent = applied(stored.content, changes)
        if is_said(stored.content, sent):
            self.state.adopt(reference, step.change.version)
            return None

        def move() -> None:
            current = stored.content
            if step.before is None and current["status"] != sent["status"]:
                kind = tasks.kind_of(current, self.house.canonical)
                for state in way(kind, current["status"], sent["status"], started=self._has_started()) if kind else ():
                    current = progress(self.house, self._owner_of(current), {**current, "status": state}).content
            now = applied(current, changes)
            _check(now)
            progress(self.house, self._owner_of(current), now)

        return self._tried(
            step, reference, _CALLED["Task"], move, lambda: self.state.adopt(reference, step.change.version)
        )

    def _new_task(self, step: Step) -> Outcome | None:
        if step.change.resource.get("status") == "draft":
            return None
        sent = self._original(step.change.resource)

        def add() -> Reference:
            _check(sent)
            return add_task(self._making(step), self._owner_of(self._task()), sent).reference

        return self._made(step, sent, "Den nya uppgiften", add, OVERRULED)

    # ------------------------------------------------------------ messages

    def _message(self, step: Step) -> Outcome | None:
        if step.change.resource.get("status") != "completed":
            return None  # not sent yet
        sent = self._original(step.change.resource)
        caller = self._sender_of(sent)

        def tell() -> Reference:
            _check(sent)
            return correspond(self._making(step), caller, without_server_elements(sent)).reference

        # a therapist's message gets what the referrer finds it by; a referrer's is left as it is
        return self._made(step, sent, "Meddelandet", tell, OVERRULED if caller.role is Role.THERAPIST else THEIRS)

    def _edited(self, step: Step, standing: Standing) -> None:
        """The referrer's own message: it was read as it was, and a wrong one is corrected by another."""
        self.state.adopt(standing.copy.reference, step.change.version)

    def _sender_of(self, sent: Json) -> Caller:
        """The team or the referring unit, by the sender, else by what the message hangs on."""
        row = self._row()
        sender = next(literals(sent, "sender"), "")
        team = team_of(self.house, Reference(sender))
        if team is not None:
            return _therapist(team)
        units = {f"Organization/{row.organisation}", self._task().get("requester", {}).get("reference")}
        by_task = any(literal.startswith("Task/") for literal in literals(sent, "partOf"))
        if sender in units or not by_task:
            return self._referrer()
        return self._owner_of(self._task())

    # ------------------------------------------------------------ the order and its evidence

    def _amended(self, step: Step, standing: Standing) -> Outcome | None:
        arrivals = Arrivals(self.house, self.deliverer, self.state, self.reader)
        self._renew_evidence(step.change.resource)
        gathered = arrivals.gather(step.change, leave=(), referral_id=self.referral_id)
        stored = self._stored(standing.copy.reference)
        version = step.change.version
        if not gathered.parts and without_server_elements(gathered.order) == without_server_elements(stored.content):
            self.state.adopt(standing.copy.reference, version)
            return None
        try:
            taken = take_in_amendment(self.house, self._row(), gathered, self.reader.base_url)
        except Refusal as refusal:
            if refusal.kind in (Kind.UNAVAILABLE, Kind.STALE):
                raise
            turn_down(self.house, standing.copy.reference, "Remittentens ändring av remissen", refusal.issues)
            arrivals.set_aside(step.change, gathered, refusal.issues)
            self.state.adopt(standing.copy.reference, version)
            return Outcome.SET_ASIDE
        self.state.join(taken.joined, self.referral_id)
        self.state.adopt(standing.copy.reference, version)
        arrivals.mended(step.change.id)
        self._journal(step)
        return Outcome.TAKEN

    def _renew_evidence(self, order: Json) -> None:
        """What the order refers to may have changed with it."""
        there = their_references(order, self.reader.base_url)
        keys = [key_of(reference) for reference in there if reference.partition("/")[0] in EVIDENCE]
        standings = Standings(self.state, keys)
        for key in keys:
            standing = standings.of(key, self.referral_id)
            if standing is None or not standing.is_theirs:
                continue
            read = self.reader.read(*key)
            change = change_of(read.resource) if isinstance(read, Answered) else None
            if change is not None and change.version != standing.copy.remote_version:
                self._changed_evidence(Step(change, standing), standing)

    def _evidence(self, step: Step) -> Outcome | None:
        if step.change.type not in ("Observation", "QuestionnaireResponse"):
            return None
        sent = self._original(step.change.resource)

        def add() -> Reference:
            _check(sent)
            stored, _ = add_evidence(self._making(step), self._informant(), without_server_elements(sent))
            return stored.reference

        return self._made(step, sent, "Underlaget", add, THEIRS)

    def _changed_evidence(self, step: Step, standing: Standing) -> Outcome | None:
        reference = standing.copy.reference
        sent = {**self._original(step.change.resource), "id": reference.partition("/")[2]}

        def adopt() -> None:
            self.state.adopt(reference, step.change.version)

        if without_server_elements(sent) == without_server_elements(self._stored(reference).content):
            adopt()
            return None

        def change() -> None:
            _check(sent)
            change_evidence(self.house, self._informant(), sent)

        return self._tried(step, reference, "Ändringen av underlaget", change, adopt)

    def _with_evidence(self, task: Json) -> Json:
        """The Task as it would stand here, after what its outputs name and what is not here has been taken in: a rating
        that the therapist has put there.
        """
        row = self._row()
        for output in task.get("output", ()):
            for reference in their_references({"output": output}, self.reader.base_url):
                key = key_of(reference)
                if key[0] not in ("Observation", "QuestionnaireResponse") or Standings(self.state, [key]).all(key):
                    continue
                read = self.reader.read(*key)
                change = change_of(read.resource) if isinstance(read, Answered) else None
                if change is None:
                    continue
                order = {"reference": f"ServiceRequest/{row.service_request}"}
                sent = self._original(change.resource)
                if not any(literal == order["reference"] for literal in literals(sent, "basedOn")):
                    sent["basedOn"] = [*sent.get("basedOn", ()), order]
                self._made(Step(change, None), sent, "Underlaget", partial(self._added, sent, change), THEIRS)
        return self._original(task)

    def _added(self, sent: Json, change: Change) -> Reference:
        _check(sent)
        house = making_first(self.house, self._id_of(change))
        stored, _ = add_evidence(house, self._owner_of(self._task()), without_server_elements(sent))
        return stored.reference

    # ------------------------------------------------------------ what does not stand

    def _overruled(self, step: Step, standing: Standing) -> Outcome | None:
        """A copy that nobody there may change: ours is written back."""
        reference = standing.copy.reference
        stored, after = self._stored(reference), self._original(step.change.resource)
        echo = self._said(stored, after, _ORDER_IS_LED if stored.type == "ServiceRequest" else ())
        if echo is not None:
            self.state.adopt(reference, step.change.version, echo.version)
            return None
        called = _CALLED.get(stored.type, f"Ändringen av {stored.type}")
        turn_down(self.house, reference, called, [_NOT_TO_BE_CHANGED])
        self.state.adopt(reference, step.change.version)
        return Outcome.TURNED_DOWN

    def _of_set_aside(self, step: Step) -> Outcome | None:
        """The Task of a referral that could not be read: coordination may close it."""
        if step.standing is None:
            return None
        reference = step.standing.copy.reference
        stored, after = self._stored(reference), self._original(step.change.resource)
        echo = self._said(stored, after)
        if echo is not None:
            self.state.adopt(reference, step.change.version, echo.version)
            return None
        closed = stored.type == "Task" and close_set_aside(self.house, {**after, "id": stored.id})
        self.state.adopt(reference, step.change.version)
        return Outcome.TAKEN if closed else Outcome.TURNED_DOWN

    # ------------------------------------------------------------ how each is done

    def _made(self, step: Step, sent: Json, what: str, make: Callable[[], Reference], acknowledged: int) -> Outcome:
        """Something new there: made here once, and joined, so that it is not copied back."""
        id_, about = self._id_of(step.change), self._about(sent)
        copy = Copy(Reference(f"{step.change.type}/{id_}"), step.change.id, step.change.version, acknowledged)
        joined = [copy]
        if self.house.store.view().get(step.change.type, id_) is not None:
            self.state.join(joined, self.referral_id)  # it was made before this stopped half-way
            return Outcome.TAKEN
        return self._tried(step, about, what, make, lambda: self.state.join(joined, self.referral_id), new=True)

    def _tried(
        self,
        step: Step,
        reference: Reference,
        what: str,
        do: Callable[[], object],
        done: Callable[[], None],
        *,
        new: bool = False,
    ) -> Outcome:
        try:
            do()
        except Refusal as refusal:
            if refusal.kind in (Kind.UNAVAILABLE, Kind.STALE):
                raise
            turn_down(self.house, reference, what, refusal.issues)
            if not new:
                done()
            return Outcome.TURNED_DOWN
        done()
        self._journal(step)
        return Outcome.TAKEN

    def _journal(self, step: Step) -> None:
        change = step.change
        collected(self.house, self.referral_id, resource=f"{change.type}/{change.id}", version=change.version)

    # ------------------------------------------------------------ what there is

    @cached_property
    def row(self) -> ReferralRow | None:
        """The referral; None for one that could not be read. Its ids do not change while it is worked on, but for the
        current Task, which is asked for anew.
        """
        return self.house.store.view().referral(self.referral_id)

    def _row(self) -> ReferralRow:
        row = self.house.store.view().referral(self.referral_id)
        assert row is not None  # noqa: S101 - asked before
        return row

    def _task(self) -> Json:
        return self._stored(Reference(f"Task/{self._row().task}")).content

    def _stored(self, reference: Reference) -> Stored:
        stored = self.house.store.view().get(*key_of(reference))
        assert stored is not None  # noqa: S101 - nothing is ever deleted
        return stored

    def _original(self, resource: Json) -> Json:
        references = their_references(resource, self.reader.base_url)
        known = Foreign(self.state, self.reader.base_url).known(references, self.house.canonical, self.row)
        return to_original(resource, known)

    def _last_known(self, stored: Stored, standing: Standing) -> Json:
        version = self.house.store.view().version(stored.type, stored.id, standing.copy.acknowledged)
        return (version or stored).content

    def _said(self, stored: Stored, after: Json, ignoring: Sequence[str] = ()) -> Stored | None:
        """The version of ours that the copy shows, newest first; None when it says what we never said."""
        wanted = _comparable(after, ignoring)
        versions = self.house.store.view().history(stored.type, stored.id)
        return next((version for version in versions if _comparable(version.content, ignoring) == wanted), None)

    def _now(self, change: Change) -> Change | None:
        read = self.reader.read(change.type, change.id)
        if isinstance(read, Answered):
            return change_of(read.resource)
        if hasattr(read, "retry_after"):
            raise Away(str(read.reason))
        return None

    def _has_started(self) -> bool:
        plans = [s.content for s in self.house.store.view().of_referral(self.referral_id) if s.type == "CarePlan"]
        return any(plan["status"] in ("active", "on-hold") for plan in plans)

    def _owner_of(self, task: Json) -> Caller:
        """Whoever moves a Task there counts as its owner."""
        team = team_of(self.house, tasks.owner_of(task))
        return Caller(Role.THERAPIST, team=team.id if team else self.house.pack.coordination)

    def _referrer(self) -> Caller:
        return Caller(Role.REFERRER, organisation=HsaId(self._row().organisation))

    def _informant(self) -> Caller:
        """Who gives evidence: the referrer until the referral is accepted, then the team that treats the patient."""
        task = self._task()
        return self._owner_of(task) if task["status"] in _TREATED or self._has_started() else self._referrer()

    def _about(self, sent: Json) -> Reference:
        """Where it is told when something does not stand: the Task that it hangs on, else the referral's."""
        view = self.house.store.view()
        for literal in literals(sent, "partOf"):
            row = view.referral_of(*key_of(Reference(literal))) if literal.startswith("Task/") else None
            if row is not None and row.id == self.referral_id:
                return Reference(literal)
        return Reference(f"Task/{self._row().task}")

    def _making(self, step: Step) -> House:
        return making_first(self.house, self._id_of(step.change))

    def _id_of(self, change: Change) -> str:
        return id_for(absolute(f"{change.type}/{change.id}", self.reader.base_url))


def _therapist(team: Team) -> Caller:
    return Caller(Role.THERAPIST, team=team.id)


def _comparable(resource: Json, ignoring: Sequence[str]) -> Json:
    return {name: value for name, value in without_server_elements(resource).items() if name not in ignoring}


def _check(sent: Json) -> None:
    """What comes by HTTP is checked against R4 before anything else; so is this. Raises Refusal."""
    wrong: list[Issue] = [issue for issue in validate(sent) if is_error(issue)]
    if wrong:
        raise Refusal(Kind.UNREADABLE, wrong)
