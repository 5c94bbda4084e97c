"""What the store gives and takes about Subscriptions that others have with us, as plain records."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from fhir_mappings.records import Json


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has made a Subscription: the words of a `Caller`."""

    role: str
    organisation: str | None = None
    team: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """A Subscription as stored."""

    id: str
    version: int
    last_updated: datetime
    status: str
    """requested, active, error or off (https://hl7.org/fhir/R4/valueset-subscription-status.html)."""
    topic: str
    content: str
    """JSON text as it was sent, without what Sluss sets: id, version, status, error. Headers in it may be secret."""
    role: str
    organisation: str | None
    team: str | None
    client: str | None
    """Id of the registered client that has made it; None without authentication."""
    base: str
    """The FHIR base that its maker sees; notifications name resources below it."""
    since: datetime
    """What was stored after this instant makes events."""
    heartbeat: int | None
    """Seconds."""
    ends_at: datetime | None
    events: int
    """The number of the latest event; they count from 1 without a gap."""
    acknowledged: int
    """The number of the latest event that the endpoint has taken."""
    attempts: int
    """Failed in a row."""
    next_attempt_at: datetime | None
    failing_since: datetime | None
    reason: str | None
    """Of the last failure, in words of ours; None while all is well."""
    sent_at: datetime | None
    """When the endpoint last took something."""
    deleted_at: datetime | None

    @property
    def owner(self) -> Owner:
        """Who has made it."""
        return Owner(self.role, self.organisation, self.team, self.client)

    @property
    def sent(self) -> Json:
        """The content, parsed."""
        parsed: Json = json.loads(self.content, parse_float=Decimal)
        return parsed


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A Subscription that somebody asks for."""

    id: str
    topic: str
    content: str
    owner: Owner
    base: str
    heartbeat: int | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a subscriber is told."""

    number: int
    at: datetime
    focus: str
    """`Type/id`"""


@dataclass(frozen=True)
class Changed:
    """One new version of a resource, and whose referral it belongs to."""

    type: str
    id: str
    version: int
    at: datetime
    body: str
    body_before: str | None
    """Of the version that others saw before it, if there was one."""
    organisation: str | None
    """HSA-id of who referred; None for what belongs to no referral."""
    team: str | None
    """The team that has the referral now."""

    @cached_property
    def content(self) -> Json:
        """The resource."""
        parsed: Json = json.loads(self.body, parse_float=Decimal)
        return parsed

    @cached_property
    def before(self) -> Json | None:
        """The resource as it was before."""
        parsed: Json | None = json.loads(self.body_before, parse_float=Decimal) if self.body_before else None
        return parsed


@dataclass(frozen=True, slots=True)
class SubscriptionFigures:
    """How the Subscriptions stand, for metrics."""

    requested: int
    active: int
    in_error: int
    off: int
    waiting: int
    """Events that no endpoint has taken yet."""
    oldest_waiting: datetime | None
    """When the oldest of them happened."""
