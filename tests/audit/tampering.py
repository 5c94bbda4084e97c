"""What somebody with all rights on the database could do to the record."""

from typing import Any

import psycopg

from service.store.database import Store


def tamper(store: Store, statement: str, *values: Any) -> None:
    """As a superuser who has the triggers off."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode(), values)


def rows(store: Store, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(store.url, autocommit=True) as connection:
        return connection.execute(statement.encode(), values).fetchall()
