"""Both sides are compared, and what was missed is mended."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from fhir_mappings.records import Json
from service.exchange import poll, workload
from service.exchange import reconcile as reconciling
from service.exchange.reconcile import Reconciliation, reconcile
from service.exchange.stand_in import Running
from service.exchange.steps import Steps
from service.store.records import ReferralRow
from tests.exchange.gateway import Gateway
from tests.exchange.region import categories, message_in
from tests.exchange.troubled import Trouble, Way
from tests.journeys.referrals import referral


def mend(gateway: Gateway) -> Reconciliation:
    """Reconcile, and deliver what follows."""
    told = reconcile(gateway.collector)
    gateway.clock.later(seconds=61)
    gateway.deliver_all()
    return told


def nothing_to_mend(gateway: Gateway) -> None:
    told = reconcile(gateway.collector)
    figures = (told.differing, told.gone, told.taken, told.turned_down, told.waiting, told.scheduled, told.orphans)
    assert (told.complete, *figures) == (True, 0, 0, 0, 0, 0, 0, [])


def looked_past(gateway: Gateway) -> None:
    """Collection has seen everything up to long after now, or so it thinks."""
    for poll_ in poll.polls(gateway.house.canonical):
        later = datetime(2100, 1, 1, tzinfo=UTC)
        gateway.collector.state.advance(poll_.type, later, gateway.clock())
    assert gateway.collect().found == 0


def remove(there: Running, resource: Json) -> None:
    """Somebody deletes it there, past every check."""
    del there.memory.versions[resource["resourceType"], resource["id"]]


def test_where_both_sides_agree_there_is_nothing_to_mend(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.treat_there(referred)
    told = reconcile(gateway.collector)
    assert told.compared > 10
    assert told.found > 5
    nothing_to_mend(gateway)


def test_a_move_that_the_looks_have_missed_is_carried_out(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    looked_past(gateway)
    told = mend(gateway)
    assert (told.differing, told.taken) == (1, 1)
    assert gateway.task(referred)["status"] == "accepted"
    nothing_to_mend(gateway)


def test_a_new_message_and_a_new_referral_that_the_looks_have_missed_are_taken_in(
    gateway: Gateway, referred: ReferralRow
) -> None:
    task = gateway.copy_of_task(referred)
    gateway.region.post(message_in("interim-reply", "Det går bra.", partOf=[{"reference": f"Task/{task['id']}"}]))
    gateway.region.transact(referral("R-2"))
    looked_past(gateway)
    assert mend(gateway).taken == 2
    assert "interim-reply" in categories(gateway.all_of(referred, "Communication"))
    assert len(gateway.house.store.view().waiting_at("gavle", ("requested",))) == 2
    nothing_to_mend(gateway)


def test_a_transaction_that_was_seen_later_than_any_overlap_is_found(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    gateway.collect()
    late = datetime.now(UTC) - timedelta(hours=2)
    there.memory.clock = lambda: late
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    assert gateway.collect().taken == 0
    assert mend(gateway).taken == 1


def test_a_copy_of_what_no_look_asks_for_is_put_right(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.move(referred, status="accepted")
    gateway.settle()
    (plan,) = gateway.all_of(referred, "CarePlan")
    gateway.region.change(gateway.region.copy_of(f"CarePlan/{plan['id']}"), title="Någons egen rubrik")
    assert gateway.collect().turned_down == 0
    assert mend(gateway).turned_down == 1
    assert gateway.region.copy_of(f"CarePlan/{plan['id']}").get("title") == plan.get("title")
    assert "CarePlan" in gateway.copy_of_task(referred)["note"][-1]["text"]
    nothing_to_mend(gateway)


def test_what_was_deleted_there_is_delivered_again_and_what_refers_to_it_leads_to_the_new_one(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    gateway.move(referred, status="accepted")
    gateway.settle()
    old = gateway.copy_of_task(referred)
    children = len(gateway.region.children_of(old))
    remove(there, old)
    assert mend(gateway).gone == 1
    new = gateway.copy_of_task(referred)
    assert new["id"] != old["id"]
    assert len(gateway.region.children_of(new)) == children >= 3
    assert "Borttagningen av Task" in new["note"][-1]["text"]
    nothing_to_mend(gateway)


def test_a_referrers_order_that_is_gone_there_is_put_back_as_a_copy_of_ours(gateway: Gateway, there: Running) -> None:
    references = gateway.region.transact(referral())
    gateway.settle()
    row = gateway.the_one()
    order = next(gateway.region.read(one) for one in references if one.startswith("ServiceRequest/"))
    remove(there, order)
    assert mend(gateway).gone == 1
    copy = gateway.region.copy_of(f"ServiceRequest/{row.service_request}")
    assert copy["identifier"][0] == order["identifier"][0]
    assert gateway.copy_of_task(row)["focus"]["reference"] == f"ServiceRequest/{copy['id']}"
    nothing_to_mend(gateway)


def test_a_server_that_was_put_back_to_an_earlier_state_is_brought_up_to_date(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    earlier = {key: list(versions) for key, versions in there.memory.versions.items()}
    gateway.move(referred, status="accepted")
    gateway.settle()
    there.memory.versions = earlier
    told = mend(gateway)
    assert (told.gone > 0, told.turned_down) == (True, 0)
    assert gateway.copy_of_task(referred)["status"] == "accepted"
    (plan,) = gateway.all_of(referred, "CarePlan")
    assert gateway.region.copy_of(f"CarePlan/{plan['id']}")["status"] == "draft"
    nothing_to_mend(gateway)


def test_the_same_version_with_another_content_is_noticed(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    (message,) = gateway.all_of(referred, "Communication")
    copy = gateway.region.copy_of(f"Communication/{message['id']}")
    there.memory.versions["Communication", copy["id"]][-1] = {**copy, "payload": [{"contentString": "Något annat"}]}
    assert gateway.collect().turned_down == 0
    told = mend(gateway)
    assert (told.differing, told.turned_down) == (1, 1)
    assert gateway.region.copy_of(f"Communication/{message['id']}")["payload"] == message["payload"]
    nothing_to_mend(gateway)


def test_what_was_given_up_is_tried_again(
    gateway: Gateway, referred: ReferralRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    with monkeypatch.context() as broken:
        broken.setattr(workload, "_MOST_ATTEMPTS", 1)
        broken.setattr(Steps, "carry_out", lambda *_: 1 / 0)
        assert gateway.collect().waiting == 1
    assert gateway.collect().taken == 0
    assert mend(gateway).taken == 1
    assert gateway.task(referred)["status"] == "accepted"


def test_one_that_is_stopped_goes_on_where_it_was(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        gateway.receive(referral(f"R-{number}"))
    gateway.settle()
    monkeypatch.setattr(reconciling, "_PAGE", 4)
    asked = iter([False, False, True])
    first = reconcile(gateway.collector, lambda: next(asked))
    assert (first.complete, first.compared) == (False, 8)
    second = reconcile(gateway.collector)
    third = reconcile(gateway.collector)
    assert second.complete
    assert first.compared + second.compared == third.compared


def test_a_server_that_goes_away_ends_it_and_the_next_one_goes_on(
    gateway: Gateway, referred: ReferralRow, way: Way
) -> None:
    way.coming = [Trouble(503, only="POST /fhir/ServiceRequest/_search") for _ in range(2)]
    told = reconcile(gateway.collector)
    assert (told.complete, told.failure) == (False, "busy")
    way.coming = []
    assert reconcile(gateway.collector).complete


def test_looking_up_copies_takes_few_questions(gateway: Gateway, way: Way) -> None:
    for number in range(10):
        gateway.receive(referral(f"R-{number}"))
    gateway.settle()
    way.asked.clear()
    told = reconcile(gateway.collector)
    assert told.compared == 60
    assert len(way.asked) <= 5 + 5


def test_a_copy_of_nothing_here_is_named_and_told_in_the_log(
    gateway: Gateway, referred: ReferralRow, there: Running
) -> None:
    task = gateway.copy_of_task(referred)
    identifiers = [{**one, "value": "Task/restored-away"} for one in task["identifier"]]
    there.memory.create({name: value for name, value in {**task, "identifier": identifiers}.items() if name != "id"})
    with capture_logs() as lines:
        told = reconcile(gateway.collector)
    assert told.orphans == ["Task/restored-away"]
    assert {"event": "copies_of_nothing_here", "log_level": "error", "copies": 1} in lines
