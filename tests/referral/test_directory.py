"""What the pack says is published as resources, once, whoever starts at the same time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import HsaId, Json
from service.definitions.published import definitions
from service.packs.model import Pack
from service.referral.directory import publish
from service.referral.house import House
from service.store.database import Store
from tests.fhir_mappings.examples import CANONICAL, NOW, S
from tests.referral.examples import GAVLEBORG, PRAKTIKERTJANST


def house(store: Store, pack: Pack = GAVLEBORG) -> House:
    numbers = count(1)
    return House(store, pack, CANONICAL, lambda: NOW, lambda: f"id-{next(numbers)}")


def read(store: Store, type_: str, id_: str) -> Json:
    stored = store.view().get(type_, id_)
    assert stored is not None, f"{type_}/{id_}"
    return stored.content


@pytest.mark.parametrize("pack", [GAVLEBORG, PRAKTIKERTJANST], ids=lambda pack: pack.name)
def test_everything_of_a_pack_is_published_as_valid_r4(store: Store, pack: Pack) -> None:
    written = publish(house(store, pack))
    ids = [
        *(("HealthcareService", team) for team in pack.teams),
        *(("PractitionerRole", role) for team in pack.teams.values() for role in team.roles),
        *((resource["resourceType"], resource["id"]) for resource in definitions(pack, CANONICAL)),
    ]
    assert {("PlanDefinition", f"{pack.name}-{programme}") for programme in pack.programmes} <= set(ids)
    assert {("Questionnaire", name) for name in pack.questionnaires} <= set(ids)
    units = {*pack.units, *(team.hsa_id for team in pack.teams.values())}
    organisations = store.view().natural("Organization", sorted(units))
    resources = [read(store, *which) for which in ids]
    resources += [read(store, *reference.split("/")) for reference in organisations.values()]
    assert set(organisations) == units
    assert written == len(resources)
    assert [issue for resource in resources for issue in validate(resource)] == []


def test_a_team_is_found_by_its_id_with_seat_and_telephone(store: Store) -> None:
    publish(house(store))
    team = read(store, "HealthcareService", "gavle")
    assert team["telecom"][0]["value"] == "026-157777"
    seat = read(store, *team["providedBy"]["reference"].split("/"))
    assert seat["name"] == "Sätra Din hälsocentral"
    role = read(store, "PractitionerRole", "gavle-internet-therapist-1")
    assert role["healthcareService"] == [{"reference": "HealthcareService/gavle"}]


def test_the_canonical_base_stands_in_the_questionnaires(store: Store) -> None:
    publish(house(store))
    form = read(store, "Questionnaire", "ikbt-referral")
    assert form["url"] == f"{S}/Questionnaire/ikbt-referral"
    stored = store.view().get("Questionnaire", "ikbt-referral")
    assert stored is not None
    assert "{S}" not in stored.body


def test_publishing_again_changes_nothing(store: Store) -> None:
    ours = house(store)
    assert publish(ours) > 0
    assert publish(ours) == 0


def test_what_changed_in_the_pack_becomes_a_new_version_and_the_rest_stays(store: Store) -> None:
    ours = house(store)
    publish(ours)
    moved = replace(GAVLEBORG.teams["gavle"], phone="026-000000")
    changed = replace(GAVLEBORG, teams={**GAVLEBORG.teams, "gavle": moved})
    assert publish(replace(ours, pack=changed)) == 1
    team = store.view().get("HealthcareService", "gavle")
    assert team is not None
    assert team.version == 2
    assert team.content["telecom"][0]["value"] == "026-000000"


def test_the_directory_wins_over_what_a_referrer_had_sent_of_the_unit(store: Store) -> None:
    unit = HsaId("SE2321000198-EX01")
    first = house(store, replace(GAVLEBORG, units={}))
    publish(first)
    publish(replace(first, pack=GAVLEBORG))
    reference = store.view().natural("Organization", [unit])[unit]
    assert read(store, *reference.split("/"))["name"] == GAVLEBORG.units[unit].name


def test_processes_that_start_at_once_publish_once(store: Store) -> None:
    ours = house(store)
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda _: publish(ours), range(4)))
    assert sorted(written)[:3] == [0, 0, 0]
    assert len(store.view().history("HealthcareService", "gavle")) == 1
