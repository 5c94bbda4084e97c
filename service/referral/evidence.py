"""What a referral rests on: MADRS-S ratings, referral forms, diagnoses and a booked start call. Pure.

Evidence that is entered in error, refuted or unfinished does not count, and that is said (contract 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fhir_mappings.elements import children, text
from fhir_mappings.issues import Issue, IssueCode, Severity
from fhir_mappings.madrs_s import (
    from_fhir_observation,
    from_fhir_response,
    is_madrs_s_observation,
    is_madrs_s_response,
)
from fhir_mappings.records import FormAnswers, Json, MadrsS, Referral, StartCall
from fhir_mappings.referral_form import ELEVATED, SUICIDE_RISK, from_fhir_form, is_referral_form
from fhir_mappings.service_request import diagnoses_from
from fhir_mappings.terminology import Canonical


class Placed(Protocol):
    """A resource and where it stands."""

    @property
    def resource(self) -> Json:
        """The resource."""

    @property
    def expression(self) -> str:
        """FHIRPath of it in what was sent."""

    @property
    def source(self) -> str | None:
        """What references call it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that bears on the decision, and every problem with it."""

    madrs_s: tuple[MadrsS, ...] = ()
    forms: tuple[FormAnswers, ...] = ()
    diagnoses: tuple[str, ...] = ()
    start_call: StartCall | None = None
    issues: tuple[Issue, ...] = ()


def gather(order: Placed, evidence: Sequence[Placed], canonical: Canonical) -> Evidence:
    """What the resources beside a ServiceRequest say. An Observation that is derived from a MADRS-S response
    which is here too is the same rating, and counts once.
    """
    ratings: list[MadrsS] = []
    forms: list[FormAnswers] = []
    issues: list[Issue] = []
    responses = {part.source for part in evidence if part.source and is_madrs_s_response(part.resource, canonical)}
    for part in evidence:
        if is_madrs_s_response(part.resource, canonical):
            rating, found = from_fhir_response(part.resource, part.expression, canonical, part.source)
        elif is_madrs_s_observation(part.resource, canonical) and not _derived_from(part.resource, responses):
            rating, found = from_fhir_observation(part.resource, part.expression, canonical, part.source)
        elif is_referral_form(part.resource, canonical):
            rating = None
            form, found = from_fhir_form(part.resource, part.expression, canonical, part.source)
            forms += [form] if form else []
        else:
            continue
        ratings += [rating] if rating else []
        issues += found
    conditions = [(p.resource, p.expression) for p in evidence if p.resource.get("resourceType") == "Condition"]
    diagnoses, found = diagnoses_from(order.resource, order.expression, conditions)
    issues += found
    start_call, found = _start_call([p for p in evidence if p.resource.get("resourceType") == "Appointment"])
    return Evidence(tuple(ratings), tuple(forms), diagnoses, start_call, (*issues, *found))


def risk_evidence(referral: Referral, item_9_threshold: int) -> tuple[str, ...]:
    """One key for each piece of evidence that alerts: the resource, what it says and when it was answered. An
    unchanged piece keeps its key, so that it alerts once; another or a later answer in the same resource is a new key.
    """
    ratings = [
        f"{rating.source}#item-9={rating.items[8]}@{rating.answered or 'undated'}"
        for rating in referral.madrs_s
        if rating.items is not None and rating.items[8] >= item_9_threshold
    ]
    stated = [
        f"{form.source}#{SUICIDE_RISK}={ELEVATED}@{form.authored or 'undated'}"
        for form in referral.forms
        if form.answers.get(SUICIDE_RISK) == ELEVATED
    ]
    return (*ratings, *stated)


def _derived_from(observation: Json, sources: set[str]) -> bool:
    return any(text(reference, "reference") in sources for _, reference in children(observation, "derivedFrom"))


def _start_call(appointments: Sequence[Placed]) -> tuple[StartCall | None, list[Issue]]:
    """The booked start call: the first Appointment that stands (neither cancelled nor entered in error)."""
    standing = [part for part in appointments if part.resource.get("status") in ("booked", "pending", "proposed")]
    issues = [
        Issue(
            Severity.INFORMATION,
            IssueCode.INFORMATIONAL,
            "Bokningen räknas inte: den är avbokad eller felaktigt införd.",
            f"Appointment.status {part.resource.get('status')!r} does not count as a booked start call",
            f"{part.expression}.status",
        )
        for part in appointments
        if part not in standing
    ]
    for part in standing:
        start = text(part.resource, "start")
        if start is not None:
            return StartCall(start, text(part.resource, "end"), part.source), issues
    return None, issues
