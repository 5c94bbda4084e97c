"""Is this FHIR R4? Structure, types, required bindings, reference targets and invariants, every problem at once.

`validate` decides; `definition` tells which elements a type has. fhir.resources is imported by `definitions` alone.
"""

from fhir_mappings.r4.definitions import Definition, Element, definition, is_resource_type, summary_elements
from fhir_mappings.r4.validation import validate

__all__ = [
    "DEFINITIONS",
    "SUPPORTED_TYPES",
    "Definition",
    "Element",
    "definition",
    "is_resource_type",
    "prepare",
    "summary_elements",
    "validate",
]

DEFINITIONS: frozenset[str] = frozenset(
    {
        "CodeSystem",
        "OperationDefinition",
        "PlanDefinition",
        "Questionnaire",
        "SearchParameter",
        "StructureDefinition",
        "ValueSet",
    }
)
"""The types that describe us: Sluss writes them, and no request brings one."""

SUPPORTED_TYPES: frozenset[str] = DEFINITIONS | frozenset(
    {
        "Appointment",
        "CarePlan",
        "Communication",
        "Condition",
        "HealthcareService",
        "Observation",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Provenance",
        "QuestionnaireResponse",
        "ServiceRequest",
        "Task",
    }
)
"""The types that may be stored (contract 2). Others, as Bundle and Parameters, can be checked but not kept."""


def prepare() -> None:
    """Compiles the definitions of every type that a request may bring, so that the first one is as fast as the next.

    Takes about a second of start-up; without it each type is compiled when it first comes.
    """
    seen: set[str] = set()
    waiting = [*(SUPPORTED_TYPES - DEFINITIONS), "Bundle", "OperationOutcome", "Parameters"]
    while waiting:
        name = waiting.pop()
        if name in seen or name == "Resource":
            continue
        seen.add(name)
        waiting += [element.type_name for element in definition(name).elements.values() if not element.primitive]
