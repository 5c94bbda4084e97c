"""What was sent, read as a referral: a ServiceRequest alone or in a transaction Bundle, or what is stored of one.

All ways in end in `read_submission`. It is pure: what is stored is looked up through a function.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fhir_mappings.bundle import fingerprint
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.providers import resolve_requester
from fhir_mappings.records import HsaId, Json, Referral
from fhir_mappings.service_request import from_fhir_service_request, unknown_modifier_extensions
from service.referral.evidence import Evidence, gather
from service.referral.parts import Part, is_absolute, names_of, parts_of
from service.referral.whose import Desk, Lookup, Reading, others_evidence, same_patient, strangers, subject_of

__all__ = [
    "Lookup",
    "Part",
    "Reading",
    "Submission",
    "Unreadable",
    "names_of",
    "parts_of",
    "read_parts",
    "read_submission",
]


@dataclass(frozen=True, slots=True)
class Submission:
    """A referral as sent, read and free of errors."""

    referral: Referral
    order: Part
    """The ServiceRequest."""
    parts: tuple[Part, ...]
    """What else stands in the Bundle, in its order; contained resources are in `order`."""
    evidence: Evidence
    advice: tuple[Issue, ...]
    fingerprint: str
    subject: Part | None = None
    """The Patient that was sent with it, if any (an entry or contained)."""
    requester_parts: tuple[Part, ...] = ()
    """Organization, PractitionerRole and Practitioner that were sent with it, contained ones included."""
    made_reference: bool = False
    """True when the sender gave no number of its own and Sluss made one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a submission is refused: every problem, errors and advice."""

    issues: tuple[Issue, ...]
    unit: HsaId | None = None
    """The referring organisation, where it could be read: whether the caller may act for it is asked first."""


def read_submission(
    resource: Json, reading: Reading, stored: Lookup, *, made_reference: bool = False
) -> Submission | Unreadable:
    """The referral in `resource` (a ServiceRequest or a transaction Bundle), or every problem with it.
    `made_reference` says that the placer's number in it is one that Sluss made.
    """
    order, beside, issues = parts_of(resource)
    if order is None:
        return Unreadable(tuple(issues))
    read = read_parts(order, beside, reading, stored)
    if isinstance(read, Unreadable):
        return Unreadable((*issues, *read.issues), read.unit)
    if issues:
        return Unreadable((*issues, *read.advice), read.referral.requester.unit)
    return replace(read, made_reference=made_reference)


def read_parts(order_part: Part, beside: Sequence[Part], reading: Reading, stored: Lookup) -> Submission | Unreadable:
    """The referral that a ServiceRequest and the resources beside it make, or every problem with them."""
    contained = [
        Part(inner, f"{order_part.expression}.contained[{i}]", f"#{inner.get('id')}")
        for i, inner in children(order_part.resource, "contained")
    ]
    desk = Desk(reading, order_part, beside, stored)
    desk.by_source = {name: part for part in (*contained, *beside) for name in names_of(part)}
    order, found = from_fhir_service_request(
        order_part.resource,
        order_part.expression,
        reading.canonical,
        reading.now,
        tuple(reading.pack.programmes),  # a pack may offer fewer than the code system has
    )
    desk.issues += found
    for part in beside:
        desk.issues += unknown_modifier_extensions(part.resource, part.expression)
    patient, subject = subject_of(desk)
    if patient is not None:
        subject = subject or same_patient(desk, patient)
        desk.issues += strangers(desk, subject)
    requester, found = resolve_requester(
        child(order_part.resource, "requester"),
        f"{order_part.expression}.requester",
        desk.lookup,
        [part.resource for part in (*beside, *contained) if part.type == "PractitionerRole"],
        reading.canonical,
        reading.pack.municipality_names,
    )
    desk.issues += found if child(order_part.resource, "requester") else []  # that there is none was said above
    everything = [*_evidence_parts(desk, contained)]
    evidence = gather(order_part, everything, reading.canonical)
    desk.issues += evidence.issues
    desk.issues += others_evidence(desk, everything, patient)
    if order is None or patient is None or requester is None or any(map(is_error, desk.issues)):
        return Unreadable(tuple(desk.issues), requester.unit if requester else None)
    referral = Referral(
        placer=order.placer,
        programme=order.programme,
        patient=patient,
        requester=requester,
        authored_on=order.authored_on,
        priority=order.priority,
        diagnoses=evidence.diagnoses,
        forms=evidence.forms,
        madrs_s=evidence.madrs_s,
        start_call=evidence.start_call,
        notes=order.notes,
        channel=reading.channel,
    )
    return Submission(
        referral=referral,
        order=order_part,
        parts=tuple(beside),
        evidence=evidence,
        advice=tuple(desk.issues),
        fingerprint=fingerprint(
            [(p.source, p.resource) for p in sorted((order_part, *beside), key=lambda p: p.position or 0)]
        ),
        subject=subject,
        requester_parts=tuple(p for p in (*beside, *contained) if p.type in _PROVIDERS),
    )


MOST_LOOKED_UP = 200
"""References of one referral to what is not in it; each is looked up in the database."""

_PROVIDERS = frozenset({"Organization", "PractitionerRole", "Practitioner"})

_EVIDENCE = frozenset({"Observation", "QuestionnaireResponse", "Condition", "Appointment"})


def _evidence_parts(desk: Desk, contained: Sequence[Part]) -> Iterator[Part]:
    """Everything that may bear on the decision: sent in the Bundle, contained, or stored and referred to."""
    for part in (*desk.parts, *contained):
        if part.type in _EVIDENCE:
            yield part
    seen: set[str] = set()
    for name in ("supportingInfo", "reasonReference"):
        for i, reference in children(desk.order.resource, name):
            literal = text(reference, "reference")
            if literal is None or literal in seen or desk.find(literal) is not None:
                continue
            seen.add(literal)
            if len(seen) > MOST_LOOKED_UP:
                desk.issues.append(_too_many(f"{desk.order.expression}.{name}"))
                return
            expression = f"{desk.order.expression}.{name}[{i}]"
            resource = desk.stored(literal)
            # an absolute reference to another server is kept as sent and never fetched
            if resource is None and not is_absolute(literal):
                desk.issues.append(_unknown_reference(expression, literal))
            elif resource is not None and resource.get("resourceType") in _EVIDENCE:
                yield Part(resource, expression, literal)


def _too_many(expression: str) -> Issue:
    return error(
        IssueCode.TOO_COSTLY,
        expression,
        f"En remiss får hänvisa till högst {MOST_LOOKED_UP} resurser som inte skickas med.",
        f"a referral may refer to at most {MOST_LOOKED_UP} resources that are not sent with it",
    )


def _unknown_reference(expression: str, literal: str) -> Issue:
    return error(
        IssueCode.VALUE,
        f"{expression}.reference",
        "Det som remissen hänvisar till finns inte här.",
        f"the reference {literal!r} is neither contained, nor in the Bundle, nor stored",
    )
