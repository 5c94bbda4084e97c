"""Bringing the database to the schema that this code expects. Alembic, run from here and not from a command line."""

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.store.records import StoreUnavailable

_LOCK = 5_701_177_001
"""Advisory lock that is held while the schema is changed."""


def migrate(url: str) -> None:
    """Upgrades the schema to the newest version. Safe when many processes start at once: one does it, the others wait.

    Raises StoreUnavailable when the database cannot be reached.
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
            try:
                config = _config()
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


def is_current(url: str) -> bool:
    """True when the database has the schema that this code expects. Raises StoreUnavailable when it cannot be asked."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == _head()
    except sa.exc.OperationalError as problem:
        raise StoreUnavailable(type(problem.orig).__name__) from problem
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    driver_url = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(driver_url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})


@cache
def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()
