"""Search over HTTP: bad searches are told, odd ones harm nothing (contract 2)."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_mappings.r4 import SUPPORTED_TYPES
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
        "_lastUpdated=2026,2027",
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
