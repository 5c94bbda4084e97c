"""HL7 Sweden's base profiles that ours build on, as their FSH says, in R4's own JSON.

https://github.com/HL7Sweden/basprofiler-r4 `input/fsh` (CC0), at d983982. Only what constrains: a server needs the base
of a profile to validate by it.
"""

from typing import Any

from fhir_mappings.records import Json

BASE = "http://hl7.se/fhir/ig/base/StructureDefinition"
_HL7 = "http://hl7.org/fhir/StructureDefinition"
_V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_BY_SYSTEM = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}


def _element(id_: str, path: str = "", **constraints: Any) -> Json:
    return {"id": id_, "path": path or id_, **constraints}


def _definition(name: str, type_: str, kind: str, *elements: Json) -> Json:
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": f"{BASE}/{name}",
        "name": name,
        "status": "active",
        "fhirVersion": "4.0.1",
        "kind": kind,
        "abstract": False,
        "type": type_,
        "baseDefinition": f"{_HL7}/{type_}",
        "derivation": "constraint",
        "differential": {"element": [_element(type_), *elements]},
    }


def _extension(name: str, where: str, value: str) -> Json:
    definition = _definition(
        name,
        "Extension",
        "complex-type",
        _element("Extension.extension", max="0"),
        _element("Extension.url", fixedUri=f"{BASE}/{name}"),
        _element("Extension.value[x]", min=1, type=[{"code": value}]),
    )
    return {**definition, "context": [{"type": "element", "expression": where}]}


def _with_extension(path: str, name: str, url: str) -> list[Json]:
    by_url = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
    kind = [{"code": "Extension", "profile": [url]}]
    return [
        _element(f"{path}.extension", slicing=by_url),
        _element(f"{path}.extension:{name}", f"{path}.extension", sliceName=name, min=0, max="1", type=kind),
    ]


def _identifiers(type_: str, **systems: str) -> list[Json]:
    elements = [_element(f"{type_}.identifier", slicing=_BY_SYSTEM)]
    for name, system in systems.items():
        place = f"{type_}.identifier:{name}"
        elements.append(_element(place, f"{type_}.identifier", sliceName=name, min=0, max="1"))
        if name in ("hsaid", "organizationIdentifier"):
            code = "PRN" if name == "hsaid" else "XX"
            concept = {"coding": [{"system": _V2, "code": code}]}
            elements.append(_element(f"{place}.type", f"{type_}.identifier.type", patternCodeableConcept=concept))
        elements.append(_element(f"{place}.system", f"{type_}.identifier.system", min=1, fixedUri=system))
    return elements


_ELECTRONIC = "http://electronichealth.se/identifier"

DEFINITIONS = [
    _extension("SEBaseMiddleNameExtension", "HumanName", "string"),
    _extension("SEBaseOwnFamilyExtension", "HumanName", "string"),
    _extension("SEBaseAddressPersonExtension", "Address", "CodeableConcept"),
    _definition(
        "SEBaseHumanName",
        "HumanName",
        "complex-type",
        *_with_extension("HumanName", "middleName", f"{BASE}/SEBaseMiddleNameExtension"),
        _element(
            "HumanName.extension:ownFamily",
            "HumanName.extension",
            sliceName="ownFamily",
            min=0,
            max="1",
            type=[{"code": "Extension", "profile": [f"{BASE}/SEBaseOwnFamilyExtension"]}],
        ),
    ),
    _definition(
        "SEBasePatient",
        "Patient",
        "resource",
        *_identifiers(
            "Patient",
            personnummer=f"{_ELECTRONIC}/personnummer",
            samordningsnummer=f"{_ELECTRONIC}/samordningsnummer",
            nationelltReservnummer=f"{_ELECTRONIC}/nationelltReservnummer",
        ),
        _element("Patient.name", max="1", type=[{"code": "HumanName", "profile": [f"{BASE}/SEBaseHumanName"]}]),
        *_with_extension("Patient.address", "officialAddressType", f"{BASE}/SEBaseAddressPersonExtension"),
    ),
    _definition(
        "SEBaseOrganization",
        "Organization",
        "resource",
        *_identifiers("Organization", hsaid="urn:oid:1.2.752.29.4.19", organizationIdentifier="urn:oid:2.5.4.97"),
    ),
]
