"""What is sent to an endpoint and answered to `$status` and `$events`. Pure.

https://hl7.org/fhir/uv/subscriptions-backport/notifications.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.store.moments import instant
from service.store.subscription_records import Event, SubscriptionRow
from service.subscriptions.reading import GUIDE, Content
from service.subscriptions.topics import Topic, canonical_url


class Occasion(StrEnum):
    """Why the status of a Subscription is told (ValueSet subscription-notification-type)."""

    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    EVENTS = "event-notification"
    QUERY_STATUS = "query-status"
    QUERY_EVENTS = "query-event"


@dataclass(frozen=True, slots=True)
class Notice:
    """How a notification is made."""

    row: SubscriptionRow
    canonical: Canonical
    content: Content = Content.ID_ONLY

    def status(self, occasion: Occasion, events: Sequence[Event] = ()) -> Json:
        """Parameters: how the Subscription stands, and these events."""
        row = self.row
        parameters: list[Json] = [
            {"name": "subscription", "valueReference": {"reference": f"{row.base}/Subscription/{row.id}"}}
        ]
        if self.content is not Content.EMPTY:
            parameters.append({"name": "topic", "valueCanonical": canonical_url(Topic(row.topic), self.canonical)})
        parameters += [
            {"name": "status", "valueCode": row.status},
            {"name": "type", "valueCode": str(occasion)},
            {"name": "events-since-subscription-start", "valueString": str(row.events)},
        ]
        parameters += [self._event(event) for event in events]
        if row.reason:
            parameters.append({"name": "error", "valueCodeableConcept": {"text": row.reason}})
        profile = f"{GUIDE}/StructureDefinition/backport-subscription-status-r4"
        return {"resourceType": "Parameters", "meta": {"profile": [profile]}, "parameter": parameters}

    def bundle(self, id_: str, at: datetime, occasion: Occasion, events: Sequence[Event] = ()) -> Json:
        """The history Bundle of a notification. Its id and that of the status in it is a UUID."""
        status_url = f"{self.row.base}/Subscription/{self.row.id}/$status"
        entries: list[Json] = [
            {
                "fullUrl": f"urn:uuid:{id_}",
                "resource": {**self.status(occasion, events), "id": id_},
                "request": {"method": "GET", "url": status_url},
                "response": {"status": "200"},
            }
        ]
        if self.content is Content.ID_ONLY:
            for focus in dict.fromkeys(event.focus for event in events):
                url = f"{self.row.base}/{focus}"
                request = {"method": "GET", "url": url}
                entries.append({"fullUrl": url, "request": request, "response": {"status": "200"}})
        return {"resourceType": "Bundle", "id": id_, "type": "history", "timestamp": instant(at), "entry": entries}

    def _event(self, event: Event) -> Json:
        parts: list[Json] = [
            {"name": "event-number", "valueString": str(event.number)},
            {"name": "timestamp", "valueInstant": instant(event.at)},
        ]
        if self.content is Content.ID_ONLY:
            parts.append({"name": "focus", "valueReference": {"reference": f"{self.row.base}/{event.focus}"}})
        return {"name": "notification-event", "part": parts}
