"""Our Subscriptions on the external server: three, kept as they should be, and nobody else's touched."""

import pytest

from fhir_mappings.records import Json
from service.exchange.client import FhirClient, Reason, Transient
from service.exchange.stand_in import Running
from service.exchange.subscriptions import Registered, Subscriptions
from tests.exchange.conftest import CANONICAL
from tests.exchange.troubled import Trouble, Way

ENDPOINT = "https://remiss.example/exchange/wake"
SECRET = "a-secret-of-at-least-32-characters"


@pytest.fixture
def ours(there: Running) -> Subscriptions:
    return Subscriptions(FhirClient(there.url, 2), CANONICAL)


def registered(ours: Subscriptions, secret: str = SECRET) -> list[Registered]:
    outcome = ours.register(ENDPOINT, secret)
    assert isinstance(outcome, list), outcome
    return outcome


def of_task(there: Running) -> Json:
    (one,) = [one for one in there.memory.of_type("Subscription") if one["criteria"] == "Task?"]
    return one


def test_each_says_what_concerns_us(ours: Subscriptions, there: Running) -> None:
    criteria = [one.criteria for one in registered(ours)]
    assert criteria[:2] == ["Task?", "Communication?"]
    assert criteria[2].startswith("ServiceRequest?code=https://sluss.example/fhir/CodeSystem/ikbt-programme|stress,")
    assert all(one["channel"]["type"] == "rest-hook" for one in there.memory.of_type("Subscription"))


def test_a_new_secret_is_written_into_what_is_there(ours: Subscriptions, there: Running) -> None:
    before = registered(ours)
    after = registered(ours, f"another-{SECRET}")
    assert [one.id for one in after] == [one.id for one in before]
    assert of_task(there)["channel"]["header"] == [f"Authorization: Bearer another-{SECRET}"]


@pytest.mark.parametrize("status", ["error", "off"])
def test_one_that_has_gone_to_sleep_is_woken(ours: Subscriptions, there: Running, status: str) -> None:
    registered(ours)
    asleep = of_task(there)
    there.memory.update({**asleep, "status": status, "error": "could not connect"}, asleep["id"], None)
    assert {one.status for one in registered(ours)} == {"requested"}
    assert "error" not in of_task(there)


def test_one_that_the_server_has_made_active_is_left_alone(ours: Subscriptions, there: Running) -> None:
    registered(ours)
    there.memory.update({**of_task(there), "status": "active"}, of_task(there)["id"], None)
    assert "active" in [one.status for one in registered(ours)]
    assert of_task(there)["meta"]["versionId"] == "2"


def test_what_is_there_twice_is_taken_away(ours: Subscriptions, there: Running) -> None:
    registered(ours)
    kept = of_task(there)
    there.memory.create({name: value for name, value in kept.items() if name != "id"})
    assert len(registered(ours)) == 3
    assert of_task(there)["id"] == kept["id"]


def test_nobody_elses_is_touched(ours: Subscriptions, there: Running) -> None:
    _, theirs = there.memory.create(
        {
            "resourceType": "Subscription",
            "status": "active",
            "reason": "Somebody else's",
            "criteria": "Task?",
            "channel": {"type": "rest-hook", "endpoint": "https://other.example"},
        }
    )
    registered(ours)
    assert ours.remove() == []
    assert there.memory.of_type("Subscription") == [theirs]


def test_a_lost_answer_makes_no_second_ones(ours: Subscriptions, there: Running, way: Way) -> None:
    way.coming = [Trouble(502, after=True)]
    assert isinstance(ours.register(ENDPOINT, SECRET), Transient)
    assert len(registered(ours)) == 3
    assert len(there.memory.of_type("Subscription")) == 3


def test_what_the_server_does_not_take_away_is_told(ours: Subscriptions, there: Running, way: Way) -> None:
    one = registered(ours)[0]
    way.coming = [Trouble(403, only=f"DELETE /fhir/Subscription/{one.id}")]
    outcome = ours.remove()
    assert isinstance(outcome, Transient)
    assert outcome.reason is Reason.ACCESS
    assert len(there.memory.of_type("Subscription")) == 1
    assert ours.remove() == []
