"""When a failed delivery is tried again, and when no more."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from service.exchange.backoff import MOST_ATTEMPTS, next_attempt

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=ZoneInfo("Europe/Stockholm"))


def delay(attempts: int, chance: float = 0.5, **more: object) -> timedelta:
    again = next_attempt(attempts, NOW, chance, **more)  # type: ignore[arg-type]
    assert again is not None
    return again - NOW


def test_the_delay_doubles_from_five_seconds_to_an_hour() -> None:
    assert [delay(n).total_seconds() for n in (1, 2, 3, 10, 11, 30)] == [5, 10, 20, 2560, 3600, 3600]


def test_a_server_that_is_away_is_waited_for_about_a_day() -> None:
    waited = sum((delay(n) for n in range(1, MOST_ATTEMPTS)), timedelta())
    assert timedelta(hours=22) < waited < timedelta(hours=26)
    assert next_attempt(MOST_ATTEMPTS, NOW, 0.5) is None


def test_a_server_that_asks_for_patience_gets_it_but_no_more_than_an_hour() -> None:
    assert delay(1, retry_after=timedelta(minutes=10)) == timedelta(minutes=10)
    assert delay(1, retry_after=timedelta(days=9)) == timedelta(hours=1)


def test_a_server_that_went_silent_is_given_time_to_finish() -> None:
    assert delay(1, unanswered=True) == timedelta(seconds=20)
    assert delay(11, unanswered=True) == timedelta(hours=1)


@given(st.integers(1, MOST_ATTEMPTS - 1), st.floats(0, 1))
def test_jitter_spreads_but_never_forgets_or_hammers(attempts: int, chance: float) -> None:
    assert timedelta(seconds=4) <= delay(attempts, chance) <= timedelta(minutes=72)
