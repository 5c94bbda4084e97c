"""When a failed delivery is tried again, and when it is given up. Pure."""

from datetime import datetime, timedelta

MOST_ATTEMPTS = 34
"""With the delays below about a day: 12 attempts in the first 2 hours, then one an hour."""

_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(hours=1)
_AFTER_SILENCE = timedelta(seconds=20)
"""A server that did not answer may still be working on it; longer than the client waits for an answer."""


def next_attempt(
    attempts: int, now: datetime, chance: float, retry_after: timedelta | None = None, unanswered: bool = False
) -> datetime | None:
    """When to try again after `attempts` failures; None when it is time to give up.

    The delay doubles from 5 seconds to an hour, times 0.8 to 1.2 by `chance` (0 to 1), so that what failed together
    does not come back together. A server's own Retry-After is kept to, up to the longest delay.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    doubled: timedelta = min(_FIRST_DELAY * (1 << min(attempts - 1, 20)), _LONGEST_DELAY)
    delay = doubled * (0.8 + 0.4 * chance)
    if retry_after is not None:
        delay = max(delay, min(retry_after, _LONGEST_DELAY))
    return now + (max(delay, _AFTER_SILENCE) if unanswered else delay)
