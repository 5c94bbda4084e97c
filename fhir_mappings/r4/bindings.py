"""The codes of R4's required bindings, for the types that Sluss handles; fhir.resources does not check them.

Keys are `Type.element`, backbones by their joined name (`BundleEntryRequest.method`). Each set is the value set that R4
4.0.1 binds on https://hl7.org/fhir/R4/<type>-definitions.html. MIME types, languages and currencies are left to syntax.
"""


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESOURCE_TYPES = _codes(
    """
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary
    BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem
    ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest
    CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest
    CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement
    DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest
    EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit
    FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization
    ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List
    Location Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge
    MedicationRequest MedicationStatement MedicinalProduct MedicinalProductAuthorization
    MedicinalProductContraindication MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical
    MedicinalProductUndesirableEffect MessageDefinition MessageHeader MolecularSequence NamingSystem NutritionOrder
    Observation ObservationDefinition OperationDefinition OperationOutcome Organization OrganizationAffiliation
    Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition Practitioner PractitionerRole Procedure
    Provenance Questionnaire QuestionnaireResponse RelatedPerson RequestGroup ResearchDefinition
    ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis Schedule
    SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition StructureMap Subscription
    Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation
    SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport
    TestScript ValueSet VerificationResult VisionPrescription
    """
)
"""Every resource type of R4 4.0.1 (https://hl7.org/fhir/R4/resourcelist.html)."""


_GENDER = _codes("male female other unknown")
_COMPARATOR = _codes("< <= >= >")
_PUBLICATION_STATUS = _codes("draft active retired unknown")
_REQUEST_STATUS = _codes("draft active on-hold revoked completed entered-in-error unknown")
_REQUEST_PRIORITY = _codes("routine urgent asap stat")
_DAYS = _codes("mon tue wed thu fri sat sun")
_TIME_UNITS = _codes("s min h d wk mo a")
_REQUEST_INTENT = _codes("proposal plan directive order original-order reflex-order filler-order instance-order option")

REQUIRED_CODES: dict[str, frozenset[str]] = {
    # Datatypes
    "Address.use": _codes("home work temp old billing"),
    "Address.type": _codes("postal physical both"),
    "Age.comparator": _COMPARATOR,
    "ContactPoint.system": _codes("phone fax email pager url sms other"),
    "ContactPoint.use": _codes("home work temp old mobile"),
    "Contributor.type": _codes("author editor reviewer endorser"),
    "Count.comparator": _COMPARATOR,
    "DataRequirementSort.direction": _codes("ascending descending"),
    "Distance.comparator": _COMPARATOR,
    "Duration.comparator": _COMPARATOR,
    "HumanName.use": _codes("usual official temp nickname anonymous old maiden"),
    "Identifier.use": _codes("usual official temp secondary old"),
    "Narrative.status": _codes("generated extensions additional empty"),
    "ParameterDefinition.use": _codes("in out"),
    "Quantity.comparator": _COMPARATOR,
    "RelatedArtifact.type": _codes(
        "documentation justification citation predecessor successor derived-from depends-on composed-of"
    ),
    "TimingRepeat.dayOfWeek": _DAYS,
    "TimingRepeat.durationUnit": _TIME_UNITS,
    "TimingRepeat.periodUnit": _TIME_UNITS,
    "TimingRepeat.when": _codes(
        "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS "
        "HS WAKE C CM CD CV AC ACM ACD ACV PC PCM PCD PCV"
    ),
    "TriggerDefinition.type": _codes(
        "named-event periodic data-changed data-added data-modified data-removed data-accessed data-access-ended"
    ),
    # Resources that are stored
    "Appointment.status": _codes(
        "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist"
    ),
    "AppointmentParticipant.required": _codes("required optional information-only"),
    "AppointmentParticipant.status": _codes("accepted declined tentative needs-action"),
    "CarePlan.status": _REQUEST_STATUS,
    "CarePlan.intent": _codes("proposal plan order option"),
    "CarePlanActivityDetail.kind": _codes(
        "Appointment CommunicationRequest DeviceRequest MedicationRequest NutritionOrder Task ServiceRequest "
        "VisionPrescription"
    ),
    "CarePlanActivityDetail.status": _codes(
        "not-started scheduled in-progress on-hold completed cancelled stopped unknown entered-in-error"
    ),
    "Communication.status": _codes(
        "preparation in-progress not-done on-hold stopped completed entered-in-error unknown"
    ),
    "Communication.priority": _REQUEST_PRIORITY,
    "HealthcareServiceAvailableTime.daysOfWeek": _DAYS,
    "Observation.status": _codes("registered preliminary final amended corrected cancelled entered-in-error unknown"),
    "Patient.gender": _GENDER,
    "PatientContact.gender": _GENDER,
    "PatientLink.type": _codes("replaced-by replaces refer seealso"),
    "PlanDefinition.status": _PUBLICATION_STATUS,
    "PlanDefinitionAction.priority": _REQUEST_PRIORITY,
    "PlanDefinitionAction.cardinalityBehavior": _codes("single multiple"),
    "PlanDefinitionAction.groupingBehavior": _codes("visual-group logical-group sentence-group"),
    "PlanDefinitionAction.precheckBehavior": _codes("yes no"),
    "PlanDefinitionAction.requiredBehavior": _codes("must could must-unless-documented"),
    "PlanDefinitionAction.selectionBehavior": _codes("any all all-or-none exactly-one at-most-one one-or-more"),
    "PlanDefinitionActionCondition.kind": _codes("applicability start stop"),
    "PlanDefinitionActionParticipant.type": _codes("patient practitioner related-person device"),
    "PlanDefinitionActionRelatedAction.relationship": _codes(
        "before-start before before-end concurrent-with-start concurrent concurrent-with-end after-start "
        "after after-end"
    ),
    "Practitioner.gender": _GENDER,
    "PractitionerRoleAvailableTime.daysOfWeek": _DAYS,
    "Questionnaire.status": _PUBLICATION_STATUS,
    "Questionnaire.subjectType": RESOURCE_TYPES,
    "QuestionnaireItem.type": _codes(
        "group display boolean decimal integer date dateTime time string text url choice open-choice attachment "
        "reference quantity"
    ),
    "QuestionnaireItem.enableBehavior": _codes("all any"),
    "QuestionnaireItemEnableWhen.operator": _codes("exists = != > < >= <="),
    "QuestionnaireResponse.status": _codes("in-progress completed amended entered-in-error stopped"),
    "ServiceRequest.status": _REQUEST_STATUS,
    "ServiceRequest.intent": _REQUEST_INTENT,
    "ServiceRequest.priority": _REQUEST_PRIORITY,
    "Task.status": _codes(
        "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
        "entered-in-error"
    ),
    "Task.intent": (_REQUEST_INTENT - {"directive"}) | {"unknown"},
    "Task.priority": _REQUEST_PRIORITY,
    # Resources that are exchanged, not stored
    "Bundle.type": _codes(
        "document message transaction transaction-response batch batch-response history searchset collection"
    ),
    "BundleEntryRequest.method": _codes("GET HEAD POST PUT DELETE PATCH"),
    "BundleEntrySearch.mode": _codes("match include outcome"),
    "CapabilityStatement.status": _PUBLICATION_STATUS,
    "CapabilityStatement.kind": _codes("instance capability requirements"),
    "CapabilityStatement.fhirVersion": _codes(
        "0.01 0.05 0.06 0.11 0.0.80 0.0.81 0.0.82 0.4.0 0.5.0 1.0.0 1.0.1 1.0.2 1.1.0 1.4.0 1.6.0 1.8.0 3.0.0 3.0.1 "
        "3.3.0 3.5.0 4.0.0 4.0.1"
    ),
    "CapabilityStatementDocument.mode": _codes("producer consumer"),
    "CapabilityStatementMessagingSupportedMessage.mode": _codes("sender receiver"),
    "CapabilityStatementRest.mode": _codes("client server"),
    "CapabilityStatementRestInteraction.code": _codes("transaction batch search-system history-system"),
    "CapabilityStatementRestResource.type": RESOURCE_TYPES,
    "CapabilityStatementRestResource.conditionalDelete": _codes("not-supported single multiple"),
    "CapabilityStatementRestResource.conditionalRead": _codes("not-supported modified-since not-match full-support"),
    "CapabilityStatementRestResource.referencePolicy": _codes("literal logical resolves enforced local"),
    "CapabilityStatementRestResource.versioning": _codes("no-version versioned versioned-update"),
    "CapabilityStatementRestResourceInteraction.code": _codes(
        "read vread update patch delete history-instance history-type create search-type"
    ),
    "CapabilityStatementRestResourceSearchParam.type": _codes(
        "number date string token reference composite quantity uri special"
    ),
    "ProvenanceEntity.role": _codes("derivation revision quotation source removal"),
    "OperationOutcomeIssue.severity": _codes("fatal error warning information"),
    "OperationOutcomeIssue.code": _codes(
        "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
        "not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly "
        "business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational"
    ),
    # Resources that may stand contained in a referral
    "CareTeam.status": _codes("proposed active suspended inactive entered-in-error"),
    "Encounter.status": _codes(
        "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
    ),
    "Group.type": _codes("person animal practitioner device medication substance"),
    "Location.status": _codes("active suspended inactive"),
    "Location.mode": _codes("instance kind"),
    "Person.gender": _GENDER,
    "RelatedPerson.gender": _GENDER,
}

CONDITION_CLINICAL = _codes("active recurrence relapse inactive remission resolved")
"""https://hl7.org/fhir/R4/valueset-condition-clinical.html: required, of CodeableConcept"""

CONDITION_VERIFICATION = _codes("unconfirmed provisional differential confirmed refuted entered-in-error")
"""https://hl7.org/fhir/R4/valueset-condition-ver-status.html: required, of CodeableConcept"""
