"""The way in: one Store per process."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.store import migrate, statements
from service.store.audit import Audit
from service.store.audit_records import Acting
from service.store.audit_search import AuditView
from service.store.change import Change
from service.store.clients import Clients
from service.store.connections import AUDITOR, READER, WRITER, Connections
from service.store.subscriptions import Subscriptions
from service.store.view import View


class Store:
    """The database behind one URL. Connects when first asked; safe to share between threads and to fork.

    Everything here raises StoreUnavailable when the database cannot answer; it recovers by itself.
    """

    def __init__(self, url: str, *, pool_size: int = 8, wait: float = 5.0) -> None:
        """`url`: libpq's or SQLAlchemy's URL, or a conninfo string's URL form. At most `pool_size` readers and as many
        writers at once; a caller waits at most `wait` seconds for a connection.
        """
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._writers = Connections(self.url, WRITER, pool_size, wait)
        self._readers = Connections(self.url, READER, pool_size, wait)
        self.subscriptions = Subscriptions(self._writers, self._readers)
        self.clients = Clients(self._writers, self._readers)
        self.audit = Audit(self.url, pool_size, wait)
        self._auditors = Connections(self.url, AUDITOR, 2, wait)
        self.audit_view = AuditView(self._auditors)
        self.acting: Acting | None = None

    def acting_for(self, acting: Acting) -> "Store":
        """The same store, in the hands of who does this: every change made through it is recorded as theirs."""
        own = object.__new__(type(self))
        own.__dict__.update(
            self.__dict__, acting=acting, subscriptions=Subscriptions(self._writers, self._readers, acting)
        )
        return own

    def migrate(self) -> None:
        """Brings the schema up to date; does nothing when it is. Safe when several processes do so at once."""
        migrate.migrate(self.url)

    def is_current(self) -> bool:
        """True when the schema is the one that this code expects."""
        return migrate.is_current(self.url)

    def ping(self) -> None:
        """Returns when the database answers."""
        with self._readers.connection() as connection:
            connection.execute("SELECT 1")

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One write transaction: committed when the block ends, rolled back when it raises.

        Limits: 5 s for a statement or between two, 10 s in all (PostgreSQL 17 and later), since pollers see nothing
        younger than the oldest open one. Nothing slow belongs in the block, least of all a call to another server.
        """
        with self._writers.connection() as connection:
            change = Change(connection, self.acting)
            try:
                yield change
                change.commit()
            except BaseException:
                change.roll_back()
                raise

    def wake(self, name: str, args: Json, priority: int) -> None:
        """Puts a job in the queue by itself, unless one of that name waits already; its locks have its name."""
        values = {"name": name, "args": dump(args), "priority": priority}
        with self._writers.connection() as connection, suppress(psycopg.errors.UniqueViolation):
            connection.execute(statements.WAKE, values)

    def link_key(self, new: str) -> str:
        """The key with which links are sealed, the same for every process; `new` becomes it when there is none."""
        with self._writers.connection() as connection:
            row = connection.execute(statements.LINK_KEY, {"new": new}).fetchone()
        assert row is not None  # noqa: S101 - an upsert that changes nothing gives its row
        return str(row[0])

    def view(self) -> View:
        """Reads outside any transaction."""
        return View(self._readers)

    def close(self) -> None:
        """Closes idle connections."""
        for connections in (self._writers, self._readers, self._auditors, self.audit):
            connections.close()
