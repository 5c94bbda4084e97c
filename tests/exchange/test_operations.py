"""What needs a person, and what does not: the figures of one moment, judged."""

from dataclasses import replace
from datetime import timedelta

import pytest

from service.exchange.overview import Overview, letter_as_json, letter_as_line
from service.store.dead_letters import DeadLetter
from service.store.records import ExchangeFigures, QueueFigures, ServerRow, Watermark
from tests.store.examples import NOW

_QUEUE = QueueFigures(3, 1, 0, NOW - timedelta(seconds=2), 0, 0, 0, workers=1)
_FIGURES = ExchangeFigures(0, None, 0, None, 0, NOW - timedelta(seconds=4), 0, 0, 0)
_SERVER = ServerRow(last_contact=NOW - timedelta(seconds=9))
WELL = Overview(NOW, True, _QUEUE, _FIGURES, [Watermark("Task", NOW - timedelta(minutes=3), NOW)], _SERVER)


def _figures(**changes: object) -> Overview:
    return replace(WELL, exchange=replace(_FIGURES, **changes))  # type: ignore[arg-type]  # names of its fields


def test_nobody_is_needed_when_all_is_well() -> None:
    assert WELL.needs_a_person == []
    assert WELL.last_contact == NOW - timedelta(seconds=4), "a look is a contact, too"


@pytest.mark.parametrize(
    ("overview", "word"),
    [
        (_figures(dead_letters=2, oldest_dead=NOW), "2 dead letters: sluss exchange dead"),
        (_figures(stuck=1), "1 change there could not be carried out: sluss exchange reconcile"),
        (_figures(quarantined=2), "2 referrals there cannot be read"),
        (_figures(polled_at=NOW - timedelta(minutes=6)), "has not been looked at"),
        (replace(WELL, queue=replace(_QUEUE, workers=0)), "no background worker runs"),
        (replace(WELL, queue=replace(_QUEUE, oldest_due=NOW - timedelta(minutes=6))), "jobs wait although"),
        (replace(WELL, server=ServerRow(3, "timeout", NOW - timedelta(hours=2), NOW)), "more than an hour (timeout)"),
    ],
)
def test_each_of_these_needs_a_person_and_says_where_to_go_on(overview: Overview, word: str) -> None:
    (line,) = overview.needs_a_person
    assert word in line
    assert any(line in told for told in overview.lines())
    assert overview.as_json()["needs_a_person"] == [line]


@pytest.mark.parametrize(
    "overview",
    [
        _figures(waiting=500, oldest_waiting=NOW - timedelta(hours=3)),
        _figures(discarded=4),
        _figures(uncollected=2),
        _figures(polled_at=None),
        replace(WELL, server=ServerRow(3, "timeout", NOW - timedelta(minutes=59), NOW)),
        replace(_figures(dead_letters=1, stuck=1, quarantined=1), on=False),
    ],
)
def test_what_mends_itself_or_was_decided_needs_nobody(overview: Overview) -> None:
    assert overview.needs_a_person == []


def test_while_the_server_is_down_it_is_no_news_that_it_was_not_looked_at() -> None:
    down = replace(
        _figures(polled_at=NOW - timedelta(minutes=30)),
        server=ServerRow(3, "unreachable", NOW - timedelta(minutes=30), NOW),
    )
    assert down.needs_a_person == []
    assert down.as_json()["external_server"]["state"] == "down"


def test_times_are_instants_in_utc() -> None:
    told = WELL.as_json()
    assert told["collection"]["watermarks"] == {"Task": "2026-11-23T08:27:00Z"}
    assert told["deliveries"]["oldest_waiting"] is None


@pytest.mark.parametrize("dead", [True, False])
def test_a_letter_says_why_and_since_when(dead: bool) -> None:
    error = {"reason": "refused", "status": 422, "issues": [{"severity": "error", "code": "value", "expression": None}]}
    letter = DeadLetter("r-1", "t-1", "accepted", NOW, NOW if dead else None, 1, error)
    if not dead:
        letter = replace(letter, discarded_at=NOW, discarded_by="operator x", why="y")
    line = letter_as_line(letter)
    assert line.startswith("r-1  refused 422: value  (")
    assert ("discarded" in line) is not dead
    assert (letter_as_json(letter)["discarded"] is None) is dead
