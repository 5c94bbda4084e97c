"""The plain endpoints keep to what /openapi.json says, tried with what schemathesis makes of it: good, bad and odd."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from tests.conformance.client import Client, new_number

ENDPOINTS = [("/intake/referrals", "POST"), ("/health/live", "GET"), ("/health/ready", "GET")]


@pytest.fixture(scope="module")
def described(fhir: Client) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{fhir.root}/openapi.json", timeout=20)


def test_every_endpoint_that_is_described_is_tried(described: schemathesis.BaseSchema) -> None:
    paths = described.raw_schema["paths"]
    assert [(path, method.upper()) for path, item in paths.items() for method in item] == ENDPOINTS


def tries(many: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=many,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [*((*endpoint, GenerationMode.POSITIVE) for endpoint in ENDPOINTS), (*ENDPOINTS[0], GenerationMode.NEGATIVE)],
)
def test_a_plain_endpoint_keeps_to_its_description(
    described: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    seen: set[int] = set()

    @given(described[path][method].as_strategy(generation_mode=mode))
    @tries(200 if method == "POST" else 10)
    def keeps(case: "schemathesis.Case[Any]") -> None:
        # check digits, dates to come and the like are no matter of JSON Schema: what is good by it may still be a 422
        seen.add(case.call_and_validate(excluded_checks=[positive_data_acceptance]).status_code)
        if method == "POST" and mode is GenerationMode.POSITIVE:
            case.body = _taken(case.body)
            case.headers["Sluss-Caller"] = "administrator"
            seen.add(case.call_and_validate().status_code)

    keeps()
    good = 201 if method == "POST" else 200
    assert (good in seen) is (mode is GenerationMode.POSITIVE)


def _taken(body: Any) -> Any:
    """The body with good values where JSON Schema cannot say which are."""
    rating = dict(body.get("madrs_s", {}))
    if "items" in rating:
        rating["items"] = [int(item) for item in rating["items"]]  # 4.0 is an integer by JSON Schema, not by ours
    if rating:
        rating["total"] = sum(rating["items"]) if "items" in rating else int(rating["total"])
    return {
        **body,
        "received": "2020-01-01",
        "patient": {**body["patient"], "identifier": "199002222397"},
        "referrer": {**body["referrer"], "reference": new_number()},
        **({"diagnoses": ["F32.1"] * len(body["diagnoses"])} if "diagnoses" in body else {}),
        **({"madrs_s": {**rating, "date": "2020-01-01"}} if rating else {}),
    }
