"""What the CapabilityStatement does not declare of a type, or a whole type, is answered as such and does nothing."""

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES
from tests.conformance.client import outcome
from tests.conformance.declared.here import FORM, Here
from tests.conformance.declared.undeclared import ADDRESS, allowed

TYPES = sorted(SUPPORTED_TYPES)
UNDECLARED_TYPES = ("Encounter", "Medication", "AllergyIntolerance", "Binary", "Basic")


@pytest.mark.parametrize("type_", TYPES)
def test_a_condition_in_the_address_deletes_nothing(here: Here, type_: str) -> None:
    before = set(here.stored(type_))
    answer = here.ask("DELETE", f"{type_}?_id={min(before)}")
    assert outcome(answer, 405)[0]["code"] == "not-supported"
    assert "DELETE" not in allowed(answer)
    assert set(here.stored(type_)) == before


@pytest.mark.parametrize("type_", UNDECLARED_TYPES)
def test_a_type_that_is_not_declared_is_404_whatever_is_done(here: Here, type_: str) -> None:
    assert type_ not in here.declared
    resource = {"resourceType": type_, "id": "x"}
    for method, address in (*ADDRESS.values(), ("HEAD", "{}"), ("PUT", "{type}?_id=x"), ("DELETE", "{type}?_id=x")):
        path = address.format(f"{type_}/x", type=type_)
        answer = here.ask(method, path, body=resource if method in ("POST", "PUT", "PATCH") else None)
        if method != "HEAD":
            assert outcome(answer, 404)[0]["code"] == "not-supported", (method, path)
        assert answer.status_code == 404
    asked = here.ask("POST", f"{type_}/_search", body=b"_id=x", headers={"Content-Type": FORM})
    assert outcome(asked, 404)[0]["code"] == "not-supported"
