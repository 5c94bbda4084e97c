"""What describes us is read and searched like everything else, and changed by nobody (contract 2)."""

import pytest

from fhir_mappings.r4 import DEFINITIONS
from service.definitions.published import definitions
from tests.web.caller import S, Sluss, content


def test_every_definition_is_there_as_it_is_made(sluss: Sluss) -> None:
    house = sluss.app.extensions["sluss"]
    for definition in definitions(house.pack, house.canonical):
        served = sluss.read(f"{definition['resourceType']}/{definition['id']}")
        assert {**served, "meta": None} == {**definition, "meta": None}


@pytest.mark.parametrize("type_", sorted(DEFINITIONS))
def test_a_definition_is_found_by_what_it_says_of_itself(sluss: Sluss, type_: str) -> None:
    for definition in sluss.search(f"{type_}?_count=200"):
        for name in {"url", "version", "name", "title", "status"} & definition.keys():
            found = sluss.call("GET", f"/fhir/{type_}", query_string={name: definition[name], "_count": 200})
            assert definition["id"] in [e["resource"]["id"] for e in content(found)["entry"]], (name, definition["id"])
        (only,) = sluss.search(f"{type_}?url={definition['url']}")
        assert only == definition
    assert sluss.search(f"{type_}?url={S}/{type_}/unknown") == []
    assert sluss.search(f"{type_}?status=retired") == []


def test_a_plan_is_found_by_its_programme_and_a_profile_by_its_type(sluss: Sluss) -> None:
    (plan,) = sluss.search(f"PlanDefinition?topic={S}/CodeSystem/ikbt-programme|sleep")
    assert plan["id"] == "gavleborg-sleep"
    (parameter,) = sluss.search("SearchParameter?base=Task&code=business-status")
    assert parameter["derivedFrom"] == "http://hl7.org/fhir/SearchParameter/Task-business-status"
    (profile,) = sluss.search("StructureDefinition?type=Task")
    assert profile["id"] == "ikbt-referral-task"


def test_who_starts_again_with_the_same_pack_writes_nothing(sluss: Sluss) -> None:
    from service.referral.directory import publish

    assert publish(sluss.app.extensions["sluss"]) == 0
