"""What is read of the external server is read there, and nowhere else."""

import pytest

from service.exchange.client import FhirClient
from service.exchange.outcomes import Reason, Transient
from service.exchange.reader import Reader


@pytest.mark.parametrize(
    "link",
    [
        "https://other.example/fhir/Task?page=2",
        "http://region.example/fhir/Task?page=2",
        "https://region.example:444/fhir/Task?page=2",
        "https://region.example/elsewhere?page=2",
        "https://region.example.other.example/fhir/Task",
        "/fhir/Task?page=2",
        "http://[",
        "",
    ],
)
def test_a_next_link_that_leads_elsewhere_is_not_followed(link: str) -> None:
    reader = Reader(FhirClient("https://region.example/fhir"))
    assert reader.follow(link, "Task") == Transient(Reason.ADDRESS)
