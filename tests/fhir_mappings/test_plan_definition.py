"""The packs' programmes as PlanDefinitions (contract 6; R4, R5, L1, L6)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.plan_definition import from_fhir_plan_definition, to_fhir_plan_definition
from fhir_mappings.r4 import validate
from fhir_mappings.records import Activity, Programme
from service.packs.loading import load
from tests.fhir_mappings.examples import CANONICAL, S

PACKS = [load("gavleborg"), load("praktikertjanst")]
SHIPPED = [(pack.name, programme) for pack in PACKS for programme in pack.programmes.values()]

programmes = st.builds(
    lambda weeks, codes, description: Programme(
        "depression",
        "Depression",
        (min(weeks), max(weeks)),
        description,
        activities=tuple(Activity(code, f"Aktivitet {code}", description=description) for code in codes),
    ),
    st.tuples(st.integers(1, 52), st.integers(1, 52)),
    st.lists(st.from_regex(r"[a-z][a-z-]{0,10}[a-z]", fullmatch=True), unique=True, max_size=6),
    st.sampled_from(["", "Beskrivning å ä ö"]),
)


@given(programmes)
def test_a_programme_is_valid_r4_and_reads_back_the_same(programme: Programme) -> None:
    written = to_fhir_plan_definition(programme, "gavleborg", "1.0.0", CANONICAL)
    codes = tuple(activity.code for activity in programme.activities)
    assert validate(written) == []
    assert from_fhir_plan_definition(written, CANONICAL) == (programme.code, programme.weeks, codes)


@pytest.mark.parametrize(("pack", "programme"), SHIPPED, ids=[f"{pack}-{p.code}" for pack, p in SHIPPED])
def test_every_shipped_programme_is_published(pack: str, programme: Programme) -> None:
    written = to_fhir_plan_definition(programme, pack, "1.0.0", CANONICAL)
    assert validate(written) == []
    assert written["url"] == f"{S}/PlanDefinition/{pack}-{programme.code}"
    assert written["id"] == f"{pack}-{programme.code}"
    assert written["status"] == "active"
    assert written["description"] == programme.description
    assert from_fhir_plan_definition(written, CANONICAL) == (
        programme.code,
        programme.weeks,
        tuple(activity.code for activity in programme.activities),
    )


@pytest.mark.parametrize(("pack", "programme"), SHIPPED, ids=[f"{pack}-{p.code}" for pack, p in SHIPPED])
def test_weeks_are_those_of_the_source(pack: str, programme: Programme) -> None:
    weeks = {"gavleborg": (6, 13), "praktikertjanst": (8, 12)}  # R4, L6
    (root,) = to_fhir_plan_definition(programme, pack, "1.0.0", CANONICAL)["action"]
    assert (root["timingRange"]["low"]["value"], root["timingRange"]["high"]["value"]) == weeks[pack]
    assert root["timingRange"]["low"]["code"] == "wk"


def test_weeks_are_read_from_decimals_too() -> None:
    written = to_fhir_plan_definition(SHIPPED[0][1], "gavleborg", "1.0.0", CANONICAL)
    written["action"][0]["timingRange"]["low"]["value"] = Decimal("6")
    assert from_fhir_plan_definition(written, CANONICAL)[1] == (6, 13)
