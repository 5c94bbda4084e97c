"""Collection when something is lost, away, broken or too much."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_mappings.records import Json
from service.exchange import poll, workload
from service.exchange.client import FhirClient, Outcome, Transient
from service.exchange.deliver import State
from service.exchange.outcomes import Reason
from service.exchange.stand_in import Running
from service.exchange.steps import Steps
from service.store.collection_state import Outcome as What
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from service.store.records import ReferralRow, StoreUnavailable
from tests.exchange.gateway import Gateway
from tests.exchange.region import categories, message_in
from tests.exchange.troubled import Trouble, Way
from tests.journeys.referrals import referral

TASKS = "POST /fhir/Task/_search"


class Deaf(FhirClient):
    """Does not hear the next answer to a transaction with a Task."""

    deaf = True

    def transaction(self, bundle: Json) -> Outcome:
        outcome = super().transaction(bundle)
        if not self.deaf or not any(entry["resource"]["resourceType"] == "Task" for entry in bundle["entry"]):
            return outcome
        self.deaf = False
        return Transient(Reason.TIMEOUT, unanswered=True)


@pytest.fixture
def deaf(gateway: Gateway, there: Running) -> Gateway:
    """A gateway that does not hear the next answer to a delivery."""
    return Gateway.beside(gateway.house, gateway.deliverer.exchange, Deaf(there.url, 2), gateway.clock)


def waiting(gateway: Gateway, key: tuple[str, str]) -> int:
    """How often it has been tried in vain; 0 when it has not."""
    found = gateway.collector.state.collected([key]).get(key)
    return found.attempts if found and found.outcome in (What.WAITING, What.STUCK) else 0


# ---------------------------------------------------------------- what is not known


def test_a_message_of_ours_whose_delivery_got_no_answer_is_not_taken_for_a_new_one(deaf: Gateway) -> None:
    row = deaf.receive()
    assert deaf.deliver(row) is State.WAITING
    account = deaf.collect()
    assert (account.taken, account.turned_down, account.orphans) == (0, 0, [])
    deaf.settle()
    assert categories(deaf.all_of(row, "Communication")) == ["acknowledgement"]
    assert len(deaf.region.search("Communication")) == len(deaf.region.search("Task")) == 1


def test_a_move_on_a_copy_whose_delivery_got_no_answer_is_carried_out(deaf: Gateway) -> None:
    row = deaf.receive()
    deaf.deliver(row)
    (task,) = deaf.region.search("Task")
    deaf.region.change(task, status="received")
    deaf.region.change(task, status="accepted")
    assert deaf.collect().waiting > 0
    deaf.clock.later(minutes=1)
    assert deaf.deliver(row) is State.WAITING
    assert deaf.collect().taken == 2
    deaf.settle()
    assert deaf.task(row)["status"] == deaf.copy_of_task(row)["status"] == "accepted"


def test_a_copy_of_nothing_that_is_here_is_told_and_left_alone(gateway: Gateway, referred: ReferralRow) -> None:
    copy = gateway.copy_of_task(referred)
    key = {**copy["identifier"][-1], "value": "Task/of-another-database"}
    foreign = {name: value for name, value in copy.items() if name not in ("id", "meta")}
    gateway.region.post({**foreign, "identifier": [key]})
    again = gateway.region.post(foreign)
    account = gateway.collect()
    assert sorted(account.orphans) == sorted(["Task/of-another-database", f"Task/{referred.task}"])
    assert (account.taken, account.turned_down) == (0, 0)
    assert gateway.region.read(f"Task/{again['id']}")["meta"]["versionId"] == "1"


def test_a_conflict_in_what_no_look_asks_for_is_settled_and_ours_is_written_back(
    gateway: Gateway, referred: ReferralRow
) -> None:
    gateway.move(referred, status="accepted")
    gateway.settle()
    (plan,) = gateway.all_of(referred, "CarePlan")
    shown = gateway.region.copy_of(f"CarePlan/{plan['id']}")
    gateway.region.change(shown, title="Någons egen rubrik")
    for activity in ("first-call", "access-1177"):
        tasks = gateway.all_of(referred, "Task")
        (child,) = [task for task in tasks if activity in str(task["code"])]
        gateway.move_task({**child, "status": "completed"})
    gateway.move(referred, status="in-progress")
    assert gateway.deliver(referred) is State.WAITING
    assert gateway.collect().turned_down == 1
    gateway.settle()
    now = gateway.region.copy_of(f"CarePlan/{plan['id']}")
    assert (now.get("title"), now["status"]) == (plan.get("title"), "active")
    assert "CarePlan" in str(gateway.copy_of_task(referred)["note"])


def test_a_narrative_that_the_server_makes_itself_is_nobodys_change(gateway: Gateway, referred: ReferralRow) -> None:
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Task</div>'}
    gateway.region.change(gateway.copy_of_task(referred), text=narrative)
    account = gateway.collect()
    assert (account.taken, account.turned_down) == (0, 0)


# ---------------------------------------------------------------- stopping half-way


def test_what_stopped_between_the_deed_and_the_note_of_it_is_done_once(
    gateway: Gateway, referred: ReferralRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = gateway.copy_of_task(referred)
    on_it = {"partOf": [{"reference": f"Task/{task['id']}"}]}
    gateway.region.post(message_in("interim-reply", "Det går bra.", **on_it))
    gateway.region.change(task, status="received")
    state = type(gateway.collector.state)
    with monkeypatch.context() as broken:
        for name in ("join", "adopt"):
            broken.setattr(state, name, unavailable)
        with pytest.raises(StoreUnavailable):
            gateway.collect()
    gateway.settle()
    assert categories(gateway.all_of(referred, "Communication")) == ["acknowledgement", "interim-reply"]
    assert len(gateway.region.search("Communication")) == 2
    assert gateway.task(referred)["status"] == "received"


def test_a_referral_that_was_taken_in_when_this_stopped_is_taken_in_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.region.transact(referral())
    with monkeypatch.context() as broken:
        broken.setattr(type(gateway.collector.state), "join", unavailable)
        with pytest.raises(StoreUnavailable):
            gateway.collect()
    assert gateway.deliver(gateway.the_one()) is State.NOT_DUE, "it would make a second order there"
    gateway.settle()
    assert len(gateway.region.search("ServiceRequest")) == 1
    assert len(gateway.region.search("Task")) == 1


def unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailable("away")


# ---------------------------------------------------------------- what cannot be done


def test_one_thing_that_fails_inside_holds_up_no_other_and_is_tried_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = gateway.receive(referral("R-1")), gateway.receive(referral("R-2"))
    gateway.settle()
    carry_out = Steps.carry_out

    def failing(self: Steps, step: Any) -> What | None:
        if self.sides.referral_id == first.id:
            raise RuntimeError("a mistake of ours")
        return carry_out(self, step)

    for row in (first, second):
        gateway.region.change(gateway.copy_of_task(row), status="accepted")
    with monkeypatch.context() as broken:
        broken.setattr(Steps, "carry_out", failing)
        account = gateway.collect()
        assert (account.taken, account.waiting) == (1, 1)
        assert gateway.task(second)["status"] == "accepted"
        assert waiting(gateway, ("Task", gateway.copy_of_task(first)["id"])) == 1
    gateway.settle()
    assert gateway.task(first)["status"] == "accepted"


def test_what_comes_after_something_that_waits_waits_too(
    gateway: Gateway, referred: ReferralRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.move(referred, status="accepted")
    gateway.settle()
    task = gateway.copy_of_task(referred)
    reply = gateway.region.post(message_in("interim-reply", "Nu", partOf=[{"reference": f"Task/{task['id']}"}]))
    carry_out = Steps.carry_out

    def failing(self: Steps, step: Any) -> What | None:
        if step.change.type == "Communication":
            raise RuntimeError("a mistake of ours")
        return carry_out(self, step)

    with monkeypatch.context() as broken:
        broken.setattr(Steps, "carry_out", failing)
        assert gateway.collect().waiting == 1
        gateway.region.change(task, status="cancelled", statusReason={"text": "Passar inte."})
        gateway.collect()
        assert gateway.task(referred)["status"] == "accepted"
        assert waiting(gateway, ("Communication", reply["id"])) == 1
    gateway.settle()
    assert gateway.task(referred)["status"] == "cancelled"
    assert "interim-reply" in categories(gateway.all_of(referred, "Communication"))


def test_what_fails_for_ever_is_given_up_and_counted(
    gateway: Gateway, referred: ReferralRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "_MOST_ATTEMPTS", 2)
    monkeypatch.setattr(Steps, "carry_out", failing_always)
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    gateway.settle(rounds=4)
    figures = gateway.house.store.view().exchange_figures()
    assert (figures.uncollected, figures.stuck) == (0, 1)


def failing_always(*_: object) -> None:
    raise RuntimeError("a mistake of ours")


# ---------------------------------------------------------------- when it is away


def test_a_server_that_cannot_be_searched_loses_nothing(gateway: Gateway, referred: ReferralRow, way: Way) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    way.coming = [Trouble(503, only=TASKS)]
    assert gateway.collect().failure == "busy"
    assert gateway.collect().taken == 1


def test_collection_asks_nothing_while_deliveries_have_found_it_down(
    gateway: Gateway, referred: ReferralRow, way: Way
) -> None:
    way.always = Trouble(503)
    for _ in range(3):
        gateway.collect()
    way.asked.clear()
    assert gateway.collect().failure == "busy"
    assert way.asked == []
    gateway.move(referred, status="received")
    assert gateway.deliver(referred) is State.SERVER_AWAY


def test_a_look_may_be_what_finds_that_it_is_back_and_wakes_the_deliveries(
    gateway: Gateway, referred: ReferralRow, way: Way
) -> None:
    way.always = Trouble(503)
    for _ in range(3):
        gateway.collect()
    way.always = None
    gateway.clock.later(seconds=3)
    assert gateway.collect().failure is None
    assert gateway.deliverer.exchange.server.known().down_since is None


def test_a_server_that_goes_away_in_the_middle_is_left_alone_and_all_is_done_later(gateway: Gateway, way: Way) -> None:
    rows = [gateway.receive(referral(f"R-{number}")) for number in range(8)]
    gateway.settle()
    for row in rows:
        gateway.region.change(gateway.copy_of_task(row), status="accepted")
    histories = [f"GET /fhir/Task/{gateway.copy_of_task(row)['id']}/_history" for row in rows]
    way.coming = [Trouble(503, only=line) for line in histories]
    way.asked.clear()
    account = gateway.collect()
    assert account.failure == "busy"
    assert sum("_history" in line for line in way.asked) == 3
    way.coming = []
    gateway.settle()
    assert {gateway.task(row)["status"] for row in rows} == {"accepted"}


def test_two_do_not_look_at_the_same_time(gateway: Gateway, store: Store) -> None:
    other = ExchangeState(store.url, lock_wait=timedelta(seconds=1))
    with other.held("collection"):
        assert gateway.collect().failure == "busy"
    other.close()
    assert gateway.collect().failure is None


# ---------------------------------------------------------------- much, and in which order


def test_nothing_is_missed_where_a_look_takes_less_than_there_is(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "_MOST_PAGES", 1)
    monkeypatch.setattr(poll, "_PAGE_SIZE", 2)
    for number in range(7):
        gateway.region.transact(referral(f"R-{number}"))
    looks = 0
    while gateway.collect().more:
        looks += 1
    assert looks >= 3
    assert len(gateway.house.store.view().waiting_at("gavle", ("requested",))) == 7


def test_a_catch_up_that_is_stopped_goes_on_where_it_was(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.exchange.collect._PIECE", 3)
    for number in range(4):
        gateway.region.transact(referral(f"R-{number}"))
    account = gateway.collector.collect_for(60, lambda: True)
    assert account.more
    begun = len(gateway.house.store.view().waiting_at("gavle", ("requested",)))
    assert 0 < begun < 4
    assert not gateway.collector.collect_for(60, lambda: False).more
    assert len(gateway.house.store.view().waiting_at("gavle", ("requested",))) == 4


def test_a_transaction_there_that_is_seen_late_is_within_the_overlap(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    gateway.collect()
    now = datetime.now(UTC)
    there.memory.clock = lambda: now - timedelta(seconds=20)
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    assert gateway.collect().taken == 1


def test_a_reply_and_the_end_that_rests_on_it_may_come_between_two_questions_of_a_look(
    gateway: Gateway, referred: ReferralRow, way: Way
) -> None:
    """Tasks are asked for before messages: an end is never seen without the reply that it needs."""
    way.asked.clear()
    gateway.collect()
    asked = [line.split("/")[2] for line in way.asked if line.endswith("_search")]
    assert asked == ["Task", "Communication", "QuestionnaireResponse", "Observation", "ServiceRequest"]


def test_a_quiet_look_costs_five_questions(gateway: Gateway, referred: ReferralRow, way: Way) -> None:
    gateway.collect()
    way.asked.clear()
    gateway.collect()
    assert len(way.asked) == 5


def test_an_echo_costs_no_question_of_its_own(gateway: Gateway, way: Way) -> None:
    for number in range(5):
        gateway.receive(referral(f"R-{number}"))
    gateway.deliver_all()
    way.asked.clear()
    account = gateway.collect()
    assert account.echoes == account.found > 10
    assert len(way.asked) == 5
