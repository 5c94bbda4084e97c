"""A clock for all processes of a Sluss, PostgreSQL's included, that a test can turn.

The processes are those of tests/faults/injected.py. In the database, functions in a schema that is looked through
before PostgreSQL's own tell the time: what has begun before a turn keeps its time, as it would on a machine.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

_INJECTED = """
CREATE SCHEMA fault;
CREATE TABLE fault.turn (since timestamptz NOT NULL, ahead interval NOT NULL);
CREATE FUNCTION fault.told(moment timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT moment + coalesce((SELECT ahead FROM fault.turn WHERE since <= moment ORDER BY since DESC LIMIT 1), '0')
$$;
CREATE FUNCTION fault.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT fault.told(pg_catalog.clock_timestamp())
$$;
CREATE FUNCTION fault.transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT fault.told(pg_catalog.transaction_timestamp())
$$;
CREATE FUNCTION fault.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT fault.told(pg_catalog.now()) $$;
CREATE FUNCTION fault.pg_stat_get_activity(pid int)
    RETURNS TABLE (datid oid, application_name text, xact_start timestamptz) LANGUAGE sql VOLATILE AS $$
    SELECT datid, application_name, fault.told(xact_start) FROM pg_catalog.pg_stat_get_activity(pid)
$$;
"""


@dataclass(frozen=True)
class Clock:
    """The clock of the Sluss on one database."""

    database_url: str
    file: Path

    def install(self) -> None:
        """For connections made from now on."""
        self.file.write_text("0")
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(_INJECTED)
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = fault, pg_catalog, public'.encode())

    def turn(self, ahead: timedelta) -> None:
        """It shows so much more than the true time from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(str(ahead.total_seconds()))
        with psycopg.connect(self.database_url) as connection:
            connection.execute("INSERT INTO fault.turn VALUES (pg_catalog.clock_timestamp(), %s)", (ahead,))
            new.rename(self.file)

    def now(self) -> datetime:
        """What it shows."""
        return datetime.now(UTC) + timedelta(seconds=float(self.file.read_text()))
