"""Who refers: Organization, PractitionerRole and Practitioner, read to the unit's HSA-id and written back (contract 3).

Whatever is wrong with a requester is said at `ServiceRequest.requester`, the one element that every way of writing it
has in common.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fhir_mappings.addresses import municipality_of, to_fhir_address
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, Severity, error, is_error
from fhir_mappings.records import HsaId, Json, Reference, Requester
from fhir_mappings.terminology import HSA_SYSTEMS, Canonical, Systems

Lookup = Callable[[str], Json | None]
"""Finds the resource of a literal reference (`#id`, `urn:uuid:…`, `Type/id`): contained, in the Bundle, or stored."""

_HSA_ID = re.compile(r"[A-Z]{2}[0-9]{10}-[0-9A-Z]{1,18}")
"""Inera, "HSA-id": country, organisation number, hyphen, serial; 31 characters at most; letter case means nothing."""

_NO_REQUESTER = "Remittenten saknas: vi behöver enhetens HSA-id."


def resolve_requester(  # noqa: PLR0917 - the referral, how to look around in it, and the region
    reference: Json,
    expression: str,
    lookup: Lookup,
    roles: Sequence[Json],
    canonical: Canonical,
    municipalities: Mapping[str, str],
) -> tuple[Requester | None, list[Issue]]:
    """Who refers, and every problem; None where the organisation's HSA-id cannot be read.

    `reference` is ServiceRequest.requester, `expression` its place; `roles` are the PractitionerRoles sent with the
    referral, of which exactly one must join a Practitioner to an organisation. An identifier in the reference is used
    where there is no literal reference or nothing is found behind it. Errors have code `required`.
    """
    reader = _Reader(expression, lookup, roles, canonical, municipalities)
    literal = text(reference, "reference")
    resource = lookup(literal) if literal else None
    if literal and resource is not None:
        return reader.resource(resource, literal)
    if child(reference, "identifier"):
        return reader.logical(reference, expression)
    if literal:
        return None, [_refused(f"{expression}.reference", "Nothing is found behind the reference.")]
    return None, [_refused(expression, "A requester is a reference to a PractitionerRole or Organization.")]


def from_fhir_organization(
    resource: Json, expression: str, canonical: Canonical, municipalities: Mapping[str, str]
) -> tuple[Requester | None, list[Issue]]:
    """The unit that an Organization stands for, as a requester without a role; None without an HSA-id."""
    unit, issues = _hsa_id(resource, f"{expression}.identifier")
    if unit is None and not issues:
        issues = [_refused(f"{expression}.identifier", _no_hsa_id("Organization"))]
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


def _hsa_id(resource: Json, expression: str) -> tuple[HsaId | None, list[Issue]]:
    """The one HSA-id among the identifiers, in capitals. None and no issue where there is none; an issue where it
    cannot be one, or where two differ.
    """
    found: list[HsaId] = []
    issues: list[Issue] = []
    for _, identifier in children(resource, "identifier"):
        if text(identifier, "system") not in HSA_SYSTEMS or identifier.get("use") == "old":
            continue
        value = (text(identifier, "value") or "").strip().upper()
        if _HSA_ID.fullmatch(value):
            found.append(HsaId(value))
        else:
            issues.append(_refused(expression, "The value is not an HSA-id, such as SE2321000198-EX01."))
    if len(set(found)) > 1:
        issues.append(_refused(expression, "Several different HSA-ids; one is needed (mark the others as 'old')."))
    return (None, issues) if issues or not found else (found[0], [])


def _no_hsa_id(what: str) -> str:
    """Diagnostics for `what` (English) that carries no HSA-id."""
    return f"The {what} has no HSA-id ({Systems.HSA_ID.value})."


def _refused(expression: str, diagnostics: str) -> Issue:
    """The Issue (`required`) that refuses a referral whose unit's HSA-id cannot be read, with why in English."""
    return error(IssueCode.REQUIRED, expression, _NO_REQUESTER, diagnostics)


@dataclass(frozen=True, slots=True)
class _Reader:
    """The ways in which a requester may be written, around what they all need."""

    expression: str
    lookup: Lookup
    roles: Sequence[Json]
    canonical: Canonical
    municipalities: Mapping[str, str]

    def resource(self, resource: Json, literal: str) -> tuple[Requester | None, list[Issue]]:
        """The requester behind a literal reference."""
        match resource.get("resourceType"):
            case "Organization":
                return self._organization(resource)
            case "PractitionerRole":
                return self._role(resource)
            case "Practitioner":
                return self._practitioner(resource, literal)
            case other:
                return None, [self._refused(f"The requester is a {other}, not a PractitionerRole or Organization.")]

    def logical(self, reference: Json, expression: str) -> tuple[Requester | None, list[Issue]]:
        """The unit of a reference by HSA-id. One that does not say its type is taken to be an organisation's: of a
        role's or a person's HSA-id alone no organisation could be read.
        """
        declared = (text(reference, "type") or "Organization").rsplit("/", 1)[-1]
        if declared != "Organization":
            return None, [
                _refused(
                    f"{expression}.type",
                    f"The organisation cannot be read from the identifier of a {declared} alone: refer to an "
                    "Organization by HSA-id, or send the PractitionerRole.",
                )
            ]
        place = f"{expression}.identifier"
        unit, issues = _hsa_id({"identifier": [child(reference, "identifier")]}, place)
        if unit is None:
            return None, issues or [_refused(place, _no_hsa_id("reference"))]
        return Requester(unit=unit, unit_name=text(reference, "display")), issues

    def _organization(self, resource: Json) -> tuple[Requester | None, list[Issue]]:
        requester, issues = from_fhir_organization(resource, "Organization", self.canonical, self.municipalities)
        return requester, [self._here(issue) for issue in issues]

    def _role(self, role: Json) -> tuple[Requester | None, list[Issue]]:
        requester, issues = self._organization_of(role)
        role_id, bad_role = _hsa_id(role, "PractitionerRole.identifier")
        practitioner, bad_practitioner = self._practitioner_of(role)
        # What is wrong with the role or the person refuses nothing: the organisation is what the referral needs.
        issues += [_milder(self._here(issue)) for issue in (*bad_role, *bad_practitioner)]
        if requester is None:
            return None, issues
        return replace(requester, role=role_id, practitioner=practitioner, role_name=_role_name(role)), issues

    def _organization_of(self, role: Json) -> tuple[Requester | None, list[Issue]]:
        reference = child(role, "organization")
        literal = text(reference, "reference")
        organization = self.lookup(literal) if literal else None
        if organization is not None and organization.get("resourceType") == "Organization":
            return self._organization(organization)
        if child(reference, "identifier"):
            requester, issues = self.logical(reference, "PractitionerRole.organization")
            return requester, [self._here(issue) for issue in issues]
        if literal:
            return None, [self._refused("PractitionerRole.organization.reference: no Organization is found behind it.")]
        return None, [self._refused("The PractitionerRole names no organization.")]

    def _practitioner_of(self, role: Json) -> tuple[HsaId | None, list[Issue]]:
        reference = child(role, "practitioner")
        literal = text(reference, "reference")
        practitioner = self.lookup(literal) if literal else None
        if practitioner is not None:
            return _hsa_id(practitioner, "Practitioner.identifier")
        return _hsa_id({"identifier": [child(reference, "identifier")]}, "PractitionerRole.practitioner.identifier")

    def _practitioner(self, practitioner: Json, literal: str) -> tuple[Requester | None, list[Issue]]:
        joining = [
            role
            for role in self.roles
            if child(role, "organization")
            and role.get("active") is not False
            and self._is_of(role, practitioner, literal)
        ]
        if len(joining) == 1:
            return self._role(joining[0])
        how_many = "no PractitionerRole" if not joining else f"{len(joining)} PractitionerRoles"
        return None, [
            self._refused(
                f"The requester is a Practitioner, and {how_many} in the Bundle joins it to an organization; exactly "
                "one is needed. Better: let the requester be the PractitionerRole."
            )
        ]

    def _is_of(self, role: Json, practitioner: Json, literal: str) -> bool:
        """True when the role is the practitioner's: by the same reference, the same resource, or the same HSA-id."""
        reference = child(role, "practitioner")
        written = text(reference, "reference")
        if written is not None and (written == literal or self.lookup(written) is practitioner):
            return True
        named, _ = _hsa_id({"identifier": [child(reference, "identifier")]}, "")
        known, _ = _hsa_id(practitioner, "")
        return named is not None and named == known

    def _here(self, issue: Issue) -> Issue:
        """The issue at the requester, with where it really stands in its diagnostics."""
        if issue.expression is None or issue.expression.startswith(self.expression):
            return issue
        return replace(issue, expression=self.expression, diagnostics=f"{issue.expression}: {issue.diagnostics}")

    def _refused(self, diagnostics: str) -> Issue:
        return _refused(self.expression, diagnostics)


def _role_name(role: Json) -> str | None:
    for _, code in children(role, "code"):
        displays = [text(coding, "display") for _, coding in children(code, "coding")]
        for name in (text(code, "text"), *displays):
            if name:
                return name
    return None


def _milder(issue: Issue) -> Issue:
    if not is_error(issue):
        return issue
    return Issue(
        Severity.WARNING, IssueCode.VALUE, "Rollens HSA-id kunde inte läsas.", issue.diagnostics, issue.expression
    )
