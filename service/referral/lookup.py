"""Which stored resources a caller's submission may refer to."""

from fhir_mappings.records import Json
from service.access.caller import Caller, Role
from service.referral.house import House
from service.referral.intake import Lookup

SHARED = ("Organization", "PractitionerRole", "Practitioner", "HealthcareService")
EVIDENCE = ("Observation", "QuestionnaireResponse", "Condition", "Appointment")


def usable_by(house: House, caller: Caller) -> Lookup:
    """Finds `Type/id` among what the caller's organisation may use: shared providers, its own patients, and evidence
    of its own referrals. Another organisation's is as if it did not exist (contract 3).
    """
    view = house.store.view()

    def find(reference: str) -> Json | None:
        type_, _, id_ = reference.partition("/")
        if type_ not in (*SHARED, *EVIDENCE, "Patient"):
            return None
        stored = view.get(type_, id_)
        if stored is None:
            return None
        if type_ in SHARED or caller.role is Role.ADMINISTRATOR:
            return stored.content
        if type_ == "Patient":
            keys = view.keys_of("Patient", reference)
            return stored.content if any(key.rpartition("@")[2] in caller.organisations for key in keys) else None
        row = view.referral_of(type_, id_)
        return stored.content if row is not None and row.organisation in caller.organisations else None

    return find
