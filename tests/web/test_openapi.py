"""What reads the plain endpoints is what /openapi.json says of them. Whether they keep to it: tests/conformance."""

import re

from marshmallow import fields

from service.referral.plain_schema import ReferralSchema
from tests.web.caller import Sluss, content, plain


def test_the_description_names_every_plain_endpoint(sluss: Sluss) -> None:
    answer = sluss.get("/openapi.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    told = content(answer)
    assert told["openapi"] == "3.1.0"
    assert set(told["paths"]) == {"/intake/referrals", "/health/live", "/health/ready"}


def test_it_has_every_field_that_is_read_and_its_pattern_in_words_of_json_schema(sluss: Sluss) -> None:
    schemas = content(sluss.get("/openapi.json"))["components"]["schemas"]
    read = ReferralSchema()
    assert set(schemas["Referral"]["properties"]) == set(read.fields)
    for name, field in read.fields.items():
        if isinstance(field, fields.Nested):
            reference = schemas["Referral"]["properties"][name]["$ref"].rpartition("/")[2]
            assert set(schemas[reference]["properties"]) == set(field.schema.fields)
    patterns = re.findall(r"'pattern': '([^']+)'", str(schemas))
    assert patterns
    assert not any(r"\Z" in pattern or r"\\d" in pattern for pattern in patterns)


def test_the_example_of_the_contract_is_valid_by_it_and_taken(sluss: Sluss) -> None:
    from jsonschema_rs import validator_for

    told = content(sluss.get("/openapi.json"))
    valid = validator_for({"$ref": "#/components/schemas/Referral", "components": told["components"]})
    assert list(valid.iter_errors(plain())) == []
    answer = sluss.post("/intake/referrals", plain(), {"Content-Type": "application/json"})
    assert answer.status_code == 201
    receipt = validator_for({"$ref": "#/components/schemas/Receipt", "components": told["components"]})
    assert list(receipt.iter_errors(content(answer))) == []


def test_it_offers_the_programmes_of_the_pack_that_runs(sluss: Sluss, house: object) -> None:
    from service.packs.loading import load
    from service.web.openapi import openapi

    for pack in (load("gavleborg"), load("praktikertjanst")):
        told = openapi(pack)["components"]["schemas"]["Referral"]["properties"]["programme"]
        assert told["enum"] == list(pack.programmes)
