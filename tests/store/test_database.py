"""The store as a process sees it: migrations, outages, forks, a server that comes along."""

import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from service.store import embedded, migrate
from service.store.database import Store
from service.store.records import StoreUnavailable, Write
from tests.store.examples import task


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
    yield server_url.replace("/postgres?", "/empty?")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def test_several_processes_that_start_at_once_migrate_once(empty_database: str) -> None:
    store = Store(empty_database)
    assert not store.is_current()
    script = "import sys; from service.store.database import Store; Store(sys.argv[1]).migrate()"
    processes = [subprocess.Popen([sys.executable, "-c", script, empty_database]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert store.is_current()
    store.migrate()
    with store.change() as change:
        change.write([Write(task("t-1"))])
    assert store.view().get("Task", "t-1") is not None
    store.close()


def test_a_server_that_stops_is_unavailable_and_comes_back_by_itself() -> None:
    directory = Path(tempfile.mkdtemp(prefix="sluss-outage-"))
    server = embedded.start(directory / "data")
    try:
        store = Store(server.url)
        store.migrate()
        with store.change() as change:
            change.write([Write(task("t-1"))])
        store.ping()
        server.stop()
        for asked in (store.ping, lambda: store.view().get("Task", "t-1"), store.is_current, store.migrate):
            with pytest.raises(StoreUnavailable):
                asked()
        with pytest.raises(StoreUnavailable), store.change() as change:
            change.write([Write(task("t-2"))])
        server = embedded.start(directory / "data")
        assert store.view().get("Task", "t-1") is not None, "what was committed is still there"
        with store.change() as change:
            change.write([Write(task("t-2"))])
        store.close()
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _terminate(application_name: str, store: Store) -> None:
    """What an administrator or a fail-over does to connections."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE %s AND datname = current_database()",
            (application_name,),
        )


def test_connections_that_the_server_has_closed_are_replaced_unnoticed(store: Store) -> None:
    store.ping()
    with store.change() as change:
        change.write([Write(task("t-1"))])
    _terminate("sluss-%", store)
    time.sleep(0.05)
    assert store.view().get("Task", "t-1") is not None
    with store.change() as change:
        change.write([Write(task("t-2"))])


def test_a_change_whose_connection_is_lost_is_unavailable_and_leaves_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.change() as change:
            change.write([Write(task("t-1"))])
            change.flush()
            _terminate("sluss-write", store)

    with pytest.raises(StoreUnavailable):
        interrupted()
    assert store.view().get("Task", "t-1") is None


def test_no_free_connection_in_time_is_unavailable(database_url: str, store: Store) -> None:
    small = Store(database_url, pool_size=1, wait=0.05)
    with small.change(), pytest.raises(StoreUnavailable, match="no free"), small.change():
        pass
    with small.change() as change:
        change.write([Write(task("t-1"))])
    small.close()


def test_a_view_cannot_write(store: Store) -> None:
    with store._readers.connection() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM resource")


def test_a_server_that_takes_no_writes_now_is_unavailable_and_asked_anew_when_it_does(
    store: Store, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:  # as a standby is after a fail-over
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_read_only = on'.encode())
    with pytest.raises(StoreUnavailable), store.change() as change:
        change.write([Write(task("t-1"))])
    with psycopg.connect(database_url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" RESET default_transaction_read_only'.encode())
    with store.change() as change:
        change.write([Write(task("t-1"))])


def test_a_deadlock_is_unavailable_and_the_other_goes_on(store: Store) -> None:
    together = threading.Barrier(2)
    outcomes = []

    def lock(first: str, second: str) -> None:
        try:
            with store.change() as change:
                change.lock_key(first)
                together.wait(5)
                change.lock_key(second)
            outcomes.append("went on")
        except StoreUnavailable as unavailable:
            outcomes.append(str(unavailable))

    threads = [threading.Thread(target=lock, args=order) for order in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["DeadlockDetected (SQLSTATE 40P01)", "went on"]


def test_an_outage_never_tells_values(store: Store) -> None:
    def slow() -> None:
        with store.change() as change:
            change.connection.execute("SET LOCAL statement_timeout = '10ms'")
            change.connection.execute("SELECT pg_sleep(1), %s::text", ("199002222397",))

    with pytest.raises(StoreUnavailable) as told:
        slow()
    assert str(told.value) == "QueryCanceled (SQLSTATE 57014)"


def _read_in_child(store: Store, answers: "multiprocessing.SimpleQueue[bool]") -> None:
    answers.put(store.view().get("Task", "t-1") is not None)


def test_a_store_that_was_used_before_a_fork_works_on_both_sides(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
    store.ping()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(store, answers))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert answers.get()
    assert store.view().get("Task", "t-1") is not None


def test_a_second_user_of_the_embedded_server_joins_it() -> None:
    directory = Path(tempfile.mkdtemp(prefix="sluss-joined-"))
    server = embedded.start(directory / "data")
    try:
        assert embedded.start(directory / "data").url == server.url
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def test_the_newest_revision_is_told_by_the_files_as_alembic_tells_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert migrate.head() == ScriptDirectory.from_config(config).get_current_head()
