"""The CapabilityStatement: exactly what works, made from the tables that do the work (contract 2).

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.about import PUBLISHED, SOFTWARE_VERSION
from service.definitions.operations import OPERATIONS
from service.store.search_parameters import BY_TYPE, Kind
from service.web.rest import CREATABLE, TYPES, UPDATABLE

COMMON = (("_id", "token"), ("_lastUpdated", "date"))
"""Parameters that every type has."""


def capability_statement(canonical: Canonical, base: str) -> Json:
    """What this server does, for the base that clients see."""
    return {
        **capability_of(canonical),
        "kind": "instance",
        "implementation": {"description": "Sluss", "url": base},
    }


def capability_of(canonical: Canonical) -> Json:
    """What any server of this version does, wherever it stands."""
    return {
        "resourceType": "CapabilityStatement",
        "id": "sluss",
        "url": f"{canonical.base}/CapabilityStatement/sluss",
        "version": SOFTWARE_VERSION,
        "name": "Sluss",
        "title": "Sluss, remisser till IKBT",
        "status": "active",
        "date": PUBLISHED,
        "kind": "capability",
        "software": {"name": "Sluss", "version": SOFTWARE_VERSION},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "A POST of a ServiceRequest that is already here with the same content answers 200, with different "
                    "content 409. _lastUpdated=gt takes the written value as an exact instant."
                ),
                "resource": [_resource(type_, canonical) for type_ in sorted(TYPES)],
                "interaction": [
                    {
                        "code": "transaction",
                        "documentation": "One ServiceRequest (POST or PUT) with the resources that belong to it.",
                    }
                ],
            }
        ],
    }


def _resource(type_: str, canonical: Canonical) -> Json:
    interactions = ["read", "vread", "history-instance", "search-type"]
    interactions += ["create"] if type_ in CREATABLE else []
    interactions += ["update"] if type_ in UPDATABLE else []
    parameters = BY_TYPE.get(type_, {})
    described: Json = {
        "type": type_,
        "interaction": [{"code": code} for code in interactions],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": type_ in ("ServiceRequest", "Observation", "QuestionnaireResponse"),
        "conditionalRead": "not-supported",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical"],
        "searchInclude": [f"{type_}:{p.name}" for p in parameters.values() if p.kind is Kind.REFERENCE],
        "searchParam": [
            *({"name": name, "type": kind} for name, kind in COMMON),
            *({"name": p.name, "type": str(p.kind)} for p in parameters.values()),
        ],
    }
    described["operation"] = [
        {"name": code, "definition": canonical.operation(code)} for code in OPERATIONS.get(type_, ())
    ]
    return {name: value for name, value in described.items() if value != []}
