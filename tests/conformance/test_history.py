"""Histories of a resource and of a type: newest first, in pages. https://hl7.org/fhir/R4/http.html#history"""

from datetime import datetime, timedelta

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.conformance.client import GAVLE, Client, Referral, content, outcome, refer


@pytest.fixture
def moved(fhir: Client, referral: Referral) -> Referral:
    """Its Task has four versions."""
    therapist = fhir.acting(GAVLE)
    for text in ("a", "b", "c"):
        task = therapist.read(referral.task_place)
        noted = {**task, "note": [*task.get("note", []), {"text": text}]}
        assert therapist.put(referral.task_place, noted).status_code == 200
    return referral


def _versions(bundle: Json) -> list[str]:
    return [f"{e['resource']['id']}/{e['resource']['meta']['versionId']}" for e in bundle.get("entry", [])]


def test_the_history_of_a_resource_has_every_version_newest_first(fhir: Client, moved: Referral) -> None:
    history = content(fhir.get(f"{moved.task_place}/_history"))
    assert validate(history) == []
    assert (history["type"], history["total"]) == ("history", 4)
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["4", "3", "2", "1"]
    stamps = [e["resource"]["meta"]["lastUpdated"] for e in history["entry"]]
    assert stamps == sorted(stamps, reverse=True)


def test_each_entry_says_how_the_version_came_to_be(fhir: Client, moved: Referral) -> None:
    *later, first = content(fhir.get(f"{moved.task_place}/_history"))["entry"]
    assert first["request"] == {"method": "POST", "url": "Task"}
    assert first["response"]["status"] == "201 Created"
    for told in later:
        assert told["request"] == {"method": "PUT", "url": moved.task_place}
        assert told["response"]["etag"] == f'W/"{told["resource"]["meta"]["versionId"]}"'
        assert told["fullUrl"] == f"{fhir.base}/{moved.task_place}"


def test_the_history_of_a_type_has_those_of_all_its_resources(fhir: Client, moved: Referral) -> None:
    other = refer(fhir)
    history = content(fhir.get("Task/_history?_count=1000"))
    assert validate(history) == []
    assert {f"{moved.task['id']}/{v}" for v in (1, 2, 3, 4)} | {f"{other.task['id']}/1"} <= set(_versions(history))
    assert {e["resource"]["resourceType"] for e in history["entry"]} == {"Task"}
    stamps = [e["resource"]["meta"]["lastUpdated"] for e in history["entry"]]
    assert stamps == sorted(stamps, reverse=True)


@pytest.mark.parametrize("path", ["{}/_history", "Task/_history"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_following_next_gives_every_version_once_though_others_write(
    fhir: Client, moved: Referral, path: str, count: int
) -> None:
    place = path.format(moved.task_place)
    wanted = _versions(content(fhir.get(f"{place}?_count=1000")))
    seen: list[str] = []
    url: str | None = f"{place}?_count={count}"
    while url:
        page = content(fhir.get(url))
        assert len(page["entry"]) <= count
        seen += _versions(page)
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links["next"].removeprefix(f"{fhir.base}/") if "next" in links else None
        if len(seen) == count:
            refer(fhir)
    # what was made just before may be told only when no older change is still open: then it comes on top
    assert [version for version in seen if version in set(wanted)] == wanted
    assert len(set(seen)) == len(seen)


def test_since_gives_what_was_made_then_or_later(fhir: Client, moved: Referral) -> None:
    second = fhir.read(f"{moved.task_place}/_history/2")["meta"]["lastUpdated"]
    history = content(fhir.get(f"{moved.task_place}/_history?_since={second}"))
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["4", "3", "2"]
    assert history["link"][0]["url"].endswith("_since=" + second.replace(":", "%3A"))
    mine = [v for v in _versions(content(fhir.get(f"Task/_history?_since={second}"))) if v.startswith(moved.task["id"])]
    assert [v.rpartition("/")[2] for v in mine] == ["4", "3", "2"]


def test_nothing_since_is_an_empty_history(fhir: Client, moved: Referral) -> None:
    history = content(fhir.get(f"{moved.task_place}/_history?_since=2100-01-01T00:00:00Z"))
    assert validate(history) == []
    assert history["total"] == 0
    assert "entry" not in history


def test_at_gives_the_version_that_was_current_then(fhir: Client, moved: Referral) -> None:
    third = datetime.fromisoformat(fhir.read(f"{moved.task_place}/_history/3")["meta"]["lastUpdated"])
    at = (third + timedelta(microseconds=1)).isoformat().replace("+", "%2B")
    history = content(fhir.get(f"{moved.task_place}/_history?_at={at}"))
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["3"]


@pytest.mark.parametrize("asked", ["_since=yesterday", "_at=2026-13", "_count=0", "_count=x", "_page=x"])
def test_a_value_that_cannot_be_read_is_400(fhir: Client, moved: Referral, asked: str) -> None:
    for path in (f"{moved.task_place}/_history", "Task/_history"):
        outcome(fhir.get(f"{path}?{asked}"), 400)


def test_an_empty_parameter_is_passed_over(fhir: Client, moved: Referral) -> None:
    place = f"{moved.task_place}/_history"
    assert content(fhir.get(f"{place}?_since=&_at=&_count=&_page=")) == content(fhir.get(place))


def test_an_unknown_parameter_is_passed_over_unless_strict(fhir: Client, moved: Referral) -> None:
    place = f"{moved.task_place}/_history?colour=blue"
    assert content(fhir.get(place))["link"][0]["url"] == f"{fhir.base}/{moved.task_place}/_history"
    outcome(fhir.get(place, {"Prefer": "handling=strict"}), 400)


def test_there_is_no_history_of_what_is_not_there(fhir: Client) -> None:
    outcome(fhir.get("Task/nobody/_history"), 404)
    outcome(fhir.get("Encounter/_history"), 404)
    outcome(fhir.get("_history"), 404)


def test_a_history_is_only_read(fhir: Client, moved: Referral) -> None:
    for method in ("POST", "PUT", "DELETE"):
        for path in (f"{moved.task_place}/_history", "Task/_history"):
            answer = fhir.call(method, path, moved.task)
            outcome(answer, 405)
            assert answer.headers["Allow"] == "GET, HEAD"
