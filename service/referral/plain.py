"""The same referral as plain JSON, made into the transaction Bundle that an EHR would have sent (contract 3).

A message copied from the record system, a letter or a call typed in then takes the very same way through the house.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_mappings.madrs_s import to_fhir_observation, to_fhir_response
from fhir_mappings.patient import to_fhir_patient
from fhir_mappings.providers import to_fhir_organization
from fhir_mappings.records import (
    Answer,
    Channel,
    FormAnswers,
    HsaId,
    Identifier,
    Json,
    MadrsS,
    Patient,
    PatientIdentity,
    Reference,
    Referral,
    Requester,
)
from fhir_mappings.referral_form import to_fhir_form
from fhir_mappings.service_request import to_fhir_service_request
from fhir_mappings.terminology import Canonical

PARALLEL = "Parallell behandling: "


@dataclass(frozen=True, slots=True)
class PlainReferral:
    """A referral as typed in, checked field by field."""

    channel: Channel
    received: str
    """ISO date."""
    unit: HsaId
    identity: PatientIdentity
    programme: str
    unit_name: str | None = None
    unit_municipality: str | None = None
    reference: str | None = None
    """The referrer's own number; None for a letter or call that has none."""
    patient_name: str | None = None
    patient_phone: str | None = None
    patient_municipality: str | None = None
    diagnoses: tuple[str, ...] = ()
    madrs_s: MadrsS | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    parallel_treatment: str | None = None
    other: str | None = None


PLACES: Mapping[str, str] = {
    "Patient": "urn:uuid:00000000-0000-4000-8000-000000000001",
    "Organization": "urn:uuid:00000000-0000-4000-8000-000000000002",
    "form": "urn:uuid:00000000-0000-4000-8000-000000000003",
    "madrs-s": "urn:uuid:00000000-0000-4000-8000-000000000004",
    "ServiceRequest": "urn:uuid:00000000-0000-4000-8000-000000000005",
}
"""fullUrls within the Bundle; they are local to it, so the same ones serve every time."""


def to_bundle(plain: PlainReferral, reference: str, canonical: Canonical) -> Json:
    """The transaction Bundle; `reference` is the placer's number, the sender's own or one that was made."""
    patient, unit = Reference(PLACES["Patient"]), Reference(PLACES["Organization"])
    referral = Referral(
        placer=Identifier(canonical.placer(plain.unit), reference),
        programme=plain.programme,
        patient=Patient(
            plain.identity,
            name=plain.patient_name,
            phone=plain.patient_phone,
            municipality=plain.patient_municipality,
        ),
        requester=Requester(plain.unit, plain.unit_name, plain.unit_municipality),
        authored_on=plain.received,
        diagnoses=plain.diagnoses,
        notes=tuple(
            note
            for note in (PARALLEL + plain.parallel_treatment if plain.parallel_treatment else None, plain.other)
            if note
        ),
        channel=plain.channel,
    )
    evidence: dict[str, Json] = {}
    if plain.answers:
        form = FormAnswers(plain.answers, authored=plain.received)
        evidence["form"] = to_fhir_form(form, canonical, patient)
    if plain.madrs_s is not None:
        evidence["madrs-s"] = (
            to_fhir_response(plain.madrs_s, canonical, patient)
            if plain.madrs_s.items is not None
            else to_fhir_observation(plain.madrs_s, canonical, patient)
        )
    supporting = [Reference(PLACES[name]) for name in evidence]
    resources = {
        "Patient": to_fhir_patient(referral.patient, canonical),
        "Organization": to_fhir_organization(plain.unit, plain.unit_name, plain.unit_municipality, canonical),
        **evidence,
        "ServiceRequest": to_fhir_service_request(referral, canonical, patient, unit, supporting),
    }
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": PLACES[name],
                "resource": resource,
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for name, resource in resources.items()
        ],
    }
