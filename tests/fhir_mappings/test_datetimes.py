"""FHIR dates and dateTimes as instants."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.datetimes import SWEDEN, age_order, day_in_sweden, earliest_instant, has_time, is_day


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=SWEDEN)),
        ("2026-11", datetime(2026, 11, 1, tzinfo=SWEDEN)),
        ("2026-11-18", datetime(2026, 11, 18, tzinfo=SWEDEN)),
        ("2026-11-18T08:30:00Z", datetime(2026, 11, 18, 8, 30, tzinfo=UTC)),
        ("2026-11-18T08:30:00-03:30", datetime(2026, 11, 18, 12, 0, tzinfo=UTC)),
        ("2026-11-18T08:30:00.123456789+01:00", datetime(2026, 11, 18, 7, 30, 0, 123456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_fhir_date_means_the_first_instant_that_it_can(written: str, instant: datetime) -> None:
    assert earliest_instant(written) == instant


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "20261118",
        "2026-02-30",
        "2026-11-18T08:30",
        "2026-11-18T08:30:00",
        "2026-11-18T25:00:00Z",
        "2026-11-18\n",
        "２０２６-11-18",
        "2026-11-18T08:30:00+01:99",
        "9999-12-31T23:59:60Z",
        "0000",
    ],
)
def test_what_is_no_fhir_date_is_no_instant(written: str | None) -> None:
    assert earliest_instant(written) is None
    assert day_in_sweden(written) is None


@pytest.mark.parametrize(
    ("written", "day", "time"),
    [
        ("2026-11-18", True, False),
        ("2026-11", False, False),
        ("2026-11-18T08:30:00Z", False, True),
        ("x", False, False),
    ],
)
def test_a_whole_day_and_a_time_are_told_apart(written: str, day: bool, time: bool) -> None:
    assert (is_day(written), has_time(written)) == (day, time)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-11-18T23:30:00Z", date(2026, 11, 19)),
        ("2026-07-18T22:30:00Z", date(2026, 7, 19)),
        ("2026-11-18", date(2026, 11, 18)),
        ("9999-12-31T23:30:00Z", date(9999, 12, 31)),
    ],
)
def test_the_day_is_the_swedish_one(written: str, day: date) -> None:
    assert day_in_sweden(written) == day


def test_what_has_no_time_is_oldest_and_a_day_begins_before_its_hours() -> None:
    order = ["2026-11-18", "2026-11-18T00:00:01+01:00", "0001", None, "2026-11-17T23:30:00Z"]

    assert sorted(order, key=age_order) == [
        None,
        "0001",
        "2026-11-18",
        "2026-11-18T00:00:01+01:00",
        "2026-11-17T23:30:00Z",
    ]


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - Hypothesis adds the zone
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_an_instant_that_is_written_reads_the_same(naive: datetime, zone: timezone) -> None:
    instant = naive.replace(tzinfo=zone)

    assert earliest_instant(instant.isoformat()) == instant


@given(st.text(), st.text())
def test_any_text_has_a_place_in_the_order(one: str, other: str) -> None:
    assert (age_order(one) < age_order(other)) == (not age_order(other) <= age_order(one))
