"""Whose referral it is, and that nothing in it is about somebody else. Pure.

Evidence of another patient, or a second Patient in a Bundle, is a mix-up that could harm both, and is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.patient import from_fhir_patient, from_logical_subject
from fhir_mappings.records import Channel, Json, Patient
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.packs.model import Pack
from service.referral.parts import Part

Lookup = Callable[[str], Json | None]
"""A stored resource by `Type/id`, as far as the caller's organisation may use it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: whose systems, which region, when."""

    canonical: Canonical
    pack: Pack
    now: datetime
    today: date
    channel: Channel = Channel.FHIR


@dataclass(slots=True)
class Desk:
    """Where a submission lies while it is read."""

    reading: Reading
    order: Part
    parts: Sequence[Part]
    stored: Lookup
    issues: list[Issue] = field(default_factory=list)
    by_source: Mapping[str, Part] = field(default_factory=dict)

    def find(self, reference: str) -> Part | None:
        """The part that a literal reference means: contained, or in the Bundle."""
        return self.by_source.get(reference)

    def lookup(self, reference: str) -> Json | None:
        """The resource of a literal reference: contained, in the Bundle, or stored."""
        part = self.find(reference)
        return part.resource if part else self.stored(reference)


def subject_of(desk: Desk) -> tuple[Patient | None, Part | None]:
    """The patient, and the Patient resource that was sent, if any."""
    reference = child(desk.order.resource, "subject")
    expression = f"{desk.order.expression}.subject"
    literal = text(reference, "reference")
    part = desk.find(literal) if literal else None
    resource = part.resource if part else (desk.stored(literal) if literal else None)
    reading = desk.reading
    if resource is not None:
        patient, issues = from_fhir_patient(
            resource,
            part.expression if part else expression,
            reading.today,
            reading.canonical,
            reading.pack.municipality_names,
        )
    elif child(reference, "identifier"):
        patient, issues = from_logical_subject(reference, expression, reading.today)
    elif literal:
        patient, issues = None, [_unknown_subject(expression, literal)]
    else:
        # that there is no subject at all was said when the ServiceRequest was read
        patient, issues = None, [_no_subject(expression)] if reference else []
    desk.issues += issues
    return patient, part


def same_patient(desk: Desk, patient: Patient) -> Part | None:
    """The Patient in the Bundle whom the subject names by identifier, or by what is stored."""
    return next((part for part in _patients(desk) if _is(desk, part, patient)), None)


def strangers(desk: Desk, subject: Part | None) -> Iterator[Issue]:
    """A Patient whom the referral is not about is a mix-up of patients, and refused."""
    for part in _patients(desk):
        if part is not subject:
            yield error(
                IssueCode.VALUE,
                part.expression,
                "Remissen gäller en annan patient än den här.",
                "this Patient is not the ServiceRequest's subject; send one referral per Bundle",
            )


def _patients(desk: Desk) -> Iterator[Part]:
    return (part for part in desk.parts if part.type == "Patient")


def _is(desk: Desk, part: Part, patient: Patient) -> bool:
    reading = desk.reading
    read, _ = from_fhir_patient(
        part.resource, part.expression, reading.today, reading.canonical, reading.pack.municipality_names
    )
    return read is not None and read.identity == patient.identity


def others_evidence(desk: Desk, evidence: Sequence[Part], patient: Patient | None) -> Iterator[Issue]:
    """Evidence that says it is about somebody else is a mix-up of patients, and refused."""
    if patient is None:
        return
    subject = child(desk.order.resource, "subject")
    for part in evidence:
        for expression, about in _about(part):
            if about == subject or text(about, "reference") == text(subject, "reference") is not None:
                continue
            literal = text(about, "reference")
            resource = desk.lookup(literal) if literal else None
            reading = desk.reading
            if resource is not None:
                other, _ = from_fhir_patient(
                    resource, expression, reading.today, reading.canonical, reading.pack.municipality_names
                )
            else:
                other, _ = from_logical_subject(about, expression, reading.today)
            if other is None or other.identity != patient.identity:
                yield error(
                    IssueCode.VALUE,
                    expression,
                    "Uppgiften gäller inte säkert samma patient som remissen.",
                    "the subject cannot be matched with the ServiceRequest's subject",
                )


def _about(part: Part) -> Iterator[tuple[str, Json]]:
    """Whom a piece of evidence says that it is about, and where: its subject, or the patients in an Appointment."""
    about = child(part.resource, "subject")
    if about:
        yield f"{part.expression}.subject", about
    if part.type == "Appointment":
        for i, participant in children(part.resource, "participant"):
            actor = child(participant, "actor")
            named = text(actor, "type") or (text(actor, "reference") or "").partition("/")[0]
            system = text(child(actor, "identifier"), "system")
            if named == "Patient" or system in IDENTITY_KINDS:
                yield f"{part.expression}.participant[{i}].actor", actor


def _unknown_subject(expression: str, literal: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        f"{expression}.reference",
        "Patienten som remissen hänvisar till finns inte här.",
        f"the reference {literal!r} is neither contained, nor in the Bundle, nor stored",
    )


def _no_subject(expression: str) -> Issue:
    return error(
        IssueCode.REQUIRED,
        expression,
        "Remissen saknar patient.",
        "subject needs a literal reference to a Patient, or its identifier",
    )
