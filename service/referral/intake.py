"""What was sent, read as a referral: a ServiceRequest alone or in a transaction Bundle, or what is stored of one.

All ways in end in `read_submission`. It is pure: what is stored is looked up through a function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from urllib.parse import urlsplit

from fhir_mappings.bundle import Entry, entries, fingerprint
from fhir_mappings.elements import child, children, text
from fhir_mappings.issues import Issue, IssueCode, error, is_error
from fhir_mappings.patient import from_fhir_patient, from_logical_subject
from fhir_mappings.providers import resolve_requester
from fhir_mappings.records import Channel, HsaId, Json, Patient, Reference, Referral
from fhir_mappings.service_request import from_fhir_service_request, unknown_modifier_extensions
from fhir_mappings.terminology import IDENTITY_KINDS, Canonical
from service.packs.model import Pack
from service.referral.evidence import Evidence, gather

Lookup = Callable[[str], Json | None]
"""A stored resource by `Type/id`, as far as the caller's organisation may use it."""

WITH_A_REFERRAL = frozenset(
    {
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Condition",
        "Observation",
        "QuestionnaireResponse",
        "Appointment",
    }
)
"""What may stand beside the ServiceRequest in a Bundle (contract 3)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a submission and where it stands."""

    resource: Json
    expression: str
    """`Bundle.entry[2].resource`, `ServiceRequest`, `ServiceRequest.contained[0]`."""
    source: str | None = None
    """What references in the submission call it: fullUrl, `#id` or `Type/id`; an entry without fullUrl, which nothing
    can refer to, is called by its place.
    """
    position: int | None = None
    """Of its Bundle entry."""
    method: str = "POST"
    url: str = ""
    if_none_exist: str | None = None
    if_match: str | None = None
    existing: Reference | None = None
    """What is stored and stands for it, where its If-None-Exist matches; `resource` is then as stored."""

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource.get("resourceType"))


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: whose systems, which region, when."""

    canonical: Canonical
    pack: Pack
    now: datetime
    today: date
    channel: Channel = Channel.FHIR


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


@dataclass(slots=True)
class _Desk:
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


def parts_of(resource: Json) -> tuple[Part | None, list[Part], list[Issue]]:
    """The ServiceRequest, what stands beside it, and what is wrong with the Bundle as a Bundle.

    `resource` is a ServiceRequest or a transaction Bundle, valid R4.
    """
    if resource.get("resourceType") == "ServiceRequest":
        return Part(resource, "ServiceRequest"), [], []
    issues: list[Issue] = []
    if resource.get("type") != "transaction":
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                "Bundle.type",
                "En Bundle med remiss ska vara av typen transaction.",
                f"Bundle.type {resource.get('type')!r} is not supported here; send a transaction",
            )
        )
    orders: list[Part] = []
    beside: list[Part] = []
    for entry in entries(resource):
        part = _part(entry, issues)
        if part is not None:
            (orders if part.type == "ServiceRequest" else beside).append(part)
    if len(orders) != 1:
        issues.append(
            error(
                IssueCode.BUSINESS_RULE,
                "Bundle.entry",
                "Skicka en remiss (ServiceRequest) per Bundle.",
                f"a Bundle carries exactly one ServiceRequest; this one has {len(orders)}",
            )
        )
        return None, beside, issues
    return orders[0], beside, issues


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
    desk = _Desk(reading, order_part, beside, stored)
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
    patient, subject = _subject(desk)
    if patient is not None:
        subject = subject or _same_patient(desk, patient)
        desk.issues += _strangers(desk, subject)
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
    desk.issues += _others_evidence(desk, everything, patient)
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


_PROVIDERS = frozenset({"Organization", "PractitionerRole", "Practitioner"})

_EVIDENCE = frozenset({"Observation", "QuestionnaireResponse", "Condition", "Appointment"})


def _part(entry: Entry, issues: list[Issue]) -> Part | None:
    """The entry as a part of a referral; None (and an issue) for what no referral consists of."""
    place = f"Bundle.entry[{entry.position}]"
    if entry.resource is None:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.request.method",
                "Bara POST och PUT av resurser tas emot tillsammans med en remiss.",
                f"{entry.method} without a resource is not supported in a referral Bundle",
            )
        )
        return None
    type_ = str(entry.resource.get("resourceType"))
    amends = entry.method == "PUT" and type_ == "ServiceRequest"
    if entry.method != "POST" and not amends:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.request.method",
                f"{entry.method} av {type_} tas inte emot tillsammans med en remiss.",
                f"{entry.method} {type_} is not supported in a referral Bundle; POST resources, PUT the ServiceRequest",
            )
        )
    url = entry.url or ""
    if type_ != "ServiceRequest" and type_ not in WITH_A_REFERRAL:
        issues.append(
            error(
                IssueCode.NOT_SUPPORTED,
                f"{place}.resource",
                f"{type_} hör inte till en remiss.",
                f"{type_} is not part of a referral; allowed: {', '.join(sorted(WITH_A_REFERRAL))}",
            )
        )
    elif entry.method == "POST" and url.strip("/") != type_:
        issues.append(
            error(
                IssueCode.VALUE,
                f"{place}.request.url",
                "request.url stämmer inte med resursens typ.",
                f"request.url must be {type_!r} for a POST of it",
            )
        )
    return Part(
        entry.resource,
        f"{place}.resource",
        entry.full_url or f"{place}.resource",
        entry.position,
        entry.method or "",
        url,
        entry.if_none_exist,
        entry.if_match,
    )


def names_of(part: Part) -> Iterator[str]:
    """What references in the same submission may call a part: its fullUrl, and the relative form of an absolute one
    (https://hl7.org/fhir/R4/bundle.html#references).
    """
    if part.source is None:
        return
    yield part.source
    if urlsplit(part.source).scheme in ("http", "https"):
        yield "/".join(part.source.rstrip("/").split("/")[-2:])


def _subject(desk: _Desk) -> tuple[Patient | None, Part | None]:
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


def _same_patient(desk: _Desk, patient: Patient) -> Part | None:
    """The Patient in the Bundle whom the subject names by identifier, or by what is stored."""
    return next((part for part in _patients(desk) if _is(desk, part, patient)), None)


def _strangers(desk: _Desk, subject: Part | None) -> Iterator[Issue]:
    """A Patient whom the referral is not about is a mix-up of patients, and refused."""
    for part in _patients(desk):
        if part is not subject:
            yield error(
                IssueCode.VALUE,
                part.expression,
                "Remissen gäller en annan patient än den här.",
                "this Patient is not the ServiceRequest's subject; send one referral per Bundle",
            )


def _patients(desk: _Desk) -> Iterator[Part]:
    return (part for part in desk.parts if part.type == "Patient")


def _is(desk: _Desk, part: Part, patient: Patient) -> bool:
    reading = desk.reading
    read, _ = from_fhir_patient(
        part.resource, part.expression, reading.today, reading.canonical, reading.pack.municipality_names
    )
    return read is not None and read.identity == patient.identity


def _evidence_parts(desk: _Desk, contained: Sequence[Part]) -> Iterator[Part]:
    """Everything that may bear on the decision: sent in the Bundle, contained, or stored and referred to."""
    for part in (*desk.parts, *contained):
        if part.type in _EVIDENCE:
            yield part
    for name in ("supportingInfo", "reasonReference"):
        for i, reference in children(desk.order.resource, name):
            literal = text(reference, "reference")
            if literal is None or desk.find(literal) is not None:
                continue
            expression = f"{desk.order.expression}.{name}[{i}]"
            resource = desk.stored(literal)
            if resource is None and not _elsewhere(literal):
                desk.issues.append(_unknown_reference(expression, literal))
            elif resource is not None and resource.get("resourceType") in _EVIDENCE:
                yield Part(resource, expression, literal)


def _others_evidence(desk: _Desk, evidence: Sequence[Part], patient: Patient | None) -> Iterator[Issue]:
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


def _elsewhere(literal: str) -> bool:
    """An absolute reference to another server: kept as sent, never fetched."""
    return urlsplit(literal).scheme in ("http", "https")


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


def _unknown_reference(expression: str, literal: str) -> Issue:
    return error(
        IssueCode.VALUE,
        f"{expression}.reference",
        "Det som remissen hänvisar till finns inte här.",
        f"the reference {literal!r} is neither contained, nor in the Bundle, nor stored",
    )
