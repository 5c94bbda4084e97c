"""Taking out of the record what has had its time: whole seals, oldest first, into files that can be verified alone."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from fhir_mappings.audit_event import Recorded
from fhir_mappings.strict_json import dump
from service.store.audit import COLUMNS, RECORD, parameter
from service.store.audit_records import AuditEvent
from service.store.audit_seals import FIRST, canonical, hash_of
from service.store.moments import instant
from service.store.records import StoreUnavailable

YEARS = 5
"""Nothing younger is taken out: HSLF-FS 2016:40 chapter 4 section 9. The database refuses it too."""

_SEALS: LiteralString = """
SELECT number, at, before, hash, ids, digests FROM audit_seal s
WHERE number < (SELECT max(number) FROM audit_seal)
  AND number < coalesce((SELECT min(number) FROM audit_seal WHERE at >= %(before)s), 9223372036854775807)
ORDER BY number
"""
_EVENTS: LiteralString = f"SELECT {COLUMNS} FROM audit_event WHERE id = ANY(%(ids)s) ORDER BY id"  # noqa: S608


class Unsound(Exception):  # noqa: N818 - a state of the record, told to whoever looks
    """What was written is not what was sealed: nothing was taken out."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What went into a file."""

    path: Path
    sha256: str
    seals: int
    events: int


def archive(url: str, before: datetime, folder: Path, event: AuditEvent) -> Archived | None:
    """Write what was sealed before a moment into a new file, read it back, and only then take it out; `event` is this
    act itself. None when there is nothing. Raises Unsound, OSError, and StoreUnavailable; nothing is taken out then.

    `url` is the owner's: nobody else may.
    """
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            seals = connection.execute(_SEALS, {"before": before}).fetchall()
            if not seals:
                return None
            first, last = seals[0][0], seals[-1][0]
            path = folder / f"record-{first}-{last}.jsonl"
            with path.open("x", encoding="utf-8") as file:
                for seal in seals:
                    events = connection.execute(_EVENTS, {"ids": seal[4]}).fetchall()
                    file.writelines(f"{line}\n" for line in _lines(seal, events))
                file.flush()
                os.fsync(file.fileno())
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_suffix(".sha256").write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
            read = read_archive(path)
            if (read.sha256, read.seals) != (sha256, len(seals)):
                raise Unsound(f"{path}: not what was written")
            connection.execute("SELECT sluss_archive_record(%s, %s, %s)", (last, path.name, sha256))
            connection.execute(RECORD, parameter([event]))
            return read
    except psycopg.Error as problem:
        raise StoreUnavailable(f"{type(problem).__name__}: {problem.diag.message_primary or ''}") from problem


def read_archive(path: Path) -> Archived:
    """What is in a file, verified: its hash as it stands beside it, each event against its digest, each seal against
    its hash and the one before it. Raises Unsound and OSError.
    """
    raw = path.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    if path.with_suffix(".sha256").read_text(encoding="utf-8").split()[:1] != [sha256]:
        raise Unsound(f"{path}: its hash is not the one beside it")
    lines = iter(raw.decode().splitlines())
    seals = events = 0
    last: bytes | None = None
    for line in lines:
        seal: dict[str, Any] = json.loads(line)["seal"]
        digests = [bytes.fromhex(digest) for digest in seal["digests"]]
        for digest in digests:
            if hashlib.sha256(next(lines, "").encode()).digest() != digest:
                raise Unsound(f"{path}: an event of seal {seal['number']} is not what was sealed")
        begun = bytes.fromhex(seal["before"])
        hash_ = hash_of(seal["number"], datetime.fromisoformat(seal["at"]), begun, seal["ids"], digests)
        if hash_.hex() != seal["hash"] or (last is not None and begun != last):
            raise Unsound(f"{path}: seal {seal['number']} is broken")
        last, seals, events = hash_, seals + 1, events + len(digests)
    return Archived(path, sha256, seals, events)


def _lines(seal: Sequence[Any], events: Sequence[Sequence[Any]]) -> Iterator[str]:
    number, at, before, hash_, ids, digests = seal
    yield dump(
        {
            "seal": {
                "number": number,
                "at": instant(at),
                "before": bytes(before or FIRST).hex(),
                "hash": bytes(hash_).hex(),
                "ids": list(ids),
                "digests": [bytes(digest).hex() for digest in digests],
            }
        }
    )
    by_id = {row[0]: row for row in events}
    for id_ in ids:
        yield canonical(Recorded(*by_id[id_])) if id_ in by_id else ""
