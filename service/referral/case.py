"""One referral under its row lock: all that is stored of it, what a change makes of it, and who is told.

A step of the journey opens a Case, changes resources through it, and saves it once: resources, referral row, journal,
deadlines and the delivery job are written in the one transaction of the step.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from fhir_mappings import task as tasks
from fhir_mappings.communication import to_fhir_communication
from fhir_mappings.provenance import Activity, Origin, to_fhir_provenance
from fhir_mappings.records import (
    Finding,
    HsaId,
    Json,
    Message,
    MessageCategory,
    Priority,
    Reach,
    Reference,
    StartMode,
    TaskKind,
    TaskRecord,
    Team,
)
from fhir_mappings.terminology import Canonical
from service.access.caller import Caller, Role
from service.packs.texts import render, task_text
from service.referral.acting import agent_of
from service.referral.house import House, instant
from service.referral.time_limits import first_due, waiting_for
from service.store.change import Change
from service.store.records import Deadline, JournalEntry, NewReferral, Stored, Write

DELIVER = "deliver_referral"
"""Name of the job that wakes the delivery."""

SLUSS_AUTHOR = "Sluss"


class Case:
    """The referral, as stored and as changed so far."""

    def __init__(self, house: House, change: Change, row: NewReferral, caller: Caller, *, new: bool = False) -> None:
        self.house = house
        self.change = change
        self.row = row
        self.caller = caller
        change.on_behalf_of(agent_of(caller))
        self.moment: datetime = house.now()
        self.at = instant(self.moment)
        stored = [] if new else change.of_referral(row.id)
        self._stored: dict[Reference, Stored] = {s.reference: s for s in stored}
        self._now: dict[Reference, Json] = {s.reference: s.content for s in stored}
        self._versions: dict[Reference, int] = {s.reference: s.version for s in stored}
        self._indexed_as: dict[Reference, tuple[tuple[str, str], ...]] = {}
        self._dirty: dict[Reference, None] = {}
        self._written: dict[Reference, Stored] = {}
        self._row_changes: dict[str, Any] = {}
        self._events: list[JournalEntry] = []
        self._organisation: Reference | None = None
        self._amended: dict[Reference, None] = {}
        self._sources = {Reference(name): url for name, url in house.sources.items() if "://" not in name}

    # ------------------------------------------------------------ what there is

    @property
    def canonical(self) -> Canonical:
        """The canonical systems."""
        return self.house.canonical

    @property
    def order_reference(self) -> Reference:
        """`ServiceRequest/{id}`"""
        return Reference(f"ServiceRequest/{self.row.service_request}")

    @property
    def order(self) -> Json:
        """The referrer's ServiceRequest, as it stands."""
        return self._now[self.order_reference]

    @property
    def patient(self) -> Reference:
        """The stored Patient."""
        return Reference(f"Patient/{self._row_value('patient')}")

    @property
    def organisation(self) -> Reference:
        """The stored Organization of the referring unit."""
        if self._organisation is None:
            self._organisation = self.change.natural("Organization", [self.row.organisation])[self.row.organisation]
        return self._organisation

    @organisation.setter
    def organisation(self, reference: Reference) -> None:
        self._organisation = reference

    @property
    def task(self) -> Json:
        """The referral's current Task."""
        return self._now[Reference(f"Task/{self._row_value('task')}")]

    @property
    def team(self) -> Team:
        """The team that owns the referral's current Task."""
        return self.house.pack.teams[self._row_value("team")]

    @property
    def care_plan(self) -> Json | None:
        """The CarePlan of the current Task, once it has been accepted."""
        for output in tasks.outputs_of(self.task, "care-plan", self.canonical):
            return self._now.get(Reference(output["valueReference"]["reference"]))
        return None

    @property
    def has_started(self) -> bool:
        """True from the start of the treatment on: its CarePlan is no draft any more."""
        plan = self.care_plan
        return plan is not None and plan["status"] in ("active", "on-hold")

    def get(self, reference: Reference) -> Json | None:
        """A resource of this referral as changed so far, or None."""
        return self._now.get(reference)

    def version(self, reference: Reference) -> int:
        """The stored version; 0 for what is new."""
        return self._versions.get(reference, 0)

    def all_of(self, *types: str) -> list[Json]:
        """All resources of these types, in the order in which they came to be."""
        return [resource for resource in self._now.values() if resource["resourceType"] in types]

    def tasks_of(self, kind: TaskKind) -> Iterator[Json]:
        """All Tasks of one kind."""
        return (task for task in self.all_of("Task") if tasks.kind_of(task, self.canonical) is kind)

    def activities(self) -> list[Json]:
        """The child Tasks of the current Task that carry out its CarePlan."""
        parent = f"Task/{self._row_value('task')}"
        return [task for task in self.tasks_of(TaskKind.ACTIVITY) if tasks.part_of(task) == parent]

    # ------------------------------------------------------------ changes

    def put(self, resource: Json, indexed_as: tuple[tuple[str, str], ...] | None = None) -> Reference:
        """Take a new or changed resource into the referral; gives its reference."""
        reference = Reference(f"{resource['resourceType']}/{resource['id']}")
        self._now[reference] = resource
        self._dirty[reference] = None
        if indexed_as is not None:
            self._indexed_as[reference] = indexed_as
        elif reference == self.order_reference and reference not in self._indexed_as:
            self._indexed_as[reference] = self._found_by()
        return reference

    def amends(self, references: Iterable[Reference]) -> None:
        """What is stored of these with this change is the caller's amendment, and a Provenance says so."""
        self._amended |= dict.fromkeys(references)

    def name(self, became: Mapping[str, Reference]) -> None:
        """What a submission calls its parts, and what they are here; of what was collected it is told from where."""
        sources = self.house.sources
        self._sources |= {reference: sources[name] for name, reference in became.items() if name in sources}

    def _found_by(self) -> tuple[tuple[str, str], ...]:
        """A ServiceRequest is found by the stored subject and requester, also where its own are contained."""
        requester = self.task.get("requester", {}).get("reference", self.organisation)
        return (("subject", self.patient), ("requester", requester))

    def write_now(self) -> None:
        """Write what has changed so far, so that a further change makes a further version."""
        stored = self.change.write(
            [
                Write(
                    self._now[reference],
                    self.row.id,
                    expect=self._versions.get(reference, 0),
                    indexed_as=self._indexed_as.get(reference, ()),
                )
                for reference in self._dirty
            ]
        )
        written = {item.reference: item for item in stored}
        for reference, item in written.items():
            self._versions[reference] = item.version
        self._dirty.clear()
        self._written |= written

    def set(self, **fields: Any) -> None:
        """Change fields of the referral's row."""
        self._row_changes |= fields

    def note(self, text: str, author: str = SLUSS_AUTHOR) -> None:
        """A note for people on the referral's Task."""
        self.put(tasks.noted(self.task, author, self.at, text))

    def record(self, event: str, **detail: Any) -> None:
        """A row in the journal: who, what; ids and codes only."""
        self._events.append(JournalEntry(self.row.id, self.caller.label, event, detail))

    def move(self, task: Json, status: str, **elements: Any) -> None:
        """A move of Sluss's own, with its row in the journal."""
        self.record("moved", task=f"Task/{task['id']}", **{"from": task["status"], "to": status})
        self.put(tasks.changed(task, self.at, status=status, **elements))

    def add_task(self, kind: TaskKind, **fields: Any) -> Reference:
        """A further Task about this referral, owned by its team unless `fields` say otherwise."""
        record = TaskRecord(
            **{
                "id": self.house.new_id(),
                "kind": kind,
                "status": "requested",
                "owner": team_reference(self.team.id),
                "patient": self.patient,
                "focus": self.order_reference,
                "authored_on": self.at,
                "last_modified": self.at,
            }
            | fields
        )
        return self.put(tasks.to_fhir_task(record, self.canonical))

    def tell(
        self,
        category: MessageCategory,
        *,
        text: str = "",
        findings: Sequence[Finding] = (),
        start: StartMode = StartMode.THERAPIST_PHONES,
        previous_team: Team | None = None,
        priority: Priority = Priority.ROUTINE,
        in_response_to: Reference | None = None,
        reason: Json | None = None,
    ) -> Reference:
        """A message to the referring organisation; where no platform reaches it, also a Task that asks the team to
        pass it on. `reason` is the CodeableConcept of a person's reason: its codes go along.
        """
        house = self.house
        told = [finding for finding in findings if not finding.team_only]
        words = render(
            house.pack,
            category,
            team=self.team,
            programme=self.row.programme,
            reference=self.row.placer_value,
            findings=told,
            start=start,
            previous_team=previous_team,
            text=text,
        )
        reasons = tuple((finding.rule, finding.text) for finding in told)
        message = Message(
            id=house.new_id(),
            category=category,
            text=words,
            sent=self.at,
            subject=self.patient,
            based_on=self.order_reference,
            part_of=Reference(f"Task/{self._row_value('task')}"),
            sender=team_reference(self.team.id),
            recipient=self.organisation,
            recipient_unit=HsaId(self.row.organisation),
            priority=priority,
            reasons=reasons if category in _CODED_REASONS else (),
            in_response_to=in_response_to,
            prepared=self.must_be_relayed,
        )
        communication = to_fhir_communication(message, self.canonical)
        if reason and reason.get("coding"):
            communication["reasonCode"] = [*communication.get("reasonCode", ()), reason]
        reference = self.put(communication)
        self.record("told", category=str(category), communication=reference)
        if message.prepared:
            self.ask_to_relay(reference, priority)
        return reference

    @property
    def must_be_relayed(self) -> bool:
        """True when the referring unit is not on the platform."""
        return self.row.unit_reach != Reach.PLATFORM

    def ask_to_relay(self, communication: Reference, priority: Priority = Priority.ROUTINE) -> None:
        """A Task that asks the team to pass a prepared Communication on to a unit without a platform."""
        pack = self.house.pack
        unit = pack.units.get(HsaId(self.row.organisation))
        reach = task_text(pack, f"reach-{self.row.unit_reach}")
        self.add_task(
            TaskKind.RELAY_MESSAGE,
            focus=communication,
            priority=priority,
            description=task_text(
                pack, "task-relay-message", unit=unit.name if unit else self.row.organisation, reach=reach
            ),
        )

    # ------------------------------------------------------------ the end

    def save(self) -> dict[Reference, Stored]:
        """Write all of it in this transaction: resources, row, journal, deadlines, and the job that wakes delivery.
        Gives everything that was written since the case was opened, as it stands now.
        """
        self.write_now()
        self._tell_origins()
        touched = [r for r in self._written if r.startswith("Task/")]
        self._renew_deadlines(touched)
        self.set(state=self.task["status"])
        if (involved := self._involved()) != self.row.involved:
            self.set(involved=involved)
        self.change.update_referral(self.row.id, **self._row_changes)
        self.change.journal(self._events)
        self.change.defer(
            DELIVER, {"referral_id": self.row.id}, queueing_lock=f"deliver:{self.row.id}", lock=f"deliver:{self.row.id}"
        )
        return self._written

    def _involved(self) -> tuple[str, ...]:
        """The other teams that own a Task of the referral."""
        owners = {tasks.owner_of(task) for task in self.all_of("Task")}
        own = self._row_value("team")
        return tuple(
            team.id
            for team in self.house.pack.teams.values()
            if team.id != own
            and not owners.isdisjoint((team_reference(team.id), *(f"PractitionerRole/{role}" for role in team.roles)))
        )

    def _renew_deadlines(self, touched: Sequence[Reference]) -> None:
        """Whatever waits anew gets a time limit; what waits no longer loses it, and its reminders end."""
        progressed = any(self._is_progress(reference) for reference in touched)
        current = Reference(f"Task/{self._row_value('task')}")
        for reference in {*touched, current} if progressed else touched:
            task = self._now[reference]
            before = self._stored.get(reference)
            waited = waiting_for(before.content, self.canonical) if before else None
            waits = waiting_for(task, self.canonical)
            if waits == waited and not (waits == "progress" and progressed):
                continue
            if waited is not None:
                self.change.clear_deadlines([task["id"]])
                self._end_reminders(reference)
            if waits is not None:
                due = first_due(waits, self.moment, self.house.pack)
                self.change.set_deadlines([Deadline(self.row.id, task["id"], waits, due)])

    def _is_progress(self, reference: Reference) -> bool:
        """A child Task that has ended, or a new output of type progress on the referral's Task."""
        task, before = self._now[reference], self._stored.get(reference)
        old = before.content if before else {"status": "", "output": []}
        match tasks.kind_of(task, self.canonical):
            case TaskKind.ACTIVITY:
                return task["status"] == "completed" and old["status"] != "completed"
            case TaskKind.REFERRAL:
                return len(tasks.outputs_of(task, "progress", self.canonical)) > len(
                    tasks.outputs_of(old, "progress", self.canonical)
                )
        return False

    def _end_reminders(self, about: Reference) -> None:
        for reminder in list(self.tasks_of(TaskKind.REMINDER)):
            if reminder.get("focus", {}).get("reference") == about and tasks.is_open(reminder):
                reason = tasks.own_reason("no-longer-waiting", "Det som väntade är gjort.", self.canonical)
                self.move(reminder, "cancelled", statusReason=reason)
        if self._dirty:
            self.write_now()

    def _tell_origins(self) -> None:
        """A Provenance of what was amended, and one of each version that was collected."""
        amended: list[tuple[Reference, int]] = []
        for reference in dict.fromkeys([*self._amended, *self._sources]):
            stored = self._written.get(reference) or self.change.get(*reference.split("/"))
            if stored is None or stored.last_updated != self.change.stamp:
                continue  # it was as it is now
            if source := self._sources.get(reference):
                activity = Activity.CREATE if stored.version == 1 else Activity.UPDATE
                self._tell_origin(((reference, stored.version),), activity, source)
            else:
                amended.append((reference, stored.version))
        if amended:
            self._tell_origin(tuple(amended), Activity.UPDATE)
        self._amended.clear()
        self._sources.clear()
        self.write_now()

    def _tell_origin(
        self, targets: tuple[tuple[Reference, int], ...], activity: Activity, source: str | None = None
    ) -> None:
        author, unit = self._author()
        origin = Origin(self.house.new_id(), targets, self.at, activity, author, unit, source)
        self.put(to_fhir_provenance(origin, self.canonical))

    def _author(self) -> tuple[Reference, HsaId]:
        """The unit that the caller acts for: a therapist for the seat of the team, everybody else for the referrer."""
        if self.caller.role is not Role.THERAPIST:
            return self.organisation, HsaId(self.row.organisation)
        teams = [team for id_, team in sorted(self.house.pack.teams.items()) if id_ in self.caller.teams]
        team = self.team if self.team in teams or not teams else teams[0]
        return self.change.natural("Organization", [team.hsa_id])[team.hsa_id], team.hsa_id

    def _row_value(self, name: str) -> Any:
        return self._row_changes[name] if name in self._row_changes else getattr(self.row, name)


_CODED_REASONS = frozenset(
    {MessageCategory.RETURNED, MessageCategory.INFORMATION_REQUEST, MessageCategory.SAFETY_ALERT}
)
"""The messages whose reasons are eligibility rules, coded in reasonCode."""


def team_reference(team: str) -> Reference:
    """`HealthcareService/{team id}`"""
    return Reference(f"HealthcareService/{team}")
