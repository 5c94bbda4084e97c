"""Connections to PostgreSQL as procrastinate's worker holds them: how its pool differs from what it makes by itself."""

from typing import Any

import psycopg
import psycopg_pool

from service.store.connections import PLANNING, readable


def queue_pool(**arguments: Any) -> psycopg_pool.AsyncConnectionPool:
    """A pool for `PsycopgConnector(pool_factory=...)`.

    Its statements are single ones, each a transaction of its own already; they are planned for a long queue, also while
    it is short; and before each a look at the socket, not at the server, tells whether the connection is sound.
    """
    return psycopg_pool.AsyncConnectionPool(**{**arguments, "configure": _set_up, "check": _is_sound})


async def _set_up(connection: psycopg.AsyncConnection) -> None:
    await connection.set_autocommit(True)
    await connection.execute("; ".join(PLANNING).encode(), prepare=False)


async def _is_sound(connection: psycopg.AsyncConnection) -> None:
    # Nothing is due on an idle connection: a readable socket means that the server has said goodbye.
    if connection.closed or readable(connection.fileno()):
        await connection.close()  # else the pool would offer it again
        raise psycopg.OperationalError("the connection was closed")
