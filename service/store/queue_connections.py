"""Connections to PostgreSQL as procrastinate's worker holds them: how its pool differs from what it makes by itself."""

import asyncio
from typing import Any

import psycopg
import psycopg_pool

from service.store.connections import PLANNING, readable


def queue_pool(**arguments: Any) -> psycopg_pool.AsyncConnectionPool:
    """A pool for `PsycopgConnector(pool_factory=...)`.

    Its statements are single ones, each a transaction of its own already; they are planned for a long queue, also while
    it is short; and before each a look at the socket, not at the server, tells whether the connection is sound.
    """
    return _Pool(**{**arguments, "configure": _set_up, "check": _is_sound})


class _Pool(psycopg_pool.AsyncConnectionPool):
    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """As of psycopg_pool; when who waits for it gives up, its tasks are told to end: cancelled, they would take it
        for an attempt to connect that failed, and go on.
        """
        try:
            await super().open(wait, timeout)
        except asyncio.CancelledError:
            await self.close(timeout=0)
            raise


async def _set_up(connection: psycopg.AsyncConnection) -> None:
    await connection.set_autocommit(True)
    await connection.execute("; ".join(PLANNING).encode(), prepare=False)


async def _is_sound(connection: psycopg.AsyncConnection) -> None:
    # Nothing is due on an idle connection: a readable socket means that the server has said goodbye.
    if connection.closed or readable(connection.fileno()):
        await connection.close()  # else the pool would offer it again
        raise psycopg.OperationalError("the connection was closed")
