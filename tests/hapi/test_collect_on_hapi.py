"""The whole journey beside a real server, both ways: people work there, the rules are kept here, both sides agree."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.exchange import poll
from service.exchange.client import FhirClient
from service.exchange.deliver import State
from service.exchange.reconcile import reconcile
from service.exchange.worker import BackgroundWorker, Duties
from service.packs.model import Pack
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from service.store.records import ReferralRow
from tests.bench.referrals import identities
from tests.exchange.gateway import Gateway
from tests.exchange.region import Region, activity_of, categories, final_reply, message_in
from tests.hapi.server import Running
from tests.journeys.conftest import Client, Clock, _Door
from tests.journeys.referrals import GRAVE, HSA, UNIT, alone, madrs_s, referral

pytestmark = pytest.mark.hapi

_people = identities(1975)


def someones(**changes: Any) -> Json:
    """A referral of somebody whom no other test knows, since they share a server."""
    return referral(**{"identity": next(_people), "placer": f"R-{uuid4()}", **changes})


@dataclass
class Beside:
    """Sluss, with its own clients, beside that server."""

    gateway: Gateway
    base: str

    @property
    def region(self) -> Region:
        return self.gateway.region

    @property
    def platform(self) -> Client:
        return Client(self.base, "platform")

    def post(self, **changes: Any) -> str:
        """An EHR posts a referral there: `ServiceRequest/{id}`."""
        references = self.region.transact(someones(**changes))
        self.gateway.settle(2)
        return next(reference for reference in references if reference.startswith("ServiceRequest/"))

    def row(self, order: str) -> ReferralRow:
        """The referral of a ServiceRequest there."""
        remote = order.partition("/")[2]
        ((_, standing),) = self.gateway.collector.state.standing_for([("ServiceRequest", remote)])
        assert standing.referral_id is not None
        return self.gateway.row(standing.referral_id)

    def task(self, order: str) -> Json:
        """The referral's Task there."""
        return self.gateway.copy_of_task(self.row(order))

    def children(self, order: str, code: str) -> list[Json]:
        found = self.region.search("Task", part_of=f"Task/{self.task(order)['id']}")
        return [task for task in found if activity_of(task) == code]

    def told(self, order: str) -> list[str]:
        """What the referrer finds there."""
        return categories(self.region.search("Communication", based_on=order), self.region.canonical)

    def polled(self) -> list[str]:
        """What the referrer's platform finds here."""
        found = self.platform.search("Communication", **{"recipient:identifier": f"{HSA}|{UNIT}", "_count": "200"})
        return categories(found, self.region.canonical)

    def move(self, task: Json, **elements: Any) -> None:
        """A therapist changes a Task there, and both sides hear of it."""
        self.region.change(task, **elements)
        self.gateway.settle(2)

    def start(self, order: str) -> None:
        self.move(self.task(order), status="accepted")
        for activity in ("first-call", "access-1177"):
            (child,) = self.children(order, activity)
            self.region.change(child, status="completed")
        self.move(self.task(order), status="in-progress")


@pytest.fixture
def beside(
    store: Store,
    _door: tuple[str, _Door],
    packs: Callable[[str], Pack],
    hapi: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Beside]:
    """With codes and keys of its own, since all tests share one server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    base, door = _door
    canonical = Canonical(f"https://sluss.example/{uuid4()}/fhir")
    clock = Clock()
    house = House(store, packs("gavleborg"), canonical, clock, lambda: str(uuid4()))
    door.app = create_app(Settings(log_level="error"), house)
    exchange = ExchangeState(store.url)
    gateway = Gateway.beside(house, exchange, FhirClient(hapi.url, 30), clock)
    for type_ in ("Task", "Communication"):  # what the tests before left there
        gateway.collector.state.advance(type_, server_time(gateway.region), clock())
    yield Beside(gateway, base)
    gateway.close()
    exchange.close()


def server_time(region: Region) -> datetime:
    answer = region.send("GET", "/Patient?_count=1")
    return datetime.fromisoformat(answer.json()["meta"]["lastUpdated"])


def test_a_referral_is_posted_treated_and_answered_there_by_the_rules_that_are_kept_here(beside: Beside) -> None:
    order = beside.post()
    assert (beside.row(order).team, beside.row(order).verdict) == ("gavle", "eligible")
    assert beside.task(order)["focus"]["reference"] == order
    assert beside.region.read(order)["meta"]["versionId"] == "1"
    beside.start(order)
    (call, *_) = beside.children(order, "follow-up-call")
    beside.region.change(call, status="completed")
    said = {"partOf": [{"reference": f"Task/{beside.task(order)['id']}"}]}
    posted = beside.region.post(message_in("interim-reply", "Halvvägs, det går bra.", **said))
    beside.gateway.settle(2)
    for child in beside.children(order, "follow-up-call"):
        if child["status"] == "requested":
            beside.region.change(child, status="completed")
    task = beside.task(order)
    beside.move(task, status="completed", output=[*task["output"], final_reply(beside.region.canonical)])
    assert beside.row(order).state == beside.task(order)["status"] == "completed"
    expected = ["acknowledgement", "final-reply", "interim-reply", "started"]
    assert beside.told(order) == beside.polled() == expected
    assert beside.region.read(f"Communication/{posted['id']}")["recipient"][0]["identifier"]["value"] == UNIT
    (plan,) = beside.gateway.all_of(beside.row(order), "CarePlan")
    assert beside.region.copy_of(f"CarePlan/{plan['id']}")["status"] == "completed"
    is_quiet(beside)


def is_quiet(beside: Beside) -> None:
    """Nothing is left to do, and nothing goes round in circles."""
    account = beside.gateway.collect()
    assert (account.taken, account.turned_down, account.set_aside, account.waiting) == (0, 0, 0, 0)
    found = reconcile(beside.gateway.collector)
    assert (found.complete, found.differing, found.gone, found.taken) == (True, 0, 0, 0)


def test_an_amendment_and_a_revocation_there(beside: Beside) -> None:
    order = beside.post()
    beside.region.change(beside.region.read(order), priority="urgent", note=[{"text": "Nås bäst efter klockan 15."}])
    beside.gateway.settle(2)
    assert beside.task(order)["priority"] == "urgent"
    beside.region.change(beside.region.read(order), status="revoked")
    beside.gateway.settle(2)
    assert beside.row(order).state == beside.task(order)["status"] == "cancelled"
    assert beside.told(order) == ["acknowledgement", "acknowledgement", "withdrawal-confirmed"]
    is_quiet(beside)


def test_a_revocation_during_treatment_is_answered_there(beside: Beside) -> None:
    order = beside.post()
    beside.start(order)
    beside.region.change(beside.region.read(order), status="revoked")
    beside.gateway.settle(2)
    (abort,) = beside.children(order, "abort")
    beside.move(abort, status="accepted")
    assert beside.row(order).state == beside.task(order)["status"] == "cancelled"


def test_an_information_request_is_answered_there_by_a_rating(beside: Beside) -> None:
    order = beside.post(items=None)
    assert beside.told(order) == ["information-request"]
    subject = beside.region.read(order)["subject"]
    beside.region.post(madrs_s(GRAVE, subject=subject, basedOn=[{"reference": order}]))
    beside.gateway.settle(2)
    assert beside.row(order).state == "requested"
    assert beside.told(order) == ["acknowledgement", "information-request", "safety-alert"]


def test_an_information_request_is_answered_there_in_words(beside: Beside) -> None:
    order = beside.post(items=None)
    (request,) = beside.region.search("Communication", based_on=order)
    answers = {"inResponseTo": [{"reference": f"Communication/{request['id']}"}]}
    beside.region.post(message_in("information", "MADRS-S var 14.", basedOn=[{"reference": order}], **answers))
    beside.gateway.settle(2)
    assert beside.row(order).state == beside.task(order)["status"] == "requested"


def test_a_referral_alone_with_logical_and_contained_parties_becomes_resources_there(beside: Beside) -> None:
    identity = next(_people)
    order = beside.region.post(alone(identity=identity))
    beside.gateway.settle(2)
    task = beside.task(f"ServiceRequest/{order['id']}")
    assert identity in str(beside.region.read(task["for"]["reference"])["identifier"])
    assert UNIT in str(beside.region.read(task["requester"]["reference"])["identifier"])
    assert task["focus"] == {"reference": f"ServiceRequest/{order['id']}"}
    assert beside.region.read(f"ServiceRequest/{order['id']}")["meta"]["versionId"] == "1"
    is_quiet(beside)


def test_what_stays_there_is_referred_to_as_its_own_when_the_copy_is_written_back(beside: Beside) -> None:
    order = beside.post()
    beside.move(beside.task(order), status="accepted")
    task = beside.task(order)
    group = beside.region.post({"resourceType": "Group", "type": "person", "actual": True})
    noted = {"authorReference": {"reference": beside.region.read(order)["subject"]["reference"]}, "text": "Ringde."}
    beside.move(task, note=[*task.get("note", ()), noted])
    assert beside.task(order)["note"][-1] == noted
    theirs = {"type": {"text": "Grupp"}, "valueReference": {"reference": f"Group/{group['id']}"}}
    beside.move(beside.task(order), output=[*beside.task(order)["output"], theirs])
    assert beside.task(order)["output"][-1] == theirs
    ours = beside.gateway.task(beside.row(order))["output"][-1]
    assert ours["valueReference"] == {"reference": f"{beside.region.base}/Group/{group['id']}"}
    is_quiet(beside)


def test_an_illegal_move_is_written_back_with_the_reason(beside: Beside) -> None:
    order = beside.post()
    beside.move(beside.task(order), status="completed")
    task = beside.task(order)
    assert task["status"] == "requested"
    assert "Från requested kan uppgiften inte gå till completed" in task["note"][-1]["text"]
    assert "turned-down" in beside.gateway.events(beside.row(order))
    is_quiet(beside)


def test_several_moves_between_two_looks_are_walked_through(beside: Beside) -> None:
    order = beside.post()
    task = beside.task(order)
    for status in ("received", "accepted"):
        beside.region.change(task, status=status)
    beside.gateway.settle(2)
    moves = [
        e.detail["to"] for e in beside.gateway.house.store.view().journal_of(beside.row(order).id) if e.event == "moved"
    ]
    assert moves == ["received", "accepted"]


def test_one_that_cannot_be_read_is_told_and_taken_in_when_it_is_mended(beside: Beside) -> None:
    order = beside.post(items=GRAVE, identifier=None)
    (message,) = beside.region.search("Communication", based_on=order)
    assert "INTE mottagen" in message["payload"][0]["contentString"]
    assert beside.polled() == ["information-request"]
    (task,) = beside.region.search("Task", focus=order)
    assert (activity_of(task), task["priority"], task["status"]) == ("unreadable-referral", "stat", "requested")
    placer = [{"system": "https://ehr.example/referral", "value": "R-1"}]
    beside.region.change(beside.region.read(order), identifier=placer)
    beside.gateway.settle(2)
    assert beside.row(order).state == "requested"
    assert beside.region.read(f"Task/{task['id']}")["status"] == "completed"
    is_quiet(beside)


def test_the_same_thing_changed_on_both_sides_at_once_has_one_outcome(beside: Beside) -> None:
    order = beside.post()
    row, theirs = beside.row(order), beside.task(order)
    beside.gateway.move(row, status="rejected", statusReason={"text": "Fel målgrupp."})
    beside.region.change(theirs, status="accepted", note=[*theirs.get("note", ()), {"text": "Vi tar den."}])
    assert beside.gateway.deliver(row) is State.WAITING, "HAPI answers the stale ifMatch with 409, and changes nothing"
    beside.gateway.settle(2)
    assert beside.row(order).state == beside.task(order)["status"] == "rejected"
    assert any("gäller inte" in note["text"] for note in beside.task(order)["note"])
    is_quiet(beside)


def test_notes_on_both_sides_at_once_are_both_kept(beside: Beside) -> None:
    order = beside.post()
    row, theirs = beside.row(order), beside.task(order)
    here = {"authorString": "Behandlare", "text": "Skriven här"}
    beside.gateway.move(row, note=[*beside.gateway.task(row).get("note", ()), here])
    beside.region.change(theirs, note=[*theirs.get("note", ()), {"authorString": "B", "text": "Skriven där"}])
    beside.gateway.settle(2)
    texts = [note["text"] for note in beside.task(order)["note"]]
    assert texts == [note["text"] for note in beside.gateway.task(row)["note"]]
    assert {"Skriven här", "Skriven där"} <= set(texts)


def test_many_at_once_are_all_found_page_by_page(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "_PAGE_SIZE", 3)
    monkeypatch.setattr(poll, "_MOST_PAGES", 2)
    orders = [order for _ in range(9) for order in beside.region.transact(someones())]
    looks = 1
    while beside.gateway.collect().more:
        looks += 1
    assert looks > 1
    there = [("ServiceRequest", order.partition("/")[2]) for order in orders if order.startswith("ServiceRequest/")]
    assert len(beside.gateway.collector.state.standing_for(there)) == 9
    beside.gateway.deliver_all()
    is_quiet(beside)


def test_what_was_missed_and_what_is_gone_there_is_mended(beside: Beside) -> None:
    order = beside.post()
    row = beside.row(order)
    beside.move(beside.task(order), status="accepted")
    (message,) = beside.gateway.all_of(row, "Communication")
    copy = beside.region.copy_of(f"Communication/{message['id']}")
    assert beside.region.send("DELETE", f"/Communication/{copy['id']}").status_code == 200
    (child,) = beside.children(order, "first-call")
    beside.region.change(child, status="completed")
    for type_ in ("Task", "Communication", "ServiceRequest"):  # as if the look had passed it by
        later = datetime(2100, 1, 1, tzinfo=SWEDEN)
        beside.gateway.collector.state.advance(type_, later, beside.gateway.clock())
    assert beside.gateway.collect().taken == 0
    found = reconcile(beside.gateway.collector)
    assert (found.complete, found.gone, found.differing, found.taken) == (True, 1, 1, 1)
    beside.gateway.deliver_all()
    assert beside.region.copy_of(f"Communication/{message['id']}")["id"] != copy["id"]
    assert [child["status"] for child in beside.children(order, "first-call")] == ["completed"]
    again = reconcile(beside.gateway.collector)
    assert (again.gone, again.differing, again.taken, again.scheduled) == (0, 0, 0, 0)


def test_the_running_worker_carries_it_all(beside: Beside) -> None:
    """In real time: posted there, judged here, shown there, accepted there, answered there, with nobody's help."""
    gateway = beside.gateway
    clock = lambda: datetime.now(SWEDEN)  # noqa: E731
    house = House(gateway.house.store, gateway.house.pack, gateway.house.canonical, clock, gateway.house.new_id)
    alive = Gateway.beside(house, gateway.deliverer.exchange, gateway.deliverer.client, clock)
    duties = Duties(house.store.url, clock, lambda: None, alive.deliverer, collector=alive.collector, collect_every=1)
    worker = BackgroundWorker(duties)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        references = beside.region.transact(someones())
        order = next(reference for reference in references if reference.startswith("ServiceRequest/"))
        soon(lambda: beside.told(order) == ["acknowledgement"])
        (task,) = beside.region.search("Task", focus=order)
        beside.region.change(task, status="accepted")
        soon(lambda: len(beside.region.search("Task", part_of=f"Task/{task['id']}")) >= 3)
        beside.region.change(task, status="cancelled", statusReason={"text": "Passar inte."})
        soon(lambda: "discontinued" in beside.told(order))
    finally:
        worker.stop()
        thread.join(60)
        alive.close()


def soon(happens: Callable[[], bool], seconds: float = 40) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.3)
