"""Who a referral is about and who sent it, as stored resources that later referrals share.

Patients are kept one per identifier and referring organisation, so that what one unit sends never changes what another
sees; organisations, roles and persons are matched by HSA-id, and the pack's directory wins over what was sent
(contract 3).
"""

from collections import defaultdict
from dataclasses import dataclass, field

from fhir_mappings.bundle import rewrite_references
from fhir_mappings.elements import child, children, text
from fhir_mappings.patient import to_fhir_patient
from fhir_mappings.providers import to_fhir_organization, to_fhir_practitioner_role, to_hsa_identifier
from fhir_mappings.records import HsaId, Json, PatientIdentity, Reference, Requester
from fhir_mappings.terminology import HSA_SYSTEMS, IDENTITY_SYSTEMS, Systems
from service.referral.house import House
from service.referral.intake import Part, Submission, names_of
from service.store.change import Change
from service.store.records import NewReferral, Stored, Surroundings, Write


@dataclass(slots=True)
class Parties:
    """The stored resources, and what each part of the submission has become."""

    patient: Reference
    organisation: Reference
    requester: Reference
    """The PractitionerRole, or the Organization where no role was given."""
    surroundings: Surroundings
    became: dict[str, Reference] = field(default_factory=dict)
    """What references in the submission call it (fullUrl, `#id`) to the stored resource."""
    made: set[Reference] = field(default_factory=set)
    """What did not exist before."""


def patient_key(identity: PatientIdentity, organisation: str) -> str:
    """The key of one patient as one organisation knows them."""
    return f"{identity.key}@{organisation}"


def settle(house: House, change: Change, row: NewReferral, submission: Submission) -> Parties:
    """Find or make the stored Patient, Organization, PractitionerRole and Practitioner of a referral's submission. The
    patient's lock is held.
    """
    referral = submission.referral
    unit = referral.requester.unit
    roles = [p for p in submission.requester_parts if p.type == "PractitionerRole"]
    keys = {
        ("Organization", unit),
        ("Patient", patient_key(referral.patient.identity, unit)),
        *((p.type, hsa) for p in submission.requester_parts if (hsa := hsa_id_of(p.resource))),
    }
    surroundings = change.surroundings(sorted(keys), row.patient_key, row.id)
    desk = _Desk(house, change, surroundings)
    for part in submission.requester_parts:
        if part.type == "Organization":
            desk.provider(part)
            if hsa_id_of(part.resource) == unit and unit not in _directory(house):
                desk.renew_unit(part, unit)
    organisation = desk.known["Organization"].get(unit)
    if organisation is None:
        requester = referral.requester
        made = to_fhir_organization(unit, requester.unit_name, requester.municipality, house.canonical)
        organisation = desk.make(made, "Organization", unit)
    for part in submission.requester_parts:
        if part.type == "Practitioner":
            desk.provider(part)
    for part in roles:
        desk.provider(part, organisation)
    requester_reference = _requester(submission, desk, organisation)
    patient = desk.patient(submission, unit)
    desk.flush()
    return Parties(patient, organisation, requester_reference, surroundings, desk.became, desk.made)


class _Desk:
    """Collects what must be made, so that it is written at once."""

    def __init__(self, house: House, change: Change, surroundings: Surroundings) -> None:
        self.house = house
        self.change = change
        self.known: defaultdict[str, dict[str, Reference]] = defaultdict(dict)
        for (kind, key), stored in surroundings.known.items():
            self.known[kind][key] = stored.reference
        self.became: dict[str, Reference] = {}
        self.made: set[Reference] = set()
        self.writes: list[Write] = []

    def make(self, resource: Json, kind: str, key: str | None) -> Reference:
        """A new stored resource, unless another transaction has claimed its key meanwhile."""
        reference = Reference(f"{kind}/{self.house.new_id()}")
        if kind == "Patient" and key is not None:
            self.change.stand_for(kind, key, reference)
        elif key is not None:
            winner = self.change.claim_natural(kind, key, reference)
            self.known[kind][key] = winner
            if winner != reference:
                return winner
        self.writes.append(Write({**resource, "id": reference.partition("/")[2]}))
        self.made.add(reference)
        return reference

    def provider(self, part: Part, organisation: Reference | None = None) -> None:
        """An Organization, Practitioner or PractitionerRole as sent, matched by HSA-id where it has one."""
        if part.existing is not None:
            self._is(part, part.existing)
            return
        hsa_id = hsa_id_of(part.resource)
        kind = part.type
        reference = self.known[kind].get(hsa_id) if hsa_id is not None else None
        if reference is None:
            reference = self.make(self._as_stored(part, organisation), kind, hsa_id)
        self._is(part, reference)

    def renew_unit(self, part: Part, unit: HsaId) -> None:
        """A unit that the pack's directory does not have is as it last described itself."""
        reference = self.known["Organization"][unit]
        if part.existing is None and reference not in self.made:
            self._renew(reference, self._as_stored(part))

    def _is(self, part: Part, reference: Reference) -> None:
        self.became |= dict.fromkeys(names_of(part), reference)

    def patient(self, submission: Submission, unit: HsaId) -> Reference:
        """The patient as this organisation knows them; what it sends anew replaces what it sent before."""
        referral = submission.referral
        key = patient_key(referral.patient.identity, unit)
        reference = self.known["Patient"].get(key)
        sent = submission.subject
        if sent is not None and sent.existing is not None:
            reference = sent.existing
        elif reference is None:
            resource = self._as_stored(sent) if sent else to_fhir_patient(referral.patient, self.house.canonical)
            reference = self.make(_with_national_identifier(resource, referral.patient.identity), "Patient", key)
        elif sent is not None and sent.existing is None:
            self._renew(reference, _with_national_identifier(self._as_stored(sent), referral.patient.identity))
        if sent is not None:
            self._is(sent, reference)
        return reference

    def flush(self) -> list[Stored]:
        """Write what was made."""
        return self.change.write(self.writes) if self.writes else []

    def _renew(self, reference: Reference, resource: Json) -> None:
        type_, _, id_ = reference.partition("/")
        stored = self.change.get(type_, id_)
        if stored is None or stored.content | {"meta": 0} != {**resource, "id": id_, "meta": 0}:
            self.writes.append(Write({**resource, "id": id_}, expect=stored.version if stored else 0))

    def _as_stored(self, part: Part, organisation: Reference | None = None) -> Json:
        """The resource as sent; a contained one without its local id, its references to neighbours resolved."""
        resource = {name: value for name, value in part.resource.items() if name != "id"}
        if (part.source or "").startswith("#"):
            resource = _without_local_references(resource, self.became, organisation)
        # `#id` within a resource of the Bundle means what that resource contains, not what the order does
        outside = {name: reference for name, reference in self.became.items() if not name.startswith("#")}
        resource = rewrite_references(resource, outside)
        return resource if part.type == "Patient" else _with_hsa_id(resource)


def _directory(house: House) -> set[HsaId]:
    """The units and seats that the pack knows; what it says of them wins over what is sent."""
    return {*house.pack.units, *(team.hsa_id for team in house.pack.teams.values())}


def hsa_id_of(resource: Json) -> str | None:
    """The HSA-id of an Organization, PractitionerRole or Practitioner, in capitals; None where it has none."""
    for _, identifier in children(resource, "identifier"):
        value = text(identifier, "value")
        if identifier.get("system") in HSA_SYSTEMS and identifier.get("use") != "old" and value:
            return value.strip().upper()
    return None


def _requester(submission: Submission, desk: _Desk, organisation: Reference) -> Reference:
    """What Task.requester points at: the role that was sent, the one that the requester's own data make, or unit."""
    literal = text(child(submission.order.resource, "requester"), "reference")
    reference = desk.became.get(literal) if literal else None
    if reference is not None and not reference.startswith("Practitioner/"):
        return reference
    if literal is not None and literal.startswith("PractitionerRole/"):
        return Reference(literal)
    requester: Requester = submission.referral.requester
    if requester.role is None and requester.practitioner is None:
        return organisation
    if requester.role is not None:
        known = desk.change.natural("PractitionerRole", [requester.role])
        if requester.role in known:
            return known[requester.role]
    for part in submission.requester_parts:
        if part.type == "PractitionerRole" and part.source in desk.became:
            return desk.became[part.source]
    return desk.make(to_fhir_practitioner_role(requester, organisation), "PractitionerRole", requester.role)


def _without_local_references(resource: Json, became: dict[str, Reference], organisation: Reference | None) -> Json:
    """A contained resource that stands alone now: a reference to a neighbour becomes the stored one, or the plain
    identifier and name that the reference itself carries.
    """
    lifted = dict(resource)
    for name in ("organization", "practitioner", "managingOrganization", "partOf"):
        reference = resource.get(name)
        if not isinstance(reference, dict) or not str(reference.get("reference", "")).startswith("#"):
            continue
        stored = became.get(reference["reference"]) or (organisation if name == "organization" else None)
        rest = {k: v for k, v in reference.items() if k != "reference"}
        if stored is not None:
            lifted[name] = {**rest, "reference": stored}
        elif rest:
            lifted[name] = rest
        else:
            del lifted[name]
    return lifted


def _with_hsa_id(resource: Json) -> Json:
    """The provider with its HSA-id as HL7 Sweden writes it, beside the one that was sent if that is another root."""
    hsa_id = hsa_id_of(resource)
    sent = resource.get("identifier") or []
    if hsa_id is None or any(i.get("system") == Systems.HSA_ID and i.get("value") == hsa_id for i in sent):
        return resource
    return {**resource, "identifier": [*sent, to_hsa_identifier(HsaId(hsa_id))]}


def _with_national_identifier(resource: Json, identity: PatientIdentity) -> Json:
    """The Patient with the identifier as HL7 Sweden writes it, beside the one that was sent if that is another root."""
    system = IDENTITY_SYSTEMS[identity.kind]
    sent = resource.get("identifier") or []
    if any(i.get("system") == system and i.get("value") == identity.value for i in sent):
        return resource
    return {**resource, "identifier": [*sent, {"system": system, "value": identity.value}]}
