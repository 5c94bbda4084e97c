"""Twice what the service can take: it refuses fast, keeps its memory, loses nothing that it accepted, and is afterwards
as fast as one beside it that nobody flooded: a machine has other things to do from one minute to the next.

Twenty seconds; five minutes with SLUSS_FAULT_SCALE=1.5.
"""

from statistics import median

import psycopg

from service.store.database import Store
from tests.bench import servers
from tests.faults.conftest import SCALE, Tell
from tests.faults.database import Postgres
from tests.faults.flood import Flood, Told, percentile, run

SECONDS = 200 * SCALE
CONNECTIONS = 200
"""More than the house holds, so that there is something to refuse."""
FAST = 2.0
"""Seconds in which 99 of 100 refusals are told. Flood, service and database share two cores."""
MOST_MEMORY = 260.0
"""MB of the web process, under the flood and after it."""


def _capacity(port: int, first: int) -> Told:
    told = run(Flood(port, 4, 0, 8, first))
    assert set(told.statuses) == {"200"}, told.statuses
    return told


def _in_turn(flooded: int, spared: int) -> tuple[list[Told], list[Told]]:
    """Both, three times in turn."""
    told: tuple[list[Told], list[Told]] = ([], [])
    for turn in range(3):
        for at, port in enumerate((flooded, spared)):
            told[at].append(_capacity(port, 10_000_000 + 1_000_000 * (2 * turn + at)))
    return told


def _here(database: str) -> set[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT item->>'value' FROM resource, jsonb_array_elements(body::jsonb->'identifier') item"
            " WHERE type = 'ServiceRequest'"
        ).fetchall()
    return {value for (value,) in rows}


def test_a_flood_is_refused_fast_and_harms_nobody(database: str, postgres: Postgres, tell: Tell) -> None:
    another = postgres.database("spared")
    for url in (database, another):
        Store(url).migrate()
    with (
        servers.sluss(database, 1, 8, SLUSS_LOG_LEVEL="error") as server,
        servers.sluss(another, 1, 8, SLUSS_LOG_LEVEL="error") as spared,
    ):
        run(Flood(spared.port, 3, 0, 8, 0))
        run(Flood(server.port, 3, 0, 8, 0))  # warm
        before = _capacity(server.port, 100_000)
        (memory,) = server.memory()
        flood = run(Flood(server.port, SECONDS, 2 * before.rate, CONNECTIONS, 1_000_000))
        (held,) = server.memory()
        after, beside = _in_turn(server.port, spared.port)
        (left,) = server.memory()
    refused, accepted = percentile(flood.refused_in, 0.99), percentile(flood.accepted_in, 0.99)
    tell(f"capacity {before.rate:.0f}/s; {SECONDS:.0f} s of {2 * before.rate:.0f}/s due: {flood.statuses}")
    tell(f"accepted {flood.rate:.0f}/s, p99 {accepted:.2f} s; refused p99 {refused:.3f} s")
    ratio = median(one.rate / other.rate for one, other in zip(after, beside, strict=True))
    rates = " ".join(f"{one.rate:.0f}/{other.rate:.0f}" for one, other in zip(after, beside, strict=True))
    tell(f"memory {memory:.0f} MB before, {held:.0f} under it, {left:.0f} after; then {ratio:.2f} ({rates} a second)")
    assert set(flood.statuses) <= {"200", "503", "429"}, flood.statuses
    assert flood.statuses.get("503", 0) > 0, "it was a flood"
    assert flood.without_retry_after == 0
    assert refused < FAST
    assert flood.rate > 0.4 * before.rate, "it goes on working at its own pace"
    assert max(memory, held, left) < MOST_MEMORY
    assert ratio > 0.7, "as fast as before"
    accepted_by_it = {placer for told in (before, flood, *after) for placer in told.accepted}
    assert accepted_by_it <= _here(database), "nothing that was accepted is lost"
