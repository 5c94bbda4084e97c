"""Connections to PostgreSQL, kept for reuse. What goes wrong with the database comes out as `StoreUnavailable`."""

import os
import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from service.store import text_arrays
from service.store.records import StoreUnavailable, TooCostly

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]

WRITER = "sluss-write"
"""application_name of write transactions. Gap-free polling looks for it: nothing else may write resources."""
READER = "sluss-read"
RECORDER = "sluss-record"
"""Adds to the record what changes nothing: no poller waits for it."""
EXCHANGE = "sluss-exchange"
SEALER = "sluss-seal"
AUDITOR = "sluss-audit"

PLANNING: tuple[LiteralString, ...] = (
    # Every statement of views, changes and the queue is written for certain indexes. It is planned once, and never from
    # what a table looked like while it was small: the plan that suits ten rows would be kept for a hundred thousand.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)

_LIMITS: dict[str, tuple[LiteralString, ...]] = {
    # A poller sees nothing younger than the oldest open write transaction, so none may stay open for long.
    WRITER: (
        "SET statement_timeout = '5s'",
        "SET lock_timeout = '4s'",
        "SET idle_in_transaction_session_timeout = '5s'",
        *PLANNING,
    ),
    RECORDER: ("SET statement_timeout = '5s'", "SET lock_timeout = '4s'", *PLANNING),
    READER: ("SET statement_timeout = '10s'", "SET default_transaction_read_only = on", *PLANNING),
    AUDITOR: ("SET statement_timeout = '10s'", "SET default_transaction_read_only = on"),
    # Also looks at the whole record, when somebody asks for it.
    SEALER: ("SET idle_in_transaction_session_timeout = '10min'",),
    # May hold a lock while another server is asked; its sweeps go through whole tables.
    EXCHANGE: ("SET statement_timeout = '30s'", "SET idle_in_transaction_session_timeout = '1min'"),
}
_WRITE_TRANSACTION_LIMIT: LiteralString = "SET transaction_timeout = '10s'"


class Connections:
    """A bounded stack of connections with one application_name. Thread-safe; starts empty again after a fork.

    Connections are in autocommit mode, prepare every statement once, and speak UTC.
    """

    def __init__(self, url: str, application_name: str, size: int, wait: float) -> None:
        """At most `size` connections at once; a caller waits at most `wait` seconds for one."""
        self._url = url
        self._application_name = application_name
        self._size = size
        self._wait = wait
        self._begin()
        begin = weakref.WeakMethod(self._begin)

        def begin_anew() -> None:
            if (still_here := begin()) is not None:
                still_here()

        os.register_at_fork(after_in_child=begin_anew)

    def _begin(self) -> None:
        # After a fork, the parent's sockets must be left alone: its connections are kept, unused, and not closed.
        self._inherited = getattr(self, "_idle", None)
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(self._size)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for the length of the block. Given back if it is idle and sound, else closed.

        Raises StoreUnavailable when none is to be had in time, and for any operational error inside the block;
        TooCostly when a statement took longer than it may.
        """
        free = self._free
        if not free.acquire(timeout=self._wait):
            raise StoreUnavailable("no free database connection")
        connection = None
        try:
            connection = self._idle_one() or self._new()
            yield connection
        except psycopg.errors.QueryCanceled as problem:
            raise TooCostly(_reason(problem)) from problem
        except psycopg.errors.ReadOnlySqlTransaction as problem:
            if self._application_name == READER:
                raise
            # A standby, after a fail-over: the next connection may find the server that takes writes.
            if connection is not None:
                connection.close()
            raise StoreUnavailable(_reason(problem)) from problem
        except (psycopg.OperationalError, psycopg.InterfaceError) as problem:
            raise StoreUnavailable(_reason(problem)) from problem
        finally:
            if connection is not None:
                self._give_back(connection)
            free.release()

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _idle_one(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # Nothing is due on an idle connection: a readable socket means that the server has said goodbye.
            if not connection.closed and not readable(connection.fileno()):
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _new(self) -> Connection:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=0,
            connect_timeout=5,
            application_name=self._application_name,
            keepalives_idle=30,
            tcp_user_timeout=15000,
        )
        settings = ["SET TimeZone = 'UTC'", "SET jit = off", *_LIMITS[self._application_name]]
        if self._application_name == WRITER and connection.info.server_version >= 170000:
            settings.append(_WRITE_TRANSACTION_LIMIT)
        connection.execute("; ".join(settings).encode(), prepare=False)
        connection.prepared_max = 500
        text_arrays.register(connection)
        return connection


def readable(descriptor: int) -> bool:
    """True when something has come over a socket."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _reason(problem: psycopg.Error) -> str:
    """What happened, without the statement's values: those may be personal data."""
    return f"{type(problem).__name__}" + (f" (SQLSTATE {problem.sqlstate})" if problem.sqlstate else "")
