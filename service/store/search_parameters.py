"""The one table of search parameters: what a client may search by, where it lies, and whether it is indexed.

Definitions follow https://hl7.org/fhir/R4/searchparameter-registry.html. A new parameter is a new line here; an
`indexed` one also needs the rows of stored resources (`search_value`) to be written anew, so it comes with a migration.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Search parameter types that Sluss knows: https://hl7.org/fhir/R4/search.html#ptypes"""

    TOKEN = "token"  # noqa: S105 - FHIR's word, not a secret
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    URI = "uri"


class TokenShape(StrEnum):
    """What a token parameter's element looks like."""

    CODE = "code"
    CONCEPT = "concept"
    IDENTIFIER = "identifier"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One parameter of one type. `paths` are element paths below the resource; arrays on the way are looked into."""

    type: str
    name: str
    kind: Kind
    paths: tuple[str, ...]
    shape: TokenShape | None = None
    targets: tuple[str, ...] = ()
    """Types that a reference may point at."""
    indexed: str | None = None
    """Name of its rows in `search_value`; None when the resource itself is looked into. Two parameters over the same
    element (`subject`, `patient`) share one."""


def _token(type_: str, name: str, path: str, shape: TokenShape = TokenShape.CONCEPT) -> SearchParameter:
    return SearchParameter(type_, name, Kind.TOKEN, (path,), shape)


def _code(type_: str, name: str, path: str) -> SearchParameter:
    return _token(type_, name, path, TokenShape.CODE)


def _identifier(type_: str) -> SearchParameter:
    return SearchParameter(
        type_, "identifier", Kind.TOKEN, ("identifier",), TokenShape.IDENTIFIER, indexed="identifier"
    )


def _reference(type_: str, name: str, path: str, *targets: str, rows: str | None = None) -> SearchParameter:
    return SearchParameter(type_, name, Kind.REFERENCE, (path,), targets=targets, indexed=rows or name)


def _date(type_: str, name: str, *paths: str) -> SearchParameter:
    return SearchParameter(type_, name, Kind.DATE, paths)


def _string(type_: str, name: str, *paths: str) -> SearchParameter:
    return SearchParameter(type_, name, Kind.STRING, paths)


_PARTY = ("HealthcareService", "PractitionerRole", "Organization", "Practitioner", "Patient")
_PLAN_BASIS = ("ServiceRequest", "CarePlan")

PARAMETERS: tuple[SearchParameter, ...] = (
    _identifier("Task"),
    _code("Task", "status", "status"),
    _code("Task", "intent", "intent"),
    _code("Task", "priority", "priority"),
    _token("Task", "code", "code"),
    _token("Task", "business-status", "businessStatus"),
    _reference("Task", "owner", "owner", *_PARTY),
    _reference("Task", "requester", "requester", "Organization", "PractitionerRole", "Practitioner"),
    _reference("Task", "subject", "for", "Patient"),
    _reference("Task", "patient", "for", "Patient", rows="subject"),
    _reference("Task", "focus", "focus", "ServiceRequest", "Communication", "Task"),
    _reference("Task", "based-on", "basedOn", *_PLAN_BASIS),
    _reference("Task", "part-of", "partOf", "Task"),
    _date("Task", "authored-on", "authoredOn"),
    _date("Task", "modified", "lastModified"),
    _date("Task", "period", "executionPeriod"),
    _identifier("ServiceRequest"),
    _code("ServiceRequest", "status", "status"),
    _code("ServiceRequest", "intent", "intent"),
    _code("ServiceRequest", "priority", "priority"),
    _token("ServiceRequest", "code", "code"),
    _token("ServiceRequest", "category", "category"),
    _reference("ServiceRequest", "subject", "subject", "Patient"),
    _reference("ServiceRequest", "patient", "subject", "Patient", rows="subject"),
    _reference("ServiceRequest", "requester", "requester", "Organization", "PractitionerRole", "Practitioner"),
    _date("ServiceRequest", "authored", "authoredOn"),
    _identifier("Communication"),
    _code("Communication", "status", "status"),
    _token("Communication", "category", "category"),
    _reference("Communication", "subject", "subject", "Patient"),
    _reference("Communication", "patient", "subject", "Patient", rows="subject"),
    _reference("Communication", "sender", "sender", *_PARTY),
    _reference("Communication", "recipient", "recipient", *_PARTY),
    _reference("Communication", "based-on", "basedOn", "ServiceRequest"),
    _reference("Communication", "part-of", "partOf", "Task", "Communication"),
    _date("Communication", "sent", "sent"),
    _identifier("Observation"),
    _code("Observation", "status", "status"),
    _token("Observation", "code", "code"),
    _token("Observation", "category", "category"),
    _reference("Observation", "subject", "subject", "Patient"),
    _reference("Observation", "patient", "subject", "Patient", rows="subject"),
    _reference("Observation", "based-on", "basedOn", *_PLAN_BASIS),
    _date("Observation", "date", "effectiveDateTime", "effectivePeriod", "effectiveInstant"),
    _identifier("QuestionnaireResponse"),
    _code("QuestionnaireResponse", "status", "status"),
    SearchParameter("QuestionnaireResponse", "questionnaire", Kind.URI, ("questionnaire",)),
    _reference("QuestionnaireResponse", "subject", "subject", "Patient"),
    _reference("QuestionnaireResponse", "patient", "subject", "Patient", rows="subject"),
    _reference("QuestionnaireResponse", "based-on", "basedOn", *_PLAN_BASIS),
    _date("QuestionnaireResponse", "authored", "authored"),
    _identifier("CarePlan"),
    _code("CarePlan", "status", "status"),
    _reference("CarePlan", "subject", "subject", "Patient"),
    _reference("CarePlan", "patient", "subject", "Patient", rows="subject"),
    _reference("CarePlan", "based-on", "basedOn", "CarePlan"),
    _date("CarePlan", "date", "period"),
    _identifier("Condition"),
    _token("Condition", "code", "code"),
    _token("Condition", "clinical-status", "clinicalStatus"),
    _token("Condition", "verification-status", "verificationStatus"),
    _reference("Condition", "subject", "subject", "Patient"),
    _reference("Condition", "patient", "subject", "Patient", rows="subject"),
    _identifier("Appointment"),
    _code("Appointment", "status", "status"),
    _reference("Appointment", "actor", "participant.actor", *_PARTY),
    _reference("Appointment", "patient", "participant.actor", "Patient", rows="actor"),
    _reference("Appointment", "based-on", "basedOn", "ServiceRequest"),
    _date("Appointment", "date", "start"),
    _identifier("Patient"),
    _token("Patient", "active", "active", TokenShape.BOOLEAN),
    _string("Patient", "name", "name.family", "name.given", "name.text"),
    _string("Patient", "family", "name.family"),
    _string("Patient", "given", "name.given"),
    _date("Patient", "birthdate", "birthDate"),
    _identifier("Practitioner"),
    _string("Practitioner", "name", "name.family", "name.given", "name.text"),
    _identifier("PractitionerRole"),
    _token("PractitionerRole", "role", "code"),
    _reference("PractitionerRole", "organization", "organization", "Organization"),
    _reference("PractitionerRole", "practitioner", "practitioner", "Practitioner"),
    _identifier("Organization"),
    _string("Organization", "name", "name", "alias"),
    _identifier("HealthcareService"),
    _string("HealthcareService", "name", "name"),
    _reference("HealthcareService", "organization", "providedBy", "Organization"),
    _identifier("Questionnaire"),
    _code("Questionnaire", "status", "status"),
    SearchParameter("Questionnaire", "url", Kind.URI, ("url",)),
    _identifier("PlanDefinition"),
    _code("PlanDefinition", "status", "status"),
    SearchParameter("PlanDefinition", "url", Kind.URI, ("url",)),
)

BY_TYPE: dict[str, dict[str, SearchParameter]] = {}
"""type → name → parameter"""
for _parameter in PARAMETERS:
    BY_TYPE.setdefault(_parameter.type, {})[_parameter.name] = _parameter

STATUSES: dict[str, tuple[str, ...]] = {
    "Task": (
        "draft",
        "requested",
        "received",
        "accepted",
        "rejected",
        "ready",
        "cancelled",
        "in-progress",
        "on-hold",
        "failed",
        "completed",
        "entered-in-error",
    ),
    "ServiceRequest": ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"),
    "Communication": (
        "preparation",
        "in-progress",
        "not-done",
        "on-hold",
        "stopped",
        "completed",
        "entered-in-error",
        "unknown",
    ),
    "Observation": (
        "registered",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "cancelled",
        "entered-in-error",
        "unknown",
    ),
    "QuestionnaireResponse": ("in-progress", "completed", "amended", "entered-in-error", "stopped"),
    "CarePlan": ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"),
    "Appointment": (
        "proposed",
        "pending",
        "booked",
        "arrived",
        "fulfilled",
        "cancelled",
        "noshow",
        "entered-in-error",
        "checked-in",
        "waitlist",
    ),
    "Questionnaire": ("draft", "active", "retired", "unknown"),
    "PlanDefinition": ("draft", "active", "retired", "unknown"),
}
"""The required value sets of `status`. An index row is keyed by status, so a search without one asks for each of these.
Types that are not here have none, and '' in their rows."""
