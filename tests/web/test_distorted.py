"""Real requests, distorted: never an internal error, and a referral is taken in whole or not at all (contract 2)."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fhir_mappings.records import Json
from tests.web.caller import UNIT, Sluss, content, plain, single
from tests.web.cases import Case, cases

Rows = Callable[[], dict[str, int]]
Path = tuple[str | int, ...]

ALLOWED = {200, 201, 400, 403, 404, 409, 412, 413, 422}
ONE_REFERRAL = {
    "referral": 1,
    "ServiceRequest": 1,
    "Task": 1,
    "Communication": 1,
    "journal": 1,
    "procrastinate_jobs": 1,
}
"""At least so many rows more, each, when a referral has been taken in."""

ODD: list[Any] = [
    None, True, False, 0, -1, 7, 10**30, 1.5, "", " ", "x", "\u00e5\u00e4\u00f6", "2026-02-30", "9999-12-31T23:59:60Z",
    "0001-01-01", "urn:uuid:x", "Patient/1", "#p", "#", "http://example.org/|x", "x" * 5000, "<b>x</b>", "%00",
    [], {}, [None], [[]], {"resourceType": "Patient"}, {"reference": "#p"}, {"extension": [{"url": "x"}]},
    {"coding": [{}]}, {"value": "x"}, ["a", "a"],
]  # fmt: skip


def _places(node: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(node, dict):
        for name in node:
            yield from _places(node[name], (*path, name))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _places(value, (*path, position))


def _at(node: Any, path: Path) -> Any:
    for step in path:
        node = node[step]
    return node


def _distort(draw: Callable[[Any], Any], sent: Json) -> Json:
    """One to four changes: an element deleted, replaced, doubled, of another type, or moved."""
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(sent))
        if not places:
            break
        path = draw(st.sampled_from(places))
        above, last = _at(sent, path[:-1]), path[-1]
        value = above[last]
        match draw(st.sampled_from(["delete", "replace", "double", "retype", "move", "rename"])):
            case "delete":
                del above[last]
            case "replace":
                above[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "double":
                above[last] = [copy.deepcopy(value), copy.deepcopy(value)]
            case "retype":
                above[last] = value[0] if isinstance(value, list) and value else [value] if value else str(value)
            case "move":
                other = draw(st.sampled_from(places))
                moved = copy.deepcopy(value)
                target, name = _at(sent, other[:-1]), other[-1]
                target[name] = moved
            case "rename":
                if isinstance(above, dict):
                    above[draw(st.sampled_from(["_" + str(last), str(last) + "x", "extension", "id"]))] = above.pop(
                        last
                    )
    return sent


def _count(sluss: Sluss, rows: Rows) -> dict[str, int]:
    counted = {name: number for name, number in rows().items() if name in ONE_REFERRAL}
    for type_ in ("ServiceRequest", "Task", "Communication"):
        counted[type_] = content(sluss.get(f"/fhir/{type_}?_count=0"))["total"]
    return counted


def _is_whole_or_nothing(before: dict[str, int], after: dict[str, int], status: int) -> None:
    more = {name: after[name] - before[name] for name in after}
    if status >= 300 or more["referral"] == 0:
        assert set(more.values()) == {0}, (status, more)
        return
    assert (more["referral"], more["ServiceRequest"]) == (1, 1), more
    assert all(more[name] >= least for name, least in ONE_REFERRAL.items()), more


HARD = settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _readable(way: str) -> list[Case]:
    return [case for case in cases(way) if case.expected["status"] < 300]


@pytest.mark.parametrize("way", ["bundle", "single", "plain"])
def test_a_distorted_referral_is_taken_in_whole_or_not_at_all(sluss: Sluss, rows: Rows, way: str) -> None:
    known = _readable(way)
    assert known

    @HARD
    @given(st.data())
    def never_half(data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(known))
        sent = _distort(data.draw, case.content)
        before = _count(sluss, rows)
        media = "application/json" if way == "plain" else "application/fhir+json"
        answer = sluss.post(case.path, sent, {"Content-Type": media})
        assert answer.status_code in ALLOWED, answer.text
        _is_whole_or_nothing(before, _count(sluss, rows), answer.status_code)

    never_half()


def test_a_distorted_dry_run_stores_nothing(sluss: Sluss, rows: Rows) -> None:
    known = _readable("bundle")
    before = rows()

    @HARD
    @given(st.data())
    def never_stored(data: st.DataObject) -> None:
        sent = _distort(data.draw, data.draw(st.sampled_from(known)).content)
        if data.draw(st.booleans()):
            sent = {"resourceType": "Parameters", "parameter": [{"name": "referral", "resource": sent}]}
        answer = sluss.post("/fhir/ServiceRequest/$assess", sent)
        assert answer.status_code in ALLOWED, answer.text

    never_stored()
    assert rows() == before


def _task(sluss: Sluss) -> tuple[str, Json, str]:
    task = sluss.refer()["task"]
    return f"Task/{task['id']}", {**task, "status": "received"}, "therapist gavle"


def _order(sluss: Sluss) -> tuple[str, Json, str]:
    order = sluss.refer()["order"]
    return f"ServiceRequest/{order['id']}", order, f"referrer {UNIT}"


def _response(sluss: Sluss) -> tuple[str, Json, str]:
    sluss.refer()
    (*_, response) = sluss.search("QuestionnaireResponse")
    return f"QuestionnaireResponse/{response['id']}", response, f"referrer {UNIT}"


@pytest.mark.parametrize("begin", [_task, _order, _response])
def test_a_distorted_update_never_brings_the_server_down(
    sluss: Sluss, rows: Rows, begin: Callable[[Sluss], tuple[str, Json, str]]
) -> None:
    reference, good, caller = begin(sluss)

    @HARD
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        current = sluss.read(reference)
        before = rows()
        sent = _distort(data.draw, copy.deepcopy(good))
        answer = sluss.acting(caller).put(f"/fhir/{reference}", sent)
        assert answer.status_code in ALLOWED, answer.text
        if answer.status_code >= 300:
            assert rows() == before
            assert sluss.read(reference) == current

    survives()


@pytest.mark.parametrize("caller", ["therapist gavle", f"referrer {UNIT}"])
def test_a_distorted_message_is_stored_whole_or_not_at_all(sluss: Sluss, rows: Rows, caller: str) -> None:
    told = sluss.refer()
    system = "https://sluss.example/fhir/CodeSystem/ikbt-message"
    good: Json = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": system, "code": "information"}]}],
        "basedOn": [{"reference": f"ServiceRequest/{told['order']['id']}"}],
        "partOf": [{"reference": f"Task/{told['task']['id']}"}],
        "recipient": [{"reference": "HealthcareService/gavle"}],
        "sent": "2026-11-23T09:00:00+01:00",
        "payload": [{"contentString": "Patienten har flyttat."}],
    }

    @HARD
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        before = rows()
        answer = sluss.acting(caller).post("/fhir/Communication", _distort(data.draw, copy.deepcopy(good)))
        assert answer.status_code in ALLOWED, answer.text
        if answer.status_code >= 300:
            assert rows() == before
        else:
            stored = content(answer)
            assert sluss.read(f"Communication/{stored['id']}") == stored

    survives()


def test_what_the_distortions_start_from_is_taken_as_it_is(sluss: Sluss) -> None:
    """Else the tests above would distort what is refused anyhow."""
    assert sluss.post("/fhir/ServiceRequest", single()).status_code == 201
    taken = sluss.post("/intake/referrals", plain(), {"Content-Type": "application/json"})
    assert taken.status_code == 201
