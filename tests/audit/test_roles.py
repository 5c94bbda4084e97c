"""The role that the service runs as can add to the record and nothing more; nobody can change it by mistake."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.app import create_app, make_house
from service.settings import Settings
from service.store.audit_seals import Seals
from service.store.audit_verify import verify
from service.store.database import Store
from service.store.roles import grant
from tests.web.caller import Sluss
from tests.web.served import PROJECT, new_database

TABLES = ("audit_event", "audit_seal", "audit_archive")
CHANGES = [
    "UPDATE audit_event SET role = role",
    "UPDATE audit_seal SET at = at",
    "UPDATE audit_archive SET file = file",
    *(f"{words} {table}" for words in ("DELETE FROM", "TRUNCATE") for table in TABLES),
]


@pytest.fixture(scope="module")
def owners(server_url: str) -> str:
    """A database of its own, as its owner sees it."""
    url = new_database(server_url, f"roles_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    return url


@pytest.fixture(scope="module")
def role(owners: str, server_url: str) -> Iterator[str]:
    name = f"sluss_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    grant(owners, name, create=True)
    yield name
    with psycopg.connect(owners, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}".encode())
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def services(owners: str, role: str) -> str:
    """The same database as the service sees it."""
    return owners.replace("//postgres:@", f"//{role}:@")


@pytest.fixture
def used(services: str, owners: str) -> Store:
    """A service of that role has taken in a referral, moved it, searched it, and sealed what it did."""
    settings = Settings(database_url=services)
    house = make_house(settings)
    sluss = Sluss(create_app(settings, house))
    with psycopg.connect(owners) as connection:
        (there,) = connection.execute("SELECT count(*) FROM referral").fetchone() or (0,)
    told = sluss.refer(f"R-{there}")
    task = told["task"]
    therapist = sluss.acting("therapist gavle")
    assert therapist.put(f"/fhir/Task/{task['id']}", {**task, "status": "received"}).status_code == 200
    Seals(services).seal()
    return house.store


def test_the_service_works_as_that_role(used: Store, services: str) -> None:
    verdict = verify(services)
    assert verdict.findings == ()
    assert verdict.events > 3
    assert not verdict.may_change
    assert used.is_current()


@pytest.mark.parametrize("change", [*CHANGES, "SELECT sluss_archive_record(1, 'x', 'y')", "DROP TABLE audit_event"])
def test_it_cannot_change_the_record(used: Store, services: str, change: str) -> None:
    with psycopg.connect(services) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(change.encode())


@pytest.mark.parametrize("change", CHANGES)
def test_nor_can_the_owner_by_mistake(used: Store, owners: str, change: str) -> None:
    with psycopg.connect(owners, autocommit=True) as connection:
        connection.execute("INSERT INTO audit_archive VALUES (0, '', 0, 'f', 'h', now()) ON CONFLICT DO NOTHING")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added to"):
            connection.execute(change.encode())


def test_the_owner_does_not_take_out_what_is_young(used: Store, owners: str) -> None:
    with psycopg.connect(owners) as connection:
        connection.execute("SELECT set_config('sluss.archiving', 'on', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM audit_event")


def test_a_role_that_does_not_exist_or_may_do_all_is_refused(owners: str) -> None:
    with pytest.raises(ValueError, match="there is no role nobody"):
        grant(owners, "nobody")
    with pytest.raises(ValueError, match="superuser"):
        grant(owners, "postgres")


def test_the_embedded_database_is_worked_in_as_another_than_its_owner(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-m", "service.cli", "audit", "verify"],
            env={**kept, "SLUSS_DATA_DIR": str(tmp_path)},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert "0 seals on 0 events" in told.stdout
        assert "could change the record" not in told.stderr
