"""Many at the same moment, over two applications on one database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.web.caller import UNIT, Sluss, bundle, content, plain, single

Rows = Callable[[], dict[str, int]]


@pytest.mark.parametrize("way", ["bundle", "single", "plain", "mixed numbers"])
def test_fifty_identical_requests_at_once_make_one_referral(
    sluss: Sluss, another: Callable[..., Sluss], rows: Rows, way: str
) -> None:
    apps = [sluss, another()]
    start = Barrier(50)

    def send(number: int) -> tuple[int, str]:
        start.wait()
        app = apps[number % 2]
        if way == "plain":
            answer = app.post("/intake/referrals", plain(), {"Content-Type": "application/json"})
            return answer.status_code, content(answer)["service_request"]
        if way == "single":
            answer = app.post("/fhir/ServiceRequest", single())
            return answer.status_code, f"ServiceRequest/{content(answer)['id']}"
        answer = app.post("/fhir", bundle("R-1" if way == "bundle" else f"R-{number % 5}"))
        (place,) = [e["response"]["location"] for e in content(answer)["entry"] if "outcome" in e["response"]]
        return answer.status_code, place.split("/_history")[0]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    many = 5 if way == "mixed numbers" else 1
    assert {status for status, _ in answers} <= {200, 201}
    assert len({place for _, place in answers}) == many
    assert rows()["referral"] == many
    assert len(sluss.search("ServiceRequest")) == many
    assert len(sluss.search("Task?code=fulfill")) == many
    assert len(sluss.search("Communication?_count=200")) == many
    assert len(sluss.search("Patient")) == 1
    if way in ("single", "plain"):
        assert sorted(status for status, _ in answers) == [200] * 49 + [201]


def test_who_accepts_and_who_withdraws_at_the_same_moment_agree_on_who_was_first(
    sluss: Sluss, another: Callable[..., Sluss]
) -> None:
    therapist, referrer = sluss.acting("therapist gavle"), another().acting(f"referrer {UNIT}")
    won = {"accepted": 0, "cancelled": 0}
    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            told = sluss.refer(f"R-{number}")
            task, order = told["task"], told["order"]
            start = Barrier(2)

            def accept(start: Barrier = start, task: dict[str, object] = task) -> int:
                start.wait()
                sent = {**task, "status": "accepted"}
                return therapist.put(f"/fhir/Task/{task['id']}", sent, {"If-Match": 'W/"1"'}).status_code

            def withdraw(start: Barrier = start, order: dict[str, object] = order) -> int:
                start.wait()
                sent = {**order, "status": "revoked"}
                return referrer.put(f"/fhir/ServiceRequest/{order['id']}", sent).status_code

            accepting, withdrawing = pool.submit(accept), pool.submit(withdraw)
            assert withdrawing.result() == 200
            statuses = [h["resource"]["status"] for h in _history(sluss, f"Task/{task['id']}")]
            # not started yet, so a withdrawal always ends in cancelled; what differs is whether it was accepted first
            assert statuses[0] == "cancelled"
            if accepting.result() == 200:
                won["accepted"] += 1
                assert statuses == ["cancelled", "accepted", "requested"]
            else:
                assert accepting.result() in (412, 422)
                won["cancelled"] += 1
                assert statuses == ["cancelled", "requested"]
            assert sluss.read(f"ServiceRequest/{order['id']}")["status"] == "revoked"
            plans = sluss.search(f"CarePlan?subject={task['for']['reference']}&_count=200")
            assert all(plan["status"] == "revoked" for plan in plans)
            confirmed = sluss.search(
                f"Communication?based-on=ServiceRequest/{order['id']}&category=withdrawal-confirmed"
            )
            assert len(confirmed) == 1
    assert sum(won.values()) == 50


def _history(sluss: Sluss, reference: str) -> list[dict[str, dict[str, str]]]:
    entries: list[dict[str, dict[str, str]]] = content(sluss.get(f"/fhir/{reference}/_history"))["entry"]
    return entries


def test_two_changes_of_the_same_version_at_once_are_one_change_and_one_412(
    sluss: Sluss, another: Callable[..., Sluss]
) -> None:
    apps = [sluss.acting("therapist gavle"), another().acting("therapist gavle")]
    with ThreadPoolExecutor(2) as pool:
        for number in range(10):
            task = sluss.refer(f"R-{number}")["task"]
            start = Barrier(2)

            def move(app: Sluss, start: Barrier = start, task: dict[str, object] = task) -> int:
                start.wait()
                sent = {**task, "status": "received"}
                return app.put(f"/fhir/Task/{task['id']}", sent, {"If-Match": 'W/"1"'}).status_code

            assert sorted(pool.map(move, apps)) == [200, 412]
