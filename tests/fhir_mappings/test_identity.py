"""Personnummer, samordningsnummer and nationellt reservnummer."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.identity import age_on, birth_date, has_right_check_digit, parse_identity
from fhir_mappings.issues import IssueCode
from fhir_mappings.records import IdentityKind, PatientIdentity
from tests.fhir_mappings.examples import PERSONNUMMER, RESERVNUMMER, SAMORDNINGSNUMMER, TODAY, where


def with_check_digit(eleven: str) -> str:
    """Completes YYYYMMDDNNN."""
    return next(eleven + digit for digit in "0123456789" if has_right_check_digit(eleven[2:] + digit))


def identity(kind: IdentityKind, value: str) -> PatientIdentity:
    return PatientIdentity(kind, value)


@pytest.mark.parametrize(
    ("system", "value", "kind"),
    [
        (PERSONNUMMER, "196101182803", IdentityKind.PERSONNUMMER),
        (PERSONNUMMER, "189002029800", IdentityKind.PERSONNUMMER),
        (PERSONNUMMER, "200302022389", IdentityKind.PERSONNUMMER),
        (PERSONNUMMER, "199002222397", IdentityKind.PERSONNUMMER),
        ("urn:oid:1.2.752.129.2.1.3.1", "199002222397", IdentityKind.PERSONNUMMER),
        (SAMORDNINGSNUMMER, "196109732393", IdentityKind.SAMORDNINGSNUMMER),
        ("urn:oid:1.2.752.129.2.1.3.3", "196109732393", IdentityKind.SAMORDNINGSNUMMER),
        (RESERVNUMMER, "98240301AA06", IdentityKind.RESERVNUMMER),
        (RESERVNUMMER, "20210325K069", IdentityKind.RESERVNUMMER),
        ("urn:oid:1.2.752.74.9.1", "20210325K069", IdentityKind.RESERVNUMMER),
    ],
)
def test_a_test_identity_is_read_from_both_families_of_systems(system: str, value: str, kind: IdentityKind) -> None:
    assert parse_identity(system, value, "Patient.identifier[0]", TODAY) == identity(kind, value)


@pytest.mark.parametrize(
    ("system", "value"),
    [
        pytest.param(PERSONNUMMER, "199002222398", id="wrong check digit"),
        pytest.param(PERSONNUMMER, "9002222397", id="ten digits"),
        pytest.param(PERSONNUMMER, "19900222-2397", id="separator"),
        pytest.param(PERSONNUMMER, "199002222397\n", id="line break at the end"),
        pytest.param(PERSONNUMMER, " 199002222397", id="space"),
        pytest.param(PERSONNUMMER, "１９９００２２２２３９７", id="full-width digits"),
        pytest.param(PERSONNUMMER, "19900101T220", id="interim number"),
        pytest.param(PERSONNUMMER, with_check_digit("19900230123"), id="30 February"),
        pytest.param(PERSONNUMMER, with_check_digit("19901301123"), id="month 13"),
        pytest.param(PERSONNUMMER, with_check_digit("00000101123"), id="year 0"),
        pytest.param(PERSONNUMMER, with_check_digit("16900101123"), id="nobody is that old"),
        pytest.param(PERSONNUMMER, "196109732393", id="samordningsnummer said to be a personnummer"),
        pytest.param(SAMORDNINGSNUMMER, "199002222397", id="personnummer said to be a samordningsnummer"),
        pytest.param(SAMORDNINGSNUMMER, with_check_digit("19610992239"), id="day 32"),
        pytest.param(SAMORDNINGSNUMMER, with_check_digit("19611360239"), id="month 13, day unknown"),
        pytest.param(PERSONNUMMER, with_check_digit("20261124238"), id="born tomorrow"),
        pytest.param(SAMORDNINGSNUMMER, with_check_digit("20261260238"), id="born next month, day unknown"),
        pytest.param(SAMORDNINGSNUMMER, with_check_digit("20270060238"), id="born next year, date unknown"),
        pytest.param(RESERVNUMMER, "98240301aa06", id="reservnummer in lower case"),
        pytest.param(RESERVNUMMER, "98240301AA0", id="eleven characters"),
    ],
)
def test_what_is_no_valid_identifier_is_refused_at_its_value_and_never_repeated(system: str, value: str) -> None:
    read = parse_identity(system, value, "Patient.identifier[0]", TODAY)

    assert isinstance(read, list)
    assert where(read) == [("value", "Patient.identifier[0].value")]
    assert value.strip() not in read[0].text + read[0].diagnostics


def test_an_unknown_system_is_refused_at_the_system() -> None:
    read = parse_identity("https://ehr.example/patients", "199002222397", "x", TODAY)

    assert isinstance(read, list)
    assert [(issue.code, issue.expression) for issue in read] == [(IssueCode.VALUE, "x.system")]


@pytest.mark.parametrize("eleven", ["19610960239", "19610060239", "19610073239", "20261160238", "20260060238"])
def test_a_samordningsnummer_whose_date_is_not_known_is_valid_but_tells_no_age(eleven: str) -> None:
    read = parse_identity(SAMORDNINGSNUMMER, with_check_digit(eleven), "x", TODAY)

    assert isinstance(read, PatientIdentity)
    assert birth_date(read) is None
    assert age_on(read, TODAY) is None


def test_a_complete_samordningsnummer_tells_the_date_of_birth() -> None:
    assert birth_date(identity(IdentityKind.SAMORDNINGSNUMMER, "196109732393")) == date(1961, 9, 13)


def test_a_reservnummer_tells_no_age_even_when_it_looks_like_a_date() -> None:
    assert age_on(identity(IdentityKind.RESERVNUMMER, "20210325K069"), TODAY) is None


@pytest.mark.parametrize(
    ("born", "today", "age"),
    [
        ("20081123", date(2026, 11, 22), 17),
        ("20081123", date(2026, 11, 23), 18),
        ("20080229", date(2026, 2, 27), 17),
        ("20080229", date(2026, 2, 28), 18),
        ("20080229", date(2028, 2, 28), 19),
        ("20080229", date(2028, 2, 29), 20),
        ("20261123", date(2026, 11, 23), 0),
        ("18900202", date(2026, 11, 23), 136),
    ],
)
def test_age_is_counted_in_whole_years_as_fhirpath_does(born: str, today: date, age: int) -> None:
    assert age_on(identity(IdentityKind.PERSONNUMMER, with_check_digit(born + "238")), today) == age


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 999))
def test_every_day_until_today_makes_a_valid_personnummer_and_samordningsnummer(born: date, serial: int) -> None:
    ordinary = parse_identity(PERSONNUMMER, with_check_digit(f"{born:%Y%m%d}{serial:03}"), "x", TODAY)
    coordination = parse_identity(
        SAMORDNINGSNUMMER, with_check_digit(f"{born:%Y%m}{born.day + 60}{serial:03}"), "x", TODAY
    )

    assert isinstance(ordinary, PatientIdentity)
    assert isinstance(coordination, PatientIdentity)
    assert birth_date(ordinary) == birth_date(coordination) == born


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 999), st.integers(2, 11), st.integers(1, 9))
def test_no_single_wrong_digit_passes(born: date, serial: int, position: int, shift: int) -> None:
    right = with_check_digit(f"{born:%Y%m%d}{serial:03}")
    wrong = right[:position] + str((int(right[position]) + shift) % 10) + right[position + 1 :]

    assert isinstance(parse_identity(PERSONNUMMER, wrong, "x", TODAY), list)


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 40000))
def test_nobody_gets_younger_and_a_birthday_adds_exactly_one_year(born: date, days: int) -> None:
    person = identity(IdentityKind.PERSONNUMMER, with_check_digit(f"{born:%Y%m%d}238"))
    today = born + timedelta(days=days)
    before, after = age_on(person, today), age_on(person, today + timedelta(days=1))

    assert before is not None
    assert after is not None
    assert before >= 0
    assert after - before in (0, 1)


@given(st.text(), st.text())
def test_any_text_is_read_or_refused_and_never_raises(system: str, value: str) -> None:
    for each in (system, PERSONNUMMER, SAMORDNINGSNUMMER, RESERVNUMMER):
        assert parse_identity(each, value, "x", TODAY)
