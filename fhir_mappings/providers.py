"""Units, roles and teams: Organization, PractitionerRole and HealthcareService, known by HSA-id (contract 3 and 5)."""

import re
from collections.abc import Mapping, Sequence

from fhir_mappings.addresses import municipality_of, to_fhir_address
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import HsaId, Json, Reference, Requester, Team
from fhir_mappings.terminology import HSA_SYSTEMS, Canonical, Systems

_HSA_ID = re.compile(r"[A-Z]{2}[0-9]{10}-[0-9A-Z]{1,18}")
"""Inera, "HSA-id": country, organisation number, hyphen, serial; 31 characters at most; letter case means nothing."""

_NO_REQUESTER = "Remittenten saknas: vi behöver enhetens HSA-id."


def from_fhir_organization(
    resource: Json, expression: str, canonical: Canonical, municipalities: Mapping[str, str]
) -> tuple[Requester | None, list[Issue]]:
    """The unit that an Organization stands for, as a requester without a role; None without an HSA-id."""
    unit, issues = hsa_id_of(resource, f"{expression}.identifier")
    if unit is None and not issues:
        issues = [refused_requester(f"{expression}.identifier", no_hsa_id("Organization"))]
    municipality, unreadable = municipality_of(resource, expression, canonical, municipalities)
    issues += unreadable
    if unit is None:
        return None, issues
    return Requester(unit=unit, unit_name=text(resource, "name"), municipality=municipality), issues


def to_fhir_organization(unit: HsaId, name: str | None, municipality: str | None, canonical: Canonical) -> Json:
    """An Organization known by its HSA-id; the pair of `from_fhir_organization`."""
    resource: Json = {"resourceType": "Organization", "identifier": [to_hsa_identifier(unit)], "active": True}
    if name:
        resource["name"] = name
    if municipality:
        resource["address"] = [to_fhir_address(municipality, canonical)]
    return resource


def to_fhir_practitioner_role(requester: Requester, organization: Reference) -> Json:
    """A PractitionerRole in the requester's unit, whose Organization is at `organization`.

    The person is a logical reference by HSA-id, without a name. `resolve_requester` is its pair.
    """
    resource: Json = {"resourceType": "PractitionerRole"}
    if requester.role:
        resource["identifier"] = [to_hsa_identifier(requester.role)]
    if requester.practitioner:
        resource["practitioner"] = {"type": "Practitioner", "identifier": to_hsa_identifier(requester.practitioner)}
    resource["organization"] = to_organization_reference(requester.unit, organization)
    if requester.role_name:
        resource["code"] = [{"text": requester.role_name}]
    return resource


def to_fhir_team_role(team: Team, role_id: str, organization: Reference, canonical: Canonical) -> Json:
    """The PractitionerRole `role_id` of a therapist in the team: what the therapist is, not who."""
    return {
        "resourceType": "PractitionerRole",
        "id": role_id,
        "active": True,
        "organization": to_organization_reference(team.hsa_id, organization),
        "code": [{"coding": [{"system": canonical.role, "code": team.role_code}]}],
        "healthcareService": [{"reference": f"HealthcareService/{team.id}"}],
    }


def to_fhir_healthcare_service(team: Team, canonical: Canonical, provided_by: Reference) -> Json:
    """The HealthcareService that a team is on the wire, with its seat and telephone; `provided_by` is the Organization.

    The telephone's menu choice and the internal post number have no element in R4 and stand in extensions of ours.
    """
    phone: Json = {"system": "phone", "value": team.phone, "use": "work"}
    if team.phone_menu:
        phone["extension"] = [{"url": canonical.phone_menu_extension, "valueString": team.phone_menu}]
    resource: Json = {"resourceType": "HealthcareService", "id": team.id}
    if team.internal_post:
        resource["extension"] = [{"url": canonical.internal_post_extension, "valueString": team.internal_post}]
    return resource | {
        "identifier": [{"system": canonical.identifier("team"), "value": team.id}],
        "active": True,
        "providedBy": to_organization_reference(team.hsa_id, provided_by),
        "location": [{"display": team.seat}],
        "name": team.name,
        "characteristic": [{"coding": [{"system": canonical.role, "code": team.role_code}]}],
        "telecom": [phone],
    }


def from_fhir_healthcare_service(
    resource: Json, expression: str, canonical: Canonical, roles: Sequence[str] = ()
) -> tuple[Team | None, list[Issue]]:
    """The team behind a HealthcareService of ours, and what it lacks; the pair of `to_fhir_healthcare_service`.

    The ids of the team's PractitionerRoles are not in it: those point at the HealthcareService, so they are given.
    """
    team_id = next(
        (
            text(identifier, "value")
            for _, identifier in children(resource, "identifier")
            if identifier.get("system") == canonical.identifier("team")
        ),
        None,
    )
    provided_by = child(child(resource, "providedBy"), "identifier")
    seat = next((text(location, "display") for _, location in children(resource, "location")), None)
    phone = next((contact for _, contact in children(resource, "telecom") if contact.get("system") == "phone"), {})
    role_code = next(
        (
            text(coding, "code")
            for _, characteristic in children(resource, "characteristic")
            for _, coding in children(characteristic, "coding")
            if coding.get("system") == canonical.role
        ),
        None,
    )
    needed = {
        "identifier": team_id,
        "providedBy.identifier": text(provided_by, "value"),
        "location": seat,
        "name": text(resource, "name"),
        "telecom": text(phone, "value"),
        "characteristic": role_code,
    }
    missing = [_incomplete(f"{expression}.{element}") for element, value in needed.items() if value is None]
    if missing:
        return None, missing
    team = Team(
        id=needed["identifier"] or "",
        name=needed["name"] or "",
        seat=needed["location"] or "",
        hsa_id=HsaId(needed["providedBy.identifier"] or ""),
        phone=needed["telecom"] or "",
        phone_menu=_extension(phone, canonical.phone_menu_extension),
        internal_post=_extension(resource, canonical.internal_post_extension),
        role_code=needed["characteristic"] or "",
        roles=tuple(roles),
    )
    return team, []


def to_hsa_identifier(hsa_id: HsaId) -> Json:
    """An HSA-id as HL7 Sweden's base profiles write it (type PRN of v2-0203)."""
    return {
        "type": {"coding": [{"system": Systems.IDENTIFIER_TYPE.value, "code": "PRN"}]},
        "system": Systems.HSA_ID.value,
        "value": hsa_id,
    }


def to_organization_reference(unit: HsaId, organization: Reference) -> Json:
    """A reference to the unit's Organization that also says its HSA-id, which holds on every server."""
    return {"reference": organization, "type": "Organization", "identifier": to_hsa_identifier(unit)}


def hsa_id_of(resource: Json, expression: str) -> tuple[HsaId | None, list[Issue]]:
    """The one HSA-id among the identifiers, in capitals. None and no issue where there is none; an issue where it
    cannot be one, or where two differ.
    """
    found: list[HsaId] = []
    issues: list[Issue] = []
    for _, identifier in children(resource, "identifier"):
        if identifier.get("system") not in HSA_SYSTEMS or identifier.get("use") == "old":
            continue
        value = (text(identifier, "value") or "").strip().upper()
        if _HSA_ID.fullmatch(value):
            found.append(HsaId(value))
        else:
            issues.append(refused_requester(expression, "The value is not an HSA-id, such as SE2321000198-EX01."))
    if len(set(found)) > 1:
        issues.append(
            refused_requester(expression, "Several different HSA-ids; one is needed (mark the others as 'old').")
        )
    return (None, issues) if issues or not found else (found[0], [])


def _extension(element: Json, url: str) -> str | None:
    found = (extension for _, extension in children(element, "extension") if extension.get("url") == url)
    return next((text(extension, "valueString") for extension in found), None)


def no_hsa_id(what: str) -> str:
    """Diagnostics for `what` (English) that carries no HSA-id."""
    return f"The {what} has no HSA-id ({Systems.HSA_ID.value})."


def refused_requester(expression: str, diagnostics: str) -> Issue:
    """The Issue (`required`) that refuses a referral whose unit's HSA-id cannot be read, with why in English."""
    return error(IssueCode.REQUIRED, expression, _NO_REQUESTER, diagnostics)


def _incomplete(expression: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        expression,
        "Teamets uppgifter är inte fullständiga.",
        "A team's HealthcareService needs it.",
    )
