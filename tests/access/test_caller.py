"""Who calls, as the header says it while there are no tokens (contract 1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.issues import Issue, IssueCode
from fhir_mappings.records import HsaId
from service.access.caller import ADMINISTRATOR, SLUSS, Caller, Role, read_caller, referrer_of, therapist_of


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        ("referrer SE2321000198-EX01", referrer_of("SE2321000198-EX01")),  # type: ignore[arg-type]
        ("referrer se2321000198-ex01", referrer_of("SE2321000198-EX01")),  # type: ignore[arg-type]
        ("therapist gavle", therapist_of("gavle")),
        ("therapist   norra-halsingland ", therapist_of("norra-halsingland")),
        ("platform", Caller(Role.PLATFORM)),
        ("platform SE2321000198-EX01", Caller(Role.PLATFORM, frozenset({HsaId("SE2321000198-EX01")}))),
        ("administrator", ADMINISTRATOR),
        (None, ADMINISTRATOR),
    ],
)
def test_the_header_names_the_caller(header: str | None, caller: Caller) -> None:
    assert read_caller(header) == caller


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sluss",
        "referrer",
        "therapist",
        "platform SE2321000198-EX01 SE2321000198-EX02",
        "administrator x",
        "Therapist gavle",
        "referrer SE23 EX01",
        "referrer SE2321000198/EX01",
        "referrer " + "A" * 65,
        "therapist gävle",
        "root",
    ],
)
def test_what_cannot_be_read_is_an_issue_and_never_a_guess(header: str) -> None:
    issue = read_caller(header)
    assert isinstance(issue, Issue)
    assert issue.code is IssueCode.SECURITY
    assert issue.expression == "http.Sluss-Caller"


@given(st.text(max_size=80))
def test_no_header_makes_an_administrator_or_sluss_by_accident(header: str) -> None:
    read = read_caller(header)
    assert read != SLUSS
    if read == ADMINISTRATOR:
        assert header.split() == ["administrator"]


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("referrer SE2321000198-EX01", "referrer SE2321000198-EX01"),
        ("therapist gavle", "therapist gavle"),
        ("platform", "platform"),
    ],
)
def test_the_label_for_the_journal_is_role_and_place(header: str, label: str) -> None:
    read = read_caller(header)
    assert isinstance(read, Caller)
    assert read.label == label
