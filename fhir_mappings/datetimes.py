"""FHIR date and dateTime: from a year alone to an instant with offset, put in order.

https://hl7.org/fhir/R4/datatypes.html#dateTime. What has no time of day is read in Swedish time.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

SWEDEN = ZoneInfo("Europe/Stockholm")
"""The zone in which a Swedish referral's dates are meant."""

_DATE_TIME = re.compile(
    r"(?P<year>[0-9]{4})(-(?P<month>[0-9]{2})(-(?P<day>[0-9]{2})"
    r"(T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(\.(?P<fraction>[0-9]+))?"
    r"(?P<offset>Z|[+-][0-9]{2}:[0-9]{2}))?)?)?",
    re.ASCII,
)


def earliest_instant(written: str | None) -> datetime | None:
    """The first instant that a FHIR date or dateTime can mean, with offset; None where it cannot be read.

    `2026-11-18` gives that day's midnight in Sweden, `2026` the new year. A leap second (`:60`) counts as the second
    after; more than six decimals are cut off.
    """
    found = _DATE_TIME.fullmatch(written) if written else None
    if found is None:
        return None
    parts = found.groupdict()
    year, month, day = int(parts["year"]), int(parts["month"] or 1), int(parts["day"] or 1)
    try:
        if parts["hour"] is None:
            return datetime(year, month, day, tzinfo=SWEDEN)
        second = int(parts["second"])
        leap = timedelta(seconds=1 if second == 60 else 0)
        instant = datetime(
            year,
            month,
            day,
            int(parts["hour"]),
            int(parts["minute"]),
            59 if leap else second,
            int((parts["fraction"] or "").ljust(6, "0")[:6]),
            tzinfo=_zone(parts["offset"]),
        )
        return instant + leap
    except (ValueError, OverflowError):
        return None


def is_day(written: str) -> bool:
    """True for a complete calendar date without time of day (`2026-11-18`)."""
    return len(written) == 10 and earliest_instant(written) is not None


def has_time(written: str) -> bool:
    """True for a dateTime with time of day and offset."""
    return "T" in written and earliest_instant(written) is not None


def day_in_sweden(written: str | None) -> date | None:
    """The Swedish calendar day of a FHIR date or dateTime (the first it can mean); None where it cannot be read."""
    instant = earliest_instant(written)
    if instant is None:
        return None
    try:
        return instant.astimezone(SWEDEN).date()
    except OverflowError:  # within a day of the years 1 and 9999
        return instant.date()


def age_order(written: str | None) -> tuple[bool, datetime]:
    """Sort key, oldest first, by which what has no readable time counts as oldest."""
    instant = earliest_instant(written)
    return (False, datetime.min.replace(tzinfo=UTC)) if instant is None else (True, instant)


def _zone(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if minutes > 59:
        raise ValueError(offset)
    size = timedelta(hours=hours, minutes=minutes)
    return timezone(-size if offset[0] == "-" else size)
