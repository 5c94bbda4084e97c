"""Reading over HTTP: read, vread, history, HEAD, and the headers that tell versions (contract 2)."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from tests.web.caller import Sluss, content, issues


def test_a_resource_is_read_with_its_version_and_time_in_the_headers(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    answer = sluss.get(f"/fhir/Task/{task['id']}")
    assert answer.status_code == 200
    assert content(answer) == task
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["ETag"] == f'W/"{task["meta"]["versionId"]}"'
    assert parsedate_to_datetime(answer.headers["Last-Modified"]).isoformat()[:19] == task["meta"]["lastUpdated"][:19]
    assert validate(task) == []


def test_every_version_of_a_resource_stays_readable(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    place = f"/fhir/Task/{task['id']}"
    moved = sluss.acting("therapist gavle").put(place, {**task, "status": "received"})
    assert moved.status_code == 200, moved.text
    assert content(sluss.get(f"{place}/_history/1")) == task
    second = sluss.get(f"{place}/_history/2")
    assert content(second)["status"] == "received"
    assert second.headers["ETag"] == 'W/"2"'


def test_a_history_has_every_version_newest_first_and_is_valid_r4(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    place = f"/fhir/Task/{task['id']}"
    sluss.acting("therapist gavle").put(place, {**task, "status": "received"})
    answer = sluss.get(f"{place}/_history")
    history = content(answer)
    assert validate(history) == []
    assert (history["type"], history["total"]) == ("history", 2)
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["2", "1"]
    assert [e["request"]["method"] for e in history["entry"]] == ["PUT", "POST"]
    assert [e["response"]["status"] for e in history["entry"]] == ["200 OK", "201 Created"]
    assert all(e["fullUrl"] == f"http://localhost{place}" for e in history["entry"])


@pytest.mark.parametrize("path", ["Task/{}", "Task/{}/_history", "Task/{}/_history/1", "Task?_id={}", "metadata"])
def test_head_answers_as_get_without_the_body(sluss: Sluss, path: str) -> None:
    place = "/fhir/" + path.format(sluss.refer()["task"]["id"])
    got, head = sluss.get(place), sluss.call("HEAD", place, headers={"Prefer": "return=minimal"})
    assert head.status_code == 200
    assert head.data == b""
    for name in ("Content-Type", "Content-Length", "ETag", "Last-Modified"):
        assert head.headers.get(name) == got.headers.get(name)


@pytest.mark.parametrize("path", ["Task/{}/", "Task/{}/_history/", "Task/{}/_history/1/", "Task/", "metadata/"])
def test_a_trailing_slash_changes_nothing(sluss: Sluss, path: str) -> None:
    place = "/fhir/" + path.format(sluss.refer()["task"]["id"])
    assert sluss.get(place).text == sluss.get(place.rstrip("/")).text
    assert sluss.get(place).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "Task/nobody",
        "Task/nobody/_history",
        "Task/nobody/_history/1",
        "Task/{}/_history/2",
        "Task/{}/_history/0",
        "Task/{}/_history/99999999999999999999",
        "Task/{}/_history/first",
        "Task/%00",
        "Task/" + "x" * 200,
        "Task/å%20ä",
    ],
)
def test_what_does_not_exist_is_404(sluss: Sluss, path: str) -> None:
    answer = sluss.get("/fhir/" + path.format(sluss.refer()["task"]["id"]))
    assert answer.status_code == 404
    assert [issue["code"] for issue in issues(answer)] == ["not-found"]


@pytest.mark.parametrize("path", ["Task/a%2Fb", "Task/1/Communication", "Task/_nonsense", "_history", "$everything"])
def test_an_address_at_which_nothing_can_be_done_is_404_that_points_to_metadata(sluss: Sluss, path: str) -> None:
    answer = sluss.get(f"/fhir/{path}")
    assert answer.status_code == 404
    (issue,) = issues(answer)
    assert issue["code"] == "not-supported"
    assert "/fhir/metadata" in issue["diagnostics"]


@pytest.mark.parametrize("type_", ["Encounter", "Foo", "task", "Bundle", "Binary"])
@pytest.mark.parametrize("path", ["{}", "{}/1", "{}/1/_history", "{}/1/_history/1"])
def test_a_type_that_sluss_does_not_keep_is_404_that_points_to_metadata(sluss: Sluss, type_: str, path: str) -> None:
    answer = sluss.get("/fhir/" + path.format(type_))
    assert answer.status_code == 404
    (issue,) = issues(answer)
    assert issue["code"] == "not-supported"
    assert "/fhir/metadata" in issue["diagnostics"]


def test_a_resource_of_one_type_is_not_found_under_another(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    for type_ in SUPPORTED_TYPES - {"Task"}:
        assert sluss.get(f"/fhir/{type_}/{task['id']}").status_code == 404


def test_links_follow_the_address_that_was_called(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    answer = sluss.get(f"/fhir/Task?_id={task['id']}", base_url="http://127.0.0.1:8099")
    bundle = content(answer)
    assert bundle["link"][0]["url"] == f"http://127.0.0.1:8099/fhir/Task?_id={task['id']}"
    assert bundle["entry"][0]["fullUrl"] == f"http://127.0.0.1:8099/fhir/Task/{task['id']}"


@pytest.mark.parametrize("public", ["https://remiss.example", "https://remiss.example/fhir"])
def test_links_are_those_of_the_public_address_where_one_is_set(another: Callable[..., Sluss], public: str) -> None:
    from service.settings import Settings

    given = Settings.from_env({"SLUSS_PUBLIC_URL": public}).public_url
    sluss = another(public_url=given)
    task = sluss.refer()["task"]
    history = content(sluss.get(f"/fhir/Task/{task['id']}/_history"))
    found = content(sluss.get(f"/fhir/Task?_id={task['id']}"))
    statement = content(sluss.get("/fhir/metadata"))
    assert history["entry"][0]["fullUrl"] == f"https://remiss.example/fhir/Task/{task['id']}"
    assert found["link"][0]["url"].startswith("https://remiss.example/fhir/Task?")
    assert statement["implementation"]["url"] == "https://remiss.example/fhir"


def test_nothing_that_is_answered_is_kept_or_guessed_at_by_a_browser(sluss: Sluss) -> None:
    for path in ("/fhir/metadata", "/fhir/Task", "/fhir/Task/nobody", "/health/live", "/nowhere"):
        answer = sluss.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_request_keeps_the_id_that_the_client_gave_it(sluss: Sluss) -> None:
    assert sluss.get("/fhir/metadata", {"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"


@pytest.mark.parametrize("given", [None, "", "a b", "å", "x" * 65, "199002222397", "19900222-2397", "a\tb"])
def test_a_request_without_a_fit_id_gets_one_of_its_own(sluss: Sluss, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    ids = {sluss.get("/fhir/metadata", headers).headers["X-Request-Id"] for _ in range(2)}
    assert len(ids) == 2
    assert given not in ids
