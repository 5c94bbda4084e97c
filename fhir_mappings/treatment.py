"""The treatment as a CarePlan whose activities are child Tasks, and back. https://hl7.org/fhir/R4/careplan.html"""

from collections.abc import Sequence

from fhir_mappings.records import Json, Reference, TreatmentPlan
from fhir_mappings.terminology import Canonical


def to_fhir_care_plan(plan: TreatmentPlan, canonical: Canonical) -> Json:
    """The plan as a CarePlan, without `meta` (contract 6)."""
    care_plan: Json = {
        "resourceType": "CarePlan",
        "id": plan.id,
        "identifier": [{"system": canonical.identifier("care-plan"), "value": plan.id}],
        "instantiatesCanonical": [plan.programme],
        "status": plan.status,
        "intent": "plan",
        "title": plan.title,
        "description": plan.description or None,
        "subject": {"reference": plan.patient},
        "period": {"start": plan.start, "end": plan.end},
        "created": plan.created,
        "author": {"reference": plan.author},
        "supportingInfo": [{"reference": plan.referral}],
        "activity": [{"reference": {"reference": task}} for task in plan.activities],
    }
    return {name: value for name, value in care_plan.items() if value not in (None, [])}


def from_fhir_care_plan(care_plan: Json) -> TreatmentPlan:
    """The plan of a CarePlan that Sluss made."""
    period = care_plan.get("period", {})
    return TreatmentPlan(
        id=care_plan["id"],
        status=care_plan["status"],
        programme=care_plan["instantiatesCanonical"][0],
        title=care_plan.get("title", ""),
        description=care_plan.get("description", ""),
        patient=Reference(care_plan["subject"]["reference"]),
        referral=Reference(care_plan["supportingInfo"][0]["reference"]),
        author=Reference(care_plan["author"]["reference"]),
        created=care_plan["created"],
        start=period["start"],
        end=period["end"],
        activities=tuple(
            Reference(a["reference"]["reference"]) for a in care_plan.get("activity", ()) if "reference" in a
        ),
    )


def with_status(care_plan: Json, status: str) -> Json:
    """A new CarePlan in another state (`draft`, `active`, `on-hold`, `completed`, `revoked`)."""
    return {**care_plan, "status": status}


def started(care_plan: Json, start: str, end: str) -> Json:
    """A new CarePlan that is active from `start` to `end` (ISO dates)."""
    return {**care_plan, "status": "active", "period": {"start": start, "end": end}}


def with_activities(care_plan: Json, tasks: Sequence[Reference]) -> Json:
    """A new CarePlan with more activities; older ones stay."""
    return {
        **care_plan,
        "activity": [*care_plan.get("activity", ()), *({"reference": {"reference": t}} for t in tasks)],
    }
