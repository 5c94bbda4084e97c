"""The search for personal data finds what it is to find."""

import pytest

from tests.privacy.personal import NOTE, NUMBER, named, of_the_fixtures, of_this_person, personal_in, standing_in

PERSONAL = of_the_fixtures() | of_this_person()


def test_the_fixtures_have_numbers_names_telephones_addresses_and_words() -> None:
    assert {"199002222397", "900222-2397", "Testsson", "Test Testsson", "070-1740605"} <= PERSONAL
    assert "Samtal var tredje vecka, inga hemuppgifter" in PERSONAL
    assert len(PERSONAL) > 120


@pytest.mark.parametrize(
    "told",
    [
        f'{{"event": "x", "said": "{NUMBER}"}}',
        "GET /fhir/Patient?identifier=http%3A%2F%2Fx%7C19900222-2397",
        "key (patient)=(900222+2397)",
        "HEMLIGHETSSON",
        "name=Ypsilonia&x=1",
        f"Failing row contains ({NOTE[:30]}",
        "zebraljudet h\\u00f6rs om",
        "phone=070-1740699",
    ],
)
def test_it_is_found_however_it_is_written(told: str) -> None:
    assert standing_in(told, PERSONAL)


def test_what_is_not_personal_is_not_found() -> None:
    told = '{"method": "POST", "route": "/fhir/<type_>", "status": 422, "request_id": "ab12cd34", "role": "referrer"}'
    assert standing_in(told, PERSONAL) == set()
    assert "female" not in set(personal_in(named({"resourceType": "Patient", "gender": "female"})))
