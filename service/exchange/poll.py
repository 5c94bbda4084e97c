"""What is new on the external server since the last look, type by type, in the order in which it happened there.

`_lastUpdated` with an overlap: a transaction there may commit with a stamp that is older than what was seen already.
Watermarks are the server's own times; the clock here plays no part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import structlog

from fhir_mappings.records import Json
from fhir_mappings.terminology import PROGRAMMES, Canonical
from service.exchange.client import is_id, token
from service.exchange.outcomes import Permanent, Transient
from service.exchange.reader import Page, Paged, Reader

log = structlog.get_logger(__name__)

OVERLAP = timedelta(seconds=30)
"""How far behind what was seen the next look begins. What commits later still is found by the reconciliation."""
_PAGE_SIZE = 200
_MOST_PAGES = 3
"""Of one type in one look; what is left comes with the next one."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What is asked for."""

    type: str
    parameters: tuple[tuple[str, str], ...] = ()
    needed: bool = True
    """False for what a server may refuse to search for like this: it is then left out."""


@dataclass(frozen=True, slots=True)
class Change:
    """A version of something over there."""

    type: str
    id: str
    version: str
    at: datetime
    resource: Json

    @property
    def key(self) -> tuple[str, str]:
        """(type, id)"""
        return self.type, self.id


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a look has found."""

    changes: tuple[Change, ...]
    reached: Mapping[str, datetime | None]
    """How far each type has been seen; None where there was nothing."""
    more: bool = False
    """True when there is more than was read."""


def polls(canonical: Canonical) -> tuple[Poll, ...]:
    """What concerns us there: referrals to our programmes, answers to our forms, messages and Tasks.

    Asked for in the opposite of the order in which they are made: a Task that is seen to have ended may rest on a
    message, and that on a referral, which are asked for later and so are seen too.
    """
    programmes = ",".join(token(canonical.programme, code) for code in PROGRAMMES)
    forms = ",".join((canonical.madrs_s_form, canonical.referral_form))
    return (
        Poll("Task"),
        Poll("Communication"),
        Poll("QuestionnaireResponse", (("questionnaire", forms),), needed=False),
        Poll("Observation", (("code", token(canonical.madrs_s, "total")),), needed=False),
        Poll("ServiceRequest", (("code", programmes),)),
    )


def look(
    reader: Reader, asked: Sequence[Poll], since: Mapping[str, datetime | None], overlap: timedelta = OVERLAP
) -> Gathered | Transient | Permanent:
    """Everything that has changed there since these times, oldest first; or why it cannot be told. All types or none:
    a Task's end must not be seen before the message that it needs.
    """
    found: list[Change] = []
    reached: dict[str, datetime | None] = {}
    horizons: list[datetime] = []
    for poll in asked:
        seen = _look_for(reader, poll, since.get(poll.type), overlap)
        if isinstance(seen, Permanent) and not poll.needed:
            log.debug("poll_refused", type=poll.type, status=seen.status)
            continue
        if isinstance(seen, Transient | Permanent):
            return seen
        found += seen.changes
        reached[poll.type] = seen.reached
        if seen.horizon is not None:
            horizons.append(seen.horizon)
    if horizons:
        horizon = min(horizons)
        found = [change for change in found if change.at <= horizon]
        reached = {type_: min(at, horizon) if at else None for type_, at in reached.items()}
    found.sort(key=lambda change: change.at)
    return Gathered(tuple(found), reached, bool(horizons))


@dataclass(frozen=True, slots=True)
class _Seen:
    changes: list[Change]
    reached: datetime | None
    horizon: datetime | None = None
    """Beyond this there is more of the type."""


def _look_for(
    reader: Reader, poll: Poll, watermark: datetime | None, overlap: timedelta
) -> _Seen | Transient | Permanent:
    parameters = [*poll.parameters, ("_sort", "_lastUpdated"), ("_count", str(_PAGE_SIZE))]
    if watermark is not None:
        parameters.append(("_lastUpdated", f"ge{written(watermark - overlap)}"))
    changes: list[Change] = []
    newest, clock = watermark, None
    paged: Paged = reader.search(poll.type, parameters)
    for pages in range(1, 1_000_000):
        if not isinstance(paged, Page):
            return paged
        clock = clock or instant_of(paged.searched_at)
        read = [change for resource in paged.resources if (change := change_of(resource)) is not None]
        changes += read
        newest = max((at for at in (newest, *(change.at for change in read)) if at is not None), default=None)
        if paged.next is None:
            break
        ascending = all(a.at <= b.at for a, b in pairwise(changes))
        if pages >= _MOST_PAGES and ascending and newest is not None and newest != watermark:
            return _Seen(changes, newest, newest)
        paged = reader.follow(paged.next, poll.type)
    if newest is not None and clock is not None:
        newest = min(newest, clock)  # a server whose clock was set back stamps what is new with times already seen
    return _Seen(changes, newest)


def change_of(resource: Json) -> Change | None:
    """A resource as it was found there; None for one without a usable id or stamp."""
    meta = resource.get("meta")
    told = meta if isinstance(meta, dict) else {}
    at = instant_of(told.get("lastUpdated"))
    id_ = resource.get("id")
    if at is None or not isinstance(id_, str) or not is_id(id_):
        return None
    version = told.get("versionId")
    named = version if isinstance(version, str) and is_id(version) else written(at)
    return Change(str(resource["resourceType"]), id_, named, at, resource)


def instant_of(text: object) -> datetime | None:
    """A FHIR instant as an aware datetime; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def written(at: datetime) -> str:
    """An instant as a search value, in UTC to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
