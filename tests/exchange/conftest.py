"""A stand-in on a loopback port, a referral in a real store, and a deliverer between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_mappings.records import Json, Reference
from fhir_mappings.terminology import Canonical
from service.exchange.client import FhirClient
from service.exchange.deliver import Deliverer, Result
from service.exchange.stand_in import Running, running_stand_in
from service.exchange.stand_in_memory import Memory
from service.store.database import Store
from service.store.dead_letters import DeadLetters
from service.store.exchange_state import Copy, ExchangeRow, ExchangeState
from service.store.records import ReferralRow, Write
from tests.exchange.gateway import Gateway
from tests.exchange.troubled import Way
from tests.store.examples import HSA, NOW, ORGANISATION, communication, patient, referral, service_request, task

CANONICAL = Canonical("https://sluss.example/fhir")


@dataclass
class Clock:
    """A clock that only moves when told."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Way()


class CarelessMemory(Memory):
    """A server that creates whatever comes: conditional create races in several, and then finds nothing."""

    def _existing(self, *_: object) -> Json | None:
        return None


@pytest.fixture
def there(way: Way, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server; `parametrize("there", [...], indirect=True)` chooses what kind of memory it has."""
    kind: type[Memory] = getattr(request, "param", Memory)
    with running_stand_in(memory=kind(), wrap=way.lead_through) as running:
        yield running


whichever_server = pytest.mark.parametrize("there", [Memory, CarelessMemory], indirect=True)


@pytest.fixture
def exchange(store: Store) -> Iterator[ExchangeState]:
    state = ExchangeState(store.url, lock_wait=timedelta(seconds=3))
    yield state
    state.close()


@pytest.fixture
def deliverer(store: Store, exchange: ExchangeState, there: Running, clock: Clock) -> Deliverer:
    return Deliverer(store, exchange, FhirClient(there.url, 2), CANONICAL, clock, chance=lambda: 0.5)


@pytest.fixture
def dead_letters(store: Store) -> Iterator[DeadLetters]:
    letters = DeadLetters(store.url)
    yield letters
    letters.close()


@dataclass
class House:
    """Our side: referrals in the store, and what the other side is known to show of them."""

    store: Store
    exchange: ExchangeState
    deliverer: Deliverer
    memory: Memory
    versions: dict[Reference, int] = field(default_factory=dict)

    def write(self, *resources: Json, of: str | None = None) -> None:
        """Store new versions of resources."""
        with self.store.change() as change:
            writes = [Write(one, of, self.versions.get(self.name(one), 0)) for one in resources]
            for stored in change.write(writes):
                self.versions[stored.reference] = stored.version

    @staticmethod
    def name(resource: Json) -> Reference:
        return Reference(f"{resource['resourceType']}/{resource['id']}")

    def receive(self, number: str = "1", patient_id: str = "p-1", **elements: Any) -> str:
        """A referral with everything that an accepted one has; gives its id."""
        referral_id, request_id, task_id = f"r-{number}", f"sr-{number}", f"t-{number}"
        subject = {"reference": f"Patient/{patient_id}"}
        focus = {"reference": f"ServiceRequest/{request_id}"}
        if Reference("Organization/o-1") not in self.versions:
            self.write(*directory())
        if Reference(f"Patient/{patient_id}") not in self.versions:
            self.write(patient(patient_id, managingOrganization={"reference": "Organization/o-1"}))
        with self.store.change() as change:
            assert change.open_referral(
                referral(referral_id, service_request=request_id, patient=patient_id, task=task_id)
            )
        requester = {"reference": "PractitionerRole/role-1"}
        self.write(
            service_request(
                request_id,
                **{
                    "subject": subject,
                    "requester": requester,
                    "supportingInfo": [{"reference": f"QuestionnaireResponse/q-{number}"}],
                    "identifier": [{"system": "https://ehr.example/referrals", "value": f"R-{number}"}],
                    **elements,
                },
            ),
            form(f"q-{number}", subject),
            task(task_id, focus=focus, requester=requester, **{"for": subject}),
            communication(f"c-{number}", basedOn=[focus], partOf=[{"reference": f"Task/{task_id}"}], subject=subject),
            of=referral_id,
        )
        return referral_id

    def change(self, type_: str, id_: str, of: str | None = "r-1", **elements: Any) -> None:
        """A new version of a stored resource."""
        stored = self.store.view().get(type_, id_)
        assert stored is not None
        self.write({**stored.content, **elements}, of=of)

    def deliver(self, referral_id: str = "r-1") -> Result:
        return self.deliverer.deliver(referral_id)

    def row(self, referral_id: str = "r-1") -> ExchangeRow:
        row = self.exchange.row(referral_id)
        assert row is not None
        return row

    def copy(self, reference: str) -> Copy:
        with self.exchange.held("a look") as held:
            assert held is not None
            return held.copies([Reference(reference)])[Reference(reference)]

    def shown(self, type_: str) -> list[Json]:
        """What the other server shows of a type."""
        return self.memory.of_type(type_)


@pytest.fixture
def house(store: Store, exchange: ExchangeState, deliverer: Deliverer, there: Running) -> House:
    return House(store, exchange, deliverer, there.memory)


@pytest.fixture
def asked(way: Way) -> Callable[[], list[str]]:
    """What was asked of the other server since the last call."""

    def since() -> list[str]:
        lines = list(way.asked)
        way.asked.clear()
        return lines

    return since


def form(id_: str, subject: Json) -> Json:
    """A referral form as the referrer sent it."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": id_,
        "questionnaire": f"{CANONICAL.referral_form}|1",
        "status": "completed",
        "subject": subject,
        "item": [{"linkId": "motivated", "answer": [{"valueBoolean": True}]}],
    }


def directory() -> list[Json]:
    """The referring unit and role, and the team with its seat."""
    return [
        {
            "resourceType": "Organization",
            "id": "o-1",
            "identifier": [{"system": HSA, "value": ORGANISATION}],
            "name": "Sätra hälsocentral",
        },
        {"resourceType": "Organization", "id": "seat", "name": "Sätra Din hälsocentral"},
        {
            "resourceType": "PractitionerRole",
            "id": "role-1",
            "organization": {"reference": "Organization/o-1"},
        },
        {
            "resourceType": "HealthcareService",
            "id": "gavle",
            "name": "IKBT Gävle",
            "providedBy": {"reference": "Organization/seat"},
        },
    ]


@pytest.fixture
def gateway(store: Store, exchange: ExchangeState, there: Running, clock: Clock) -> Iterator[Gateway]:
    """Sluss with the pack's directory beside that server."""
    between = Gateway.between(store, exchange, there.url, clock)
    yield between
    between.close()


@pytest.fixture
def referred(gateway: Gateway) -> ReferralRow:
    """A referral that came to us, and is there."""
    row = gateway.receive()
    gateway.settle()
    return row
