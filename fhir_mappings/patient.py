"""The patient: a FHIR Patient or a logical reference in, a Patient as HL7 Sweden writes it out (contract 3)."""

from collections.abc import Mapping
from datetime import date

from fhir_mappings.addresses import municipality_of, to_fhir_address
from fhir_mappings.elements import child, children, text, texts
from fhir_mappings.identity import age_on, birth_date, parse_identity
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import IdentityKind, Json, Patient, PatientIdentity
from fhir_mappings.terminology import IDENTITY_KINDS, IDENTITY_SYSTEMS, Canonical

__all__ = [
    "age_on",
    "birth_date",
    "from_fhir_patient",
    "from_logical_subject",
    "parse_identity",
    "to_fhir_patient",
]

_OLD = "old"
"""Identifier.use, HumanName.use, ContactPoint.use: no longer in use."""


def from_fhir_patient(
    resource: Json, expression: str, today: date, canonical: Canonical, municipalities: Mapping[str, str]
) -> tuple[Patient | None, list[Issue]]:
    """The patient, and every problem; None where there is no single valid identity.

    A personnummer goes before a samordningsnummer, and that before a reservnummer; two different ones of the same kind
    are refused, because nobody may guess which person is meant. `municipalities` gives the code for a lower-case name.
    """
    if resource.get("resourceType") != "Patient":
        return None, [
            error(
                IssueCode.REQUIRED,
                expression,
                "Remissen ska gälla en patient.",
                f"The subject must be a Patient, not {resource.get('resourceType')}.",
            )
        ]
    identity, issues = _identity_of(resource, expression, today)
    municipality, unreadable = municipality_of(resource, expression, canonical, municipalities)
    issues += unreadable
    if identity is None:
        return None, issues
    return (
        Patient(
            identity=identity,
            name=_name_of(resource),
            phone=_phone_of(resource),
            municipality=municipality,
            security=_security_of(resource),
            active=resource.get("active") is not False,
            deceased=resource.get("deceasedBoolean") is True or text(resource, "deceasedDateTime") is not None,
        ),
        issues,
    )


def from_logical_subject(reference: Json, expression: str, today: date) -> tuple[Patient | None, list[Issue]]:
    """The patient of a reference by identifier (`Reference.identifier`, with the name in `display`), and every problem.

    https://hl7.org/fhir/R4/references.html#logical
    """
    declared = (text(reference, "type") or "Patient").rsplit("/", 1)[-1]
    if declared != "Patient":
        return None, [
            error(
                IssueCode.REQUIRED,
                f"{expression}.type",
                "Remissen ska gälla en patient.",
                f"The subject must be a Patient, not {declared}.",
            )
        ]
    identifier = child(reference, "identifier")
    read = _read_identifier(identifier, f"{expression}.identifier", today)
    if isinstance(read, list):
        return None, read
    return Patient(identity=read, name=text(reference, "display")), []


def to_fhir_patient(patient: Patient, canonical: Canonical) -> Json:
    """A Patient with the identifier system of HL7 Sweden; the pair of `from_fhir_patient`.

    Marks of protected identity (`meta.security`) are carried through. `birthDate` stands only where the identifier
    tells it whole.
    """
    resource: Json = {"resourceType": "Patient"}
    if patient.security:
        resource["meta"] = {"security": [_to_coding(system, code) for system, code in patient.security]}
    resource["identifier"] = [{"system": IDENTITY_SYSTEMS[patient.identity.kind], "value": patient.identity.value}]
    resource["active"] = patient.active
    if patient.name:
        resource["name"] = [{"text": patient.name}]
    if patient.phone:
        resource["telecom"] = [{"system": "phone", "value": patient.phone}]
    born = birth_date(patient.identity)
    if born:
        resource["birthDate"] = born.isoformat()
    if patient.deceased:
        resource["deceasedBoolean"] = True
    if patient.municipality:
        resource["address"] = [to_fhir_address(patient.municipality, canonical)]
    return resource


def _identity_of(resource: Json, expression: str, today: date) -> tuple[PatientIdentity | None, list[Issue]]:
    found: dict[IdentityKind, set[PatientIdentity]] = {}
    issues: list[Issue] = []
    for position, identifier in children(resource, "identifier"):
        if text(identifier, "system") not in IDENTITY_KINDS or identifier.get("use") == _OLD:
            continue  # a local number of the referrer's, or one that the patient no longer has
        read = _read_identifier(identifier, f"{expression}.identifier[{position}]", today)
        if isinstance(read, list):
            issues += read
        else:
            found.setdefault(read.kind, set()).add(read)
    issues += [_ambiguous(kind, f"{expression}.identifier") for kind, several in found.items() if len(several) > 1]
    if issues:
        return None, issues
    for kind in IdentityKind:  # in the order of precedence
        if kind in found:
            return found[kind].pop(), []
    return None, [_missing(f"{expression}.identifier")]


def _read_identifier(identifier: Json, expression: str, today: date) -> PatientIdentity | list[Issue]:
    system, value = text(identifier, "system"), text(identifier, "value")
    missing = [
        _missing(f"{expression}.{name}" if identifier else expression)
        for name, part in (("system", system), ("value", value))
        if part is None
    ]
    if missing:
        return missing if identifier else missing[:1]
    return parse_identity(system or "", value or "", expression, today)


def _missing(expression: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        expression,
        "Patientens personnummer, samordningsnummer eller nationella reservnummer saknas.",
        "The patient needs an identifier with a system of personnummer, samordningsnummer or nationellt reservnummer, "
        f"for example {IDENTITY_SYSTEMS[IdentityKind.PERSONNUMMER]}, and a value.",
    )


def _ambiguous(kind: IdentityKind, expression: str) -> Issue:
    name = "nationellt reservnummer" if kind is IdentityKind.RESERVNUMMER else str(kind)
    return error(
        IssueCode.VALUE,
        expression,
        f"Patienten har mer än ett {name}.",
        f"Several different identifiers of the kind {kind}; one is needed (mark the others with use 'old').",
    )


def _name_of(resource: Json) -> str | None:
    names = [name for _, name in children(resource, "name") if name.get("use") not in (_OLD, "maiden")]
    names.sort(key=lambda name: name.get("use") != "official")  # stable: the order sent, the official one first
    for name in names:
        written = text(name, "text") or " ".join([*texts(name, "given"), text(name, "family") or ""]).strip()
        if written:
            return written
    return None


def _phone_of(resource: Json) -> str | None:
    phones = [
        contact
        for _, contact in children(resource, "telecom")
        if contact.get("system") == "phone" and contact.get("use") != _OLD and text(contact, "value")
    ]
    ranked = sorted(phones, key=_preference)
    return text(ranked[0], "value") if ranked else None


def _preference(contact: Json) -> int:
    """`rank` 1 is most preferred; what has no rank comes after, in the order sent."""
    rank = contact.get("rank")
    return rank if isinstance(rank, int) else 2**31


def _security_of(resource: Json) -> tuple[tuple[str, str], ...]:
    return tuple(
        (text(label, "system") or "", text(label, "code") or "")
        for _, label in children(child(resource, "meta"), "security")
        if text(label, "system") or text(label, "code")
    )


def _to_coding(system: str, code: str) -> Json:
    return {name: part for name, part in (("system", system), ("code", code)) if part}
