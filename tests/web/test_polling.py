"""The two queries of contract 8, exactly as they are written there. While many write: tests/faults/test_polling.py."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import psycopg
import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.store.database import Store
from tests.web.caller import UNIT, Sluss, bundle, content, single

LONG_AGO = "2000-01-01T00:00:00Z"
HSA = "urn:oid:1.2.752.29.4.19"


def _worklist(team: str, role: str) -> str:
    return (
        f"/fhir/Task?owner=HealthcareService/{team},PractitionerRole/{role}"
        "&status=requested,received,accepted,in-progress,on-hold&_sort=-_lastUpdated&_include=Task:focus&_include=Task:patient"
    )


def _poll(seen: str, count: int = 200, unit: str = UNIT) -> str:
    return (
        f"/fhir/Communication?recipient:identifier={HSA}|{unit}&status=completed&_lastUpdated=gt{seen}"
        f"&_sort=_lastUpdated&_count={count}"
    )


def _matches(bundle: Json) -> list[Json]:
    return [e["resource"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]


def _stamp(resource: Json) -> str:
    return str(resource["meta"]["lastUpdated"])


def _follow(sluss: Sluss, done: Callable[[], bool], count: int, shorten: int = 0) -> list[str]:
    """The ids that a poller gets who goes on from the last stamp it saw, until `done` and nothing more comes."""
    got: list[str] = []
    seen = LONG_AGO
    while True:
        finished = done()
        found = _matches(content(sluss.get(_poll(seen, count))))
        stamps = [_stamp(r) for r in found]
        assert stamps == sorted(stamps)
        fresh = [r for r in found if r["id"] not in got] if shorten else found
        got += [r["id"] for r in fresh]
        if stamps:
            seen = stamps[-1][: -1 - shorten] + "Z"
        if finished and not fresh:
            return got
        time.sleep(0.002)


def _everything(sluss: Sluss) -> list[str]:
    return [r["id"] for r in _matches(content(sluss.get(_poll(LONG_AGO, 1000))))]


def test_the_therapists_work_list_has_the_teams_open_tasks_newest_first_with_what_they_are_about(sluss: Sluss) -> None:
    told = [sluss.refer(f"R-{number}") for number in range(3)]
    withdrawn = told[1]["order"]
    sluss.put(f"/fhir/ServiceRequest/{withdrawn['id']}", {**withdrawn, "status": "revoked"})
    role = sluss.search("PractitionerRole")[0]["id"]
    answer = content(sluss.get(_worklist("gavle", role)))
    assert validate(answer) == []
    assert [t["id"] for t in _matches(answer)] == [told[2]["task"]["id"], told[0]["task"]["id"]]
    included = {
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in answer["entry"]
        if e["search"]["mode"] == "include"
    }
    for referral in (told[0], told[2]):
        assert f"ServiceRequest/{referral['order']['id']}" in included
        assert referral["task"]["for"]["reference"] in included
    assert _matches(content(sluss.get(_worklist("norra-halsingland", role)))) == []


def test_a_task_that_is_claimed_stays_on_its_therapists_work_list(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    team = sluss.read("HealthcareService/gavle")
    roles = [
        r for r in sluss.search("PractitionerRole?_count=100")
        if any(s.get("reference") == f"HealthcareService/{team['id']}" for s in r.get("healthcareService", ()))
    ]  # fmt: skip
    role = roles[0]["id"]
    claimed = {**task, "status": "received", "owner": {"reference": f"PractitionerRole/{role}"}}
    assert sluss.acting("therapist gavle").put(f"/fhir/Task/{task['id']}", claimed).status_code == 200
    assert [t["id"] for t in _matches(content(sluss.get(_worklist("gavle", role))))] == [task["id"]]
    assert _matches(content(sluss.get(_worklist("norra-halsingland", role)))) != []
    assert _matches(content(sluss.get(_worklist("gavle", "another")))) == []


def test_a_platform_gets_the_messages_to_its_unit_and_no_others(sluss: Sluss) -> None:
    sluss.refer("R-1")
    other = {"type": "Organization", "identifier": {"system": HSA, "value": "SE2321000198-EX02"}}
    assert sluss.post("/fhir/ServiceRequest", single("R-2", requester=other)).status_code == 201
    found = content(sluss.get(_poll(LONG_AGO)))
    assert validate(found) == []
    recipients = {r["recipient"][0]["identifier"]["value"] for r in _matches(found)}
    assert recipients == {UNIT}
    last = _stamp(_matches(found)[-1])
    assert _matches(content(sluss.get(_poll(last)))) == []
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = {
        "recipient:identifier": f"{HSA}|{UNIT}",
        "status": "completed",
        "_lastUpdated": f"gt{LONG_AGO}",
        "_sort": "_lastUpdated",
        "_count": "200",
    }
    posted = content(sluss.post("/fhir/Communication/_search", urlencode(asked), form))
    assert _matches(posted) == _matches(found)


def test_stamps_have_microseconds_and_are_taken_as_exact_instants(sluss: Sluss) -> None:
    for number in range(3):
        sluss.refer(f"R-{number}")
    found = _matches(content(sluss.get(_poll(LONG_AGO))))
    stamps = [_stamp(r) for r in found]
    assert all(len(stamp) == len("2026-11-23T09:00:00.123456Z") for stamp in stamps)
    for position, stamp in enumerate(stamps):
        newer = [r["id"] for r in _matches(content(sluss.get(_poll(stamp))))]
        assert newer == [r["id"] for r in found[position + 1 :] if _stamp(r) > stamp]


def test_a_client_that_cuts_off_microseconds_sees_some_again_and_skips_none(sluss: Sluss) -> None:
    for number in range(5):
        sluss.refer(f"R-{number}")
    everything = _everything(sluss)
    assert _follow(sluss, lambda: True, count=2, shorten=3) == everything


def test_a_page_never_ends_between_two_equal_stamps(sluss: Sluss) -> None:
    # an alert is told twice in one transaction, and so at one instant
    for number in range(3):
        sent_twice = sluss.post("/fhir", _with_alert(f"R-{number}"))
        assert sent_twice.headers["Sluss-Alert"] == "suicide-risk"
    stamps = [_stamp(r) for r in _matches(content(sluss.get(_poll(LONG_AGO))))]
    assert len(set(stamps)) < len(stamps)
    path, pages = _poll(LONG_AGO, count=1), []
    while path:
        page = content(sluss.get(path))
        pages.append([_stamp(r) for r in _matches(page)])
        path = next((x["url"].removeprefix("http://localhost") for x in page["link"] if x["relation"] == "next"), "")
    ends = [page[-1] for page in pages if page]
    assert len(ends) == len(set(ends))
    assert [stamp for page in pages for stamp in page] == stamps


def _with_alert(number: str) -> Json:
    sent = bundle(number)
    for entry in sent["entry"]:
        for item in entry["resource"].get("item", ()):
            if item["linkId"] == "item-9":
                item["answer"][0]["valueInteger"] = 6
    return sent


def test_a_slow_transaction_holds_what_is_newer_back_and_nothing_is_missed(sluss: Sluss, store: Store) -> None:
    sluss.refer("R-0")
    first = _everything(sluss)
    with psycopg.connect(store.url, application_name="sluss-write") as slow:
        slow.execute("SELECT 1")
        sluss.refer("R-1")
        assert _everything(sluss) == first
        assert len(sluss.search("Task")) == 2, "only polls wait"
    assert len(_everything(sluss)) > len(first)


@pytest.mark.parametrize("sort", ["_lastUpdated", "-_lastUpdated"])
def test_pages_stay_stable_while_others_write(sluss: Sluss, another: Callable[..., Sluss], sort: str) -> None:
    before = {sluss.refer(f"R-{number}")["order"]["id"] for number in range(8)}
    stop = threading.Event()

    def keep_writing() -> None:
        other, number = another(), 0
        while not stop.is_set():
            other.refer(f"N-{number}")
            number += 1

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(keep_writing)
        path, seen = f"/fhir/ServiceRequest?_sort={sort}&_count=2", []
        for _ in range(40):
            page = content(sluss.get(path))
            seen += [r["id"] for r in _matches(page)]
            path = next(
                (x["url"].removeprefix("http://localhost") for x in page["link"] if x["relation"] == "next"), ""
            )
            if not path or before <= set(seen):
                break
        stop.set()
        writing.result()
    assert before <= set(seen)
    assert len(seen) == len(set(seen))
