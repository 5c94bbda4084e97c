"""The clock is set back, or turns with daylight saving: stamps never go back, and no reply is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event

import psycopg
import pytest

from tests.faults.clock import Clock
from tests.faults.conftest import MakeSluss, Tell
from tests.faults.load import Load
from tests.faults.outside import StandIn
from tests.faults.processes import INJECTED
from tests.faults.tally import settled
from tests.faults.test_polling import Poll, as_the_platform

STEP = timedelta(minutes=2)


@pytest.fixture
def clock(database: str, tmp_path: Path) -> Clock:
    """One that shows the true time until it is turned."""
    made = Clock(database, tmp_path / "clock")
    made.install()
    return made


@dataclass
class Poller:
    """Goes on from the last stamp it saw, and notes what the clock showed when it saw each reply."""

    poll: Poll
    clock: Clock
    seen_at: dict[str, datetime] = field(default_factory=dict)
    stamps: list[str] = field(default_factory=list)
    twice: int = 0

    def follow(self, done: Event) -> None:
        last = "2000-01-01T00:00:00Z"
        while True:
            finished = done.is_set()
            found = self.poll(last)
            now = self.clock.now()
            self.twice += sum(id_ in self.seen_at for id_, _ in found)
            self.seen_at |= {id_: now for id_, _ in found}
            self.stamps += [stamp for _, stamp in found]
            if found:
                last = self.stamps[-1]
            elif finished:
                return
            time.sleep(0.02)


@dataclass
class Sender:
    """Refers one after the other, and notes what the clock showed when each was acknowledged."""

    load: Load
    clock: Clock
    acknowledged_at: dict[str, datetime] = field(default_factory=dict)

    def refer(self, numbers: range) -> None:
        for number in numbers:
            one = self.load.refer(number)
            self.acknowledged_at[one.order] = self.clock.now()


def test_a_clock_that_is_set_back_two_minutes_delays_replies_by_no_more_and_loses_none(
    clock: Clock, outside: StandIn, make_sluss: MakeSluss, tell: Tell
) -> None:
    sluss = make_sluss(clock.database_url, outside.url, webs=2, command=INJECTED, FAULT_CLOCK=str(clock.file))
    load, done = Load(sluss.urls, 0), Event()
    sender, poller = Sender(load, clock), Poller(as_the_platform(sluss.urls[0], 20), clock)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(poller.follow, done)
        try:
            sender.refer(range(0, 40, 2))
            time.sleep(1)
            before = len(poller.seen_at)
            clock.turn(-STEP)
            sender.refer(range(40, 80, 2))
            time.sleep(1)
            held_back = len(poller.seen_at) == before
            # the rest of the two minutes goes by at once
            clock.turn(timedelta(seconds=-3))
            time.sleep(4)
            caught_up = len(poller.seen_at)
            sender.refer(range(80, 100, 2))
            time.sleep(1)
        finally:
            done.set()
        following.result()
    tally = settled(load.known, clock.database_url, outside.shown)
    replies = _replies(clock.database_url)
    late = [(poller.seen_at[id_] - sender.acknowledged_at[order]) for id_, order, _ in replies if id_ in poller.seen_at]
    lost = [id_ for id_, _, _ in replies if id_ not in poller.seen_at]
    tell(
        f"{tally}; replies: received={len(replies)} delivered={len(poller.seen_at)} lost={len(lost)}"
        f" duplicated={poller.twice}; the latest {max(late).total_seconds():.1f} s late"
    )
    assert (before, held_back, caught_up) == (20, True, 40)
    assert (lost, poller.twice) == ([], 0)
    assert poller.stamps == sorted(poller.stamps)
    given = [
        stamp for _, order, stamp in sorted(replies, key=lambda reply: list(sender.acknowledged_at).index(reply[1]))
    ]
    assert all(one < next_one for one, next_one in pairwise(given)), "later is stamped later, whatever the clock shows"
    assert STEP - timedelta(seconds=5) < max(late) < STEP + timedelta(seconds=2)
    assert tally.is_whole(50), (tally.amiss, sluss.logs())


def _replies(database: str) -> list[tuple[str, str, datetime]]:
    """Id, order and stamp of every message."""
    with psycopg.connect(database) as connection:
        return connection.execute(
            "SELECT id, body::jsonb -> 'basedOn' -> 0 ->> 'reference', last_updated FROM resource"
            " WHERE type = 'Communication'"
        ).fetchall()


TURNS = {
    "to winter time": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "to summer time": datetime(2027, 3, 28, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_turn_of_daylight_saving_disorders_and_delays_nothing(
    turn: datetime, clock: Clock, outside: StandIn, make_sluss: MakeSluss, tell: Tell
) -> None:
    clock.turn(turn - timedelta(seconds=8) - datetime.now(UTC))
    sluss = make_sluss(clock.database_url, outside.url, webs=2, command=INJECTED, FAULT_CLOCK=str(clock.file))
    load, done = Load(sluss.urls, 0, turn.date()), Event()
    sender, poller = Sender(load, clock), Poller(as_the_platform(sluss.urls[0], 20), clock)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(poller.follow, done)
        try:
            number = 0
            while clock.now() < turn + timedelta(seconds=3):
                sender.refer(range(number, number + 2, 2))
                number += 2
                time.sleep(0.1)
            time.sleep(1)
        finally:
            done.set()
        following.result()
    tally = settled(load.known, clock.database_url, outside.shown)
    replies = _replies(clock.database_url)
    late = [poller.seen_at[id_] - sender.acknowledged_at[order] for id_, order, _ in replies]
    with psycopg.connect(clock.database_url) as connection:
        tasks = connection.execute(
            "SELECT body::jsonb ->> 'authoredOn', last_updated FROM resource WHERE type = 'Task' ORDER BY last_updated"
        ).fetchall()
    authored = [datetime.fromisoformat(text) for text, _ in tasks]
    offsets = [moment.utcoffset() for moment in authored]
    tell(
        f"{tally}; {offsets.index(offsets[-1])} before the turn; the last reply {max(late).total_seconds():.1f} s late"
    )
    assert sorted(poller.seen_at) == sorted(id_ for id_, _, _ in replies)
    assert (poller.twice, poller.stamps) == (0, sorted(poller.stamps))
    assert max(late) < timedelta(seconds=1)
    assert authored == sorted(authored), "as instants, though the hour on the wall comes twice, or never"
    assert len(set(offsets)) == 2
    assert all(abs(stamp - moment) < timedelta(seconds=1) for moment, (_, stamp) in zip(authored, tasks, strict=True))
    assert tally.is_whole(number // 2), (tally.amiss, sluss.logs())
