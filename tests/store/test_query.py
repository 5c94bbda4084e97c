"""From an HTTP query to a SearchQuery, or every reason why not. Pure."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.issues import Issue
from service.store.asked import SearchQuery, TokenValue
from service.store.moments import instant, parse_moment
from service.store.query import MAX_COUNT, page_token, parse_query
from tests.store.examples import query


def _refused(type_: str, *parameters: tuple[str, str], strict: bool = False) -> list[str]:
    parsed = parse_query(type_, parameters, strict=strict)
    assert isinstance(parsed, list)
    assert all(isinstance(issue, Issue) for issue in parsed)
    return [str(issue.code) for issue in parsed]


def test_an_unknown_parameter_is_passed_over_and_named() -> None:
    parsed = parse_query("Task", [("colour", "red"), ("owner:exact", "")])
    assert isinstance(parsed, SearchQuery)
    assert parsed.ignored == ("colour",)
    assert parsed.used == ()


def test_an_unknown_parameter_is_refused_when_strict() -> None:
    assert _refused("Task", ("colour", "red"), strict=True) == ["not-supported"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("status:above", "requested", "not-supported"),
        ("owner:Device", "1", "not-supported"),
        ("_sort:desc", "status", "not-supported"),
        ("_sort", "owner", "not-supported"),
        ("_sort", "status,nonsense", "not-supported"),
        ("_sort", "status,code,intent,priority,modified,period", "too-costly"),
        ("_count", "many", "value"),
        ("_count", "-1", "value"),
        ("_count", "²", "value"),
        ("_lastUpdated", "yesterday", "value"),
        ("_lastUpdated", "zz2026", "value"),
        ("_lastUpdated", "2026-02-30", "value"),
        ("_lastUpdated", "gt2026,", "value"),
        ("_lastUpdated", ",".join(map(str, range(2001, 2300))), "too-costly"),
        ("patient._lastUpdated", "yesterday", "value"),
        ("patient._lastUpdated:missing", "true", "not-supported"),
        ("authored-on", "2026-13", "value"),
        ("owner", "not an id", "value"),
        ("patient", "Group/1", "value"),
        ("identifier", "a|b|c", "value"),
        ("identifier", "|", "value"),
        ("owner:missing", "perhaps", "value"),
        ("_include", "Task:status", "not-supported"),
        ("_include", "Communication:sender", "not-supported"),
        ("_include", "Task:focus:Patient", "not-supported"),
        ("_include:recurse", "Task:focus", "not-supported"),
        ("_include:iterate", "Task:status", "not-supported"),
        ("_revinclude", "Task:owner", "not-supported"),
        ("_revinclude", "Communication:sender", "not-supported"),
        ("_revinclude", "QuestionnaireResponse:questionnaire", "not-supported"),
        ("_total", "some", "value"),
        ("_summary", "short", "value"),
        ("patient.name", "Test,", "value"),
        ("patient.address:contains", ",", "value"),
        ("patient.family:exact", ",a", "value"),
        ("patient.name:above", "x", "not-supported"),
        ("patient.organization.name", "x", "not-supported"),
        ("requester:Device.name", "x", "not-supported"),
        ("requester:Patient.role", "x", "not-supported"),
        ("patient.birthdate", "yesterday", "value"),
        ("_page", "bm90IG9uZSBvZiBvdXJz", "value"),
        ("_page", "å", "value"),
        ("_id", ",".join(map(str, range(300))), "too-costly"),
        ("owner", ",".join(f"HealthcareService/{n}" for n in range(300)), "too-costly"),
    ],
)
def test_a_bad_parameter_is_an_issue(name: str, value: str, code: str) -> None:
    assert _refused("Task", (name, value)) == [code]


@pytest.mark.parametrize("name", ["_include", "_include:iterate", "_revinclude:iterate", "status", "_sort", "_count"])
def test_an_empty_parameter_is_passed_over(name: str) -> None:
    assert parse_query("Task", [(name, "")], strict=True) == SearchQuery("Task")


def test_all_problems_are_told_at_once() -> None:
    assert len(_refused("Task", ("_count", "x"), ("_sort", "x"), ("authored-on", "x"))) == 3


def test_an_id_alone_may_be_of_any_type_the_parameter_refers_to() -> None:
    (clause,) = query("Task", ("requester", "o-1")).clauses
    assert clause.values == ("Organization/o-1", "PractitionerRole/o-1", "Practitioner/o-1", "Patient/o-1")
    (clause,) = query("Task", ("requester:Organization", "o-1")).clauses
    assert clause.values == ("Organization/o-1",)


def test_our_own_base_before_a_reference_is_ours() -> None:
    parsed = parse_query(
        "Task", [("focus", "https://me.example/fhir/ServiceRequest/1/_history/2")], own_base="https://me.example/fhir"
    )
    assert isinstance(parsed, SearchQuery)
    assert parsed.clauses[0].values == ("ServiceRequest/1",)


def test_escaped_marks_are_part_of_the_value() -> None:
    (clause,) = query("Task", ("identifier", r"https://a.example|1\,2\|3\\,4")).clauses
    assert clause.values == (TokenValue("https://a.example", "1,2|3\\"), TokenValue(None, "4"))


def test_a_count_is_a_ceiling_that_has_a_ceiling() -> None:
    assert query("Task", ("_count", "999999")).count == MAX_COUNT


@pytest.mark.parametrize("asked", [("_summary", "_count"), ("_count", "_summary")])
def test_a_summary_that_counts_shows_nothing_wherever_it_stands(asked: tuple[str, str]) -> None:
    values = {"_summary": "count", "_count": "2"}
    assert query("Task", *((name, values[name]) for name in asked)).count == 0


def test_a_plus_that_became_a_space_is_still_an_offset() -> None:
    assert parse_moment("2026-11-23T10:00:00 01:00") == parse_moment("2026-11-23T10:00:00+01:00")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2026", "2025-12-31T23:00:00.000000Z", "2026-12-31T23:00:00.000000Z"),
        ("2026-12", "2026-11-30T23:00:00.000000Z", "2026-12-31T23:00:00.000000Z"),
        ("2026-03-29", "2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z"),
        ("2026-10-25", "2026-10-24T22:00:00.000000Z", "2026-10-25T23:00:00.000000Z"),
        ("2026-11-23T10:00", "2026-11-23T09:00:00.000000Z", "2026-11-23T09:01:00.000000Z"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00.000000Z", "2026-11-23T10:00:01.000000Z"),
        ("2026-11-23T10:00:00.12-05:00", "2026-11-23T15:00:00.120000Z", "2026-11-23T15:00:00.130000Z"),
        ("2026-11-23T10:00:00.123456789Z", "2026-11-23T10:00:00.123456Z", "2026-11-23T10:00:00.123457Z"),
    ],
)
def test_a_moment_covers_what_was_not_written(text: str, low: str, high: str) -> None:
    moment = parse_moment(text)
    assert moment is not None
    assert (instant(moment.low), instant(moment.high)) == (low, high)


@pytest.mark.parametrize(
    "text", ["", "26", "2026-1", "0000", "9999", "2026-11-23T24:00:00Z", "2026-11-23T10:00:00+99:00", "2026\n"]
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert parse_moment(text) is None


@given(st.datetimes(timezones=st.just(UTC), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_an_instant_reads_back_exactly(moment: datetime) -> None:
    read = parse_moment(instant(moment))
    assert read is not None
    assert (read.low, read.exact) == (moment, True)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_query_raises(name: str, value: str) -> None:
    for known in (name, "_page", "_lastUpdated", "identifier", "owner", "_include", "_sort", "_id", "_count"):
        parse_query("Task", [(known, value)], strict=True)


@given(
    st.datetimes(timezones=st.just(UTC), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001  Hypothesis takes a naive bound
    st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True),
)
def test_a_page_token_reads_back(moment: datetime, id_: str) -> None:
    assert query("Task", ("_page", page_token([instant(moment)], id_))).page == (instant(moment), id_)
