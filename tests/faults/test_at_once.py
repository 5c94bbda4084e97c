"""Many at the same moment, over two web processes."""

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier

import psycopg
import pytest

from fhir_mappings.records import Json
from tests.faults.conftest import MakeSluss, Tell
from tests.faults.load import Known, Load, order_of, session
from tests.faults.outside import StandIn
from tests.faults.processes import Sluss
from tests.faults.tally import settled
from tests.web.caller import UNIT, bundle, plain, single

TODAY = date.today()  # noqa: DTZ011 - the callers' own


def _sent(way: str, number: int) -> tuple[str, Json]:
    """Path and body of a referral, the same for every number except in the last way."""
    day = TODAY.isoformat()
    match way:
        case "bundle":
            return "/fhir", bundle("R-1", _dated(day))
        case "single":
            return "/fhir/ServiceRequest", single("R-1", authoredOn=day)
        case "plain":
            rated = {"date": (TODAY - timedelta(days=2)).isoformat(), "items": [2, 3, 3, 1, 3, 3, 2, 3, 1]}
            return "/intake/referrals", plain(received=day, madrs_s=rated)
    return "/fhir", bundle(f"R-{number % 5}", _dated(day))


@pytest.mark.parametrize("way", ["bundle", "single", "plain", "five numbers"])
def test_fifty_identical_requests_at_once_make_one_referral_one_task_and_one_copy(
    way: str, database: str, outside: StandIn, make_sluss: MakeSluss, tell: Tell
) -> None:
    sluss = make_sluss(database, outside.url, webs=2)
    start = Barrier(50)

    def send(number: int) -> tuple[int, str]:
        path, sent = _sent(way, number)
        kind = "application/json" if way == "plain" else "application/fhir+json"
        start.wait()
        answer = session().post(
            f"{sluss.urls[number % 2]}{path}", json.dumps(sent), headers={"Content-Type": kind}, timeout=30
        )
        told = answer.json()
        match way:
            case "plain":
                return answer.status_code, told["service_request"]
            case "single":
                return answer.status_code, f"ServiceRequest/{told['id']}"
        return answer.status_code, order_of(told)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    many = 5 if way == "five numbers" else 1
    places = sorted({place for _, place in answers})
    known = {place: Known(place, place) for place in places}
    tally = settled(known, database, outside.shown)
    statuses = Counter(status for status, _ in answers)
    tell(f"{tally}; 50 sent, answered {dict(statuses)}")
    assert set(statuses) <= {200, 201}
    if way in ("single", "plain"):
        assert statuses == {201: 1, 200: 49}
    assert tally.is_whole(many), (tally.amiss, sluss.logs())
    shown = Counter(one["resourceType"] for one in outside.shown())
    assert (shown["ServiceRequest"], shown["Task"], shown["Communication"], shown["Patient"]) == (many, many, many, 1)
    with psycopg.connect(database) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM referral), (SELECT count(*) FROM resource WHERE type = 'Task')"
        ).fetchone()
    assert counted == (many, many)


def test_of_who_accepts_and_who_withdraws_at_the_same_moment_one_is_first_and_all_are_told_the_same(
    database: str, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    sluss = make_sluss(database, outside.url, webs=2)
    load = Load(sluss.urls, chance.random())
    with ThreadPoolExecutor(4) as pool:
        first = Counter(pool.map(lambda number: _contest(sluss, load, 2 * number), range(200)))
    tally = settled(load.known, database, outside.shown)
    tell(f"{tally}; first was {dict(first)}")
    assert sum(first.values()) == 200
    assert min(first["the therapist"], first["the referrer"]) > 0, "they met"
    assert tally.is_whole(200), (tally.amiss, sluss.logs())
    there = [one for one in outside.shown() if one["resourceType"] == "Task" and "partOf" not in one]
    assert {one["status"] for one in there} == {"cancelled"}


def _contest(sluss: Sluss, load: Load, number: int) -> str:
    """One referral of UNIT (those with even numbers are), accepted and withdrawn at once; who was first. Fails when
    anybody was told what is not so.
    """
    chance = random.Random(number)  # noqa: S311 - a test's choice
    one = load.refer(number)
    order = load.ask("GET", f"/fhir/{one.order}", None, chance)
    (task,) = (entry["resource"] for entry in load.ask("GET", f"/fhir/Task?focus={one.order}", None, chance)["entry"])
    start = Barrier(2)

    def put(url: str, caller: str, resource: Json, **headers: str) -> int:
        start.wait()
        path = f"{url}/fhir/{resource['resourceType']}/{resource['id']}"
        sent = {"Content-Type": "application/fhir+json", "Sluss-Caller": caller, **headers}
        return session().put(path, json.dumps(resource), headers=sent, timeout=30).status_code

    with ThreadPoolExecutor(2) as pool:
        team, read = task["owner"]["reference"].partition("/")[2], {"If-Match": 'W/"1"'}
        accepting = pool.submit(put, sluss.urls[0], f"therapist {team}", {**task, "status": "accepted"}, **read)
        withdrawing = pool.submit(put, sluss.urls[1], f"referrer {UNIT}", {**order, "status": "revoked"})
        accepted, withdrawn = accepting.result(), withdrawing.result()
    assert withdrawn == 200, "what has not started can be withdrawn, accepted or not"
    history = load.ask("GET", f"/fhir/Task/{task['id']}/_history", None, chance)
    statuses = [entry["resource"]["status"] for entry in history["entry"]]
    plans = load.ask("GET", f"/fhir/CarePlan?subject={task['for']['reference']}&_count=200", None, chance)
    said = load.ask("GET", f"/fhir/Communication?based-on={one.order}&_count=200", None, chance)["entry"]
    categories = Counter(entry["resource"]["category"][0]["coding"][0]["code"] for entry in said)
    assert categories == {"acknowledgement": 1, "withdrawal-confirmed": 1}
    assert load.ask("GET", f"/fhir/{one.order}", None, chance)["status"] == "revoked"
    planned = [entry["resource"]["status"] for entry in plans.get("entry", ()) if _is_of(entry["resource"], one.order)]
    if accepted == 200:
        assert statuses == ["cancelled", "accepted", "requested"]
        assert planned == ["revoked"]
        return "the therapist"
    assert accepted in (409, 412, 422)
    assert statuses == ["cancelled", "requested"]
    assert planned == []
    return "the referrer"


def _is_of(plan: Json, order: str) -> bool:
    return order in json.dumps(plan)


def _dated(day: str) -> Callable[[Json], None]:
    def change(order: Json) -> None:
        order["authoredOn"] = day

    return change
