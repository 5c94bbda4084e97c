"""What describes us: sound R4, one of each, and the same as what decides (contract 2 and 6)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fhir_mappings.communication import CATEGORY_TITLES
from fhir_mappings.r4 import DEFINITIONS, validate
from fhir_mappings.records import Json
from fhir_mappings.referral_form import QUESTIONS
from fhir_mappings.terminology import Canonical
from service.definitions.profiles import PROFILES
from service.definitions.published import definitions
from service.definitions.rules import rule_conditions, to_fhir_rules
from service.packs.cases import Way
from service.packs.conditions import compile_condition
from service.packs.loading import load, shipped
from service.packs.vocabulary import FACT_MEANINGS, FACTS
from service.referral.case_reading import referral_of
from service.referral.facts import facts
from tests.fixtures.sending import CASES

S = "https://sluss.example/fhir"
CANONICAL = Canonical(S)
PACKS = {name: load(name) for name in shipped()}
PUBLISHED = {name: list(definitions(pack, CANONICAL)) for name, pack in PACKS.items()}
EACH = [pytest.param(each, id=f"{name}-{each['id']}") for name, all_ in PUBLISHED.items() for each in all_]


def of(name: str, type_: str) -> dict[str, Json]:
    return {each["id"]: each for each in PUBLISHED[name] if each["resourceType"] == type_}


@pytest.mark.parametrize("definition", EACH)
def test_every_definition_is_sound_r4_and_says_what_it_is(definition: Json) -> None:
    assert validate(definition) == []
    assert definition["url"] == f"{S}/{definition['resourceType']}/{definition['id']}"
    for name in ("version", "name", "status", "description"):
        assert definition[name]
    assert ("title" in definition) is (definition["resourceType"] != "SearchParameter"), "R4 gives that one none"
    assert definition["resourceType"] in DEFINITIONS
    assert "meta" not in definition


@pytest.mark.parametrize("name", shipped())
def test_no_two_definitions_of_a_pack_share_an_address(name: str) -> None:
    addresses = [(each["resourceType"], each["id"]) for each in PUBLISHED[name]]
    assert len(set(addresses)) == len(addresses)
    assert {type_ for type_, _ in addresses} == DEFINITIONS


def test_what_two_packs_publish_under_one_url_and_version_is_the_same() -> None:
    known: dict[tuple[str, str], Json] = {}
    for each in (each for all_ in PUBLISHED.values() for each in all_):
        assert known.setdefault((each["url"], each["version"]), each) == each
    assert len(known) < sum(map(len, PUBLISHED.values())), "the packs share what Sluss decides"


@pytest.mark.parametrize("name", shipped())
def test_every_code_system_has_a_value_set_of_all_its_codes(name: str) -> None:
    for id_, system in of(name, "CodeSystem").items():
        value_set = of(name, "ValueSet")[id_]
        assert system["valueSet"] == value_set["url"]
        assert value_set["compose"]["include"] == [{"system": system["url"], "version": system["version"]}]
        codes = [concept["code"] for concept in system["concept"]]
        assert len(set(codes)) == len(codes)


def codes_of(name: str, id_: str) -> set[str]:
    return {concept["code"] for concept in of(name, "CodeSystem")[id_]["concept"]}


@pytest.mark.parametrize("name", shipped())
def test_the_codes_are_those_that_the_pack_and_the_mappings_use(name: str) -> None:
    pack = PACKS[name]
    assert codes_of(name, "eligibility-rule") == {rule.id for rule in pack.rules}
    assert codes_of(name, "ikbt-activity") == {a.code for p in pack.programmes.values() for a in p.activities}
    assert codes_of(name, "ikbt-role") == {team.role_code for team in pack.teams.values()}
    assert codes_of(name, "ikbt-message") == set(CATEGORY_TITLES)
    assert codes_of(name, "ikbt-referral-question") == set(QUESTIONS)
    assert codes_of(name, "ikbt-referral-answer") == {code for codes in QUESTIONS.values() for code in codes}
    assert codes_of(name, "ikbt-programme") >= set(pack.programmes)


def answers_of(questionnaire: Json) -> Iterator[tuple[str, str]]:
    for item in questionnaire["item"]:
        for option in item.get("answerOption", ()):
            yield option["valueCoding"]["code"], option["valueCoding"]["display"]


@pytest.mark.parametrize("name", shipped())
def test_answers_are_called_the_same_in_the_form_and_in_the_code_system(name: str) -> None:
    displays = {c["code"]: c["display"] for c in of(name, "CodeSystem")["ikbt-referral-answer"]["concept"]}
    asked = list(answers_of(of(name, "Questionnaire")["ikbt-referral"]))
    assert asked
    for code, display in asked:
        assert displays[code] == display


@pytest.mark.parametrize("name", shipped())
def test_a_profile_binds_to_value_sets_and_extensions_that_are_published(name: str) -> None:
    value_sets = {each["url"] for each in of(name, "ValueSet").values()}
    profiles = of(name, "StructureDefinition")
    extensions = {each["url"] for each in profiles.values() if each["type"] == "Extension"}
    for type_, id_ in PROFILES.items():
        assert profiles[id_]["type"] == type_
        for element in profiles[id_]["differential"]["element"]:
            if "binding" in element:
                assert element["binding"]["valueSet"] in value_sets
            for kind in element.get("type", ()):
                assert set(kind.get("profile", ())) <= extensions


def test_patients_and_units_build_on_hl7_sweden_and_the_rest_on_r4() -> None:
    bases = {each["type"]: each["baseDefinition"] for each in of("gavleborg", "StructureDefinition").values()}
    assert bases.pop("Patient") == "http://hl7.se/fhir/ig/base/StructureDefinition/SEBasePatient"
    assert bases.pop("Organization") == "http://hl7.se/fhir/ig/base/StructureDefinition/SEBaseOrganization"
    assert bases == {type_: f"http://hl7.org/fhir/StructureDefinition/{type_}" for type_ in bases}


def test_every_fact_that_a_condition_may_name_is_told() -> None:
    assert set(FACT_MEANINGS) == set(FACTS)


# ---------------------------------------------------------------- the published rules decide as the pack does


def fired_by(definition: Json, variables: Mapping[str, Any]) -> dict[str, str]:
    """Rule id to verdict, found with nothing but the published PlanDefinition and FHIRPath."""
    found = {}
    for rule, concerned, outcomes in rule_conditions(definition):
        if concerned is not None and not compile_condition(concerned).holds(variables):
            continue
        for condition, verdict in outcomes:
            if compile_condition(condition).holds(variables):
                found[rule] = verdict
                break
    return found


@pytest.mark.parametrize("name", shipped())
def test_who_evaluates_the_published_rules_finds_what_sluss_finds(name: str) -> None:
    pack = PACKS[name]
    definition = to_fhir_rules(pack, CANONICAL)
    tried = 0
    for case in CASES:
        if case.pack != name or case.expected.refused or case.way is Way.PLAIN:
            continue
        referral = referral_of(case, pack, S)
        assert referral is not None
        variables = facts(referral, pack, case.today, case.open_referral)
        positions = {rule.id: (rule, rule.fired(variables)) for rule in pack.rules if rule.concerns(referral.programme)}
        decided = {
            id_: str(rule.outcomes[position].verdict)
            for id_, (rule, position) in positions.items()
            if position is not None
        }
        assert fired_by(definition, variables) == decided, case.name
        tried += 1
    assert tried > 10
