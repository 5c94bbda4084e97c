"""Teams of internet therapists: HealthcareService and the PractitionerRoles in it, in both directions (contract 5)."""

from collections.abc import Sequence

from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.providers import to_organization_reference
from fhir_mappings.records import HsaId, Json, Reference, Team
from fhir_mappings.terminology import Canonical


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


def _extension(element: Json, url: str) -> str | None:
    found = (extension for _, extension in children(element, "extension") if extension.get("url") == url)
    return next((text(extension, "valueString") for extension in found), None)


def _incomplete(expression: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        expression,
        "Teamets uppgifter är inte fullständiga.",
        "A team's HealthcareService needs it.",
    )
