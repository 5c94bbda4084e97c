"""Who a referral is about and who sent it, as stored resources that later referrals share.

What one unit sends never changes what another sees (contract 3): patients are kept one per identifier and referring
organisation; roles, persons and organisations are matched by HSA-id within what one unit sends, each as that unit last
described it. A unit is described by itself alone, and the pack's directory wins over what was sent.
"""

from collections import defaultdict
from collections.abc import Set
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
from service.store.sight import EVERYTHING


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


def provider_key(type_: str, hsa_id: str, organisation: str, directory: Set[str]) -> str:
    """The key of an Organization, PractitionerRole or Practitioner as one organisation describes it: that of the unit
    itself only for itself, and for what the pack's `directory` describes instead.
    """
    is_the_unit = type_ == "Organization" and (hsa_id == organisation or hsa_id in directory)
    return hsa_id if is_the_unit else f"{hsa_id}@{organisation}"


def settle(house: House, change: Change, row: NewReferral, submission: Submission) -> Parties:
    """Find or make the stored Patient, Organization, PractitionerRole and Practitioner of a referral's submission. The
    patient's lock is held.
    """
    referral = submission.referral
    unit = referral.requester.unit
    roles = [p for p in submission.requester_parts if p.type == "PractitionerRole"]
    directory = frozenset((*house.pack.units, *(team.hsa_id for team in house.pack.teams.values())))
    keys = {
        ("Organization", unit),
        ("Patient", patient_key(referral.patient.identity, unit)),
        *(
            (p.type, provider_key(p.type, hsa, unit, directory))
            for p in submission.requester_parts
            if (hsa := hsa_id_of(p.resource))
        ),
    }
    surroundings = change.surroundings(sorted(keys), row.patient_key, row.id)
    desk = _Desk(house, change, unit, directory, surroundings)
    for part in submission.requester_parts:
        if part.type == "Organization":
            desk.provider(part)
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
    patient = desk.patient(submission)
    desk.flush()
    return Parties(patient, organisation, requester_reference, surroundings, desk.became, desk.made)


class _Desk:
    """Collects what must be made, so that it is written at once."""

    def __init__(
        self, house: House, change: Change, unit: HsaId, directory: Set[str], surroundings: Surroundings
    ) -> None:
        self.house = house
        self.change = change
        self.unit = unit
        self.directory = directory
        self.known: defaultdict[str, dict[str, Reference]] = defaultdict(dict)
        for (kind, key), stored in surroundings.known.items():
            self.known[kind][key] = stored.reference
        self.became: dict[str, Reference] = {}
        self.made: set[Reference] = set()
        self.writes: list[Write] = []
        self.described: dict[Reference, Json] = {}
        """Providers that are stored, as the unit describes them now."""

    def make(self, resource: Json, kind: str, key: str | None) -> Reference:
        """A new stored resource, unless another transaction has claimed its key meanwhile. Without a key it is found
        by nothing, and the unit's all the same.
        """
        id_ = self.house.new_id()
        reference = Reference(f"{kind}/{id_}")
        if kind == "Patient" or key is None:
            self.change.stand_for(kind, key or f"{id_}@{self.unit}", reference)
        else:
            winner = self.change.claim_natural(kind, key, reference)
            self.known[kind][key] = winner
            if winner != reference:
                return winner
        self.writes.append(Write({**resource, "id": id_}))
        self.made.add(reference)
        return reference

    def provider(self, part: Part, organisation: Reference | None = None) -> None:
        """An Organization, Practitioner or PractitionerRole as sent, matched by HSA-id where it has one; what the unit
        says of it anew replaces what it said before.
        """
        if part.existing is not None:
            self._is(part, part.existing)
            return
        hsa_id, kind = hsa_id_of(part.resource), part.type
        key = provider_key(kind, hsa_id, self.unit, self.directory) if hsa_id is not None else None
        reference = self.known[kind].get(key) if key is not None else None
        if reference is None:
            reference = self.make(self._as_stored(part, organisation), kind, key)
        elif reference not in self.made and not (kind == "Organization" and hsa_id in self.directory):
            self.described.setdefault(reference, self._as_stored(part, organisation))
        self._is(part, reference)

    def role(self, requester: Requester, organisation: Reference) -> Reference:
        """The unit's own role for what the requester's data say."""
        key = None
        if requester.role is not None:
            key = provider_key("PractitionerRole", requester.role, self.unit, self.directory)
            if found := self.change.natural("PractitionerRole", [key]):
                return found[key]
        return self.make(to_fhir_practitioner_role(requester, organisation), "PractitionerRole", key)

    def is_anothers(self, reference: str) -> bool:
        """True for a role that another unit has described."""
        keys = self.change.keys_of("PractitionerRole", reference)
        return any("@" in key and not key.endswith(f"@{self.unit}") for key in keys)

    def _is(self, part: Part, reference: Reference) -> None:
        self.became |= dict.fromkeys(names_of(part), reference)

    def patient(self, submission: Submission) -> Reference:
        """The patient as this organisation knows them; what it sends anew replaces what it sent before."""
        referral = submission.referral
        key = patient_key(referral.patient.identity, self.unit)
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
        """Write what was made and renewed."""
        for reference in sorted(self.described):
            self._describe(reference, self.described[reference])
        return self.change.write(self.writes) if self.writes else []

    def _renew(self, reference: Reference, resource: Json) -> None:
        type_, _, id_ = reference.partition("/")
        stored = self.change.get(type_, id_)
        if _says_more(resource, stored):
            self.writes.append(Write({**resource, "id": id_}, expect=stored.version if stored else 0))

    def _describe(self, reference: Reference, resource: Json) -> None:
        """Renew what other referrals of the unit may be renewing at the same time: they take turns, and the one with
        the later stamp stands.
        """
        type_, _, id_ = reference.partition("/")
        if not _says_more(resource, self.change.get(type_, id_)):
            return
        self.change.lock_key(f"description of {reference}")
        now = self.change.seen_by(EVERYTHING).get(type_, id_)
        if now is not None and now.last_updated < self.change.stamp and _says_more(resource, now):
            self.writes.append(Write({**resource, "id": id_}, expect=now.version))

    def _as_stored(self, part: Part, organisation: Reference | None = None) -> Json:
        """The resource as sent; a contained one without its local id, its references to neighbours resolved."""
        resource = {name: value for name, value in part.resource.items() if name != "id"}
        if (part.source or "").startswith("#"):
            resource = _without_local_references(resource, self.became, organisation)
        # `#id` within a resource of the Bundle means what that resource contains, not what the order does
        outside = {name: reference for name, reference in self.became.items() if not name.startswith("#")}
        resource = rewrite_references(resource, outside)
        return resource if part.type == "Patient" else _with_hsa_id(resource)


def _says_more(resource: Json, stored: Stored | None) -> bool:
    """True where the resource says something else than what is stored."""
    return stored is None or stored.content | {"id": 0, "meta": 0} != {**resource, "id": 0, "meta": 0}


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
    named = literal is not None and literal.startswith("PractitionerRole/")
    if literal is not None and named and not desk.is_anothers(literal):
        return Reference(literal)
    requester: Requester = submission.referral.requester
    if requester.role is None and requester.practitioner is None:
        return organisation
    if requester.role is None and not named:
        for part in submission.requester_parts:
            if part.type == "PractitionerRole" and part.source in desk.became:
                return desk.became[part.source]
    return desk.role(requester, organisation)


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
