"""What the exchange remembers of collecting: how far it has come, what it made of what it found, what it set aside.

Times of the external server (watermarks) are its own; times of ours only say when we looked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString

from fhir_mappings.records import Reference
from service.store import collection_statements as statements
from service.store.connections import EXCHANGE, Connections, Row
from service.store.exchange_state import OVERRULED, THEIRS, Copy
from service.store.exchange_statements import COPIES
from service.store.records import Watermark
from service.store.statements import WATERMARKS

Key = tuple[str, str]
"""(type, id over there)"""


class Outcome(StrEnum):
    """What became of something that was found over there."""

    TAKEN = "taken"
    """It has been carried out here."""
    TURNED_DOWN = "turned-down"
    """It broke a rule; a note says so."""
    SET_ASIDE = "set-aside"
    """A referral that cannot be read; a Task says so."""
    WAITING = "waiting"
    """Something was away; it will be tried again."""
    STUCK = "stuck"
    """It was tried too often; the nightly reconciliation tries it again."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The last version of something over there that was looked at."""

    type: str
    remote_id: str
    remote_version: str
    outcome: Outcome
    attempts: int
    referral_id: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A resource of ours, and what stands for it over there."""

    copy: Copy
    referral_id: str | None
    unit: str | None = None
    """HSA-id of the unit that has described a person."""

    @property
    def is_theirs(self) -> bool:
        """True for what was made over there and is never written by us."""
        return self.copy.acknowledged == THEIRS

    def shows(self, version: str) -> bool:
        """True when this version there is the one that we know, and we know what it says."""
        return self.copy.acknowledged != 0 and self.copy.remote_version == version


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A ServiceRequest over there that could not be taken in."""

    remote_id: str
    id: str
    """What our Task about it and its messages are kept under."""
    told: str
    """Digest of what was told, so that the same is not told twice."""
    since: datetime
    tried_at: datetime
    ended_at: datetime | None


class CollectionState:
    """The collector's way to the database; may be shared by threads. Every method raises StoreUnavailable when the
    database cannot answer.
    """

    def __init__(self, url: str, size: int = 4) -> None:
        self._connections = Connections(url, EXCHANGE, size, wait=30)

    def close(self) -> None:
        """Closes what is idle."""
        self._connections.close()

    def watermarks(self) -> dict[str, Watermark]:
        """How far each type has been collected."""
        return {row[0]: Watermark(*row) for row in self._rows(WATERMARKS)}

    def advance(self, type_: str, watermark: datetime | None, now: datetime) -> None:
        """A type has been asked for at `now` (our clock); None leaves its watermark as it is."""
        self._run(statements.ADVANCE, type=type_, watermark=watermark, now=now)

    def collected(self, keys: Collection[Key]) -> dict[Key, Collected]:
        """What was made of these before."""
        rows = self._rows(statements.COLLECTED, types=[k[0] for k in keys], ids=[k[1] for k in keys])
        return {(row[0], row[1]): _collected(row) for row in rows}

    def waiting(self, now: datetime, limit: int = 200) -> list[Collected]:
        """What is to be tried again now, least often tried first: five seconds later for each time that it failed."""
        return [_collected(row) for row in self._rows(statements.WAITING, now=now, limit=limit)]

    def holding_up(self, referral_id: str) -> list[Key]:
        """What of a referral could not be done and will be tried again: what came later waits for it."""
        return [(row[0], row[1]) for row in self._rows(statements.HOLDING_UP, referral=referral_id)]

    def record(
        self, key: Key, version: str, outcome: Outcome, now: datetime, *, referral: str | None = None, attempts: int = 0
    ) -> None:
        """What became of a version of something over there."""
        type_, id_ = key
        values = {"version": version, "outcome": str(outcome), "attempts": attempts, "referral": referral, "now": now}
        self._run(statements.RECORD, type=type_, id=id_, **values)

    def free(self, referral_id: str) -> None:
        """What was given up because its ServiceRequest was not here is to be tried again."""
        self._run(statements.FREE, referral=referral_id)

    def standing_for(self, keys: Collection[Key]) -> list[tuple[Key, Standing]]:
        """Which resources of ours these stand for; a Patient or a Practitioner may stand for several, one for
        each unit.
        """
        rows = self._rows(statements.STANDING_FOR, types=[k[0] for k in keys], ids=[k[1] for k in keys])
        return [((row[0].partition("/")[0], row[1]), replace(_standing(row), unit=row[5])) for row in rows]

    def copies_after(self, reference: str, limit: int) -> list[Standing]:
        """Everything of referrals that stands over there, page by page in the order of our references."""
        type_, _, id_ = reference.partition("/")
        return [_standing(row) for row in self._rows(statements.COPIES_AFTER, type=type_, id=id_, limit=limit)]

    def copies_of(self, referral_ids: Collection[str]) -> list[Standing]:
        """Everything of these referrals that stands over there."""
        return [_standing(row) for row in self._rows(statements.COPIES_OF, referrals=list(referral_ids))]

    def copies(self, references: Collection[str]) -> list[Copy]:
        """What stands over there for these of ours."""
        pairs = [reference.partition("/") for reference in references]
        rows = self._rows(COPIES, types=[pair[0] for pair in pairs], ids=[pair[2] for pair in pairs])
        return [Copy(*row) for row in rows]

    def contested(self, since: datetime, limit: int = 20) -> list[str]:
        """Referrals whose delivery has met something since then that was changed over there."""
        return [row[0] for row in self._rows(statements.CONTESTED, since=since.isoformat(), limit=limit)]

    def reconciling(self) -> dict[str, str]:
        """How far a reconciliation that is under way has come with each part; nothing when none is."""
        return {row[0]: row[1] for row in self._rows(statements.RECONCILING)}

    def reconciling_at(self, part: str, reached: str) -> None:
        """A reconciliation has come so far."""
        self._run(statements.RECONCILING_AT, part=part, reached=reached)

    def reconciled(self) -> None:
        """It has ended: the next one begins from the beginning."""
        self._run(statements.RECONCILED)

    def join(self, copies: Sequence[Copy], referral_id: str | None) -> None:
        """What was made over there stands for these of ours, unless something does already."""
        pairs = [copy.reference.partition("/") for copy in copies]
        self._run(
            statements.JOIN,
            types=[pair[0] for pair in pairs],
            ids=[pair[2] for pair in pairs],
            remote_ids=[copy.remote_id for copy in copies],
            remote_versions=[copy.remote_version for copy in copies],
            acknowledged=[copy.acknowledged for copy in copies],
            referrals=[None if pair[0] in _NOBODYS else referral_id for pair in pairs],
        )

    def adopt(self, reference: Reference, version: str | None, acknowledged: int = OVERRULED) -> None:
        """The copy now has this version there, and shows `acknowledged` of ours (OVERRULED: something else, and ours is
        written over it).
        """
        type_, _, id_ = reference.partition("/")
        values = {"version": version, "acknowledged": acknowledged, "theirs": THEIRS}
        self._run(statements.ADOPT, type=type_, id=id_, **values)

    def forget(self, reference: Reference) -> None:
        """Nothing stands for it over there any more."""
        type_, _, id_ = reference.partition("/")
        self._run(statements.FORGET, type=type_, id=id_)

    def hold_back(self, referral_id: str, until: datetime) -> None:
        """No delivery of this referral before `until`: what is being taken in must be joined first."""
        self._run(statements.HOLD_BACK, id=referral_id, until=until)

    def release(self, referral_id: str, now: datetime) -> None:
        """The delivery may go on."""
        self._run(statements.RELEASE, id=referral_id, now=now)

    def drop(self, referral_id: str) -> None:
        """No referral has come of what was held back."""
        self._run(statements.DROP, id=referral_id)

    def quarantined(self, remote_id: str) -> Quarantined | None:
        """What is known of a ServiceRequest that could not be taken in."""
        rows = self._rows(statements.QUARANTINED, id=remote_id)
        return Quarantined(*rows[0]) if rows else None

    def quarantine(self, remote_id: str, id_: str, told: str, now: datetime) -> None:
        """A ServiceRequest cannot be taken in, or still not."""
        self._run(statements.QUARANTINE, remote_id=remote_id, id=id_, told=told, now=now)

    def end_quarantine(self, remote_id: str, now: datetime) -> None:
        """It has been taken in, or taken back."""
        self._run(statements.QUARANTINE_ENDED, id=remote_id, now=now)

    def quarantine_due(self, now: datetime, limit: int = 50) -> list[Quarantined]:
        """What is to be tried once more, since a mended Patient does not show in its ServiceRequest: after a minute,
        then each time after as long as it has been waiting, but at least every six hours.
        """
        return [Quarantined(*row) for row in self._rows(statements.QUARANTINE_DUE, now=now, limit=limit)]

    def _rows(self, statement: LiteralString, **values: Any) -> list[Row]:
        with self._connections.connection() as connection:
            return connection.execute(statement, values).fetchall()

    def _run(self, statement: LiteralString, **values: Any) -> int:
        with self._connections.connection() as connection:
            return connection.execute(statement, values).rowcount


_NOBODYS = frozenset({"Patient", "Organization", "Practitioner", "PractitionerRole", "HealthcareService"})
"""What several referrals share."""


def _collected(row: Row) -> Collected:
    return Collected(row[0], row[1], row[2], Outcome(row[3]), row[4], row[5])


def _standing(row: Row) -> Standing:
    return Standing(Copy(Reference(row[0]), row[1], row[2], row[3]), row[4])
