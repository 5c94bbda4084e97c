"""The CapabilityStatement: exactly what works, made from the tables that do the work (contract 2).

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.definitions.about import PUBLISHED, SOFTWARE_VERSION
from service.definitions.operations import OPERATIONS
from service.definitions.profiles import PROFILES
from service.definitions.search import definition_of
from service.store.search_parameters import BY_TYPE, PARAMETERS, Kind, SearchParameter, Shape
from service.web.requests_in import PATCHES
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
        "patchFormat": list(PATCHES),
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "A POST of a ServiceRequest that is already here with the same content answers 200, with different "
                    "content 409. _lastUpdated=gt takes the written value as an exact instant. A page of a search by or"
                    " sorted by _lastUpdated never ends between two equal stamps, so it may hold more than _count."
                ),
                "resource": [_resource(type_, canonical) for type_ in sorted(TYPES)],
                "interaction": [
                    {
                        "code": "transaction",
                        "documentation": (
                            "At most one ServiceRequest (POST or PUT) with the resources that belong to it; with or"
                            " without it, changes of Tasks and evidence, messages, reads and searches. Entries are done"
                            " in R4's order of verbs, but what others refer to before them."
                        ),
                    },
                    {
                        "code": "batch",
                        "documentation": "Any requests that may be made by themselves; entries do not refer to others.",
                    },
                ],
            }
        ],
    }


def _resource(type_: str, canonical: Canonical) -> Json:
    interactions = ["read", "vread", "history-instance", "history-type", "search-type"]
    interactions += ["create"] if type_ in CREATABLE else []
    interactions += ["update", "patch"] if type_ in UPDATABLE else []
    parameters = BY_TYPE.get(type_, {})
    described: Json = {
        "type": type_,
        "supportedProfile": [canonical.profile(PROFILES[type_])] if type_ in PROFILES else [],
        "interaction": [{"code": code} for code in interactions],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": type_ in CREATABLE,
        "conditionalRead": "full-support",
        "conditionalUpdate": type_ in UPDATABLE,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical"],
        "searchInclude": [f"{type_}:{p.name}" for p in parameters.values() if p.kind is Kind.REFERENCE],
        "searchRevInclude": [f"{p.type}:{p.name}" for p in _pointing_at(type_)],
        "searchParam": [
            {"name": name, "definition": definition_of(type_, name), "type": kind}
            for name, kind in (*COMMON, *((p.name, str(p.kind)) for p in parameters.values()))
        ],
    }
    described["operation"] = [
        {"name": code, "definition": canonical.operation(code)} for code in OPERATIONS.get(type_, ())
    ]
    return {name: value for name, value in described.items() if value != []}


def _pointing_at(type_: str) -> list[SearchParameter]:
    """The reference parameters that a resource of the type may be found behind; URLs are followed forwards only."""
    return [
        p
        for p in PARAMETERS
        if p.kind is Kind.REFERENCE and p.shape is not Shape.CANONICAL and p.type in TYPES and type_ in p.targets
    ]
