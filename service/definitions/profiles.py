"""Our profiles and extensions: what Sluss writes, and what it needs of a referral.

Differentials only; a server makes the snapshots. Patient and Organization build on HL7 Sweden's base profiles
(hl7se.fhir.base). PractitionerRole does not: SEBasePractitionerRole slices `code.coding` by system without giving any
slice one, which a validator cannot evaluate. https://hl7.org/fhir/R4/profiling.html
"""

from collections.abc import Iterator
from typing import Any

from fhir_mappings.madrs_s import ITEMS
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical, Systems
from service.definitions.about import SOFTWARE_VERSION, headed

SE_BASE = "http://hl7.se/fhir/ig/base/StructureDefinition"
"""https://github.com/HL7Sweden/basprofiler-r4 (CC0), `sushi-config.yaml` and `input/fsh`"""

_HL7 = "http://hl7.org/fhir/StructureDefinition"

PROFILES = {
    "ServiceRequest": "ikbt-referral",
    "Task": "ikbt-referral-task",
    "Communication": "ikbt-message",
    "Observation": "madrs-s-total",
    "CarePlan": "ikbt-treatment",
    "Patient": "ikbt-patient",
    "Organization": "ikbt-unit",
    "HealthcareService": "ikbt-team",
    "PractitionerRole": "ikbt-therapist",
}
"""The profile of each type that has one."""


def structure_definitions(canonical: Canonical) -> Iterator[Json]:
    """Every profile and extension."""
    yield _referral(canonical)
    yield _task(canonical)
    yield _message(canonical)
    yield _madrs_s_total(canonical)
    yield _treatment(canonical)
    yield _patient(canonical)
    yield _unit(canonical)
    yield _team(canonical)
    yield _therapist(canonical)
    yield from _extensions(canonical)


def _referral(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "ServiceRequest",
        "Remiss till IKBT",
        "What Sluss needs of a referral. Who is neither stored nor contained is named by identifier.",
        _element(
            "ServiceRequest.identifier", min=1, short="The referrer's own number: the one typed PLAC, or the only one"
        ),
        _element("ServiceRequest.intent", fixedCode="order"),
        _element("ServiceRequest.doNotPerform", max="0"),
        _element("ServiceRequest.code", min=1),
        *_sliced("ServiceRequest.code.coding", "programme", canonical.programme, canonical.value_set("ikbt-programme")),
        _element("ServiceRequest.subject", type=[_reference("Patient")]),
        _element("ServiceRequest.authoredOn", min=1),
        _element(
            "ServiceRequest.requester", min=1, type=[_reference("PractitionerRole", "Organization", "Practitioner")]
        ),
    )


def _task(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "Task",
        "Remissens uppgift",
        "The Task of a referral, as Sluss makes it and the team carries it out.",
        _element("Task.identifier", min=1),
        _element("Task.businessStatus", binding=_required(canonical, "ikbt-business-status")),
        _element("Task.intent", fixedCode="order"),
        _element("Task.priority", min=1),
        _element("Task.code", min=1, patternCodeableConcept=_concept(Systems.TASK_CODE, "fulfill")),
        _element("Task.focus", min=1, type=[_reference("ServiceRequest")]),
        _element("Task.for", min=1, type=[_reference("Patient")]),
        _element("Task.authoredOn", min=1),
        _element("Task.lastModified", min=1),
        _element("Task.requester", min=1),
        _element("Task.owner", min=1, type=[_reference("HealthcareService", "PractitionerRole")]),
        _element("Task.input.type", binding=_required(canonical, "task-input")),
        _element("Task.input.value[x]", type=[{"code": "CodeableConcept"}, {"code": "string"}]),
        _element("Task.output.type", binding=_bound(canonical, "task-output", "extensible")),
    )


def _message(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "Communication",
        "Meddelande om en remiss",
        "What Sluss tells the referrer of, on the way to and from the record.",
        _element("Communication.identifier", min=1),
        _element("Communication.basedOn", min=1, max="1", type=[_reference("ServiceRequest")]),
        _element("Communication.partOf", min=1, type=[_reference("Task", "Communication")]),
        _element("Communication.category", min=1, max="1"),
        *_sliced("Communication.category.coding", "kind", canonical.message, canonical.value_set("ikbt-message")),
        _element("Communication.priority", min=1),
        _element("Communication.subject", min=1, type=[_reference("Patient")]),
        _element("Communication.recipient", min=1, max="1"),
        _element("Communication.recipient.identifier", min=1, short="The unit's HSA-id"),
        _element("Communication.sender", min=1),
        _element("Communication.payload", min=1),
        _element("Communication.payload.content[x]", type=[{"code": "string"}]),
    )


def _madrs_s_total(canonical: Canonical) -> Json:
    score = {"system": str(Systems.UCUM), "code": "{score}"}
    return _profile(
        canonical,
        "Observation",
        "MADRS-S, totalpoäng",
        f"The total, and where the answers are known the {len(ITEMS)} items, as Sluss writes them of a response.",
        _element(
            "Observation.category", min=1, patternCodeableConcept=_concept(Systems.OBSERVATION_CATEGORY, "survey")
        ),
        _element("Observation.code", patternCodeableConcept=_concept(canonical.madrs_s, "total")),
        _element("Observation.subject", min=1, type=[_reference("Patient")]),
        _element("Observation.performer", max="0", short="A computed total has none"),
        _element("Observation.value[x]", min=1, type=[{"code": "Quantity"}], patternQuantity=score),
        _element("Observation.component", max=str(len(ITEMS))),
        _element("Observation.component.code", binding=_required(canonical, "madrs-s")),
        _element(
            "Observation.component.value[x]", min=1, type=[{"code": "integer"}], minValueInteger=0, maxValueInteger=6
        ),
    )


def _treatment(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "CarePlan",
        "Behandling",
        "The treatment by one programme; its activities are child Tasks of the referral's.",
        _element("CarePlan.identifier", min=1),
        _element("CarePlan.instantiatesCanonical", min=1, max="1", short="The programme's PlanDefinition"),
        _element("CarePlan.intent", fixedCode="plan"),
        _element("CarePlan.subject", type=[_reference("Patient")]),
        _element("CarePlan.period", min=1),
        _element("CarePlan.author", min=1),
        _element("CarePlan.activity.reference", min=1, type=[_reference("Task")]),
    )


def _patient(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "Patient",
        "Patient",
        "A patient with a Swedish national identifier; the municipality may stand in the address.",
        _element("Patient.identifier", min=1),
        *_with_extension("Patient.address", "municipality", canonical.municipality_extension),
        base=f"{SE_BASE}/SEBasePatient",
    )


def _unit(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "Organization",
        "Enhet",
        "A unit that refers or has a team, by its HSA-id.",
        _element("Organization.identifier", min=1),
        _element("Organization.identifier:hsaid", path="Organization.identifier", sliceName="hsaid", min=1),
        *_with_extension("Organization.address", "municipality", canonical.municipality_extension),
        base=f"{SE_BASE}/SEBaseOrganization",
    )


def _team(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "HealthcareService",
        "Team av internetbehandlare",
        "A team: where it is seated and how it is reached.",
        *_with_extension("HealthcareService", "internalPost", canonical.internal_post_extension),
        _element("HealthcareService.identifier", min=1),
        _element("HealthcareService.providedBy", min=1),
        _element("HealthcareService.name", min=1),
        _element("HealthcareService.telecom", min=1),
        *_with_extension("HealthcareService.telecom", "phoneMenu", canonical.phone_menu_extension),
    )


def _therapist(canonical: Canonical) -> Json:
    return _profile(
        canonical,
        "PractitionerRole",
        "Internetbehandlare",
        "What a member of a team is, not who.",
        _element("PractitionerRole.organization", min=1),
        _element("PractitionerRole.code", min=1, binding=_bound(canonical, "ikbt-role", "extensible")),
        _element("PractitionerRole.healthcareService", min=1, max="1"),
    )


def _extensions(canonical: Canonical) -> Iterator[Json]:
    for id_, type_, where, title, description in _EXTENSIONS:
        yield _extension(canonical, id_, type_, where, title=title, description=description)


_EXTENSIONS = (
    ("municipality-code", "code", "Address", "Kommunkod", "Four digits."),
    ("phone-menu", "string", "ContactPoint", "Knappval", "The menu choice that leads to the team."),
    ("internal-post", "string", "HealthcareService", "Internpost", "Number of the region's internal post."),
)

# ---------------------------------------------------------------- building blocks


def _profile(canonical: Canonical, type_: str, title: str, description: str, *elements: Json, base: str = "") -> Json:
    return {
        **headed(
            "StructureDefinition",
            PROFILES[type_],
            canonical.base,
            SOFTWARE_VERSION,
            title=title,
            description=description,
        ),
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": base or f"{_HL7}/{type_}",
        "derivation": "constraint",
        "differential": {"element": [{"id": type_, "path": type_}, *elements]},
    }


def _extension(canonical: Canonical, id_: str, type_: str, where: str, *, title: str, description: str) -> Json:
    url = canonical.profile(id_)
    return {
        **headed("StructureDefinition", id_, canonical.base, SOFTWARE_VERSION, title=title, description=description),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": where}],
        "type": "Extension",
        "baseDefinition": f"{_HL7}/Extension",
        "derivation": "constraint",
        "differential": {
            "element": [
                {"id": "Extension", "path": "Extension", "short": title, "definition": description, "max": "1"},
                _element("Extension.extension", max="0"),
                _element("Extension.url", fixedUri=url),
                _element("Extension.value[x]", min=1, type=[{"code": type_}]),
            ]
        },
    }


def _element(id_: str, path: str = "", **constraints: Any) -> Json:
    return {"id": id_, "path": path or id_, **constraints}


def _sliced(path: str, name: str, system: str, value_set: str) -> Iterator[Json]:
    """Exactly one coding of a system, whatever other codings there are."""
    by_system = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}
    yield _element(path, slicing=by_system, min=1)
    yield _element(
        f"{path}:{name}",
        path,
        sliceName=name,
        min=1,
        max="1",
        binding={"strength": "required", "valueSet": value_set},
    )
    yield _element(f"{path}:{name}.system", f"{path}.system", min=1, fixedUri=system)
    yield _element(f"{path}:{name}.code", f"{path}.code", min=1)


def _with_extension(path: str, name: str, url: str) -> Iterator[Json]:
    by_url = {"discriminator": [{"type": "value", "path": "url"}], "ordered": False, "rules": "open"}
    yield _element(f"{path}.extension", slicing=by_url)
    yield _element(
        f"{path}.extension:{name}",
        f"{path}.extension",
        sliceName=name,
        max="1",
        type=[{"code": "Extension", "profile": [url]}],
    )


def _reference(*types: str) -> Json:
    return {"code": "Reference", "targetProfile": [f"{_HL7}/{type_}" for type_ in types]}


def _concept(system: str, code: str) -> Json:
    return {"coding": [{"system": str(system), "code": code}]}


def _required(canonical: Canonical, value_set: str) -> Json:
    return _bound(canonical, value_set, "required")


def _bound(canonical: Canonical, value_set: str, strength: str) -> Json:
    return {"strength": strength, "valueSet": canonical.value_set(value_set)}
