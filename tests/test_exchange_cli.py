"""`sluss exchange …`: what the person who runs the exchange sees and decides, on dead letters that are real."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.exchange.client import FhirClient
from service.exchange.deliver import Deliverer, State
from service.exchange.deliver import Result as DeliveryResult
from service.exchange.stand_in import Running, running_stand_in
from service.exchange.translate import REFERRAL_TYPES
from service.exchange.worker import BackgroundWorker, Duties
from service.store.database import Store
from service.store.exchange_state import ExchangeState
from tests.exchange.conftest import CANONICAL, House
from tests.exchange.test_worker import soon
from tests.exchange.troubled import Trouble, Way
from tests.store.examples import patient, task
from tests.web.served import PROJECT, environment

SECRET = "a-secret-of-at-least-32-characters"
REFUSAL = """{"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "code-invalid",
 "expression": ["ServiceRequest.code"], "diagnostics": "Test Testsson 19900222-2397 is not allowed"}]}"""
Run = Callable[..., Result]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Way()


@pytest.fixture
def there(way: Way) -> Iterator[Running]:
    with running_stand_in(wrap=way.lead_through) as running:
        yield running


@pytest.fixture
def house(store: Store, there: Running) -> Iterator[House]:
    exchange = ExchangeState(store.url, lock_wait=timedelta(seconds=3))
    deliverer = Deliverer(store, exchange, FhirClient(there.url, 2), CANONICAL, now, chance=lambda: 0.5)
    yield House(store, exchange, deliverer, there.memory)
    exchange.close()


@pytest.fixture
def run(store: Store, there: Running, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`sluss exchange …` on this database and that server."""
    for name in list(os.environ):
        if name.startswith("SLUSS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUSS_DATABASE_URL", store.url)
    monkeypatch.setenv("SLUSS_FHIR_SERVER_URL", there.url)

    def command(*arguments: str, **settings: str) -> Result:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(main, ["exchange", *arguments])

    return command


@pytest.fixture
def worker(store: Store) -> Iterator[None]:
    """A background worker that only runs its timers, so that deliveries are made when a test says so."""
    one = BackgroundWorker(Duties(store.url, now, lambda: None))
    thread = threading.Thread(target=one.run)
    thread.start()
    soon(lambda: store.view().queue_figures(now()).workers)
    yield
    one.stop()
    thread.join(20)


@pytest.fixture
def twice(house: House) -> str:
    """A dead letter: the patient is there twice."""
    for _ in range(2):
        house.memory.create({name: value for name, value in patient().items() if name != "id"})
    house.receive()
    assert house.deliver().state is State.DEAD
    return "r-1"


def merged(house: House) -> None:
    """Somebody over there has put it right."""
    *_, double = [key for key in house.memory.versions if key[0] == "Patient"]
    del house.memory.versions[double]


@pytest.fixture
def refused(house: House, way: Way) -> str:
    """A dead letter: the server found something to be wrong, and says so with a name."""
    house.receive("2", "p-2")
    way.coming = [Trouble(422, REFUSAL), Trouble(422, REFUSAL)]
    assert house.deliver("r-2").state is State.DEAD
    return "r-2"


def told(ended: Result) -> Any:
    return json.loads(ended.stdout)


def journal(house: House, referral_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    entries = house.store.view().journal_of(referral_id)
    return [(e.event, e.actor, dict(e.detail)) for e in entries if e.event.startswith("delivery-")]


# ------------------------------------------------------------ status


@pytest.mark.usefixtures("worker")
def test_all_is_well_with_status_0(run: Run, house: House) -> None:
    house.receive()
    assert house.deliver().state is State.DELIVERED
    ended = run("status")
    assert ended.exit_code == 0, ended.output
    assert "up, last contact" in ended.stdout
    assert "NEEDS A PERSON" not in ended.stdout
    as_json = told(run("status", "--json"))
    assert as_json["external_server"]["state"] == "up"
    assert as_json["needs_a_person"] == []


@pytest.mark.usefixtures("worker", "twice")
def test_a_dead_letter_needs_a_person_and_says_since_when(run: Run) -> None:
    ended = run("status", "--json")
    assert ended.exit_code == 3
    deliveries = told(ended)["deliveries"]
    assert deliveries["dead_letters"] == 1
    assert now() - datetime.fromisoformat(deliveries["oldest_dead_letter"]) < timedelta(minutes=1)
    assert told(ended)["needs_a_person"] == ["1 dead letter: sluss exchange dead"]
    assert run("status").exit_code == 3
    assert "NEEDS A PERSON" in run("status").stdout


@pytest.mark.usefixtures("worker")
def test_a_server_that_is_down_is_told_with_what_waits_but_needs_nobody_at_first(
    run: Run, house: House, way: Way
) -> None:
    way.always = Trouble(503)
    for number in "1234":
        house.receive(number, f"p-{number}")
        house.deliver(f"r-{number}")
    ended = run("status", "--json")
    assert ended.exit_code == 0, ended.output
    as_json = told(ended)
    assert as_json["external_server"]["state"] == "down"
    assert as_json["external_server"]["reason"] == "busy"
    assert as_json["deliveries"]["waiting"] == 4
    assert as_json["deliveries"]["oldest_waiting"] <= as_json["external_server"]["down_since"]
    assert "  away" in run("status").stdout


def test_without_a_worker_nothing_moves_and_a_person_is_needed(run: Run) -> None:
    ended = run("status")
    assert ended.exit_code == 3
    assert "no background worker runs: sluss worker" in ended.stdout


def test_a_database_that_does_not_answer_is_told_with_status_1(run: Run) -> None:
    ended = run("status", SLUSS_DATABASE_URL="postgresql://u:secret@127.0.0.1:9/none")
    assert ended.exit_code == 1
    assert "the database does not answer" in ended.output
    assert "secret" not in ended.output


# ------------------------------------------------------------ dead


def test_each_dead_letter_is_listed_with_what_the_server_said_and_nothing_of_the_patient(
    run: Run, house: House, refused: str
) -> None:
    ended = run("dead")
    assert ended.exit_code == 3
    assert f"{refused}  refused 422: code-invalid ServiceRequest.code  (dead since" in ended.stdout
    (letter,) = told(run("dead", "--json"))
    assert (letter["referral"], letter["task"]) == (refused, "Task/t-2")
    assert (letter["reason"], letter["status"], letter["attempts"]) == ("refused", 422, 1)
    assert letter["issues"] == [{"severity": "error", "code": "code-invalid", "expression": "ServiceRequest.code"}]
    for output in (ended.output, run("dead", "--json").output, run("status").output):
        assert not [word for word in ("Test", "1990", "2397") if word in output]


def test_what_was_told_of_an_unreadable_referral_is_listed_too(run: Run, house: House, way: Way) -> None:
    house.write(task("u-1"), of="u-1")
    way.coming = [Trouble(422, REFUSAL)]
    assert house.deliver("u-1").state is State.DEAD
    ended = run("dead")
    assert ended.exit_code == 3
    assert "Task/u-1 unreadable-referral)" in ended.stdout


def test_no_dead_letters_is_status_0(run: Run) -> None:
    assert run("dead").exit_code == 0
    assert told(run("dead", "--json")) == []


# ------------------------------------------------------------ replay


def test_a_letter_is_delivered_again_when_what_was_wrong_is_put_right_and_the_journal_has_who_and_why(
    run: Run, house: House, twice: str
) -> None:
    merged(house)
    ended = run("replay", twice, "--by", "Drift Gävle", "--why", "Patienten är sammanslagen där")
    assert (ended.exit_code, ended.stdout) == (0, "r-1 is delivered again.\n")
    assert house.deliverer.due() == [twice]
    assert house.deliver().state is State.DELIVERED
    ((event, actor, detail),) = journal(house, twice)
    assert (event, actor) == ("delivery-replayed", "operator Drift Gävle")
    assert (detail["why"], detail["reason"]) == ("Patienten är sammanslagen där", "multiple-matches")
    assert run("dead").exit_code == 0


def test_what_is_still_wrong_is_a_dead_letter_again_and_every_try_stays_in_the_journal(
    run: Run, house: House, twice: str
) -> None:
    for _ in range(2):
        assert run("replay", twice).exit_code == 0
        assert house.deliver().state is State.DEAD
    assert [event for event, *_ in journal(house, twice)] == ["delivery-replayed"] * 2
    assert run("dead").exit_code == 3


def test_all_dead_letters_at_once_but_not_what_was_discarded(run: Run, house: House, twice: str, refused: str) -> None:
    assert run("discard", twice, "--why", "Finns på annat håll").exit_code == 0
    ended = run("replay", "--all", "--json")
    assert (ended.exit_code, told(ended)) == (0, {"replayed": [refused], "not_dead": []})
    assert house.deliver(refused).state is State.DEAD, "the patient's double stands in its way too"
    assert run("replay", "--all").exit_code == 0
    assert [event for event, *_ in journal(house, twice)] == ["delivery-discarded"]


def test_who_is_no_dead_letter_is_told_and_left_alone(run: Run, house: House, twice: str) -> None:
    house.receive("3", "p-3")
    ended = run("replay", "r-3", "nobody", twice, "--json")
    assert ended.exit_code == 1
    assert told(ended) == {"replayed": [twice], "not_dead": ["r-3", "nobody"]}
    assert journal(house, "r-3") == journal(house, "nobody") == []


@pytest.mark.parametrize("arguments", [("replay",), ("replay", "--all", "r-1"), ("discard", "r-1"), ("discard",)])
def test_what_is_meant_must_be_said(run: Run, house: House, twice: str, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert journal(house, twice) == []


# ------------------------------------------------------------ discard


def test_a_discarded_letter_stays_visible_with_its_reason_and_waits_for_nobody(
    run: Run, house: House, twice: str
) -> None:
    ended = run("discard", twice, "--why", "Vården är avslutad", "--by", "Drift Gävle")
    assert ended.exit_code == 0
    assert ended.stdout == "r-1 is left undelivered until it changes or is replayed.\n"
    assert "It is open" in ended.stderr, "whoever decides is told what it means"
    listed = run("dead")
    assert listed.exit_code == 0
    assert "by operator Drift Gävle: Vården är avslutad)" in listed.stdout
    (letter,) = told(run("dead", "--json"))
    assert (letter["discarded"]["by"], letter["discarded"]["why"]) == ("operator Drift Gävle", "Vården är avslutad")
    assert told(run("status", "--json"))["deliveries"]["discarded"] == 1
    assert house.deliverer.due() == []
    later = now() + timedelta(hours=1)
    assert house.exchange.find_undelivered(REFERRAL_TYPES, later, timedelta(minutes=1)) == 0
    ((event, _, detail),) = journal(house, twice)
    assert (event, detail["why"]) == ("delivery-discarded", "Vården är avslutad")


def test_what_changes_after_that_has_it_delivered_whole(run: Run, house: House, twice: str) -> None:
    assert run("discard", twice, "--why", "Vården är avslutad").exit_code == 0
    merged(house)
    house.change("Task", "t-1", status="received")
    assert house.exchange.find_undelivered(REFERRAL_TYPES, now(), timedelta(seconds=-5)) == 1
    assert house.deliver().state is State.DELIVERED
    for type_ in ("ServiceRequest", "Task", "Communication", "QuestionnaireResponse"):
        assert len(house.shown(type_)) == 1, type_
    assert told(run("dead", "--json")) == []


def test_a_change_that_fails_again_is_a_dead_letter_again_and_no_longer_discarded(
    run: Run, house: House, twice: str
) -> None:
    assert run("discard", twice, "--why", "Vården är avslutad").exit_code == 0
    house.change("Task", "t-1", status="received")
    assert house.deliver().state is State.DEAD
    (letter,) = told(run("dead", "--json"))
    assert (letter["reason"], letter["discarded"]) == ("multiple-matches", None)
    assert [event for event, *_ in journal(house, twice)] == ["delivery-discarded"], "what was decided stays written"


def test_a_discarded_letter_can_be_replayed_by_name(run: Run, house: House, twice: str) -> None:
    run("discard", twice, "--why", "Vården är avslutad")
    merged(house)
    assert run("replay", twice, "--why", "Den behövs där ändå").exit_code == 0
    assert house.deliver().state is State.DELIVERED
    assert told(run("dead", "--json")) == []
    assert [event for event, *_ in journal(house, twice)] == ["delivery-discarded", "delivery-replayed"]


def test_only_a_dead_letter_can_be_discarded(run: Run, house: House) -> None:
    house.receive()
    ended = run("discard", "r-1", "--why", "Vet inte")
    assert ended.exit_code == 1
    assert "no dead letter" in ended.output
    assert journal(house, "r-1") == []


@pytest.mark.parametrize("why", ["19900222-2397 vill inte", "gäller 900222-2397", "199002222397", " ", "x" * 501])
def test_a_reason_that_names_a_patient_or_says_nothing_is_refused(run: Run, house: House, twice: str, why: str) -> None:
    ended = run("discard", twice, "--why", why)
    assert ended.exit_code == 2
    assert "2397" not in ended.output
    assert journal(house, twice) == []
    assert len(house.exchange.dead_letters()) == 1


def test_who_decides_is_the_user_of_the_system_unless_said_and_stands_beside_it_if_so(
    run: Run, house: House, twice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "driften")
    run("replay", twice)
    house.deliver()
    run("replay", twice, "--by", "Jour")
    (_, first, mine), (_, second, theirs) = journal(house, twice)
    assert (first, second) == ("operator driften", "operator Jour")
    assert mine["os_user"] == theirs["os_user"] == "driften"


def test_the_real_process_ends_with_the_same_status(house: House, there: Running, twice: str) -> None:
    settings = environment(SLUSS_DATABASE_URL=house.store.url, SLUSS_FHIR_SERVER_URL=there.url)
    command = [sys.executable, "-m", "service.cli", "exchange", "dead", "--json"]
    ended = subprocess.run(command, env=settings, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr
    assert [letter["referral"] for letter in json.loads(ended.stdout)] == [twice]


# ------------------------------------------------------------ subscribe


def test_the_server_is_asked_once_to_say_what_changes_however_often_it_is_said(run: Run, there: Running) -> None:
    settings = {"SLUSS_WAKE_TOKEN": SECRET, "SLUSS_PUBLIC_URL": "https://remiss.example"}
    first = run("subscribe", "--json", **settings)
    assert first.exit_code == 0, first.output
    assert sorted(one["criteria"].partition("?")[0] for one in told(first)) == [
        "Communication",
        "ServiceRequest",
        "Task",
    ]
    assert told(run("subscribe", "--json")) == told(first)
    assert [one["meta"]["versionId"] for one in there.memory.of_type("Subscription")] == ["1"] * 3
    channel = there.memory.of_type("Subscription")[0]["channel"]
    assert channel["endpoint"] == "https://remiss.example/exchange/wake"
    assert channel["header"] == [f"Authorization: Bearer {SECRET}"]
    assert "payload" not in channel, "nothing of a patient goes where nobody reads it"
    assert SECRET not in first.output
    ended = run("subscribe", "--remove")
    assert (ended.exit_code, ended.stdout) == (0, "No Subscriptions left.\n")
    assert there.memory.of_type("Subscription") == []
    assert run("subscribe", "--remove").exit_code == 0


def test_what_is_missing_for_it_is_named(run: Run) -> None:
    ended = run("subscribe")
    assert ended.exit_code == 1
    for name in ("SLUSS_WAKE_TOKEN", "SLUSS_PUBLIC_URL"):
        assert name in ended.output
    assert "SLUSS_FHIR_SERVER_URL" in run("subscribe", "--remove", SLUSS_FHIR_SERVER_URL="").output


def test_a_server_that_has_no_subscriptions_says_so(run: Run, way: Way) -> None:
    way.always = Trouble(403)
    ended = run("subscribe", SLUSS_WAKE_TOKEN=SECRET, SLUSS_PUBLIC_URL="https://remiss.example")
    assert ended.exit_code == 1
    assert "the external server did not do it: access (403)" in ended.output


# ------------------------------------------------------------ reconcile


def test_both_sides_are_compared_and_what_is_gone_there_is_delivered_again(run: Run, house: House) -> None:
    house.receive()
    assert house.deliver().state is State.DELIVERED
    ended = run("reconcile", "--json")
    assert ended.exit_code == 0, ended.output
    assert (told(ended)["compared"], told(ended)["gone"], told(ended)["orphans"]) == (4, 0, [])
    (message,) = house.shown("Communication")
    house.memory.delete("Communication", message["id"])
    assert told(run("reconcile", "--json"))["gone"] == 1
    assert house.deliver().state is State.DELIVERED
    assert len(house.shown("Communication")) == 1
    assert "copies compared" in run("reconcile").stdout


def test_what_was_gone_there_when_it_was_looked_for_is_put_back_by_a_reconciliation_and_a_replay(
    run: Run, house: House, way: Way
) -> None:
    house.receive()
    assert house.deliver().state is State.DELIVERED
    house.change("Communication", "c-1", priority="urgent")
    way.coming = [Trouble(502)]
    assert house.deliver().state is State.WAITING
    (message,) = house.shown("Communication")
    house.memory.delete("Communication", message["id"])
    house.exchange.bring_forward(["server-error"], now(), timedelta(0))
    assert house.deliver() == DeliveryResult(State.DEAD, "missing")
    assert told(run("reconcile", "--json"))["gone"] == 1
    assert run("replay", "r-1").exit_code == 0
    assert house.deliver().state is State.DELIVERED
    assert [one["priority"] for one in house.shown("Communication")] == ["urgent"]


def test_a_copy_of_nothing_here_needs_a_person(run: Run, house: House) -> None:
    key = {"system": CANONICAL.resource_key, "value": "Task/nothing-here"}
    house.memory.create({"resourceType": "Task", "status": "requested", "intent": "order", "identifier": [key]})
    ended = run("reconcile")
    assert ended.exit_code == 3
    assert "a copy of nothing here: Task/nothing-here" in ended.stdout


def test_one_that_the_server_interrupts_says_so_and_is_taken_up_again(run: Run, house: House, way: Way) -> None:
    house.receive()
    assert house.deliver().state is State.DELIVERED
    way.always = Trouble(503)
    ended = run("reconcile")
    assert ended.exit_code == 1
    assert "not finished (busy)" in ended.output
    way.always = None
    assert run("reconcile").exit_code == 0


def test_without_an_external_server_there_is_nothing_to_compare(run: Run) -> None:
    ended = run("reconcile", SLUSS_FHIR_SERVER_URL="")
    assert ended.exit_code == 1
    assert "SLUSS_FHIR_SERVER_URL" in ended.output
