"""The real application on real PostgreSQL, with a clock that stands still."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.packs.model import Pack
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.web.caller import Sluss

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load("gavleborg")


@pytest.fixture
def house(store: Store, pack: Pack) -> House:
    from uuid import uuid4

    return House(store, pack, Canonical(Settings().canonical_base), lambda: NOW, lambda: str(uuid4()))


@pytest.fixture
def sluss(house: House) -> Sluss:
    """A client of an application with default settings; the caller is the administrator until it says otherwise."""
    return Sluss(create_app(Settings(), house))


@pytest.fixture
def another(house: House) -> Callable[..., Sluss]:
    """A further application on the same database, as a second process would be; with settings of its own."""

    def make(**changes: object) -> Sluss:
        return Sluss(create_app(replace(Settings(), **changes), house))  # type: ignore[arg-type]  # names of its fields

    return make


@pytest.fixture
def rows(store: Store) -> Iterator[Callable[[], dict[str, int]]]:
    """How many rows every table has, but the record of who did what: that grows with every request."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " AND relname NOT LIKE 'audit_%'"
            ).fetchall()
        ]
        counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in names)  # noqa: S608
        yield lambda: dict(connection.execute(counts.encode()).fetchall())
