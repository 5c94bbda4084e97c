"""Which stored resources a caller's submission may refer to."""

from fhir_mappings.records import Json
from service.access.caller import Caller, Role
from service.referral.house import House
from service.referral.intake import Lookup
from service.referral.sights import seen_by

SHARED = ("Organization", "PractitionerRole", "Practitioner", "HealthcareService")
EVIDENCE = ("Observation", "QuestionnaireResponse", "Condition", "Appointment")


def usable_by(house: House, caller: Caller) -> Lookup:
    """Finds `Type/id` among what the caller may use in a submission: shared providers, patients and evidence that it
    sees as the referring organisation. Another's is as if it did not exist (contract 3).
    """
    seen = seen_by(house, caller)
    refers = caller.role in (Role.REFERRER, Role.ADMINISTRATOR)

    def find(reference: str) -> Json | None:
        type_, _, id_ = reference.partition("/")
        if type_ not in SHARED and not (refers and type_ in (*EVIDENCE, "Patient")):
            return None
        stored = seen.get(type_, id_)
        return None if stored is None else stored.content

    return find
