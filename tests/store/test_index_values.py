"""What a resource is found by. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from service.store.index_values import MAX_VALUE, digest, index_values, indexed
from tests.store.examples import HSA, ORGANISATION, communication, service_request, task


def test_a_task_is_found_by_its_parties_and_its_focus() -> None:
    found = index_values(
        task("t-1", identifier=[{"system": "https://a.example", "value": "1"}], partOf=[{"reference": "Task/0"}])
    )
    assert sorted(found) == [
        ("focus", "ServiceRequest/sr-1"),
        ("identifier", "https://a.example|1"),
        ("identifier:value", "1"),
        ("owner", "HealthcareService/gavle"),
        ("part-of", "Task/0"),
        ("requester", "Organization/o-1"),
        ("subject", "Patient/p-1"),
    ]


def test_a_message_is_found_by_the_hsa_id_of_its_recipient() -> None:
    found = index_values(communication())
    assert ("recipient:identifier", f"{HSA}|{ORGANISATION}") in found
    assert ("recipient:identifier:value", ORGANISATION) in found
    assert ("recipient", "Organization/o-1") in found


def test_contained_and_bundle_local_references_are_found_only_as_the_caller_says() -> None:
    request = service_request(subject={"reference": "#p"}, requester={"reference": "urn:uuid:1"}, identifier=[])
    assert index_values(request) == []
    assert index_values(request, [("subject", "Patient/9")]) == [("subject", "Patient/9")]


def test_a_reference_is_found_without_its_version_and_an_absolute_one_as_it_is() -> None:
    request = service_request(
        subject={"reference": "Patient/1/_history/3"}, requester={"reference": "https://a.example/Organization/1"}
    )
    found = index_values(request)
    assert ("subject", "Patient/1") in found
    assert ("requester", "https://a.example/Organization/1") in found


def test_the_same_value_twice_is_one_row() -> None:
    recipients = communication()["recipient"] * 3
    found = index_values(communication(recipient=recipients))
    assert len(found) == len(set(found))


def test_a_type_that_nobody_searches_by_reference_has_no_rows() -> None:
    assert index_values({"resourceType": "Basic", "id": "1"}) == []


@given(st.text(min_size=0, max_size=2000))
def test_an_index_value_fits_an_index_row_and_tells_values_apart(value: str) -> None:
    assert len(indexed(value)) <= MAX_VALUE
    assert indexed(value) == indexed(value)
    assert (indexed(value) == value) is (len(value) <= MAX_VALUE)


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_different_texts_have_different_digests(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) is (one == other)
