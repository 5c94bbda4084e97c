"""Writing: one transaction, and what it leaves behind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from fhir_mappings.records import Json, Reference
from fhir_mappings.strict_json import dump
from service.store import audit, statements
from service.store.audit_records import SLUSS, Act, Acting, Agent, AuditEvent
from service.store.connections import Connection, Row
from service.store.index_values import dated, digest, index_values, indexed, measured
from service.store.moments import instant
from service.store.records import (
    AbsenceRow,
    Deadline,
    JournalEntry,
    NewReferral,
    ReferralRow,
    StaleVersion,
    Stored,
    Surroundings,
    Write,
    referral_values,
)
from service.store.search_parameters import STATUSES
from service.store.text_arrays import Texts
from service.store.view import View


class Change(View):
    """One write transaction. Made by `Store.change()`, which commits it; reads see what it has written.

    Writes are gathered and sent together, before the next read or at the commit, so a StaleVersion comes at the latest
    when the block of `Store.change()` ends. Raises StoreUnavailable at any call.
    """

    def __init__(self, connection: Connection, acting: Acting | None = None) -> None:
        """`acting`: who does it, for the record; None: Sluss, or who `on_behalf_of` says."""
        self.connection = connection
        self._acting = acting
        self._agent = SLUSS
        self._deeds = _Deeds()
        self._patients: dict[str, str] = {}
        self._noted: list[Acting] = []
        self._stamp: datetime | None = None
        self._pending = _Pending()
        self._known: dict[Reference, Stored] = {}
        self._plainly(b"BEGIN")

    def _rows(
        self,
        statement: LiteralString | bytes,
        parameters: Mapping[str, Any],
        seen: Iterable[tuple[str, str]] | None = None,
    ) -> list[Row]:
        if seen is None or not self._pending.touched.isdisjoint(seen):
            self.flush()
        return self.connection.execute(statement, parameters).fetchall()

    @property
    def stamp(self) -> datetime:
        """The instant of everything that this transaction writes (`meta.lastUpdated`, the journal): later than any
        given before. Taken at its first use, so use it, and write, only after the referral's row lock.
        """
        if self._stamp is None:
            row = self.connection.execute(statements.STAMP).fetchone()
            assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
            (self._stamp,) = row
        return self._stamp

    # ------------------------------------------------------------ referrals and their locks

    def open_referral(self, new: NewReferral) -> ReferralRow | None:
        """Takes in a referral under its organisation and placer identifier. None when that is taken: by a committed
        one, or by a concurrent one, whose end is waited for. On success this transaction holds the row's lock and the
        patient's (`lock_key`).
        """
        values = {name: getattr(new, name) for name in NewReferral.__slots__}
        values |= {"alerted": Texts(new.alerted), "involved": Texts(new.involved)}
        values["placer_key"] = digest(new.organisation, new.placer_system, new.placer_value)
        row = self.connection.execute(statements.OPEN_REFERRAL, values).fetchone()
        if row is None:
            return None
        if self._stamp is None:
            _, self._stamp = row
        self._patients[new.id] = new.patient
        return ReferralRow(*(getattr(new, name) for name in NewReferral.__slots__))

    def lock_referral(self, referral_id: str) -> ReferralRow:
        """The referral's row, locked until the end of the transaction. Raises KeyError when there is none."""
        rows = self._rows(statements.LOCK_REFERRAL, {"id": referral_id})
        if not rows:
            raise KeyError(referral_id)
        return ReferralRow(*referral_values(rows[0]))

    def update_referral(self, referral_id: str, **fields: Any) -> None:
        """Sets fields of a referral's row, by the names of `ReferralRow`. Raises TypeError for an unknown name."""
        if unknown := fields.keys() - set(NewReferral.__slots__):
            raise TypeError(f"a referral has no {', '.join(sorted(unknown))}")
        self._pending.patches.setdefault(referral_id, {}).update(fields)
        if "patient" in fields:
            self._patients[referral_id] = fields["patient"]
        self._deeds.referrals[referral_id] = None

    def lock_key(self, key: str) -> None:
        """Waits until no other transaction holds this key, then holds it until the end. A patient's key, so that two
        referrals of one patient at the same time see each other; or one for whatever else takes turns.
        """
        self.connection.execute(statements.LOCK_KEY, {"key": key})

    def claim_natural(self, kind: str, key: str, reference: Reference) -> Reference:
        """Makes `reference` the one resource that stands for `key`, unless another is or is just becoming it; the one
        that does. Claim in one order of kinds everywhere, or two transactions may wait for each other.
        """
        values = {"kind": kind, "key": indexed(key), "reference": reference}
        row = self.connection.execute(statements.CLAIM_NATURAL, values).fetchone()
        if row is not None:
            return Reference(row[0])
        return self.natural(kind, [key])[key]

    def stand_for(self, kind: str, key: str, reference: Reference) -> None:
        """As `claim_natural`, for a key that nobody else can be claiming: a Patient's, under that patient's lock."""
        self._pending.naturals.append((kind, indexed(key), reference))

    def get(self, type_: str, id_: str) -> Stored | None:
        """As View's; what this transaction has created or met is known without asking."""
        return self._known.get(Reference(f"{type_}/{id_}")) or super().get(type_, id_)

    def get_many(self, references: Iterable[str]) -> dict[Reference, Stored]:
        """As View's; what this transaction has created or met is known without asking."""
        wanted = [Reference(reference) for reference in references]
        own = {ref: self._known[ref] for ref in wanted if ref in self._known}
        return {**super().get_many(ref for ref in wanted if ref not in own), **own}

    def surroundings(self, keys: Iterable[tuple[str, str]], patient_key: str, besides: str = "") -> Surroundings:
        """As View's."""
        found = super().surroundings(keys, patient_key, besides)
        self._known |= {stored.reference: stored for stored in found.known.values()}
        return found

    def open_referrals(self, patient_key: str) -> list[ReferralRow]:
        """As View's, with this transaction's own changes."""
        if self._pending.patches:
            self.flush()
        return super().open_referrals(patient_key)

    # ------------------------------------------------------------ what is written

    def write(self, writes: Sequence[Write]) -> list[Stored]:
        """Stores new versions of resources, in the order given; each as it will be read back.

        `meta.versionId` and `meta.lastUpdated` are set, the rest of `meta` is kept. Raises StaleVersion, now or at the
        commit, when a resource does not have the version that is expected (0: does not exist).
        """
        stored = []
        last_updated = instant(self.stamp)
        for write in writes:
            resource = _with_meta(write.resource, write.expect + 1, last_updated)
            type_, id_ = resource["resourceType"], resource["id"]
            if (type_, id_) in self._pending.touched:
                self.flush()
            body = dump(resource)
            self._pending.add(type_, id_, write, resource, body)
            stored.append(Stored(type_, id_, write.expect + 1, self.stamp, body, write.referral_id))
            self._deeds.add(stored[-1])
        for item in stored:
            if item.version == 1:
                self._known[item.reference] = item
            else:  # it may belong to a referral that only the database knows
                self._known.pop(item.reference, None)
        return stored

    def journal(self, entries: Iterable[JournalEntry]) -> None:
        """Appends to the journal, at the stamp."""
        self._pending.journal.extend(entries)
        self._deeds.journalled = True

    def set_deadlines(self, deadlines: Iterable[Deadline]) -> None:
        """Sets deadlines, each in the place of an earlier one of its Task and kind."""
        for deadline in deadlines:
            self._pending.deadlines[(deadline.task_id, deadline.kind)] = deadline

    def clear_deadlines(self, task_ids: Sequence[str], kinds: Sequence[str] | None = None) -> None:
        """Takes away the deadlines of Tasks: all, or those of some kinds."""
        self.flush()
        values = {"tasks": list(task_ids), "kinds": None if kinds is None else list(kinds)}
        self.connection.execute(statements.CLEAR_DEADLINES, values)

    def due_deadlines(self, now: datetime, limit: int) -> list[Deadline]:
        """Up to `limit` deadlines that are due at `now`, earliest first, locked until the end of the transaction; those
        that another transaction works on are passed over.
        """
        return [Deadline(*row) for row in self._rows(statements.DUE_DEADLINES, {"now": now, "limit": limit})]

    def enter_absence(self, absence: AbsenceRow) -> None:
        """A team is away; of several on the same day the latest entered counts."""
        self.flush()
        values = {name: getattr(absence, name) for name in AbsenceRow.__slots__}
        self.connection.execute(statements.ENTER_ABSENCE, {**values, "entered_at": self.stamp})

    def defer(
        self,
        name: str,
        args: Json,
        *,
        queueing_lock: str | None = None,
        lock: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Puts a procrastinate job in the queue `default`; it exists if and when this transaction commits.

        One that waits under the same `queueing_lock` is enough: then it is kept back until the commit instead (and
        brought forward to `at`, if that is earlier). Jobs with the same `lock` never run at the same time.
        """
        self._pending.jobs.append((name, dump(args), queueing_lock, lock, at))

    # ------------------------------------------------------------ the record

    def on_behalf_of(self, agent: Agent) -> None:
        """Who does this, where nobody asked for it by a request: the record names them."""
        self._agent = agent

    @contextmanager
    def done_by(self, acting: Acting | None) -> Iterator[None]:
        """What is done in the block is recorded as this act of its own, if it is another than the change's."""
        if acting is None or acting is self._acting:
            yield
            return
        outer = self._acting, self._deeds
        self._acting, self._deeds = acting, _Deeds()
        yield
        self._record_deeds()
        self._acting, self._deeds = outer

    def record(self, event: AuditEvent, acting: Acting | None = None) -> None:
        """Adds to the record with this transaction."""
        self._pending.recorded.append(event)
        if acting is not None:
            acting.noted = True
            self._noted.append(acting)

    def _record_deeds(self) -> None:
        """One event of everything that this act has done."""
        deeds, acting = self._deeds, self._acting
        if not deeds or (acting is None and not deeds.written):
            return
        self._deeds = _Deeds()
        patients = {f"Patient/{id_}": None for ref in deeds.referrals if (id_ := self._patients.get(ref))}
        patients |= {reference.partition("/_")[0]: None for reference in deeds.written if reference[:8] == "Patient/"}
        event = AuditEvent(
            deeds.done_as(acting.act) if acting else deeds.act_of(self._agent),
            about=deeds.about(acting.act.target if acting else ""),
            patients=(*(acting.patients if acting else ()), *patients),
            referrals=tuple(ref for ref in deeds.referrals if ref not in self._patients),
        )
        self.record(event, acting)

    def flush(self) -> None:
        """Sends what is gathered. Raises StaleVersion."""
        pending = self._pending
        if not pending:
            return
        self._pending = _Pending()
        stamp = self.stamp
        stale: set[tuple[str, str]] = set()
        if pending.replaced:
            found = self.connection.execute(statements.REPLACE, pending.replacing(stamp)).fetchall()
            stale = {(type_, id_) for type_, id_, *_ in pending.replaced} - set(found)
        parts, values = pending.adding(stamp)
        if parts and not stale:
            found = self.connection.execute(statements.add(parts), values).fetchall()
            stale = {(type_, id_) for type_, id_, *_ in pending.created} - set(found)
        if stale:
            raise StaleVersion(tuple(Reference(f"{type_}/{id_}") for type_, id_ in sorted(stale)))

    def commit(self) -> None:
        """Sends what is gathered and ends the transaction. `Store.change()` calls it."""
        self._record_deeds()
        self.flush()
        self._plainly(b"COMMIT")

    def _plainly(self, command: bytes) -> None:
        # Straight to libpq: a cursor costs more than the command.
        result = self.connection.pgconn.exec_(command)
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.OperationalError(f"{command.decode()} failed")

    def roll_back(self) -> None:
        """Ends the transaction without a trace, and lets go of the stamp's lock should an error have left it held."""
        for acting in self._noted:
            acting.noted = False
        if not self.connection.closed:
            try:
                self.connection.pgconn.exec_(b"ROLLBACK; SELECT pg_advisory_unlock_all()")
            except psycopg.OperationalError:
                self.connection.close()


class _Deeds:
    """What an act has done so far."""

    def __init__(self) -> None:
        self.written: dict[str, None] = {}
        self.referrals: dict[str, None] = {}
        self.created = False
        self.journalled = False

    def __bool__(self) -> bool:
        return bool(self.written or self.referrals or self.journalled)

    def add(self, stored: Stored) -> None:
        """A version that was written; the first of them is what it was about."""
        self.created = self.created if self.written else stored.version == 1
        self.written[f"{stored.type}/{stored.id}/_history/{stored.version}"] = None
        if stored.referral_id is not None:
            self.referrals[stored.referral_id] = None

    def about(self, target: str) -> tuple[str, ...]:
        """What was written; first what the act was about."""
        main = next((reference for reference in self.written if reference.startswith(target)), None)
        return tuple(dict.fromkeys((main, *self.written))) if main else tuple(self.written)

    def done_as(self, act: Act) -> Act:
        """The act; what a transaction was is told by what it has made of its main thing."""
        main = next(iter(self.about(act.target)), "")
        if act.interaction != "transaction" or not main:
            return act
        return replace(act, action="C" if main.endswith("/_history/1") else "U")

    def act_of(self, agent: Agent) -> Act:
        """What it was, by what it has written."""
        return Act(agent, "create", "C") if self.created else Act(agent, "update", "U")


class _Pending:
    """What a transaction has gathered and not yet sent, as the columns of its statements."""

    def __init__(self) -> None:
        self.created: list[tuple[str, str, str | None, str, str | None, str | None]] = []
        self.replaced: list[tuple[str, str, int, str | None, str, str | None, str | None]] = []
        self.touched: set[tuple[str, str]] = set()
        self.naturals: list[tuple[str, str, str]] = []
        self.index: list[tuple[str, str, str, str, str]] = []
        self.measured: list[tuple[str, str, str, str]] = []
        self.journal: list[JournalEntry] = []
        self.patches: dict[str, dict[str, Any]] = {}
        self.deadlines: dict[tuple[str, str], Deadline] = {}
        self.jobs: list[tuple[str, str, str | None, str | None, datetime | None]] = []
        self.recorded: list[AuditEvent] = []

    def __bool__(self) -> bool:
        gathered = (self.touched, self.naturals, self.journal, self.patches, self.deadlines, self.jobs, self.recorded)
        return any(gathered)

    def add(self, type_: str, id_: str, write: Write, resource: Json, body: str) -> None:
        """Gathers one resource and what it is found by."""
        if write.expect:
            self.replaced.append((type_, id_, write.expect, write.referral_id, body, *dated(resource)))
        else:
            self.created.append((type_, id_, write.referral_id, body, *dated(resource)))
        self.touched.add((type_, id_))
        status = resource.get("status") if type_ in STATUSES else ""
        if not isinstance(status, str):
            status = ""
        if number := measured(resource):
            self.measured.append((type_, *number, id_))
        for name, value in index_values(resource, write.indexed_as):
            self.index.append((type_, name, value, status, id_))

    def replacing(self, stamp: datetime) -> dict[str, Any]:
        """The parameters of REPLACE."""
        # In one order everywhere, so that two transactions do not wait for each other.
        names = ("types", "ids", "expected", "referrals", "bodies", "froms", "untils")
        return {"stamp": stamp, **_columns(names, sorted(self.replaced, key=lambda row: row[:2]))}

    def adding(self, stamp: datetime) -> tuple[tuple[str, ...], dict[str, Any]]:
        """The parts that `statements.add` is to leave behind, and its parameters."""
        told = [(entry.referral_id, entry.actor, entry.event, dump(dict(entry.detail))) for entry in self.journal]
        due = [(d.task_id, d.kind, d.referral_id, d.due_at, d.level) for d in self.deadlines.values()]
        patches = [(id_, dump(_as_json(fields))) for id_, fields in self.patches.items()]
        rows: dict[str, tuple[tuple[str, ...], Sequence[tuple[Any, ...]]]] = {
            "created": (("types", "ids", "referrals", "bodies", "froms", "untils"), self.created),
            "stood_for": (("natural_kinds", "natural_keys", "natural_references"), self.naturals),
            "found_by": (("index_types", "index_params", "index_values", "index_statuses", "index_ids"), self.index),
            "measured": (("measured_types", "measured_params", "measured_values", "measured_ids"), self.measured),
            "told": (("told_referrals", "told_actors", "told_events", "told_details"), told),
            "patched": (("patch_ids", "patches"), patches),
            "due": (("due_tasks", "due_kinds", "due_referrals", "due_times", "due_levels"), due),
            "deferred": (("job_names", "job_args", "job_queueing_locks", "job_locks", "job_times"), self.jobs),
        }
        values: dict[str, Any] = {"stamp": stamp}
        for names, part in rows.values():
            if part:
                values |= _columns(names, part)
        parts = tuple(name for name, (_, part) in rows.items() if part)
        if self.recorded:
            parts, values = (*parts, "recorded"), values | audit.parameter(self.recorded)
        return parts, values


_NO_TEXT = frozenset({"expected", "due_times", "due_levels", "job_times"})
"""The columns whose values are no text."""


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {name: list(column) if name in _NO_TEXT else Texts(column) for name, column in columns}


def _as_json(fields: Mapping[str, Any]) -> Json:
    return {
        name: list(value) if isinstance(value, tuple) else value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


def _with_meta(resource: Json, version: int, last_updated: str) -> Json:
    """The resource with our meta, in FHIR's order: resourceType, id, meta, then the rest as it came."""
    meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": last_updated}
    return {"resourceType": resource["resourceType"], "id": resource["id"], "meta": meta} | {
        name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")
    }
