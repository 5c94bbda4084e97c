"""A store that was filled is one that the service could have written."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest

from service.store.database import Store
from service.store.index_values import dated, digest, index_values, measured
from service.store.moments import instant
from tests.bench import fill, lives, queries, servers
from tests.bench.asking import Server, results

COPIES = 15
"""So many that what a team has had is several pages."""


@dataclass
class Filled:
    """A store, and what it was filled from."""

    url: str
    larger: str
    """Another one, with one copy more, and with families that were lived there."""
    families: fill.Multiplier

    def marks(self, family: int) -> list[str]:
        """What the ids begin with in each copy of a family."""
        return [copy.mark.decode() for number, copy in self.families.copies(COPIES) if number == family]


@pytest.fixture(scope="module")
def filled(server_url: str) -> Iterator[Filled]:
    names = ("bench_lived", "bench_filled", "bench_larger")
    urls = [server_url.replace("/postgres?", f"/{name}?") for name in names]
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name, url in zip(names, urls, strict=True):
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
            Store(url).migrate()
        lived, smaller, larger = urls
        families = fill.read(lived, lives.live_families(lived))
        for url, copies in ((smaller, COPIES), (larger, COPIES + 1)):
            families.fill(url, copies, lambda _: None)
            lives.take_in_open_ones(url)
        lives.live_families(larger, lives.FAMILIES)
        yield Filled(smaller, larger, families)
        for name in names:
            connection.execute(f'DROP DATABASE "{name}" (FORCE)'.encode())


def _rows(url: str, mark: str) -> dict[str, Counter[str]]:
    """Table → its rows with this in them, as the database shows them, without numbers that count up by themselves, and
    with one word for each id, time, digest and patient. As in `fill`, without the queue and the record.
    """
    shown: dict[str, Counter[str]] = {}
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ '^(procrastinate|audit)_'"
        ).fetchall():
            columns = connection.execute(
                "SELECT string_agg(column_name, ', ') FROM information_schema.columns"
                " WHERE table_name = %s AND is_identity = 'NO'",
                (table,),
            ).fetchone()
            assert columns is not None
            rows = connection.execute(
                f'SELECT row_to_json(r)::text FROM (SELECT {columns[0]} FROM "{table}") r'  # noqa: S608 - of PostgreSQL
                " WHERE r::text LIKE %s".encode(),
                (f"%{mark}%",),
            ).fetchall()
            if rows:
                shown[table] = Counter(_in_general(row, mark) for (row,) in rows)
    return shown


def _in_general(row: str, mark: str) -> str:
    day = r"\d{4}-\d\d-\d\d"
    row = re.sub(rf"{mark}-7[0-9a-f]{{3}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}", "ID", row)
    row = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "SHARED", row)
    row = re.sub(rf"B-{mark}", "PLACER", row)
    row = re.sub(rf"{day}T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "TIME", row)
    row = re.sub(day, "DAY", row)
    row = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", row)
    return re.sub(r"\b(19|20)\d{6}9[89]\d\d\b", "PERSON", row)


@pytest.mark.parametrize("family", range(lives.FAMILIES))
def test_a_copy_has_the_rows_that_the_service_writes_into_the_same_store(filled: Filled, family: int) -> None:
    real = _rows(filled.larger, lives.mark(lives.FAMILIES + family))

    assert {"referral", "resource", "resource_history", "search_value", "measured", "journal"} <= real.keys()
    for mark in filled.marks(family)[::7]:
        assert _rows(filled.url, mark) == real


def test_everything_is_found_by_what_its_content_says(filled: Filled) -> None:
    with psycopg.connect(filled.url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found_by: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for type_, id_, name, value in connection.execute("SELECT type, id, param, value FROM search_value"):
            found_by.setdefault((type_, id_), set()).add((name, value))
        numbers = {
            (type_, id_): (name, str(value))
            for type_, id_, name, value in connection.execute("SELECT type, id, param, value FROM measured")
        }
        resources = connection.execute(
            "SELECT type, id, version, last_updated, body, dated_from::text, dated_until::text FROM resource"
        ).fetchall()
        for type_, id_, version, last_updated, body, *extent in resources:
            content = json.loads(body)
            assert (content["resourceType"], content["id"]) == (type_, id_)
            assert content["meta"]["versionId"] == str(version)
            assert content["meta"]["lastUpdated"] == instant(last_updated)
            assert found_by.get((type_, id_), set()) == set(index_values(content))
            assert numbers.get((type_, id_)) == measured(content)
            wanted = connection.execute(
                "SELECT %s::timestamptz::text, %s::timestamptz::text", dated(content)
            ).fetchone()
            assert wanted == tuple(extent), body
            assert last_updated <= datetime.now(UTC)


def test_every_version_before_says_which_it_is_and_came_before_the_next(filled: Filled) -> None:
    with psycopg.connect(filled.url) as connection:
        rows = connection.execute(
            "SELECT h.version, h.last_updated, h.body, r.version, r.last_updated FROM resource_history h"
            " JOIN resource r USING (type, id)"
        ).fetchall()
    for version, last_updated, body, current, current_since in rows:
        meta = json.loads(body)["meta"]
        assert meta == {**meta, "versionId": str(version), "lastUpdated": instant(last_updated)}
        assert version < current
        assert last_updated < current_since


def test_every_reference_leads_to_something_that_is_stored(filled: Filled) -> None:
    with psycopg.connect(filled.url) as connection:
        stored = {f"{type_}/{id_}" for type_, id_ in connection.execute("SELECT type, id FROM resource")}
        bodies = connection.execute("SELECT body FROM resource UNION ALL SELECT body FROM resource_history").fetchall()
        keys = {reference for (reference,) in connection.execute("SELECT reference FROM natural_key")}
    for (body,) in bodies:
        references = re.findall(r'"reference":"([A-Z][A-Za-z]+/[^"/]+)', body)
        assert set(references) <= stored
    assert keys <= stored


def test_referrals_are_told_apart_as_the_service_tells_them(filled: Filled) -> None:
    with psycopg.connect(filled.url) as connection:
        rows = connection.execute(
            "SELECT organisation, placer_system, placer_value, placer_key, fingerprint, patient_key, state"
            " FROM referral"
        ).fetchall()
    ended = [row for row in rows if row[-1] != "requested"]

    assert len(rows) == lives.OPEN + lives.FAMILIES * lives.FAMILY * COPIES
    assert all(digest(*placer) == key for *placer, key, _, _, _ in rows)
    assert len({fingerprint for *_, fingerprint, _, _ in ended}) == len(ended)
    assert set(Counter(patient for *_, patient, _ in ended).values()) == {lives.FAMILY}


def test_only_what_copies_of_families_make_can_be_asked_for() -> None:
    assert fill.copies_for(1_000) * lives.FAMILIES * lives.FAMILY + lives.OPEN == 1_000
    with pytest.raises(ValueError, match="1001"):
        fill.copies_for(1_001)


def test_each_search_finds_as_much_in_every_store(filled: Filled) -> None:
    with ExitStack() as stack:
        running = {
            url: Server(stack.enter_context(servers.sluss(url, 1, 2)).port) for url in (filled.url, filled.larger)
        }
        asked = {server: queries.six(url, server) for url, server in running.items()}
        counts = {
            name: results(name, {server: each[name] for server, each in asked.items()})
            for name in next(iter(asked.values()))
        }

    assert counts == {
        "work list": f"{lives.OPEN // len(lives.TEAMS)} + {2 * lives.OPEN // len(lives.TEAMS)}",
        "reply poll": f"{queries.NEW_MESSAGES} + 0",
        "patient history": f"{lives.FAMILY} + 1",
        "identifier": "1 + 0",
        "a page deep in the result": f"{queries.PAGE} + 0",
        "Observation by value": f"{lives.OPEN_AND_GRAVE} + 0",
    }
