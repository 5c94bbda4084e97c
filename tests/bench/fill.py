"""Stores of any size, with the same open referrals: what the service wrote for a few families (`lives`), multiplied.

Every row that the service left of a family, in whichever table, is written again for each copy with other ids, another
patient, and times that lie further back. So a copy has what a real referral has: no table, column or index value is
known here. What families share (units, roles, the directory) is there once.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

import psycopg

from fhir_mappings.datetimes import SWEDEN
from service.store.index_values import digest
from tests.bench import referrals
from tests.bench.lives import FAMILIES, FAMILY, OPEN, SERIALS, SPAN, mark

_A_DAY = 12
"""Copies of each family for each day back in time."""
_APART = timedelta(seconds=3787)
"""Between the copies of one day: whole seconds, so that what is written to the second, or to the millisecond, stays."""

_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::\d\d)?)"
_DAY = rb"\b\d{4}-\d\d-\d\d\b"
_DIGEST = rb"\b[0-9a-f]{64}\b"


def copies_for(total: int) -> int:
    """The number of copies of each family that makes a store of `total` referrals. Raises ValueError for an odd one."""
    copies, rest = divmod(total - OPEN, FAMILIES * FAMILY)
    if rest:
        raise ValueError(f"{total} referrals are not {OPEN} and a multiple of {FAMILIES * FAMILY}")
    return copies


@dataclass(frozen=True, slots=True)
class Copy:
    """What sets a copy apart: what its ids begin with, whom it is about, and how far back it lies."""

    mark: bytes
    identity: bytes
    days: int
    back: timedelta
    """As many days and some hours."""


class _Pattern:
    """The rows of a family in one table, as lines of COPY, cut where they differ between copies."""

    def __init__(self, lines: bytes, token: re.Pattern[bytes], ways: dict[bytes, Callable[[Copy], bytes]]) -> None:
        self._parts = token.split(lines)
        self._found = self._parts[1::2]
        self._length = len(lines)
        self._ways = {found: ways.get(found) or _way(found) for found in self._found}

    def __len__(self) -> int:
        """Bytes."""
        return self._length

    def of(self, copy: Copy) -> bytes:
        """The lines of a copy."""
        values = {found: way(copy) for found, way in self._ways.items()}
        parts = self._parts.copy()
        parts[1::2] = [values[found] for found in self._found]
        return b"".join(parts)


@dataclass(frozen=True)
class Multiplier:
    """What the service has written of families, ready to be written again."""

    tables: dict[str, tuple[str, ...]]
    """Table → its columns."""
    patterns: dict[str, list[_Pattern]]
    """Table → what each family has there."""
    shared: dict[str, _Pattern]
    """Table → what belongs to all."""
    begins: tuple[datetime, ...]
    """When each family's first referral came."""

    def fill(self, url: str, copies: int, tell: Callable[[int], None]) -> None:
        """Writes `copies` copies of each family, oldest first, into the empty store at `url`. `tell` is given numbers
        that add up to `steps(copies)`.
        """
        # The largest first, and two at once: PostgreSQL is what takes the time.
        tables = sorted(self.tables, key=lambda table: -sum(map(len, self.patterns[table])))
        with ThreadPoolExecutor(2) as hands:
            for done in [hands.submit(self._fill, url, table, copies, tell) for table in tables]:
                done.result()

    def _fill(self, url: str, table: str, copies: int, tell: Callable[[int], None]) -> None:
        share = sum(map(len, self.patterns[table]))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET TimeZone = 'UTC'; SET maintenance_work_mem = '1GB'")
            # Nothing but the rows: what a table does of itself when it is written has left its rows already.
            connection.execute("SET session_replication_role = replica")
            again = _take_away_indexes(connection, table)
            with connection.transaction(), connection.cursor() as cursor:
                # Emptied in this transaction, so that its rows can be frozen: PostgreSQL never goes through them again.
                cursor.execute(f'TRUNCATE "{table}"'.encode())
                command = f'COPY "{table}" ({", ".join(self.tables[table])}) FROM STDIN (FREEZE)'
                with cursor.copy(command.encode()) as rows:
                    rows.write(self.shared[table].of(Copy(b"", b"", *_back(copies + _A_DAY))))
                    for family, copy in self.copies(copies):
                        rows.write(self.patterns[table][family].of(copy))
                        tell(len(self.patterns[table][family]))
            for statement in again:
                connection.execute(statement.encode())
                tell(share * copies // len(again) // 2)
            connection.execute(f'ANALYZE "{table}"'.encode())

    def steps(self, copies: int) -> int:
        """About how much there is to do for a store."""
        return sum(len(pattern) for patterns in self.patterns.values() for pattern in patterns) * copies * 3 // 2

    def copies(self, copies: int) -> Iterator[tuple[int, Copy]]:
        """(number of the family, what sets the copy apart) of each, oldest first."""
        people = referrals.identities(serials=SERIALS)
        for number in range(copies, 0, -1):
            days, back = _back(number)
            for family, (begins, identity) in enumerate(zip(self.begins, islice(people, FAMILIES), strict=True)):
                digits = f"{int((begins - back).timestamp() * 1000):012x}"
                yield family, Copy(f"{digits[:8]}-{digits[8:]}".encode(), identity.encode(), days, back)


def _back(number: int) -> tuple[int, timedelta]:
    days, within = divmod(number, _A_DAY)
    days += SPAN.days + 2
    return days, timedelta(days=days) + within * _APART


def read(url: str, patients: list[str]) -> Multiplier:
    """What is in the store at `url`, where `lives.live_families` has lived families of these patients.

    Raises ValueError when something there cannot be told to be of one family or of all.
    """
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        ways = _digests(connection)
        roles = [
            id_.encode() for (id_,) in connection.execute("SELECT id FROM resource WHERE type = 'PractitionerRole'")
        ]
        apart = re.compile(b"|".join(map(re.escape, roles)))
        marks = [mark(family).encode() for family in range(FAMILIES)]
        tokens = [
            # A role's id first: the first referral that names it makes it, and it is everybody's afterwards.
            re.compile(b"(" + b"|".join([*roles, one, person.encode(), _TIME, _DAY, _DIGEST]) + b")")
            for one, person in zip(marks, patients, strict=True)
        ]
        ways |= {one: lambda copy: copy.mark for one in marks}
        ways |= {person.encode(): lambda copy: copy.identity for person in patients}
        ways |= {role: lambda _, role=role: role for role in roles}
        tables, patterns, shared = {}, {}, {}
        for table, columns in _columns(connection).items():
            lines: list[list[bytes]] = [[] for _ in (*marks, "shared")]
            for line in _lines(connection, table, columns):
                whose = [number for number, one in enumerate(marks) if one in apart.sub(b"", line)]
                if len(whose) > 1:
                    raise ValueError(f"a row of {table} belongs to several families")
                lines[whose[0] if whose else -1].append(line)
            if any(lines[:-1]):
                tables[table] = columns
                patterns[table] = [
                    _Pattern(b"".join(own), token, ways) for own, token in zip(lines[:-1], tokens, strict=True)
                ]
                shared[table] = _Pattern(b"".join(lines[-1]), tokens[0], ways)
        begins = connection.execute(
            "SELECT min(created_at) FROM referral GROUP BY left(id, 13) ORDER BY left(id, 13)"
        ).fetchall()
    return Multiplier(tables, patterns, shared, tuple(first for (first,) in begins))


def _columns(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    """The tables of the service, each with the columns that are not numbered by themselves. Left out are its queue's,
    whose jobs are gone when they are done, and the record of who did what: its seals hold for what was really done.
    """
    found: dict[str, tuple[str, ...]] = {}
    for table, column in connection.execute(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN pg_tables t"
        " ON t.schemaname = c.table_schema AND t.tablename = c.table_name WHERE c.table_schema = 'public'"
        " AND c.table_name !~ '^(procrastinate|audit)_' AND c.is_identity = 'NO' AND c.is_generated = 'NEVER'"
        " ORDER BY c.table_name, c.ordinal_position"
    ):
        found[table] = (*found.get(table, ()), column)
    return found


def _lines(connection: psycopg.Connection, table: str, columns: tuple[str, ...]) -> list[bytes]:
    with connection.cursor().copy(f'COPY "{table}" ({", ".join(columns)}) TO STDOUT'.encode()) as rows:
        return [bytes(row) for row in rows]


def _take_away_indexes(connection: psycopg.Connection, table: str) -> list[str]:
    """Takes away a table's indexes; gives the statements that make them again, as they were."""
    keys = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
        (table,),
    ).fetchall()
    for name, _ in keys:
        connection.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'.encode())
    others = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", (table,)
    ).fetchall()
    for name, _ in others:
        connection.execute(f'DROP INDEX "{name}"'.encode())
    added = [f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {definition}' for name, definition in keys]
    return [*added, *(definition for _, definition in others)]


# ---------------------------------------------------------------- what differs, and how


def _digests(connection: psycopg.Connection) -> dict[bytes, Callable[[Copy], bytes]]:
    ways: dict[bytes, Callable[[Copy], bytes]] = {}
    for key, fingerprint, organisation, system, value in connection.execute(
        "SELECT placer_key, fingerprint, organisation, placer_system, placer_value FROM referral"
    ):
        ways[key.encode()] = _placer_key(organisation, system, value)
        ways[fingerprint.encode()] = _fingerprint(fingerprint)
    return ways


def _placer_key(organisation: str, system: str, value: str) -> Callable[[Copy], bytes]:
    begins, ends = re.split("fff[0-9a-f]{5}-ffff", value)
    return lambda copy: digest(organisation, system, f"{begins}{copy.mark.decode()}{ends}").encode()


def _fingerprint(made: str) -> Callable[[Copy], bytes]:
    """It is compared with what the same sender sends again, and sought by nothing: any other one does."""
    return lambda copy: hashlib.sha256(made.encode() + copy.mark).hexdigest().encode()


def _way(found: bytes) -> Callable[[Copy], bytes]:
    """How a time or a day is written in a copy. Raises ValueError for anything else."""
    text = found.decode()
    if re.fullmatch(_DAY, found):
        day = date.fromisoformat(text)
        return lambda copy: (day - timedelta(days=copy.days)).isoformat().encode()
    if not re.fullmatch(_TIME, found):
        raise ValueError(f"nobody knows what {text} is a digest of")
    if "T" not in text and (midnight := datetime.fromisoformat(text).astimezone(SWEDEN)).time() == time():
        # Where the day begins of something that is written without a time.
        return lambda copy: (
            datetime.combine(midnight - timedelta(days=copy.days), time(), SWEDEN).astimezone(UTC).isoformat().encode()
        )
    # Whole seconds change nothing of what comes after them.
    moment, separator, rest = datetime.fromisoformat(text[:19]), text[10], text[19:]
    return lambda copy: f"{(moment - copy.back).isoformat(separator)}{rest}".encode()
