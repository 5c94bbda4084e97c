"""The platform's poll of contract 8 over two web processes, while sixteen write in transactions that stay open for a
random time: each poller goes on from the last stamp that it saw, and gets every reply once and in order.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Event

import psycopg

from fhir_mappings.records import Json
from tests.faults.conftest import SCALE, MakeSluss, Tell
from tests.faults.load import Load, session
from tests.faults.outside import StandIn
from tests.web.caller import UNIT

Poll = Callable[[str], list[tuple[str, str]]]
"""The (id, stamp) of what is newer than a stamp."""

WRITERS = 16
_LONG_AGO = "2000-01-01T00:00:00Z"

_SLOWLY = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(random() * 0.2);
    RETURN NULL;
END $$;
-- at the commit, long after the stamp was taken
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON referral DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slowly();
"""


_REPLIES = """
SELECT id, last_updated FROM resource
WHERE type = 'Communication' AND last_updated > %(seen)s
  AND body::jsonb -> 'recipient' -> 0 -> 'identifier' ->> 'value' = %(unit)s
ORDER BY last_updated, id LIMIT %(limit)s
"""


def as_the_platform(url: str, count: int, shorten: int = 0) -> Poll:
    """`shorten` cuts off that many digits of the stamp, as a client does that keeps milliseconds."""
    asked = f"recipient:identifier=urn:oid:1.2.752.29.4.19|{UNIT}&status=completed&_sort=_lastUpdated&_count={count}"

    def poll(seen: str) -> list[tuple[str, str]]:
        since = f"{seen[: -1 - shorten]}Z" if shorten and seen != _LONG_AGO else seen
        answer = session().get(f"{url}/fhir/Communication?{asked}&_lastUpdated=gt{since}", timeout=30)
        assert answer.status_code == 200, answer.text
        found: list[Json] = [entry["resource"] for entry in answer.json().get("entry", ())]
        return [(one["id"], one["meta"]["lastUpdated"]) for one in found]

    return poll


def _naively(database_url: str) -> Poll:
    """What a server would answer that looks at committed rows only."""

    def poll(seen: str) -> list[tuple[str, str]]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            rows = connection.execute(_REPLIES, {"seen": seen, "unit": UNIT, "limit": 200}).fetchall()
        return [(id_, stamp.isoformat()) for id_, stamp in rows]

    return poll


def _follow(poll: Poll, done: Event) -> list[str]:
    """The ids that a poller gets, in order; it ends when nobody writes any longer and nothing new comes."""
    got: list[str] = []
    known: set[str] = set()
    seen = _LONG_AGO
    while True:
        finished = done.is_set()
        found = poll(seen)
        new = {id_ for id_, _ in found} - known
        known |= new
        got += [id_ for id_, _ in found]
        if found:
            seen = found[-1][1]
        if finished and not new:
            return got
        time.sleep(0.002)


def _write(load: Load, writer: int, until: float) -> int:
    """Referrals of UNIT (those with even numbers are), every third one withdrawn; gives how many replies they get."""
    chance = random.Random(writer)  # noqa: S311 - a test's choice
    replies, number = 0, 2 * writer
    while time.monotonic() < until:
        one = load.refer(number)
        replies += 1
        if number % 3 == 0:
            order = load.ask("GET", f"/fhir/{one.order}", None, chance)
            load.ask("PUT", f"/fhir/{one.order}", {**order, "status": "revoked"}, chance)
            replies += 1
        number += 2 * WRITERS
    return replies


def test_every_poller_gets_every_reply_once_and_in_order_and_one_that_asks_naively_does_not(
    database: str, outside: StandIn, make_sluss: MakeSluss, tell: Tell
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_SLOWLY)
    sluss = make_sluss(database, outside.url, webs=2, workers=0, threads=16)
    load, done = Load(sluss.urls, 0), Event()
    polls = [as_the_platform(sluss.urls[n % 2], count) for n, count in enumerate((1, 20, 200))]
    polls += [as_the_platform(sluss.urls[0], 200, shorten=3), _naively(database)]
    with ThreadPoolExecutor(WRITERS + len(polls)) as pool:
        until = time.monotonic() + max(60 * SCALE, 10)
        writing = [pool.submit(_write, load, writer, until) for writer in range(WRITERS)]
        following = [pool.submit(_follow, poll, done) for poll in polls]
        try:
            replies = sum(writer.result() for writer in writing)
        finally:
            done.set()
        *followed, shortened, naive = [poller.result() for poller in following]
    with psycopg.connect(database) as connection:
        rows = connection.execute(_REPLIES, {"seen": _LONG_AGO, "unit": UNIT, "limit": None}).fetchall()
    stamps: dict[str, datetime] = dict(rows)
    assert len(stamps) == replies
    for name, got in (*zip(("1 a page", "20 a page", "200 a page"), followed, strict=True), ("naive", naive)):
        lost, doubled = len(stamps.keys() - set(got)), len(got) - len(set(got))
        tell(f"{name}: received={replies} delivered={len(set(got))} lost={lost} duplicated={doubled}")
    for got in followed:
        assert sorted(got) == sorted(stamps), "every one, once"
        assert [stamps[id_] for id_ in got] == sorted(stamps.values())
    assert set(shortened) == set(stamps), "who keeps milliseconds sees some again and misses none"
    assert set(naive) != set(stamps), "transactions were open long enough for this test to tell"
