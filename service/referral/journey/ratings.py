"""The Observation that Sluss makes of each MADRS-S that comes as a response (contract 6), and keeps in step with it."""

from collections.abc import Mapping, Sequence

from fhir_mappings.elements import children
from fhir_mappings.madrs_s import to_fhir_observation
from fhir_mappings.records import Json, MadrsS, Reference
from fhir_mappings.terminology import Canonical
from service.referral.case import Case


def follow_ratings(case: Case, ratings: Sequence[MadrsS], became: Mapping[str, Reference] | None = None) -> None:
    """Make the Observation of every rating in a response, amend it when the answers have changed, and mark it
    entered-in-error when its response is, or is no longer there.

    `ratings` are all that count for the referral now; `became` maps what a submission calls its parts to what they are
    stored as.
    """
    known = {_origin_of(o): o for o in case.all_of("Observation") if is_computed(o, case.canonical)}
    for rating in ratings:
        if rating.from_response and rating.source is not None:
            made = _made(case, rating, became or {})
            _put(case, made, known.pop(_origin_of(made), None))
    for orphan in known.values():
        if orphan["status"] != "entered-in-error":
            case.put({**orphan, "status": "entered-in-error"})


def is_computed(resource: Json, canonical: Canonical) -> bool:
    """True for an Observation that Sluss has made of a response: its identifier is its own id. One that somebody has
    read here and sends along with another referral has the same identifier, and another id.
    """
    own = (canonical.identifier("observation"), resource.get("id"))
    return resource["resourceType"] == "Observation" and any(
        (identifier.get("system"), identifier.get("value")) == own for _, identifier in children(resource, "identifier")
    )


def _made(case: Case, rating: MadrsS, became: Mapping[str, Reference]) -> Json:
    """The Observation without id: derived from the stored response, or by identifier from one that is contained in the
    ServiceRequest, which no reference from outside can reach.
    """
    assert rating.source is not None  # noqa: S101  asked before
    stored = became.get(rating.source) or (Reference(rating.source) if "/" in rating.source else None)
    observation = to_fhir_observation(rating, case.canonical, case.patient, case.order_reference, stored)
    if stored is None:
        contained = {"system": case.canonical.identifier("contained"), "value": case.order_reference + rating.source}
        observation["derivedFrom"] = [{"type": "QuestionnaireResponse", "identifier": contained}]
    return observation


def _put(case: Case, made: Json, existing: Json | None) -> None:
    if existing is None:
        id_ = case.house.new_id()
        identifier = {"system": case.canonical.identifier("observation"), "value": id_}
        case.put({**made, "id": id_, "identifier": [identifier]})
    elif any(existing.get(name) != made.get(name) for name in _CONTENT) or existing["status"] == "entered-in-error":
        kept = {"id": existing["id"], "identifier": existing["identifier"], "status": "amended"}
        case.put({**made, **kept})


_CONTENT = ("effectiveDateTime", "valueQuantity", "component")
"""What follows from the answers; the rest is the same for every version."""


def _origin_of(observation: Json) -> str:
    """What the Observation is derived from, as one text."""
    return str([derived.get("reference") or derived.get("identifier") for derived in observation["derivedFrom"]])
