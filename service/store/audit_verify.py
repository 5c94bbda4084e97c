"""Whether the record of who did what is as it was sealed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

from fhir_mappings.audit_event import Recorded
from service.store.audit import COLUMNS
from service.store.audit_seals import FIRST, Seal, about_of, digest_of
from service.store.connections import SEALER, Connection, Connections

_LATE = timedelta(minutes=1)
"""After this an event should have been sealed."""

_SEALS: LiteralString = "SELECT number, at, before, hash, ids, digests, about FROM audit_seal ORDER BY number"
_EVENTS: LiteralString = f"SELECT {COLUMNS} FROM audit_event WHERE id = ANY(%(ids)s)"  # noqa: S608 - of constants
_ARCHIVES: LiteralString = "SELECT last_seal, hash FROM audit_archive ORDER BY last_seal"

# The second column: an id that was taken for settled, so that no seal will ever look for it.
_IN_NO_SEAL: LiteralString = """
SELECT e.id, coalesce(e.id <@ newest.settled, false), e.recorded < now() - %(late)s
FROM audit_event e
LEFT JOIN (SELECT unnest(ids) AS id FROM audit_seal) s ON s.id = e.id
LEFT JOIN (SELECT settled FROM audit_seal ORDER BY number DESC LIMIT 1) newest ON true
WHERE s.id IS NULL ORDER BY e.id
"""
_MAY_CHANGE: LiteralString = """
SELECT bool_or(has_table_privilege(current_user, name, right_))
FROM unnest(ARRAY['audit_event', 'audit_seal', 'audit_archive']) AS t (name),
     unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS r (right_)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was."""

    kind: str
    """changed, missing, inserted, unsealed, seal or head."""
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the whole record has found."""

    findings: tuple[Finding, ...]
    seals: int
    events: int
    waiting: int
    """Events that are so young that no seal has come by."""
    late: int
    """Events that were sealed more than a minute after they were written: no worker ran, or their time is not true."""
    head: bytes
    """The newest seal's hash: who notes it elsewhere knows later that nothing before it was touched."""
    may_change: bool
    """True when the role that asks has more rights on the record than it needs."""


def verify(url: str, head: str | None = None) -> Verdict:
    """Recompute every digest and hash. `head` (hexadecimal): a hash of the chain that was noted before. Raises
    StoreUnavailable.
    """
    connections = Connections(url, SEALER, 1, wait=5)
    try:
        with connections.connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return _looked_at(connection, head.lower() if head else None)
    finally:
        connections.close()


def _looked_at(connection: Connection, head: str | None) -> Verdict:
    archives = connection.execute(_ARCHIVES).fetchall()
    number, before = archives[-1] if archives else (0, FIRST)
    known = {bytes(hash_).hex() for _, hash_ in archives} | {bytes(before).hex()}
    findings: list[Finding] = []
    seals = events = late = 0
    with connection.cursor("seals") as cursor:
        cursor.itersize = 50
        for row in cursor.execute(_SEALS):
            seal = Seal(*row)
            findings += _of_seal(seal, number, before)
            found = {event.id: event for event in _events(connection, seal)}
            of_events = list(_of_events(seal, found))
            findings += of_events
            if not of_events and about_of(found.values()) != list(seal.about):
                findings.append(Finding("seal", f"seal {seal.number} does not tell whom its events are about"))
            late += sum(event.recorded < seal.at - _LATE for event in found.values())
            seals, events = seals + 1, events + len(found)
            number, before = seal.number, seal.hash
            known.add(seal.hash.hex())
    waiting = 0
    for id_, settled, old in connection.execute(_IN_NO_SEAL, {"late": _LATE}).fetchall():
        if settled:
            findings.append(Finding("inserted", f"event {id_} was put in after its time was sealed"))
        elif old:
            findings.append(Finding("unsealed", f"event {id_} should have been sealed long ago"))
        else:
            waiting += 1
    if head is not None and head not in known:
        findings.append(Finding("head", "the chain does not lead to that hash: its end is gone, or it was made anew"))
    (may_change,) = connection.execute(_MAY_CHANGE).fetchone() or (True,)
    return Verdict(tuple(findings), seals, events, waiting, late, bytes(before), bool(may_change))


def _events(connection: Connection, seal: Seal) -> Iterator[Recorded]:
    return (Recorded(*row) for row in connection.execute(_EVENTS, {"ids": list(seal.ids)}).fetchall())


def _of_seal(seal: Seal, last: int, before: bytes) -> Iterator[Finding]:
    if seal.number != last + 1:
        yield Finding("seal", f"seals {last + 1} to {seal.number - 1} are missing")
    elif seal.before != before:
        yield Finding("seal", f"seal {seal.number} does not follow the one before it")
    if len(seal.ids) != len(seal.digests) or seal.computed != seal.hash:
        yield Finding("seal", f"seal {seal.number} was changed")


def _of_events(seal: Seal, found: dict[int, Recorded]) -> Iterator[Finding]:
    for id_, digest in zip(seal.ids, seal.digests, strict=False):
        if id_ not in found:
            yield Finding("missing", f"event {id_} is gone (seal {seal.number})")
        elif digest_of(found[id_]) != digest:
            yield Finding("changed", f"event {id_} was changed (seal {seal.number})")
