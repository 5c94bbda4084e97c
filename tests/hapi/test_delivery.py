"""The outbound journey against a real server: what is here is shown there, once, whatever happens in between."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.records import Json
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.exchange.client import FhirClient, Outcome, Reason, Transient
from service.exchange.collect import Collector
from service.exchange.deliver import Deliverer, Result, State
from service.exchange.poll import OVERLAP, polls
from service.exchange.translate import REFERRAL_TYPES
from service.exchange.worker import BackgroundWorker, Duties
from service.store.collection_state import CollectionState
from service.store.exchange_state import ExchangeState, Held
from service.store.records import Stored
from tests.bench.referrals import identities
from tests.hapi import ways
from tests.hapi.server import Running, running_hapi
from tests.hapi.there import There
from tests.journeys.conftest import Client, Service
from tests.journeys.referrals import ADULT, OTHER_UNIT, alone, patient
from tests.journeys.steps import refer_alone
from tests.journeys.treatments import Journey, begin

pytestmark = pytest.mark.hapi

_people = identities(1960)
_numbers = count(1)


def a_person() -> str:
    """Somebody whom no other test knows, since they share a server."""
    return next(_people)


@dataclass
class Exchange:
    """Our side, theirs, and deliveries from one to the other."""

    service: Service
    there: There
    deliverer: Deliverer

    @property
    def referrals(self) -> list[str]:
        orders = self.service.administrator.search("ServiceRequest", _count=200)
        return [self.service.row(f"ServiceRequest/{order['id']}").id for order in orders]

    def deliver(self) -> list[State]:
        return [self.deliverer.deliver(referral).state for referral in self.referrals]

    def ours(self, order: str) -> list[Stored]:
        """What there is of a referral, and the team that it is with."""
        view = self.service.store.view()
        row = self.service.row(order)
        own = [stored for stored in view.of_referral(row.id) if stored.type in REFERRAL_TYPES]
        team = view.get("HealthcareService", str(row.team))
        assert team is not None
        return [*own, team]

    def copy_of(self, type_: str) -> Json:
        """The one copy of a type."""
        (copy,) = [found for key, all_ in self.there.copies().items() for found in all_ if key.startswith(f"{type_}/")]
        return copy


def between(service: Service, hapi: Running, base: str | None = None, **changes: Any) -> Exchange:
    """With a key of its own, since the tests share a server."""
    canonical = Canonical(base or f"https://sluss.example/{uuid4()}/fhir")
    there = There(hapi.url, canonical)
    there.session.trust_env = False
    made = {"client": FhirClient(hapi.url, 30), "clock": service.clock, "chance": lambda: 0.5, **changes}
    deliverer = Deliverer(service.store, ExchangeState(service.store.url), canonical=canonical, **made)
    return Exchange(service, there, deliverer)


@pytest.fixture
def exchange(service: Service, hapi: Running) -> Iterator[Exchange]:
    made = between(service, hapi)
    yield made
    made.deliverer.exchange.close()


@pytest.fixture
def after_each_write(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is delivered after each request that changes something."""
    send = Client._send

    def delivering(client: Client, method: str, *arguments: Any, **named: Any) -> requests.Response:
        answer = send(client, method, *arguments, **named)
        if method != "GET" and answer.status_code < 300:
            assert set(exchange.deliver()) <= {State.DELIVERED, State.NOTHING_TO_DO}
        return answer

    monkeypatch.setattr(Client, "_send", delivering)


def another(number: int, service: Service, **changes: Any) -> tuple[Journey, str]:
    """A referral of somebody else."""
    identity = a_person()
    return begin(service, identity=identity, placer=f"R-{number}", **changes), identity


ALL_BUT_ALONE = [way for way in ways.GAVLEBORG if way is not ways.alone_with_contained_parties]


@pytest.mark.usefixtures("after_each_write")
@pytest.mark.parametrize("way", ALL_BUT_ALONE, ids=lambda way: str(way.__name__))
def test_each_step_of_a_way_is_delivered_and_shown_there_as_it_is_here(way: ways.Way, exchange: Exchange) -> None:
    journey = way(exchange.service)
    assert set(exchange.deliver()) <= {State.DELIVERED, State.NOTHING_TO_DO}
    exchange.there.shows(exchange.ours(journey.order), ADULT)
    assert exchange.deliver() == [State.NOTHING_TO_DO]


def test_contained_and_logical_parties_lead_to_the_delivered_ones(exchange: Exchange) -> None:
    order = refer_alone(exchange.service, alone())
    assert exchange.deliver() == [State.DELIVERED]
    request, task = exchange.copy_of("ServiceRequest"), exchange.copy_of("Task")
    (person,) = exchange.there.patients(ADULT)
    assert request["subject"]["reference"] == task["for"]["reference"] == f"Patient/{person['id']}"
    assert request["requester"]["reference"] == task["requester"]["reference"]
    exchange.there.shows([one for one in exchange.ours(order) if one.type != "ServiceRequest"], ADULT)


# ---------------------------------------------------------------- patients


def test_a_patient_who_is_there_is_referred_to_and_never_written(exchange: Exchange) -> None:
    identity = a_person()
    known = exchange.there.asked("Patient", "POST", patient(identity, name=[{"text": "Annan Skrivning"}]))
    journey = begin(exchange.service, identity=identity)
    exchange.deliver()
    journey.accept()
    exchange.deliver()
    assert exchange.there.patients(identity) == [known]
    assert exchange.copy_of("Communication")["subject"] == {"reference": f"Patient/{known['id']}"}


def test_a_second_referral_of_a_patient_from_another_unit_leads_to_the_same_one_there(exchange: Exchange) -> None:
    identity = a_person()
    orders = [begin(exchange.service, identity=identity).order, begin(exchange.service, OTHER_UNIT, identity).order]
    assert exchange.deliver() == [State.DELIVERED] * 2
    (person,) = exchange.there.patients(identity)
    assert person["meta"]["versionId"] == "1"
    for order in orders:
        row = exchange.service.row(order)
        own = [stored for stored in exchange.service.store.view().of_referral(row.id) if stored.type in REFERRAL_TYPES]
        exchange.there.shows(own, identity)


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types that deliveries searched for."""
    search, types = FhirClient.search, list[str]()

    def noting(client: FhirClient, type_: str, parameters: Any) -> Any:
        types.append(type_)
        return search(client, type_, parameters)

    monkeypatch.setattr(FhirClient, "search", noting)
    return types


SYSTEMS = [system for system, kind in IDENTITY_KINDS.items() if kind == "personnummer"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_patient_who_came_there_a_moment_ago_is_found_under_any_form_of_the_identifier(
    exchange: Exchange, system: str, looked_for: list[str]
) -> None:
    identity = a_person()
    order = begin(exchange.service, identity=identity).order
    choices = ",".join(f"{each}|{identity}" for each in SYSTEMS)
    for _ in range(2):  # HAPI keeps what a search found for a minute, and that was nobody
        assert exchange.there.session.get(f"{exchange.there.url}/Patient?identifier={choices}").json()["total"] == 0
    identifier = [{"system": system, "value": identity}]
    known = exchange.there.asked("Patient", "POST", patient(identity, identifier=identifier))
    assert exchange.deliver() == [State.DELIVERED]
    assert exchange.there.patients(identity) == [known]
    assert exchange.copy_of("ServiceRequest")["subject"]["reference"] == f"Patient/{known['id']}"
    assert "Patient" not in looked_for
    exchange.there.shows([one for one in exchange.ours(order) if one.type != "ServiceRequest"], identity)


def test_a_patient_whom_that_server_has_twice_is_a_case_for_a_person(exchange: Exchange, looked_for: list[str]) -> None:
    identity = a_person()
    doubles = [exchange.there.asked("Patient", "POST", patient(identity)) for _ in range(2)]
    begin(exchange.service, identity=identity)
    (referral,) = exchange.referrals
    assert exchange.deliverer.deliver(referral) == Result(State.DEAD, "multiple-matches")
    assert exchange.there.patients(identity) == doubles
    assert "ServiceRequest" not in {key.partition("/")[0] for key in exchange.there.copies()}
    assert looked_for[-1] == "Patient"


def test_referrals_of_one_patient_by_two_workers_at_once_lead_to_one_patient(
    service: Service, hapi: Running, real_time: Callable[[], datetime]
) -> None:
    base = f"https://sluss.example/{uuid4()}/fhir"
    exchanges = [between(service, hapi, base, clock=real_time) for _ in range(2)]
    people = [a_person() for _ in range(5)]
    for number, identity in enumerate(people):
        begin(service, identity=identity, placer=f"A-{number}")
        begin(service, OTHER_UNIT, identity, placer=f"B-{number}")
    with working(exchanges[0]), working(exchanges[1]):
        soon(lambda: all_delivered(exchanges[0]), 60)
    for identity in people:
        (person,) = exchanges[0].there.patients(identity)
        assert person["meta"]["versionId"] == "1"
    for exchange in exchanges:
        exchange.deliverer.exchange.close()


def test_two_deliverers_that_know_nothing_of_each_other_create_one_patient(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(exchange.service, identity=a_person())
    exchange.deliver()  # what is shared is there
    monkeypatch.setattr(Held, "lock", lambda *_: True)  # as if each had a database of its own
    people = [a_person() for _ in range(8)]
    for number, identity in enumerate(people):
        begin(exchange.service, identity=identity, placer=f"A-{number}")
        begin(exchange.service, OTHER_UNIT, identity, placer=f"B-{number}")
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            states = {result.state for result in pool.map(exchange.deliverer.deliver, exchange.referrals)}
        exchange.service.clock.later(minutes=1)
    assert states == {State.NOTHING_TO_DO}
    assert [len(exchange.there.patients(identity)) for identity in people] == [1] * len(people)


# ---------------------------------------------------------------- one copy


def test_an_amended_order_is_the_next_version_of_the_same_copy(exchange: Exchange) -> None:
    journey = begin(exchange.service, identity=a_person())
    exchange.deliver()
    first = exchange.copy_of("ServiceRequest")
    journey.referrer.put(journey.order, {**journey.read(journey.order), "priority": "urgent"})
    exchange.deliver()
    second = exchange.copy_of("ServiceRequest")
    assert (second["id"], second["meta"]["versionId"]) == (first["id"], "2")
    assert second["priority"] == "urgent"


def test_what_did_not_change_is_not_written_again(exchange: Exchange) -> None:
    journey = begin(exchange.service, identity=a_person())
    exchange.deliver()
    journey.accept()
    exchange.deliver()
    versions = {
        key.partition("/")[0]: found["meta"]["versionId"]
        for key, all_ in exchange.there.copies().items()
        for found in all_
        if key in {stored.reference for stored in exchange.ours(journey.order)}
    }
    assert versions["ServiceRequest"] == versions["Communication"] == versions["HealthcareService"] == "1"


def test_twenty_deliveries_at_the_same_time_make_one_copy_of_everything(exchange: Exchange) -> None:
    began = [another(number, exchange.service) for number in range(10)]
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(exchange.deliverer.deliver, [*exchange.referrals, *exchange.referrals]))
    assert {result.state for result in results} <= {State.DELIVERED, State.NOTHING_TO_DO}
    for journey, identity in began:
        exchange.there.shows(exchange.ours(journey.order), identity)
    assert all(len(found) == 1 for found in exchange.there.copies().values())


def test_letters_beyond_ascii_in_what_we_look_up_by_make_no_second_copy(service: Service, hapi: Running) -> None:
    base = f"https://sluss.example/gävleborg-åäö-ÅÄÖ-{uuid4()}/fhir"
    exchange = between(service, hapi, base, client=Deaf(hapi.url, 30))
    identity = a_person()
    journey = begin(service, identity=identity, placer="Å-ÄÖ 1|2,3", note=[{"text": "Skör, på väg åt rätt håll"}])
    deliver_until_heard(exchange)
    exchange.there.shows(exchange.ours(journey.order), identity)
    exchange.deliverer.exchange.close()


# ---------------------------------------------------------------- what is not known


class Deaf(FhirClient):
    """Never hears the first answer to a transaction: the server has carried it out, and we do not know."""

    heard = False

    def transaction(self, bundle: Json) -> Outcome:
        outcome = super().transaction(bundle)
        if self.heard:
            return outcome
        self.heard = True
        return Transient(Reason.TIMEOUT, unanswered=True)


def deliver_until_heard(exchange: Exchange) -> None:
    """The lost answer, and another attempt when that is due."""
    assert exchange.deliver() == [State.WAITING]
    exchange.service.clock.later(minutes=1)
    assert exchange.deliver() == [State.DELIVERED]


def test_a_lost_answer_makes_no_second_copy_and_no_second_version(service: Service, hapi: Running) -> None:
    client = Deaf(hapi.url, 30)
    exchange = between(service, hapi, client=client)
    identity = a_person()
    journey = begin(service, identity=identity)
    deliver_until_heard(exchange)
    journey.accept()
    client.heard = False
    deliver_until_heard(exchange)
    exchange.there.shows(exchange.ours(journey.order), identity)
    tasks = [found for key, (found,) in exchange.there.copies().items() if key == f"Task/{journey.task['id']}"]
    assert [task["meta"]["versionId"] for task in tasks] == ["2"]
    exchange.deliverer.exchange.close()


def test_what_somebody_changed_there_is_not_written_over_but_done_here_and_then_shown_with_ours(
    exchange: Exchange,
) -> None:
    journey = begin(exchange.service, identity=a_person())
    exchange.deliver()
    theirs = exchange.copy_of("Task")
    collector = Collector(exchange.service.house, exchange.deliverer, CollectionState(exchange.service.store.url))
    for poll in polls(collector.house.canonical):  # what the tests before left there has our codes, too
        collector.state.advance(poll.type, datetime.now(SWEDEN) + OVERLAP, exchange.service.clock())
    note = {"text": "Skrivet där."}
    noted = {**theirs, "note": [*theirs.get("note", []), note]}
    exchange.there.asked(f"Task/{theirs['id']}", "PUT", noted)
    journey.moved(journey.therapist, "received")
    # HAPI answers the stale ifMatch with 409, and changes nothing.
    assert exchange.deliver() == [State.WAITING]
    kept = exchange.copy_of("Task")
    assert (kept["note"], kept["status"]) == (noted["note"], "requested")
    assert collector.collect().taken == 1
    collector.state.close()
    assert exchange.deliver() == [State.DELIVERED]
    settled = exchange.copy_of("Task")
    assert (note in settled["note"], settled["status"]) == (True, "received")


# ---------------------------------------------------------------- when it is away


@pytest.fixture
def real_time() -> Callable[[], datetime]:
    def now() -> datetime:
        return datetime.now(SWEDEN)

    return now


def test_what_came_while_the_server_was_away_is_delivered_by_itself_when_it_is_back(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_time: Callable[[], datetime]
) -> None:
    with running_hapi(tmp_path) as first:
        exchange = between(service, first, clock=real_time, client=FhirClient(first.url, 10))
        with working(exchange):
            before = another(1, service)
            soon(lambda: len(exchange.there.found("Task")) == 1)
            first.process.terminate()
            first.process.wait()
            before[0].accept()
            meanwhile = [another(number, service) for number in range(2, 12)]
            time.sleep(3)
            with running_hapi(tmp_path, first.port) as again:
                assert again.url == first.url
                soon(lambda: all_delivered(exchange), 150)
                for journey, identity in (before, *meanwhile):
                    exchange.there.shows(exchange.ours(journey.order), identity)
        exchange.deliverer.exchange.close()


def all_delivered(exchange: Exchange) -> bool:
    rows = [exchange.deliverer.exchange.row(referral) for referral in exchange.referrals]
    return all(row is not None and row.delivered_at is not None and row.next_attempt_at is None for row in rows)


class working:  # noqa: N801 - reads as a sentence
    """A worker in a thread for as long as the block lasts."""

    def __init__(self, exchange: Exchange) -> None:
        duties = Duties(exchange.service.store.url, exchange.deliverer.clock, lambda: None, exchange.deliverer)
        self._worker = BackgroundWorker(duties)
        self._thread = threading.Thread(target=self._worker.run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        self._thread.join(60)


def soon(happens: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
