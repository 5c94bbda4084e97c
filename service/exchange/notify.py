"""Tells subscribers what has happened: handshakes, events in their order, signs of life.

State decides, not the job that woke us: what an endpoint has not taken is sent, oldest first, and again until it is
taken or given up. Then the Subscription is in error until its maker asks for it anew, and nothing of it is lost.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from fhir_mappings.records import HsaId
from fhir_mappings.strict_json import dump
from service.access.caller import Caller, Role
from service.exchange.backoff import next_attempt
from service.exchange.rest_hook import NotTaken, RestHook
from service.referral.acting import agent_of
from service.referral.house import House
from service.settings import Settings
from service.store.audit_records import Act, AuditEvent
from service.store.subscription_events import HeldSubscription, SubscriptionEvents
from service.store.subscription_records import Changed, Event, SubscriptionRow
from service.subscriptions.endpoints import Endpoints
from service.subscriptions.notifications import Notice, Occasion
from service.subscriptions.reading import Wanted, read_subscription
from service.subscriptions.topics import DEFINITIONS, Teams, is_event

log = structlog.get_logger(__name__)

KEPT = timedelta(days=30)
"""How long events can be asked for with `$events`, and an endpoint be away."""

_AT_A_TIME = 10.0
"""Seconds that are spent on one Subscription before others come."""
_BATCHES = 50
"""Batches of changes that are looked at before what has been found is sent."""


@dataclass(frozen=True)
class Notifier:
    """Records events and sends them; may be shared by threads."""

    house: House
    events: SubscriptionEvents
    hook: RestHook
    chance: Callable[[], float] = field(default=random.random)
    """0 to 1, for the jitter of the next attempt."""

    def look(self) -> list[str]:
        """Note what has happened, and give the Subscriptions that something is to be sent for."""
        teams, filters = Teams.of(self.house.pack), dict[str, Wanted | None]()

        def judge(row: SubscriptionRow, changed: Changed) -> bool:
            if row.id not in filters:
                filters[row.id] = self._wanted(row)
            wanted, subscriber = filters[row.id], _subscriber(row)
            return wanted is not None and is_event(wanted.topic, wanted.filters, subscriber, changed, teams)

        self.events.end(self.house.clock())
        types = sorted({definition.focus for definition in DEFINITIONS.values()})
        for _ in range(_BATCHES):
            if not self.events.record(types, judge):
                break
        return self.events.due(self.house.clock())

    def tidy(self) -> None:
        """Forget what is too old to be asked for."""
        self.events.forget(self.house.clock(), KEPT)

    def notify(self, id_: str) -> None:
        """Send what is to be sent for one Subscription, as long as its endpoint takes it."""
        until = time.monotonic() + _AT_A_TIME
        with self.events.held(id_) as held:
            while held is not None and time.monotonic() < until:
                row = held.row()
                if row is None or not self._step(held, row):
                    break

    def _step(self, held: HeldSubscription, row: SubscriptionRow) -> bool:
        """Send one notification; False when there is no other to be sent now."""
        now = self.house.clock()
        if row.next_attempt_at is not None and row.next_attempt_at > now:
            return False
        wanted = self._wanted(row)
        if wanted is None:  # the canonical base or the topics have changed since it was made
            held.turn(row, "error", now, "what it asks for is no longer offered")
            return False
        if row.status == "requested":
            return self._handshake(held, row, wanted)
        if row.status != "active":
            return False
        waiting = held.waiting(row, wanted.most)
        if waiting:
            return self._tell(held, row, wanted, waiting)
        if row.events > row.acknowledged:  # it was off for so long that they were forgotten
            held.taken(row.events, now)
        if row.heartbeat and row.sent_at and row.sent_at + timedelta(seconds=row.heartbeat) <= now:
            self._tell(held, row, wanted, ())
        return False

    def _handshake(self, held: HeldSubscription, row: SubscriptionRow, wanted: Wanted) -> bool:
        """The endpoint shows that it takes notifications; a handshake that fails is not tried again (channels.html)."""
        trouble = self._send(row, wanted, Occasion.HANDSHAKE, ())
        now = self.house.clock()
        if trouble is None:
            return held.turn(row, "active", now)
        log.warning("subscription_handshake_failed", subscription=row.id, reason=str(trouble))
        held.turn(row, "error", now, f"the handshake failed: {trouble}")
        return False

    def _tell(self, held: HeldSubscription, row: SubscriptionRow, wanted: Wanted, events: Sequence[Event]) -> bool:
        trouble = self._send(row, wanted, Occasion.EVENTS if events else Occasion.HEARTBEAT, events)
        now = self.house.clock()
        if trouble is None:
            held.taken(events[-1].number if events else row.acknowledged, now)
            if events:  # whoever was told knows ids now
                told = Act(agent_of(_subscriber(row)), "notification", "E", f"Subscription/{row.id}")
                about = (f"Subscription/{row.id}", *dict.fromkeys(event.focus for event in events))
                self.house.store.audit.record(AuditEvent(told, about=about))
            return True
        again = next_attempt(row.attempts + 1, now, self.chance())
        if again is None:
            log.error("subscription_given_up", subscription=row.id, reason=str(trouble), attempts=row.attempts + 1)
            held.turn(row, "error", now, f"given up after {row.attempts + 1} attempts: {trouble}")
        else:
            log.warning("subscription_not_taken", subscription=row.id, reason=str(trouble), attempts=row.attempts + 1)
            held.put_off(row, again, now, str(trouble))
        return False

    def _send(
        self, row: SubscriptionRow, wanted: Wanted, occasion: Occasion, events: Sequence[Event]
    ) -> NotTaken | None:
        notice = Notice(row, self.house.canonical, wanted.content)
        bundle = notice.bundle(self.house.new_id(), self.house.clock(), occasion, events)
        own = [("Content-Type", wanted.payload), ("Accept", "*/*")]
        if not any(name.lower() == "user-agent" for name, _ in wanted.headers):
            own.append(("User-Agent", "Sluss"))
        return self.hook.post(wanted.endpoint, [*own, *wanted.headers], dump(bundle).encode(), wanted.timeout)

    def _wanted(self, row: SubscriptionRow) -> Wanted | None:
        read = read_subscription(row.sent, self.house.canonical, row.base)
        return read if isinstance(read, Wanted) else None


def notifier_of(settings: Settings, house: House) -> Notifier:
    """What tells the subscribers of this house, as the settings allow. Calls nothing."""
    endpoints = Endpoints.of(settings.subscription_hosts, settings.subscription_networks)
    return Notifier(house, SubscriptionEvents(house.store.url), RestHook(endpoints, settings.subscription_ca))


def _subscriber(row: SubscriptionRow) -> Caller:
    return Caller(
        Role(row.role),
        organisations=frozenset(map(HsaId, (row.organisation or "").split(",") if row.organisation else ())),
        teams=frozenset((row.team or "").split(",") if row.team else ()),
        reason="given when the Subscription was made",
    )
