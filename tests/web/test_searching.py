"""Search over HTTP: bad searches are told, odd ones harm nothing (contract 2)."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from service.app import create_app
from service.settings import Settings
from service.store import connections
from service.store.database import Store
from service.store.search_parameters import BY_TYPE
from tests.web.caller import Sluss, content, issues

NAMES = sorted({name for parameters in BY_TYPE.values() for name in parameters})
SPECIAL = [
    "_id",
    "_lastUpdated",
    "_sort",
    "_count",
    "_include",
    "_revinclude",
    "_include:iterate",
    "_page",
    "_summary",
    "_elements",
    "_total",
    "_format",
    "_pretty",
    "patient.name",
    "subject:Patient.identifier",
    "patient._id",
]


@pytest.mark.parametrize(
    "query",
    [
        "_lastUpdated=yesterday",
        "_lastUpdated=gt2026-13-01",
        "_lastUpdated=zz2026-11-23",
        "_count=-1",
        "_count=many",
        "_count=1.5",
        "_sort=owner",
        "_sort=-nonsense",
        "_total=some",
        "_summary=short",
        "_summary=text&_include=Task:focus",
        "_pretty=perhaps",
        "patient.organization.name=x",
        "_page=nonsense",
        "_page=WyIiLCAiIl0",
        "_id=%00",
        "status=|",
        "owner=a|b",
        "authored-on=x",
        "identifier:missing=perhaps",
        "_lastUpdated:missing=true",
        "owner:Encounter=1",
        "%00=1",
        "_id=" + ",".join(map(str, range(201))),
        "&".join(f"status=s{n}" for n in range(101)),
    ],
)
def test_a_search_that_means_nothing_is_400(sluss: Sluss, query: str) -> None:
    answer = sluss.get(f"/fhir/Task?{query}")
    assert answer.status_code == 400, answer.text
    assert issues(answer)


def test_every_problem_of_a_search_is_told_at_once(sluss: Sluss) -> None:
    answer = sluss.get("/fhir/Task?_count=x&_sort=x&owner:x=1", {"Prefer": "handling=strict"})
    assert len(issues(answer)) == 3


def test_a_count_of_zero_gives_the_number_only(sluss: Sluss) -> None:
    sluss.refer()
    for query in ("_count=0", "_summary=count"):
        answer = content(sluss.get(f"/fhir/Task?{query}"))
        assert answer["total"] == 1
        assert "entry" not in answer


def test_a_count_that_is_too_large_is_a_smaller_page_not_an_error(sluss: Sluss) -> None:
    assert sluss.get("/fhir/Task?_count=999999").status_code == 200


def test_parameters_without_a_value_are_passed_over(sluss: Sluss) -> None:
    sluss.refer()
    assert len(sluss.search("Task?status=&_id=&_sort=&_lastUpdated=")) == 1


def test_pages_follow_each_other_by_their_links_to_the_end(sluss: Sluss) -> None:
    for number in range(7):
        sluss.refer(f"R-{number}")
    for sort in ("_lastUpdated", "-_lastUpdated", "authored-on", "-authored-on"):
        path, seen = f"/fhir/Task?_sort={sort}&_count=2", []
        for _ in range(10):
            page = content(sluss.get(path))
            seen += [entry["resource"]["id"] for entry in page.get("entry", [])]
            links = {link["relation"]: link["url"] for link in page["link"]}
            if "next" not in links:
                break
            path = links["next"].removeprefix("http://localhost")
        assert len(seen) == len(set(seen)) == 7, sort


TEXTS = st.text(max_size=12) | st.sampled_from(
    ["2026", "gt9999-12-31", "lt0001-01-01", "ap0001-01-01", "ap9999-12-31T23:59:59Z",
     "eq9999-12-31T23:59:59.999999-14:00",
     "a|b", "|", "\\", "a\\,b", "Task/1", "urn:uuid:x", "http://", "true", "null", "$", "-1", "1e9", "ge2026-02-30",
     "2026-11-23T10:00:00+99:99", "2026-11-23T24:00:00Z", "%", "%00", "\x7f", "\ud7ff",
     "'; DROP TABLE resource", "{age}"]
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    type_=st.sampled_from(sorted(SUPPORTED_TYPES & BY_TYPE.keys())),
    asked=st.lists(
        st.tuples(
            st.sampled_from(NAMES + SPECIAL) | st.text(max_size=8),
            st.sampled_from(["", "", "", ":not", ":missing", ":exact", ":contains", ":identifier", ":Patient", ":x"]),
            TEXTS,
        ),
        max_size=4,
    ),
)
def test_no_search_ever_brings_the_server_down(sluss: Sluss, type_: str, asked: list[tuple[str, str, str]]) -> None:
    query = "&".join(f"{quote(name)}{modifier}={quote(value)}" for name, modifier, value in asked)
    answer = sluss.get(f"/fhir/{type_}?{query}")
    assert answer.status_code in (200, 400, 406), (query, answer.text)


def test_a_search_is_repeated_from_its_own_link(sluss: Sluss, another: Callable[..., Sluss]) -> None:
    sluss.refer()
    first = content(sluss.get("/fhir/Task?status=requested,received&owner=HealthcareService/gavle&unknown=1"))
    link = first["link"][0]["url"].removeprefix("http://localhost")
    assert "unknown" not in link
    again = content(another().get(link))
    assert again["entry"] == [e for e in first["entry"] if e["search"]["mode"] == "match"]


def test_a_search_by_post_answers_as_by_get_and_counts_what_is_in_the_address_too(sluss: Sluss) -> None:
    sluss.refer()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = content(sluss.get("/fhir/Task?status=requested&_count=5&_include=Task:focus"))
    posted = sluss.post("/fhir/Task/_search?_count=5", "status=requested&_include=Task%3Afocus", form)
    assert content(posted)["entry"] == asked["entry"]
    assert sluss.post("/fhir/Task/_search", "status=requested&_format=xml", form).status_code == 406
    assert sluss.post("/fhir/Task/_search", "status=requested&_format=json", form).status_code == 200
    html = {**form, "Accept": "text/html"}
    assert sluss.post("/fhir/Task/_search", "status=requested&_format=json", html).status_code == 200
    assert sluss.post("/fhir/Task/_search", "status=requested", html).status_code == 406


def test_a_summary_and_elements_show_a_part_and_say_so_on_every_page(sluss: Sluss) -> None:
    for number in range(3):
        sluss.refer(f"R-{number}")
    whole = sluss.search("Task?_sort=_id")
    for query, shown in {
        "_elements=status,for": {"resourceType", "id", "meta", "status", "intent", "for"},
        "_summary=text": {"resourceType", "id", "meta", "status", "intent"},
    }.items():
        path, parts = f"/fhir/Task?_sort=_id&_count=2&{query}", []
        while path:
            page = content(sluss.get(path))
            assert validate(page) == []
            parts += [entry["resource"] for entry in page["entry"]]
            path = next(
                (k["url"].removeprefix("http://localhost") for k in page["link"] if k["relation"] == "next"), ""
            )
        for part, full in zip(parts, whole, strict=True):
            assert part.keys() == shown
            assert [tag["code"] for tag in part["meta"]["tag"]] == ["SUBSETTED"]
            assert part["status"] == full["status"]
    for summary in ("true", "data"):
        (first, *_) = sluss.search(f"Task?_sort=_id&_summary={summary}")
        assert first.keys() <= whole[0].keys()
        assert first["meta"]["tag"]
    assert sluss.search("Task?_sort=_id&_summary=false") == whole


def test_elements_are_about_matches_not_about_what_comes_with_them(sluss: Sluss) -> None:
    told = sluss.refer()
    task, order = sluss.search("Task?_elements=status&_include=Task:focus")
    assert "focus" not in task
    assert order == told["order"]


def test_a_total_is_told_when_asked_for_or_when_it_costs_nothing(sluss: Sluss) -> None:
    for number in range(3):
        sluss.refer(f"R-{number}")
    totals = {
        query: content(sluss.get(f"/fhir/Task?code=fulfill&{query}")).get("total")
        for query in ("", "_sort=status&_count=2", "_sort=status&_count=2&_total=accurate", "_total=none", "_count=0")
    }
    assert list(totals.values()) == [3, None, 3, None, 3], totals


def test_pretty_is_the_same_answer_in_lines(sluss: Sluss) -> None:
    sluss.refer()
    plainly = sluss.get("/fhir/Observation?_sort=_id")
    pretty = sluss.get("/fhir/Observation?_sort=_id&_pretty=true")
    assert pretty.text.count("\n") > 50
    assert content(pretty)["entry"] == content(plainly)["entry"]


def test_more_includes_than_a_page_shows_are_told(sluss: Sluss, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        sluss.refer(f"R-{number}")
    for module in ("includes", "seen"):
        monkeypatch.setattr(f"service.store.{module}.MAX_INCLUDES", 2)
    answer = content(sluss.get("/fhir/Patient?_revinclude=Task:patient"))
    assert validate(answer) == []
    modes = [entry["search"]["mode"] for entry in answer["entry"]]
    assert modes == ["match", "include", "include", "outcome"]
    assert answer["entry"][-1]["resource"]["issue"][0]["code"] == "too-costly"


def test_a_search_that_takes_too_long_is_told_as_that(sluss: Sluss, monkeypatch: pytest.MonkeyPatch) -> None:
    sluss.refer()
    # One that waits instead of finding; the reader's own limit ends it.
    monkeypatch.setattr("service.store.seen.SETTLED_UNTIL", "SELECT pg_sleep(60)")
    monkeypatch.setitem(connections._LIMITS, connections.READER, ("SET statement_timeout = '50ms'",))
    house = sluss.app.extensions["sluss"]
    fresh = Sluss(create_app(Settings(), replace(house, store=Store(house.store.url))))
    answer = fresh.get("/fhir/Task?_sort=_lastUpdated")
    assert answer.status_code == 400
    assert issues(answer)[0]["code"] == "too-costly"
