"""What the store gives and takes, as plain records. They know nothing of SQL."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from fhir_mappings.records import Json, Reference

OPEN_STATES = ("requested", "received", "accepted", "in-progress", "on-hold")
"""Task statuses in which a referral counts as open (contract 7: everything but the four ends)."""


class StoreUnavailable(Exception):  # noqa: N818 - a state of the world, told to clients as 503
    """The database cannot answer now: not running, too slow, a deadlock, no free connection. Trying again may help."""


class TooCostly(StoreUnavailable):
    """What was asked takes longer than a statement may. Asking for less helps."""


class StaleVersion(Exception):  # noqa: N818 - a fact about the request, told to clients as 412
    """A write expected another version than the one stored (or a create found the id taken). Nothing was written."""

    def __init__(self, references: tuple[Reference, ...]) -> None:
        super().__init__(f"stored meanwhile by someone else: {', '.join(references)}")
        self.references = references


def _integer(literal: str) -> int | Decimal:
    # int("-0") would lose the sign that the sender wrote
    return Decimal(literal) if literal == "-0" else int(literal)


@dataclass(frozen=True)
class Stored:
    """One version of a resource, exactly as stored."""

    type: str
    id: str
    version: int
    last_updated: datetime
    """Aware, microseconds; the very instant of `meta.lastUpdated`."""
    body: str
    """JSON text with `id` and `meta`; what goes out on the wire."""
    referral_id: str | None = None

    @property
    def reference(self) -> Reference:
        """`Type/id`"""
        return Reference(f"{self.type}/{self.id}")

    @cached_property
    def content(self) -> Json:
        """The parsed body (Decimals exact), parsed at first use and shared: not to be changed in place."""
        parsed: Json = json.loads(self.body, parse_float=Decimal, parse_int=_integer)
        return parsed


@dataclass(frozen=True, slots=True)
class Write:
    """A resource to store. `resource` carries its id; version and lastUpdated are set by the store."""

    resource: Json
    referral_id: str | None = None
    expect: int = 0
    """The version that this one replaces; 0 creates."""
    indexed_as: tuple[tuple[str, str], ...] = ()
    """Further (parameter, value) pairs that it is found by, `("subject", "Patient/7")`: for a ServiceRequest whose
    subject or requester is contained or logical, the stored resources made from them."""


@dataclass(frozen=True, slots=True)
class NewReferral:
    """A referral's row as it is first taken in. What is not known yet is set by `Change.update_referral`."""

    id: str
    organisation: str
    """HSA-id of the referring organisation."""
    placer_system: str
    placer_value: str
    fingerprint: str
    patient_key: str
    """`personnummer|199002222397`"""
    created_at: datetime
    programme: str
    service_request: str
    """Id (without type) of the ServiceRequest."""
    patient: str = ""
    task: str = ""
    """Id of the current referral Task."""
    state: str = "requested"
    verdict: str = ""
    team: str = ""
    alerted: tuple[str, ...] = ()
    unit_reach: str = "platform"
    involved: tuple[str, ...] = ()
    """The other teams that own a Task in it, open or ended: they see it as the team does."""


@dataclass(frozen=True, slots=True)
class ReferralRow(NewReferral):
    """A referral's row as stored: the same fields."""


def referral_values(row: Sequence[Any]) -> tuple[Any, ...]:
    """The columns of a referral with the lists as the tuples that the record holds."""
    *before, alerted, unit_reach, involved = row
    return (*before, tuple(alerted), unit_reach, tuple(involved))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there when a referral comes in."""

    known: Mapping[tuple[str, str], Stored]
    """The resources that stand for (kind, key), of those asked for."""
    absences: tuple["AbsenceRow", ...]
    """Every absence that people have entered, in that order."""
    others_open: bool
    """Whether the patient has another referral that is not at an end, from whichever organisation."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that happened to a referral. Append only; no personal data in `detail` beyond ids."""

    referral_id: str
    actor: str
    event: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    """Set by the store (the transaction's stamp); given when read."""


@dataclass(frozen=True, slots=True)
class CardFigures:
    """How often a rule's cards were shown to clinicians, and what they did with them."""

    rule: str
    shown: int
    accepted: int
    overridden: int
    reasons: tuple[str, ...]
    """Codes of why, one for each that was overridden for a reason."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When something about a Task is overdue. One per (task_id, kind); setting it again replaces it."""

    referral_id: str
    task_id: str
    kind: str
    due_at: datetime
    level: int = 0
    """How many reminders have gone out."""


@dataclass(frozen=True, slots=True)
class AbsenceRow:
    """A team that takes no new referrals from `first` to `last`, both included."""

    team: str
    first: date
    last: date
    substitute: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of search results."""

    matches: tuple[Stored, ...]
    includes: tuple[Stored, ...] = ()
    next: str | None = None
    """The `_page` token of the next page; None at the end."""
    total: int | None = None
    """The matches on all pages; None when it was not asked for and would have to be counted."""
    includes_cut: bool = False
    """True when there are more includes than one page shows."""


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The state of jobs and deliveries, for metrics and readiness."""

    waiting: int
    running: int
    failed: int
    oldest_due: datetime | None
    """When the oldest waiting job was due; None without one."""
    dead_letters: int
    overdue_deadlines: int
    failing: int
    """Referrals whose delivery has failed and will be tried again."""
    workers: int
    """Background workers that have shown themselves within the last minute."""


@dataclass(frozen=True, slots=True)
class ServerRow:
    """The external FHIR server as all workers see it."""

    failures: int = 0
    """In a row."""
    reason: str | None = None
    """Of the last failure, in one word."""
    down_since: datetime | None = None
    """When it was given up for the time being; None while it is thought to answer."""
    probe_at: datetime | None = None
    """When somebody may try whether it answers again."""
    last_contact: datetime | None = None
    """When it last did what was asked, to a few seconds."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a type has been collected."""

    type: str
    watermark: datetime | None
    """The newest `meta.lastUpdated` seen, by the server's clock; None before there was anything."""
    polled_at: datetime
    """When it was last asked, by ours."""


@dataclass(frozen=True, slots=True)
class ExchangeFigures:
    """How the exchange stands, for the command line, metrics and readiness."""

    waiting: int
    """Referrals whose next delivery is scheduled."""
    oldest_waiting: datetime | None
    """Since when the one among them that has waited longest could not be delivered."""
    dead_letters: int
    oldest_dead: datetime | None
    discarded: int
    """Dead letters that a person has decided to leave undelivered."""
    polled_at: datetime | None
    """When the external server last answered the collector; None when it never did."""
    uncollected: int
    """What was found over there and will be tried again."""
    stuck: int
    """What was found over there and tried too often."""
    quarantined: int
    """Referrals over there that cannot be taken in."""
