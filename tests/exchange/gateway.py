"""Sluss with a real database between its own clients and an external server, delivering and collecting when told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from fhir_mappings.records import Json
from service.access.caller import referrer_of, therapist_of
from service.exchange.client import FhirClient
from service.exchange.collect import Collector
from service.exchange.deliver import Deliverer, State
from service.exchange.translate import REFERRAL_TYPES
from service.exchange.workload import Account
from service.packs.loading import load
from service.packs.model import Pack
from service.referral.directory import publish
from service.referral.house import House
from service.referral.intake import Submission, read_submission
from service.referral.journey.progress import progress
from service.referral.journey.receive import reading_for, receive
from service.referral.lookup import usable_by
from service.store.collection_state import CollectionState
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from service.store.records import ReferralRow
from tests.exchange.region import CANONICAL, Region, activity_of, final_reply
from tests.journeys.referrals import UNIT, referral

_PACKS: dict[str, Pack] = {}


@dataclass
class Gateway:
    """Sluss, and the server beside it."""

    house: House
    deliverer: Deliverer
    collector: Collector
    region: Region
    clock: Any
    """Of either kind that tests have: it only moves when told."""

    @classmethod
    def between(
        cls, store: Store, exchange: ExchangeState, url: str, clock: Callable[[], datetime], seconds: float = 2
    ) -> "Gateway":
        """Sluss with its directory published."""
        if not _PACKS:
            _PACKS["gavleborg"] = load("gavleborg")
        house = House(store, _PACKS["gavleborg"], CANONICAL, clock, lambda: str(uuid4()))
        publish(house)
        return cls.beside(house, exchange, FhirClient(url, seconds), clock)

    @classmethod
    def beside(
        cls, house: House, exchange: ExchangeState, client: FhirClient, clock: Callable[[], datetime]
    ) -> "Gateway":
        """Sluss as it is."""
        store, canonical = house.store, house.canonical
        deliverer = Deliverer(store, exchange, client, canonical, clock, chance=lambda: 0.5)
        collector = Collector(house, deliverer, CollectionState(store.url))
        return cls(house, deliverer, collector, Region(client.base_url, canonical), clock)

    def close(self) -> None:
        self.collector.state.close()

    def receive(self, bundle: Json | None = None) -> ReferralRow:
        """A referral comes to us; its row."""
        caller = referrer_of(UNIT)  # type: ignore[arg-type]
        read = read_submission(bundle or referral(), reading_for(self.house), usable_by(self.house, caller))
        assert isinstance(read, Submission), read.issues
        receipt = receive(self.house, caller, read)
        row = self.house.store.view().referral_of("ServiceRequest", receipt.service_request.id)
        assert row is not None
        return row

    def move(self, row: ReferralRow, team: str = "gavle", **changes: object) -> None:
        """A therapist works with us."""
        self.move_task({**self.task(row), **changes}, team)

    def move_task(self, task: Json, team: str = "gavle") -> None:
        """A therapist works with us on any Task."""
        progress(self.house, therapist_of(team), task)

    def deliver(self, row: ReferralRow | str) -> State:
        """Deliver what there is."""
        return self.deliverer.deliver(row if isinstance(row, str) else row.id).state

    def settle(self, rounds: int = 3) -> None:
        """Collect and deliver until both sides have heard of each other."""
        for _ in range(rounds):
            account = self.collector.collect()
            assert account.failure is None
            self.clock.later(seconds=61)
            self.deliver_all()

    def collect(self) -> Account:
        """One look."""
        return self.collector.collect()

    def deliver_all(self) -> None:
        """As the worker would: every referral that has something to deliver."""
        self.deliverer.exchange.find_undelivered(REFERRAL_TYPES, self.clock(), _NOTHING)
        for referral_id in self.deliverer.exchange.due(self.clock()):
            state = self.deliver(referral_id)
            assert state in (State.DELIVERED, State.NOTHING_TO_DO), state

    def row(self, referral_id: str) -> ReferralRow:
        row = self.house.store.view().referral(referral_id)
        assert row is not None
        return row

    def the_one(self) -> ReferralRow:
        """The only referral that there is."""
        (found,) = self.house.store.view().waiting_at("gavle", _STATES)
        return found

    def task(self, row: ReferralRow) -> Json:
        stored = self.house.store.view().get("Task", self.row(row.id).task)
        assert stored is not None
        return stored.content

    def all_of(self, row: ReferralRow, type_: str) -> list[Json]:
        stored = self.house.store.view().of_referral(row.id)
        return [one.content for one in stored if one.type == type_]

    def copy_of_task(self, row: ReferralRow) -> Json:
        """Over there, the referral's current Task."""
        return self.region.copy_of(f"Task/{self.row(row.id).task}")

    def treat_there(self, row: ReferralRow) -> None:
        """A therapist works in that server from acceptance to the reply."""
        region = self.region
        region.change(self.copy_of_task(row), status="accepted")
        self.settle()
        for activity in ("first-call", "access-1177"):
            children = region.children_of(self.copy_of_task(row))
            region.change(next(child for child in children if activity_of(child) == activity), status="completed")
        region.change(self.copy_of_task(row), status="in-progress")
        self.settle()
        for child in region.children_of(self.copy_of_task(row)):
            if child["status"] == "requested" and activity_of(child) != "final-reply":
                region.change(child, status="completed")
        task = self.copy_of_task(row)
        region.change(task, status="completed", output=[*task["output"], final_reply(region.canonical)])
        self.settle()

    def events(self, row: ReferralRow) -> list[str]:
        return [entry.event for entry in self.house.store.view().journal_of(row.id)]


_STATES = (
    "requested",
    "received",
    "accepted",
    "in-progress",
    "on-hold",
    "completed",
    "rejected",
    "cancelled",
    "failed",
)
_NOTHING = timedelta(seconds=-1_000_000_000)
