"""Bringing the database to the schema that this code expects. Alembic, run from here and not from a command line.

Alembic and SQLAlchemy are only imported where there is something to change: they are a large part of a process's start.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from service.store.records import StoreUnavailable

if TYPE_CHECKING:
    import sqlalchemy as sa

_LOCK = 5_701_177_001
"""Advisory lock that is held while the schema is changed."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Upgrades the schema to the newest version. Safe when many processes start at once: one does it, the others wait.

    Raises StoreUnavailable when the database cannot be reached.
    """
    if not is_current(url):
        _upgrade(url)


def is_current(url: str) -> bool:
    """True when the database has the schema that this code expects. Raises StoreUnavailable when it cannot be asked."""
    try:
        with psycopg.connect(_libpq(url), connect_timeout=5, autocommit=True) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except psycopg.errors.UndefinedTable:
        return False
    except psycopg.OperationalError as problem:
        raise StoreUnavailable(type(problem).__name__) from problem
    return rows == [(head(),)]


@cache
def head() -> str:
    """The newest revision: migrations are files named by their number, each on top of the one before."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _upgrade(url: str) -> None:
    import sqlalchemy as sa  # noqa: PLC0415  see above
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(sa.text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                connection.commit()
    except sa.exc.OperationalError as problem:
        raise StoreUnavailable(type(problem.orig).__name__) from problem
    finally:
        engine.dispose()


def _engine(url: str) -> "sa.Engine":
    import sqlalchemy as sa  # noqa: PLC0415

    driver_url = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(driver_url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
