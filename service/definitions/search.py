"""Which of HL7's SearchParameters each of ours is. https://hl7.org/fhir/R4/searchparameter-registry.html

A test compares these with the definitions that HAPI brings along.
"""

_BASE = "http://hl7.org/fhir/SearchParameter"

_DEFINITIONS = {"CodeSystem", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet"}
_PEOPLE = {"Patient", "Practitioner"}

_SHARED = {
    ("conformance", "context context-type date description identifier jurisdiction name"): _DEFINITIONS,
    ("conformance", "publisher status title url version"): _DEFINITIONS,
    ("individual", "address address-city address-country address-postalcode address-state address-use"): _PEOPLE,
    ("individual", "birthdate family gender given"): _PEOPLE,
    ("individual", "email phone telecom"): {*_PEOPLE, "PractitionerRole"},
    ("clinical", "identifier patient"): {"CarePlan", "Condition", "Observation", "ServiceRequest"},
    ("clinical", "code"): {"Condition", "Observation", "ServiceRequest"},
    ("clinical", "date"): {"CarePlan", "Observation"},
    ("clinical", "encounter"): {"Observation", "ServiceRequest"},
}
"""(group, names) of definitions that several types share, and the types."""

_GROUPS = {
    (type_, name): group for (group, names), types in _SHARED.items() for name in names.split() for type_ in types
}


def definition_of(type_: str, name: str) -> str:
    """The canonical URL of the definition of a type's search parameter, `_id` and the like included."""
    if name.startswith("_"):
        return f"{_BASE}/Resource-{name[1:]}"
    return f"{_BASE}/{_GROUPS.get((type_, name), type_)}-{name}"
