"""One real PostgreSQL for the whole test session, a database for each worker, clean tables for each test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.store import embedded
from service.store.database import Store

_CLUSTER = "SLUSS_TEST_CLUSTER"


def pytest_configure(config: pytest.Config) -> None:
    # Workers of pytest-xdist inherit the environment, and with it the one server.
    if not hasattr(config, "workerinput"):
        os.environ[_CLUSTER] = tempfile.mkdtemp(prefix="sluss-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(_CLUSTER), ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have told of themselves (`record_property("told", …)`), figures that are wanted of good runs too."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind) if r.when == "call"]
    told = [value for report in reports for name, value in report.user_properties if name == "told"]
    if told:
        terminalreporter.section("told")
        for line in told:
            terminalreporter.write_line(str(line))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The session's PostgreSQL server, shared by all workers; its database `postgres` stays empty.

    The embedded one, or that of `SLUSS_TEST_SERVER_URL` (of a superuser, with `/postgres?host=…` at the end), to run
    the same tests on another version.
    """
    given = os.environ.get("SLUSS_TEST_SERVER_URL")
    if given:
        yield given
        return
    server = embedded.start(Path(os.environ[_CLUSTER]) / "data")
    with psycopg.connect(server.url, autocommit=True) as connection:
        # Test data need not survive a power failure.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def database_url(server_url: str) -> str:
    """This worker's own migrated database."""
    name = f"sluss_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    url = server_url.replace("/postgres?", f"/{name}?")
    Store(url).migrate()
    return url


@pytest.fixture(scope="session")
def _session_store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def store(_session_store: Store) -> Store:
    """An empty store."""
    with psycopg.connect(_session_store.url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
        ).fetchone()
        assert tables is not None
        connection.execute("SET session_replication_role = replica")  # the record would refuse it
        connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE".encode())
        connection.execute("SELECT setval('sluss_stamp_floor', 0)")
    return _session_store
