"""Messages as Communications, there and back (contract 6)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.communication import (
    CATEGORY_TITLES,
    category_of,
    from_fhir_communication,
    passed_on,
    text_of,
    to_fhir_communication,
)
from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json, Message, MessageCategory, Priority, Reference
from tests.fhir_mappings.examples import CANONICAL, HSA, HSA_RIV, NOW, UNIT, S, any_json

NATIONAL = {
    "acknowledgement": "BEK",
    "rerouted": "VID",
    "information-request": "KOM",
    "returned": "AVV",
    "discontinued": "AVB",
    "interim-reply": "DSV",
    "final-reply": "SSV",
}

_WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=40).filter(
    lambda text: text.strip() == text
)

messages = st.builds(
    Message,
    id=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    category=st.sampled_from(MessageCategory),
    text=_WORDS,
    sent=st.integers(0, 10**6).map(lambda m: (NOW + timedelta(minutes=m)).isoformat(timespec="milliseconds")),
    subject=st.just(Reference("Patient/p1")),
    based_on=st.just(Reference("ServiceRequest/s1")),
    part_of=st.just(Reference("Task/t1")),
    sender=st.just(Reference("HealthcareService/gavle")),
    recipient=st.just(Reference("Organization/o1")),
    recipient_unit=st.just(HsaId(UNIT)),
    priority=st.sampled_from(Priority),
    reasons=st.lists(st.tuples(st.sampled_from(["age-minimum", "motivated"]), _WORDS), max_size=3).map(tuple),
    in_response_to=st.none() | st.just(Reference("Communication/c0")),
    prepared=st.just(False),
)


@given(messages)
def test_a_message_is_valid_r4_and_reads_back_the_same(message: Message) -> None:
    written = to_fhir_communication(message, CANONICAL)
    assert validate(written) == []
    assert from_fhir_communication(written, CANONICAL) == message


def example(category: MessageCategory = MessageCategory.RETURNED, *, prepared: bool = False) -> Json:
    message = Message(
        id="c1",
        category=category,
        text="Remissen återsänds.",
        sent="2026-11-23T10:00:00.000+01:00",
        subject=Reference("Patient/p1"),
        based_on=Reference("ServiceRequest/s1"),
        part_of=Reference("Task/t1"),
        sender=Reference("HealthcareService/gavle"),
        recipient=Reference("Organization/o1"),
        recipient_unit=HsaId(UNIT),
        reasons=(("age-minimum", "För ung."), ("motivated", "Inte motiverad.")),
        in_response_to=Reference("Communication/c0"),
        prepared=prepared,
    )
    return to_fhir_communication(message, CANONICAL)


def test_a_communication_has_what_the_contract_lists() -> None:
    assert example() == {
        "resourceType": "Communication",
        "id": "c1",
        "identifier": [{"system": f"{S}/identifier/communication", "value": "c1"}],
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "partOf": [{"reference": "Task/t1"}],
        "inResponseTo": [{"reference": "Communication/c0"}],
        "status": "completed",
        "category": [
            {
                "coding": [
                    {"system": f"{S}/CodeSystem/ikbt-message", "code": "returned", "display": "Remissen återsänds"},
                    {"system": f"{S}/CodeSystem/national-referral-message", "code": "AVV"},
                ],
                "text": "Remissen återsänds",
            }
        ],
        "priority": "routine",
        "subject": {"reference": "Patient/p1"},
        "sent": "2026-11-23T10:00:00.000+01:00",
        "recipient": [{"reference": "Organization/o1", "identifier": {"system": HSA, "value": UNIT}}],
        "sender": {"reference": "HealthcareService/gavle"},
        "reasonCode": [
            {"coding": [{"system": f"{S}/CodeSystem/eligibility-rule", "code": "age-minimum"}], "text": "För ung."},
            {
                "coding": [{"system": f"{S}/CodeSystem/eligibility-rule", "code": "motivated"}],
                "text": "Inte motiverad.",
            },
        ],
        "payload": [{"contentString": "Remissen återsänds."}],
    }


@pytest.mark.parametrize("category", MessageCategory)
def test_every_category_is_coded_named_and_has_its_national_code_where_one_exists(category: MessageCategory) -> None:
    (concept,) = example(category)["category"]
    codes = {coding["system"]: coding["code"] for coding in concept["coding"]}
    national = NATIONAL.get(str(category))
    assert codes.pop(f"{S}/CodeSystem/ikbt-message") == category
    assert codes == ({f"{S}/CodeSystem/national-referral-message": national} if national else {})
    assert concept["text"] == CATEGORY_TITLES[category]


def test_what_somebody_must_still_pass_on_has_not_been_sent() -> None:
    written = example(prepared=True)
    assert written["status"] == "preparation"
    assert "sent" not in written
    assert validate(written) == []
    sent = passed_on(written, "2026-11-24T09:00:00.000+01:00")
    assert sent == {**written, "status": "completed", "sent": "2026-11-24T09:00:00.000+01:00"}
    assert validate(sent) == []


def test_a_prepared_message_reads_back_as_prepared() -> None:
    read = from_fhir_communication(example(prepared=True), CANONICAL)
    assert read is not None
    assert read.prepared
    assert read.sent == ""


@pytest.mark.parametrize(
    "category",
    [
        [],
        [{"text": "Slutsvar"}],
        [{"coding": [{"system": f"{S}/CodeSystem/ikbt-message", "code": "something"}]}],
        [{"coding": [{"system": "https://other.example", "code": "final-reply"}]}],
        [{"coding": [{"code": "final-reply"}]}],
    ],
)
def test_a_category_that_is_none_of_ours_is_nobodys_guess(category: list[Json]) -> None:
    communication = {**example(), "category": category}
    assert category_of(communication, CANONICAL) is None
    assert from_fhir_communication(communication, CANONICAL) is None


def test_our_category_is_found_among_others() -> None:
    others = [{"text": "x"}, {"coding": [{"system": "https://other.example", "code": "y"}]}]
    communication = {**example(), "category": [*others, *example()["category"]]}
    assert category_of(communication, CANONICAL) is MessageCategory.RETURNED


def test_the_recipients_hsa_id_is_read_by_either_root_and_by_no_other() -> None:
    for system, value in ((HSA, UNIT), (HSA_RIV, UNIT), ("https://other.example", "")):
        recipient = {"reference": "Organization/o1", "identifier": {"system": system, "value": UNIT}}
        read = from_fhir_communication({**example(), "recipient": [recipient]}, CANONICAL)
        assert read is not None
        assert read.recipient_unit == value


def test_the_text_is_every_text_payload_and_nothing_else() -> None:
    payload = [
        {"contentString": "Ett."},
        {"contentReference": {"reference": "Observation/o1"}},
        {"contentString": "Två."},
    ]
    assert text_of({"payload": payload}) == "Ett.\n\nTvå."
    assert text_of({}) == ""


def test_reasons_of_other_systems_are_left_to_others() -> None:
    other = [{"coding": [{"display": "utan kod"}, {"system": "https://other.example", "code": "x"}]}, {"text": "y"}]
    read = from_fhir_communication({**example(), "reasonCode": [*example()["reasonCode"], *other]}, CANONICAL)
    assert read is not None
    assert read.reasons == (("age-minimum", "För ung."), ("motivated", "Inte motiverad."))


@given(any_json)
def test_anything_that_r4_takes_can_be_read(extra: Json) -> None:
    communication = {**extra, **example()}
    if validate(communication) == []:
        assert from_fhir_communication(communication, CANONICAL) is not None
