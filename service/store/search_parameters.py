"""The one table of search parameters: what a client may search by, where it lies, and whether it is indexed.

Definitions follow https://hl7.org/fhir/R4/searchparameter-registry.html, and a test compares them with it. A new
parameter is a new line here. An indexed one also needs its rows (`search_value`, `measured`, `resource.dated_*`) of
what is stored, so it comes with a migration. Indexed is what a search must find without reading all of a type:
references, identifiers, what an Observation is about and its number, and one date per type.
"""

from collections.abc import Iterable
from dataclasses import replace

from fhir_mappings.r4 import DEFINITIONS
from service.store.search_kinds import Kind, SearchParameter, Shape

__all__ = ["BY_TYPE", "PARAMETERS", "STATUSES", "Kind", "SearchParameter", "Shape"]


def _code(name: str, system: str = "", path: str | None = None) -> SearchParameter:
    return SearchParameter("", name, Kind.TOKEN, (path or name,), Shape.CODE, system=system)


def _concept(name: str, path: str | None = None, shape: Shape = Shape.CONCEPT) -> SearchParameter:
    return SearchParameter("", name, Kind.TOKEN, (path or name,), shape)


def _coding(name: str, path: str | None = None) -> SearchParameter:
    return _concept(name, path, Shape.CODING)


def _reference(name: str, path: str | None, *targets: str, rows: str | None = None) -> SearchParameter:
    return SearchParameter("", name, Kind.REFERENCE, (path or name,), targets=targets, indexed=rows or name)


def _unindexed(name: str, path: str | None, *targets: str) -> SearchParameter:
    """A reference that is seldom there, to types that are not kept, so nothing can be included by it."""
    return replace(_reference(name, path, *targets), indexed=None)


def _canonical(name: str, path: str, *targets: str) -> SearchParameter:
    return SearchParameter("", name, Kind.REFERENCE, (path,), Shape.CANONICAL, targets)


def _date(name: str, *paths: str, main: bool = False) -> SearchParameter:
    return SearchParameter("", name, Kind.DATE, paths or (name,), main=main)


def _string(name: str, *paths: str) -> SearchParameter:
    return SearchParameter("", name, Kind.STRING, paths or (name,))


def _related(name: str, *others: str) -> SearchParameter:
    """The definitions that another is related to in this way, in R4's word for it."""
    paths = (f'relatedArtifact ? (@.type == "{name}").resource', *others)
    return replace(_canonical(name, "", *sorted(DEFINITIONS)), paths=paths)


def _uri(name: str, path: str | None = None) -> SearchParameter:
    return SearchParameter("", name, Kind.URI, (path or name,))


def _quantity(name: str, *paths: str, indexed: bool = False) -> SearchParameter:
    return SearchParameter("", name, Kind.QUANTITY, paths, indexed=name if indexed else None)


_FHIR = "http://hl7.org/fhir/"
_BOOLEAN = "http://terminology.hl7.org/CodeSystem/special-values"

_ORGANISED = ("Organization", "PractitionerRole", "Practitioner")
_PARTY = ("HealthcareService", *_ORGANISED, "Patient")
_PERSON = ("PractitionerRole", "Practitioner", "Patient")
_ORDER = ("ServiceRequest", "CarePlan", "Task")

_OF_A_REFERRAL = (
    *_ORDER,
    "Communication",
    "Observation",
    "QuestionnaireResponse",
    "Condition",
    "Appointment",
)

_IDENTIFIER = replace(_concept("identifier", shape=Shape.IDENTIFIER), indexed="identifier")
_ACTIVE = _code("active", _BOOLEAN)
_PATIENT = (_reference("subject", None, "Patient"), _reference("patient", "subject", "Patient", rows="subject"))
_ENCOUNTER = _reference("encounter", None, "Encounter")
_INSTANTIATES_URI = _uri("instantiates-uri", "instantiatesUri")
_PROTOCOL = (
    _canonical(
        "instantiates-canonical", "instantiatesCanonical", "PlanDefinition", "Questionnaire", "OperationDefinition"
    ),
    _INSTANTIATES_URI,
)
_NAMES = (
    _string("name", "name.family", "name.given", "name.text", "name.prefix", "name.suffix"),
    _string("family", "name.family"),
    _string("given", "name.given"),
)
_ADDRESS = (
    _string(
        "address",
        *(f"address.{part}" for part in ("text", "line", "city", "district", "state", "postalCode", "country")),
    ),
    _string("address-city", "address.city"),
    _string("address-country", "address.country"),
    _string("address-postalcode", "address.postalCode"),
    _string("address-state", "address.state"),
    _code("address-use", f"{_FHIR}address-use", "address.use"),
)
_TELECOM = (
    _code("telecom", path="telecom.value"),
    _code("phone", path='telecom ? (@.system == "phone").value'),
    _code("email", path='telecom ? (@.system == "email").value'),
)
_GENDER = _code("gender", f"{_FHIR}administrative-gender")
_DEFINITION = (
    _uri("url"),
    _code("version"),
    _code("status", f"{_FHIR}publication-status"),
    _string("name"),
    _string("title"),
    _string("description"),
    _string("publisher"),
    _date("date", main=True),
    _concept("jurisdiction"),
    _coding("context-type", "useContext.code"),
    _concept("context", "useContext.valueCodeableConcept"),
)

_TABLE: dict[str, tuple[SearchParameter, ...]] = {
    "Task": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}task-status"),
        _code("intent", f"{_FHIR}task-intent"),
        _code("priority", f"{_FHIR}request-priority"),
        _concept("code"),
        _concept("business-status", "businessStatus"),
        _concept("performer", "performerType"),
        _concept("group-identifier", "groupIdentifier", Shape.IDENTIFIER),
        _reference("owner", None, *_PARTY),
        _reference("requester", None, *_ORGANISED, "Patient"),
        _reference("subject", "for", "Patient"),
        _reference("patient", "for", "Patient", rows="subject"),
        _reference("focus", None, "ServiceRequest", "Communication", "Task"),
        _reference("based-on", "basedOn", *_ORDER),
        _reference("part-of", "partOf", "Task"),
        _ENCOUNTER,
        _date("authored-on", "authoredOn", main=True),
        _date("modified", "lastModified"),
        _date("period", "executionPeriod"),
    ),
    "ServiceRequest": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}request-status"),
        _code("intent", f"{_FHIR}request-intent"),
        _code("priority", f"{_FHIR}request-priority"),
        _concept("code"),
        _concept("category"),
        _concept("performer-type", "performerType"),
        _concept("body-site", "bodySite"),
        _concept("requisition", shape=Shape.IDENTIFIER),
        *_PATIENT,
        _reference("requester", None, *_ORGANISED, "Patient"),
        _reference("performer", None, *_PARTY),
        _reference("based-on", "basedOn", "ServiceRequest", "CarePlan"),
        _reference("replaces", None, "ServiceRequest"),
        _ENCOUNTER,
        _canonical("instantiates-canonical", "instantiatesCanonical", "PlanDefinition"),
        _INSTANTIATES_URI,
        _date("authored", "authoredOn", main=True),
        _date("occurrence", "occurrenceDateTime", "occurrencePeriod"),
    ),
    "Communication": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}event-status"),
        _concept("category"),
        _concept("medium"),
        *_PATIENT,
        _reference("sender", None, *_PARTY),
        _reference("recipient", None, *_PARTY),
        _reference("based-on", "basedOn", *_ORDER),
        _reference("part-of", "partOf", "Task", "Communication"),
        _ENCOUNTER,
        *_PROTOCOL,
        _date("sent", main=True),
        _date("received"),
    ),
    "Observation": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}observation-status"),
        replace(_concept("code"), indexed="code"),
        _concept("category"),
        _concept("method"),
        _concept("data-absent-reason", "dataAbsentReason"),
        _concept("value-concept", "valueCodeableConcept"),
        _concept("component-code", "component.code"),
        _concept("component-value-concept", "component.valueCodeableConcept"),
        _concept("component-data-absent-reason", "component.dataAbsentReason"),
        replace(_concept("combo-code"), paths=("code", "component.code")),
        replace(_concept("combo-value-concept"), paths=("valueCodeableConcept", "component.valueCodeableConcept")),
        replace(_concept("combo-data-absent-reason"), paths=("dataAbsentReason", "component.dataAbsentReason")),
        *_PATIENT,
        _reference("based-on", "basedOn", "ServiceRequest", "CarePlan"),
        _reference("part-of", "partOf", "Procedure"),
        _reference("derived-from", "derivedFrom", "QuestionnaireResponse", "Observation"),
        _reference("has-member", "hasMember", "Observation", "QuestionnaireResponse"),
        _reference("focus", None, "Patient", "ServiceRequest"),
        _reference("performer", None, *_ORGANISED, "Patient"),
        _ENCOUNTER,
        _date("date", "effectiveDateTime", "effectivePeriod", "effectiveInstant", main=True),
        _date("value-date", "valueDateTime", "valuePeriod"),
        _string("value-string", "valueString", "valueCodeableConcept.text"),
        _quantity("value-quantity", "valueQuantity", indexed=True),
        _quantity("component-value-quantity", "component.valueQuantity"),
        _quantity("combo-value-quantity", "valueQuantity", "component.valueQuantity"),
    ),
    "QuestionnaireResponse": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}questionnaire-answers-status"),
        _canonical("questionnaire", "questionnaire", "Questionnaire"),
        *_PATIENT,
        _reference("author", None, *_ORGANISED, "Patient"),
        _reference("source", None, *_PERSON),
        _reference("based-on", "basedOn", "ServiceRequest", "CarePlan"),
        _reference("part-of", "partOf", "Observation"),
        _ENCOUNTER,
        _date("authored", main=True),
    ),
    "CarePlan": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}request-status"),
        _code("intent", f"{_FHIR}request-intent"),
        _concept("category"),
        _concept("activity-code", "activity.detail.code"),
        *_PATIENT,
        _reference("based-on", "basedOn", "CarePlan"),
        _reference("part-of", "partOf", "CarePlan"),
        _reference("replaces", None, "CarePlan"),
        _reference("condition", "addresses", "Condition"),
        _reference("activity-reference", "activity.reference", "Task", "Appointment", "ServiceRequest"),
        _reference("performer", "activity.detail.performer", *_PARTY),
        _unindexed("care-team", "careTeam", "CareTeam"),
        _unindexed("goal", None, "Goal"),
        _ENCOUNTER,
        *_PROTOCOL,
        _date("date", "period", main=True),
        _date("activity-date", "activity.detail.scheduledPeriod"),
    ),
    "Condition": (
        _IDENTIFIER,
        _concept("code"),
        _concept("category"),
        _concept("severity"),
        _concept("body-site", "bodySite"),
        _concept("stage", "stage.summary"),
        _concept("evidence", "evidence.code"),
        _concept("clinical-status", "clinicalStatus"),
        _concept("verification-status", "verificationStatus"),
        *_PATIENT,
        _reference("asserter", None, *_PERSON),
        _reference("evidence-detail", "evidence.detail", "Observation", "QuestionnaireResponse"),
        _ENCOUNTER,
        _date("recorded-date", "recordedDate", main=True),
        _date("onset-date", "onsetDateTime", "onsetPeriod"),
        _date("abatement-date", "abatementDateTime", "abatementPeriod"),
        _string("onset-info", "onsetString"),
        _string("abatement-string", "abatementString"),
    ),
    "Appointment": (
        _IDENTIFIER,
        _code("status", f"{_FHIR}appointmentstatus"),
        _code("part-status", f"{_FHIR}participationstatus", "participant.status"),
        _concept("appointment-type", "appointmentType"),
        _concept("service-category", "serviceCategory"),
        _concept("service-type", "serviceType"),
        _concept("specialty"),
        _concept("reason-code", "reasonCode"),
        _reference("actor", "participant.actor", "HealthcareService", *_PERSON, "Location"),
        _reference("patient", "participant.actor", "Patient", rows="actor"),
        _reference("practitioner", "participant.actor", "Practitioner", rows="actor"),
        _reference("location", "participant.actor", "Location", rows="actor"),
        _reference("based-on", "basedOn", "ServiceRequest"),
        _reference("reason-reference", "reasonReference", "Condition", "Observation"),
        _reference("supporting-info", "supportingInformation", "ServiceRequest", "Observation", "Condition"),
        _reference("slot", None, "Slot"),
        _date("date", "start", main=True),
    ),
    "Patient": (
        _IDENTIFIER,
        _ACTIVE,
        *_NAMES,
        *_ADDRESS,
        *_TELECOM,
        _GENDER,
        _concept("language", "communication.language"),
        _reference("general-practitioner", "generalPractitioner", *_ORGANISED),
        _reference("organization", "managingOrganization", "Organization"),
        _reference("link", "link.other", "Patient"),
        _date("birthdate", "birthDate"),
        _date("death-date", "deceasedDateTime"),
        replace(_code("deceased", _BOOLEAN), paths=("deceasedBoolean", "deceasedDateTime"), shape=Shape.TRUTH),
    ),
    "Practitioner": (
        _IDENTIFIER,
        _ACTIVE,
        *_NAMES,
        *_ADDRESS,
        *_TELECOM,
        _GENDER,
        _concept("communication"),
    ),
    "PractitionerRole": (
        _IDENTIFIER,
        _ACTIVE,
        *_TELECOM,
        _concept("role", "code"),
        _concept("specialty"),
        _reference("organization", None, "Organization"),
        _reference("practitioner", None, "Practitioner"),
        _reference("service", "healthcareService", "HealthcareService"),
        _reference("location", None, "Location"),
        _reference("endpoint", None, "Endpoint"),
        _date("date", "period"),
    ),
    "Organization": (
        _IDENTIFIER,
        _ACTIVE,
        _string("name", "name", "alias"),
        *_ADDRESS,
        _concept("type"),
        _reference("partof", "partOf", "Organization"),
        _reference("endpoint", None, "Endpoint"),
    ),
    "HealthcareService": (
        _IDENTIFIER,
        _ACTIVE,
        _string("name"),
        _concept("service-category", "category"),
        _concept("service-type", "type"),
        _concept("specialty"),
        _concept("program"),
        _concept("characteristic"),
        _reference("organization", "providedBy", "Organization"),
        _reference("location", None, "Location"),
        _reference("coverage-area", "coverageArea", "Location"),
        _reference("endpoint", None, "Endpoint"),
    ),
    "Questionnaire": (
        _IDENTIFIER,
        *_DEFINITION,
        _date("effective", "effectivePeriod"),
        _coding("code", "item.code"),
        _uri("definition", "item.definition"),
        _code("subject-type", f"{_FHIR}resource-types", "subjectType"),
    ),
    "PlanDefinition": (
        _IDENTIFIER,
        *_DEFINITION,
        _date("effective", "effectivePeriod"),
        _concept("topic"),
        _concept("type"),
        _canonical("definition", "action.definitionCanonical", "PlanDefinition", "Questionnaire"),
        *map(_related, ("composed-of", "derived-from", "predecessor", "successor")),
        _related("depends-on", "library"),
    ),
    "OperationDefinition": (
        *_DEFINITION,
        _code("code"),
        _code("kind", f"{_FHIR}operation-kind"),
        _code("type", _BOOLEAN),
        _code("system", _BOOLEAN),
        _code("instance", _BOOLEAN),
        _canonical("base", "base", "OperationDefinition"),
        _canonical("input-profile", "inputProfile", "StructureDefinition"),
        _canonical("output-profile", "outputProfile", "StructureDefinition"),
    ),
    "CodeSystem": (
        _IDENTIFIER,
        *_DEFINITION,
        _code("code", path="concept.code"),
        _code("content-mode", f"{_FHIR}codesystem-content-mode", "content"),
        _code("language", "urn:ietf:bcp:47", "concept.designation.language"),
        _uri("system", "url"),
        _canonical("supplements", "supplements", "CodeSystem"),
    ),
    "ValueSet": (
        _IDENTIFIER,
        *_DEFINITION,
        replace(_code("code"), paths=("expansion.contains.code", "compose.include.concept.code")),
        _uri("expansion", "expansion.identifier"),
        _uri("reference", "compose.include.system"),
    ),
    "StructureDefinition": (
        _IDENTIFIER,
        *_DEFINITION,
        _code("abstract", _BOOLEAN),
        _canonical("base", "baseDefinition", "StructureDefinition"),
        _code("derivation", f"{_FHIR}type-derivation-rule"),
        _code("experimental", _BOOLEAN),
        _code("ext-context", f"{_FHIR}extension-context-type", "context.type"),
        _coding("keyword"),
        replace(_code("path"), paths=("snapshot.element.path", "differential.element.path")),
        replace(_code("base-path"), paths=("snapshot.element.base.path", "differential.element.base.path")),
        _canonical("valueset", "snapshot.element.binding.valueSet", "ValueSet"),
        _code("kind", f"{_FHIR}structure-definition-kind"),
        _uri("type"),
    ),
    "SearchParameter": (
        *(parameter for parameter in _DEFINITION if parameter.name != "title"),  # R4 gives it none
        _code("base", f"{_FHIR}resource-types"),
        _code("code"),
        _code("target", f"{_FHIR}resource-types"),
        _code("type", f"{_FHIR}search-param-type"),
        _canonical("derived-from", "derivedFrom", "SearchParameter"),
    ),
    "Provenance": (
        _reference("target", None, *_OF_A_REFERRAL, *_ORGANISED, "Patient"),
        _reference("patient", "target", "Patient", rows="target"),
        _reference("agent", "agent.who", *_ORGANISED, "Patient"),
        _reference("entity", "entity.what", *_OF_A_REFERRAL, *_ORGANISED, "Patient"),
        _concept("agent-type", "agent.type"),
        _concept("agent-role", "agent.role"),
        _coding("signature-type", "signature.type"),
        _unindexed("location", None, "Location"),
        _date("recorded", main=True),
        _date("when", "occurredDateTime"),
    ),
    # Of R4's others no event has the element, or no code in it: agent-role is a text.
    "AuditEvent": (
        _coding("type"),
        _coding("subtype"),
        _code("action", f"{_FHIR}audit-event-action"),
        _code("outcome", f"{_FHIR}audit-event-outcome"),
        _reference("agent", "agent.who", *_ORGANISED, "Patient"),
        _reference("entity", "entity.what", *_OF_A_REFERRAL, *_ORGANISED, "Patient"),
        # R4 also means a patient who acts; none does here.
        _reference("patient", "entity.what", "Patient", rows="entity"),
        _coding("entity-type", "entity.type"),
        _coding("entity-role", "entity.role"),
        _reference("source", "source.observer", "Device"),
        _string("address", "agent.network.address"),
        _uri("policy", "agent.policy"),
        _date("date", "recorded", main=True),
    ),
}

_OF_ALL = (
    _coding("_tag", "meta.tag"),
    _coding("_security", "meta.security"),
    _uri("_profile", "meta.profile"),
    _uri("_source", "meta.source"),
)
"""What every type has, beside `_id` and `_lastUpdated`, which are columns."""


def _of(type_: str, parameters: Iterable[SearchParameter]) -> dict[str, SearchParameter]:
    return {parameter.name: replace(parameter, type=type_) for parameter in parameters}


BY_TYPE: dict[str, dict[str, SearchParameter]] = {
    type_: _of(type_, (*parameters, *_OF_ALL)) for type_, parameters in _TABLE.items()
}
"""type → name → parameter"""

PARAMETERS: tuple[SearchParameter, ...] = tuple(p for parameters in BY_TYPE.values() for p in parameters.values())

STATUSES: dict[str, tuple[str, ...]] = {
    type_: tuple(codes.split())
    for type_, codes in {
        "Task": "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed"
        " entered-in-error",
        "ServiceRequest": "draft active on-hold revoked completed entered-in-error unknown",
        "Communication": "preparation in-progress not-done on-hold stopped completed entered-in-error unknown",
        "Observation": "registered preliminary final amended corrected cancelled entered-in-error unknown",
        "QuestionnaireResponse": "in-progress completed amended entered-in-error stopped",
        "CarePlan": "draft active on-hold revoked completed entered-in-error unknown",
        "Appointment": "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in"
        " waitlist",
        "Questionnaire": "draft active retired unknown",
        "PlanDefinition": "draft active retired unknown",
        "OperationDefinition": "draft active retired unknown",
        "CodeSystem": "draft active retired unknown",
        "ValueSet": "draft active retired unknown",
        "StructureDefinition": "draft active retired unknown",
        "SearchParameter": "draft active retired unknown",
    }.items()
}
"""The required value sets of `status`. An index row is keyed by status, so a search without one asks for each of these.
Types that are not here have none, and '' in their rows."""
