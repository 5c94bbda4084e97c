"""Moments with a precision, as FHIR writes and searches them: a date covers its day, a minute its minute.

https://hl7.org/fhir/R4/search.html#date. What is written without an offset is Swedish time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

SWEDISH_TIME = ZoneInfo("Europe/Stockholm")

_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    # A client that forgot to escape '+' in a URL sends a space.
    r"(?P<zone>Z|[+\- ][0-9]{2}:[0-9]{2})?)?)?)?"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """The half-open interval [low, high) that a written moment covers; aware, UTC."""

    low: datetime
    high: datetime
    exact: bool
    """True when a time of day was written."""


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_ENDS = {"0001": Moment(_FIRST, _FIRST, exact=True), "9999": Moment(_LAST, _LAST, exact=True)}


def parse_moment(text: str) -> Moment | None:
    """The moment that `text` (FHIR date or dateTime, seconds optional) stands for; None when it is none."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    try:
        return _covered(part)
    except (ValueError, OverflowError):
        return None


def parse_asked(text: str) -> Moment | None:
    """The moment that a client asks about: as `parse_moment`, and the first and the last day that can be written, which
    many libraries write for an end that is open, stand for the beginning and the end of time.
    """
    end = _ENDS.get(text[:4])
    # 2000 has every day that a year can have.
    return parse_moment(text) or (end if end and parse_moment(f"2000{text[4:]}") else None)


def instant(moment: datetime) -> str:
    """`moment` as a FHIR instant in UTC with microseconds, as in `meta.lastUpdated`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _covered(part: dict[str, str | None]) -> Moment:
    year, month, day = int(part["year"] or 0), int(part["month"] or 1), int(part["day"] or 1)
    zone = _zone(part["zone"])
    if part["hour"] is None:
        low = datetime(year, month, day, tzinfo=SWEDISH_TIME)
        if part["day"]:
            # By the calendar: the days when the clocks change have 23 and 25 hours.
            high = low + timedelta(days=1)
        elif part["month"]:
            high = low.replace(year=year + month // 12, month=month % 12 + 1)
        else:
            high = low.replace(year=year + 1)
        return Moment(low.astimezone(UTC), high.astimezone(UTC), exact=False)
    fraction = (part["fraction"] or "").ljust(6, "0")[:6]
    # Python knows no second 60; the leap second is taken as the one before it.
    hour, minute, second = int(part["hour"]), int(part["minute"] or 0), min(int(part["second"] or 0), 59)
    low = datetime(year, month, day, hour, minute, second, int(fraction), tzinfo=zone).astimezone(UTC)
    return Moment(low, low + _precision(part), exact=True)


def _precision(part: dict[str, str | None]) -> timedelta:
    if part["second"] is None:
        return timedelta(minutes=1)
    if part["fraction"] is None:
        return timedelta(seconds=1)
    return timedelta(microseconds=10 ** max(0, 6 - len(part["fraction"])))


def _zone(text: str | None) -> tzinfo:
    if text is None:
        return SWEDISH_TIME
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)
