"""Subjects of certificates: equal names are equal texts, whoever has written them."""

import pytest

from service.access.subjects import read_subject

SUBJECT = "serialNumber=SE2321000198-F01,CN=ehr.example,O=Region\\, Norr,C=SE"


@pytest.mark.parametrize(
    "written",
    [
        SUBJECT,
        SUBJECT.replace(",C", ", C").replace(",CN", ",  CN"),
        f"  {SUBJECT} ",
        SUBJECT.replace("serialNumber", "2.5.4.5"),
        SUBJECT.replace("\\,", "\\2C"),
        SUBJECT.replace("ehr", "\\65hr"),
    ],
)
def test_one_name_written_in_several_ways_is_one(written: str) -> None:
    assert read_subject(written) == read_subject(SUBJECT) is not None


def test_the_parts_of_one_relative_name_have_no_order() -> None:
    assert read_subject("CN=a+OU=b,C=SE") == read_subject("OU=b+CN=a,C=SE") is not None
    assert read_subject("CN=a,OU=b,C=SE") != read_subject("OU=b,CN=a,C=SE")


@pytest.mark.parametrize(
    "other",
    [
        "CN=ehr.example,O=Region\\, Norr,C=SE",
        SUBJECT + ",C=SE",
        SUBJECT.replace("\\,", ","),
        SUBJECT.replace("Region\\, Norr", "Region\\, Norr,O=Region"),
        SUBJECT.replace("ehr.example", "EHR.example"),
        SUBJECT.replace("CN=", "OU="),
    ],
)
def test_another_name_is_another(other: str) -> None:
    assert read_subject(other) != read_subject(SUBJECT)


@pytest.mark.parametrize(
    "text", ["", "x", "/C=SE/CN=a", "CN", "=a", "CN=a,", "CN=\\00", "CN=a\\0A", "CN=" + "a" * 2000]
)
def test_what_is_no_name_is_none(text: str) -> None:
    assert read_subject(text) is None
