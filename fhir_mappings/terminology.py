"""Systems and codes. The canonical base is a setting, so Sluss's own systems come from a `Canonical` value.

National identifiers as HL7 Sweden's base profiles write them; the RIV-TA roots are accepted on the way in.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from fhir_mappings.records import IdentityKind, MessageCategory


class Systems(StrEnum):
    """System URIs that others own."""

    HSA_ID = "urn:oid:1.2.752.29.4.19"
    ICD_10_SE = "https://www.icd10.se/"
    TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
    IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
    OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
    CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    UCUM = "http://unitsofmeasure.org"
    SECURITY_LABEL_SE = "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel"


HSA_SYSTEMS = frozenset({Systems.HSA_ID, "urn:oid:1.2.752.129.2.1.4.1"})
"""HSA-id: HL7 Sweden's, and the RIV-TA root."""

IDENTITY_SYSTEMS: dict[IdentityKind, str] = {
    IdentityKind.PERSONNUMMER: "http://electronichealth.se/identifier/personnummer",
    IdentityKind.SAMORDNINGSNUMMER: "http://electronichealth.se/identifier/samordningsnummer",
    IdentityKind.RESERVNUMMER: "http://electronichealth.se/identifier/nationelltReservnummer",
}
"""The system that Sluss writes for each kind of patient identifier."""

IDENTITY_KINDS: dict[str, IdentityKind] = {
    **{system: kind for kind, system in IDENTITY_SYSTEMS.items()},
    "urn:oid:1.2.752.129.2.1.3.1": IdentityKind.PERSONNUMMER,
    "urn:oid:1.2.752.129.2.1.3.3": IdentityKind.SAMORDNINGSNUMMER,
    "urn:oid:1.2.752.74.9.1": IdentityKind.RESERVNUMMER,
}
"""Every system that Sluss reads a patient identifier from."""

ICD_10_SE_SYSTEMS = frozenset(
    {
        Systems.ICD_10_SE,
        "https://www.icd10.se",
        "https://terminologitjansten.inera.se/inera-kodverksforvaltning/kodverk/icd-10-se",
        "http://hl7.org/fhir/sid/icd-10-se",
        "urn:oid:1.2.752.116.1.1.1",
        "urn:oid:1.2.752.116.1.1.1.1.8",
        "urn:oid:1.2.752.116.1.1.1.1.3",
    }
)
"""No single URI exists for ICD-10-SE; all that are in use are read, `Systems.ICD_10_SE` is written."""

NATIONAL_MESSAGE_CODES: dict[MessageCategory, str] = {
    MessageCategory.ACKNOWLEDGEMENT: "BEK",
    MessageCategory.REROUTED: "VID",
    MessageCategory.INFORMATION_REQUEST: "KOM",
    MessageCategory.RETURNED: "AVV",
    MessageCategory.DISCONTINUED: "AVB",
    MessageCategory.INTERIM_REPLY: "DSV",
    MessageCategory.FINAL_REPLY: "SSV",
}
"""Remissbekräftelse and remissvar of RIV-TA clinicalprocess:activity:request, where a code fits."""

PROGRAMME_TITLES = {
    "stress": "Stress och utmattning",
    "sleep": "Sömn",
    "anxiety": "Ångest",
    "worry": "Oro",
    "depression": "Depression",
    "self-esteem": "Självkänsla",
}
"""CodeSystem `ikbt-programme` (routine: "De behandlingsprogram som erbjuds i primärvården")."""

PROGRAMMES = tuple(PROGRAMME_TITLES)


@dataclass(frozen=True)
class Canonical:
    """Sluss's own systems below the canonical base, `{S}` in the contract (no trailing slash)."""

    base: str

    def code_system(self, name: str) -> str:
        """`{S}/CodeSystem/{name}`"""
        return f"{self.base}/CodeSystem/{name}"

    def value_set(self, name: str) -> str:
        """`{S}/ValueSet/{name}`"""
        return f"{self.base}/ValueSet/{name}"

    def profile(self, name: str) -> str:
        """`{S}/StructureDefinition/{name}`"""
        return f"{self.base}/StructureDefinition/{name}"

    def operation(self, name: str) -> str:
        """`{S}/OperationDefinition/{name}`"""
        return f"{self.base}/OperationDefinition/{name}"

    def identifier(self, name: str) -> str:
        """`{S}/identifier/{name}`"""
        return f"{self.base}/identifier/{name}"

    def questionnaire(self, name: str) -> str:
        """`{S}/Questionnaire/{name}`"""
        return f"{self.base}/Questionnaire/{name}"

    def plan_definition(self, pack: str, programme: str) -> str:
        """`{S}/PlanDefinition/{pack}-{programme}`"""
        return f"{self.base}/PlanDefinition/{pack}-{programme}"

    def placer(self, hsa_id: str) -> str:
        """The placer system of referrals that came as plain JSON: `{S}/identifier/placer/{HSA-id}`"""
        return f"{self.base}/identifier/placer/{hsa_id}"

    @cached_property
    def programme(self) -> str:
        """CodeSystem of the treatment programmes."""
        return self.code_system("ikbt-programme")

    @cached_property
    def rule(self) -> str:
        """CodeSystem of the eligibility rules."""
        return self.code_system("eligibility-rule")

    @cached_property
    def message(self) -> str:
        """CodeSystem of the message categories."""
        return self.code_system("ikbt-message")

    @cached_property
    def national_message(self) -> str:
        """CodeSystem for the national codes BEK, VID …, for which no public FHIR URI was found."""
        return self.code_system("national-referral-message")

    @cached_property
    def business_status(self) -> str:
        """CodeSystem of Task.businessStatus."""
        return self.code_system("ikbt-business-status")

    @cached_property
    def activity(self) -> str:
        """CodeSystem of the activities that child Tasks carry out."""
        return self.code_system("ikbt-activity")

    @cached_property
    def task_kind(self) -> str:
        """CodeSystem of our own Task codes (safety-follow-up, relay-message …)."""
        return self.code_system("ikbt-task")

    @cached_property
    def task_input(self) -> str:
        """CodeSystem of Task.input.type."""
        return self.code_system("task-input")

    @cached_property
    def task_output(self) -> str:
        """CodeSystem of Task.output.type."""
        return self.code_system("task-output")

    @cached_property
    def status_reason(self) -> str:
        """CodeSystem of Task.statusReason where no eligibility rule is the reason."""
        return self.code_system("ikbt-status-reason")

    @cached_property
    def answer(self) -> str:
        """CodeSystem of coded answers in the referral form."""
        return self.code_system("ikbt-referral-answer")

    @cached_property
    def question(self) -> str:
        """CodeSystem of the referral form's questions, by linkId."""
        return self.code_system("ikbt-referral-question")

    @cached_property
    def override_reason(self) -> str:
        """CodeSystem of why a clinician goes on against a card."""
        return self.code_system("override-reason")

    @cached_property
    def madrs_s(self) -> str:
        """CodeSystem of MADRS-S: `total` and `item-1` … `item-9`."""
        return self.code_system("madrs-s")

    @cached_property
    def madrs_s_form(self) -> str:
        """Canonical of the MADRS-S Questionnaire."""
        return self.questionnaire("madrs-s")

    @cached_property
    def referral_form(self) -> str:
        """Canonical of the referral form."""
        return self.questionnaire("ikbt-referral")

    @cached_property
    def municipality_extension(self) -> str:
        """Extension on Patient.address and Organization.address."""
        return f"{self.base}/StructureDefinition/municipality-code"

    @cached_property
    def phone_menu_extension(self) -> str:
        """Extension on HealthcareService.telecom: the menu choice that leads to the team."""
        return f"{self.base}/StructureDefinition/phone-menu"

    @cached_property
    def internal_post_extension(self) -> str:
        """Extension on HealthcareService: the number of the region's internal post."""
        return f"{self.base}/StructureDefinition/internal-post"

    @cached_property
    def role(self) -> str:
        """CodeSystem of what the members of a team are (internet-therapist …)."""
        return self.code_system("ikbt-role")

    @cached_property
    def resource_key(self) -> str:
        """Identifier (or tag) system of our copies on the external server."""
        return self.identifier("resource")
