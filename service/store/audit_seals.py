"""Seals on the record of who did what: a chain of hashes that shows whether it was changed.

Whoever writes to the record waits for no seal: the worker seals what is committed, a moment later. Each seal covers the
seal before it and a digest of each of its events, so nothing that is sealed can be changed, taken out or put in without
a trace, as long as one hash of the chain is known elsewhere.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from fhir_mappings.audit_event import Recorded
from fhir_mappings.strict_json import dump
from service.store.audit import COLUMNS
from service.store.connections import SEALER, Connections
from service.store.moments import instant

FIRST = bytes(32)
"""What stands before the first seal."""

_LOCK = 5_701_177_004
"""Advisory lock of who seals."""
_MOST = 1000
"""Events of one seal."""
_LONGEST = timedelta(minutes=1)
"""Longer than any write transaction: an id that has not been seen until then will never be."""

_NEWEST: LiteralString = "SELECT number, hash, settled FROM audit_seal ORDER BY number DESC LIMIT 1"
_ARCHIVED: LiteralString = "SELECT last_seal, hash FROM audit_archive ORDER BY last_seal DESC LIMIT 1"

# Below the end of the first range everything is settled, so that only what came last is looked at.
_UNSEALED: LiteralString = f"""
SELECT {COLUMNS} FROM audit_event
WHERE id >= %(floor)s AND NOT id <@ %(settled)s::int8multirange ORDER BY id LIMIT %(most)s
"""  # noqa: S608 - of constants

_FLOOR: LiteralString = """
SELECT coalesce((
    SELECT upper(settled) FROM audit_seal WHERE at < least(
        %(at)s::timestamptz - %(longest)s,
        (SELECT min(xact_start) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name IN ('sluss-write', 'sluss-record'))
    ) ORDER BY number DESC LIMIT 1
), 0)
"""

_SEAL: LiteralString = """
INSERT INTO audit_seal (number, at, before, hash, ids, digests, about, settled)
VALUES (%(number)s, %(at)s, %(before)s, %(hash)s, %(ids)s, %(digests)s, %(about)s,
        %(settled)s::int8multirange + int8multirange(int8range(0, %(floor)s))
        + (SELECT range_agg(int8range(id, id + 1)) FROM unnest(%(ids)s::bigint[]) AS i (id)))
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it stands."""

    number: int
    at: datetime
    before: bytes
    hash: bytes
    ids: Sequence[int]
    digests: Sequence[bytes]
    about: Sequence[str]
    """What its events are found by. It follows from them, so no hash covers it."""

    @property
    def computed(self) -> bytes:
        """The hash that it should have."""
        return hash_of(self.number, self.at, self.before, self.ids, self.digests)


def canonical(event: Recorded) -> str:
    """An event as one line of JSON, always the same for the same event; what is empty is left out."""
    columns = {one.name: getattr(event, one.name) for one in fields(event)}
    columns["recorded"] = instant(event.recorded)
    return dump({name: value for name, value in columns.items() if value not in (None, [])}, sort_keys=True)


def digest_of(event: Recorded) -> bytes:
    """SHA-256 of the event."""
    return hashlib.sha256(canonical(event).encode()).digest()


def hash_of(number: int, at: datetime, before: bytes, ids: Sequence[int], digests: Sequence[bytes]) -> bytes:
    """SHA-256 of a seal: the one before it, its number and time, and the id and digest of each of its events."""
    sealing = hashlib.sha256(before)
    sealing.update(f"{number} {instant(at)}\n".encode())
    for id_, digest in zip(ids, digests, strict=True):
        sealing.update(f"{id_} {digest.hex()}\n".encode())
    return sealing.digest()


def about_of(events: Iterable[Recorded]) -> list[str]:
    """Whom and what events are about, each once."""
    return sorted({one for event in events for one in (*event.patients, *event.about)})


class Seals:
    """Seals what is committed. Every method raises StoreUnavailable."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url, SEALER, 1, wait=5)

    def close(self) -> None:
        """Closes what is idle."""
        self._connections.close()

    def seal(self, at: datetime | None = None) -> int:
        """Seals all that is committed and not sealed yet; gives how many events. Does nothing while another does."""
        total = 0
        while True:
            sealed = self._seal_some(at or datetime.now(UTC))
            total += sealed
            if sealed < _MOST:
                return total

    def _seal_some(self, at: datetime) -> int:
        with self._connections.connection() as connection, connection.transaction():
            free = connection.execute("SELECT pg_try_advisory_xact_lock(%(lock)s)", {"lock": _LOCK}).fetchone()
            if free != (True,):
                return 0
            newest = connection.execute(_NEWEST).fetchone()
            last = newest or connection.execute(_ARCHIVED).fetchone() or (0, FIRST)
            number, before, settled = last[0] + 1, last[1], newest[2] if newest else "{}"
            unsealed = {"settled": settled, "floor": _floor_of(settled), "most": _MOST}
            events = [Recorded(*row) for row in connection.execute(_UNSEALED, unsealed).fetchall()]
            if not events:
                return 0
            ids, digests = [event.id for event in events], [digest_of(event) for event in events]
            (floor,) = connection.execute(_FLOOR, {"at": at, "longest": _LONGEST}).fetchone() or (0,)
            sealed = {"number": number, "at": at, "before": before, "ids": ids, "digests": digests}
            made = {"hash": hash_of(**sealed), "about": about_of(events)}
            values = {**sealed, **made, "settled": settled, "floor": floor}
            connection.execute(_SEAL, values)
            return len(events)


def _floor_of(settled: Any) -> int:
    """The first id that is not settled for good."""
    return int(settled[0].upper) if settled and settled != "{}" and settled[0].lower == 0 else 0
