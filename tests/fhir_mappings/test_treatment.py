"""The treatment as a CarePlan, there and back (contract 6)."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.r4 import validate
from fhir_mappings.records import Reference, TreatmentPlan
from fhir_mappings.treatment import from_fhir_care_plan, started, to_fhir_care_plan, with_activities, with_status
from tests.fhir_mappings.examples import CANONICAL, S

PLAN = TreatmentPlan(
    id="p1",
    status="draft",
    programme=CANONICAL.plan_definition("gavleborg", "depression"),
    title="Depression",
    description="Låg suicidrisk krävs.",
    patient=Reference("Patient/p1"),
    referral=Reference("ServiceRequest/s1"),
    author=Reference("PractitionerRole/gavle-internet-therapist-1"),
    created="2026-11-23T10:00:00.000+01:00",
    start="2026-11-23",
    end="2027-02-22",
    activities=(Reference("Task/a1"), Reference("Task/a2")),
)

plans = st.builds(
    lambda start, weeks, count, author, description: replace(
        PLAN,
        start=start.isoformat(),
        end=(start + timedelta(weeks=weeks)).isoformat(),
        activities=tuple(Reference(f"Task/a{number}") for number in range(count)),
        author=author,
        description=description,
    ),
    st.dates(date(2020, 1, 1), date(2040, 1, 1)),
    st.integers(0, 20),
    st.integers(0, 9),
    st.sampled_from([Reference("PractitionerRole/r1"), Reference("Organization/o1")]),
    st.sampled_from(["", "Beskrivning å ä ö"]),
)


@given(plans, st.sampled_from(["draft", "active", "on-hold", "completed", "revoked"]))
def test_a_plan_is_valid_r4_and_reads_back_the_same(plan: TreatmentPlan, status: str) -> None:
    plan = replace(plan, status=status)
    written = to_fhir_care_plan(plan, CANONICAL)
    assert validate(written) == []
    assert from_fhir_care_plan(written) == plan


def test_a_care_plan_has_what_the_contract_lists() -> None:
    assert to_fhir_care_plan(PLAN, CANONICAL) == {
        "resourceType": "CarePlan",
        "id": "p1",
        "identifier": [{"system": f"{S}/identifier/care-plan", "value": "p1"}],
        "instantiatesCanonical": [f"{S}/PlanDefinition/gavleborg-depression"],
        "status": "draft",
        "intent": "plan",
        "title": "Depression",
        "description": "Låg suicidrisk krävs.",
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-11-23", "end": "2027-02-22"},
        "created": "2026-11-23T10:00:00.000+01:00",
        "author": {"reference": "PractitionerRole/gavle-internet-therapist-1"},
        "supportingInfo": [{"reference": "ServiceRequest/s1"}],
        "activity": [{"reference": {"reference": "Task/a1"}}, {"reference": {"reference": "Task/a2"}}],
    }


@pytest.mark.parametrize("status", ["active", "on-hold", "completed", "revoked"])
def test_a_plan_goes_on_to_another_state_with_the_rest_as_it_was(status: str) -> None:
    before = to_fhir_care_plan(PLAN, CANONICAL)
    assert with_status(before, status) == {**before, "status": status}
    assert before["status"] == "draft"
    assert validate(with_status(before, status)) == []


def test_a_started_plan_is_active_for_its_period() -> None:
    after = started(to_fhir_care_plan(PLAN, CANONICAL), "2026-12-01", "2027-03-02")
    assert after["status"] == "active"
    assert after["period"] == {"start": "2026-12-01", "end": "2027-03-02"}
    assert validate(after) == []


def test_later_activities_come_after_those_that_are_there() -> None:
    after = with_activities(to_fhir_care_plan(PLAN, CANONICAL), [Reference("Task/a3")])
    assert from_fhir_care_plan(after).activities == (Reference("Task/a1"), Reference("Task/a2"), Reference("Task/a3"))
    alone = with_activities(to_fhir_care_plan(replace(PLAN, activities=()), CANONICAL), [Reference("Task/a3")])
    assert from_fhir_care_plan(alone).activities == (Reference("Task/a3"),)
    assert validate(after) == validate(alone) == []
