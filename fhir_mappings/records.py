"""What Sluss speaks of, as frozen records. They know nothing of FHIR's shapes, of the database or of HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

Json = dict[str, Any]
"""A parsed FHIR resource or element. Decimals are `decimal.Decimal`, so that `1.00` stays `1.00`."""

HsaId = NewType("HsaId", str)
"""A unit's, role's or person's id in the Swedish HSA catalogue, for example `SE2321000198-EX01`."""

Reference = NewType("Reference", str)
"""A relative literal reference, `Type/id`."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A business identifier: system URI and value."""

    system: str
    value: str


# ---------------------------------------------------------------- people and units


class IdentityKind(StrEnum):
    """The three national kinds of patient identifier that a referral may carry."""

    PERSONNUMMER = "personnummer"
    SAMORDNINGSNUMMER = "samordningsnummer"
    RESERVNUMMER = "nationelltReservnummer"


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """A valid national identifier, 12 characters without separator."""

    kind: IdentityKind
    value: str

    @property
    def key(self) -> str:
        """One text for look-ups: `personnummer|199002222397`."""
        return f"{self.kind}|{self.value}"


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient as the referrer gave them."""

    identity: PatientIdentity
    name: str | None = None
    phone: str | None = None
    municipality: str | None = None
    """Four-digit municipality code, where it can be told."""
    security: tuple[tuple[str, str], ...] = ()
    """`meta.security` as (system, code): sekretessmarkering, skyddad folkbokföring. Carried through, never dropped."""
    active: bool = True
    deceased: bool = False


@dataclass(frozen=True, slots=True)
class Requester:
    """Who refers: the unit, and the role in it where one was given."""

    unit: HsaId
    unit_name: str | None = None
    municipality: str | None = None
    role: HsaId | None = None
    practitioner: HsaId | None = None
    role_name: str | None = None


class Reach(StrEnum):
    """How a unit gets our messages."""

    PLATFORM = "platform"
    RECORD_MESSAGE = "record-message"
    LETTER = "letter"


@dataclass(frozen=True, slots=True)
class Unit:
    """A referring unit in the pack's directory."""

    hsa_id: HsaId
    name: str
    kind: str
    """A referrer kind of the pack: health-centre, child-and-family-health, youth-clinic, hospital …"""
    municipality: str
    area: str
    reach: Reach = Reach.PLATFORM
    may_book_start_call: bool = False


@dataclass(frozen=True, slots=True)
class Team:
    """A team of internet therapists: a seat and a telephone, no person's name."""

    id: str
    name: str
    seat: str
    hsa_id: HsaId
    """Of the unit where the team is seated (HealthcareService.providedBy)."""
    phone: str
    phone_menu: str | None = None
    internal_post: str | None = None
    role_code: str = "internet-therapist"
    roles: tuple[str, ...] = ()
    """Ids of the PractitionerRoles that belong to the team."""


# ---------------------------------------------------------------- the referral


@dataclass(frozen=True, slots=True)
class MadrsS:
    """One MADRS-S rating: nine items of 0 to 6 and their sum, or the sum alone (0 to 54)."""

    total: int
    items: tuple[int, ...] | None = None
    answered: str | None = None
    """When the patient answered, a FHIR date or dateTime; None when it was not told."""
    source: str | None = None
    """Where it stands: the fullUrl, `#id` or `Type/id` of the QuestionnaireResponse or Observation."""
    from_response: bool = True
    """True when it comes from a QuestionnaireResponse, False when it came as an Observation."""


Answer = bool | str


@dataclass(frozen=True, slots=True)
class FormAnswers:
    """The referral form as answered: linkId to yes/no or to a code."""

    answers: Mapping[str, Answer]
    authored: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class StartCall:
    """A start call that the referrer has booked (an Appointment in the Bundle). ISO instants with offset."""

    start: str
    end: str | None = None
    source: str | None = None


class Channel(StrEnum):
    """How the referral came."""

    FHIR = "fhir"
    RECORD_MESSAGE = "record-message"
    PAPER_LETTER = "paper-letter"
    PHONE = "phone"


class Priority(StrEnum):
    """Required binding request-priority, lowest first: https://hl7.org/fhir/R4/valueset-request-priority.html"""

    ROUTINE = "routine"
    URGENT = "urgent"
    ASAP = "asap"
    STAT = "stat"

    @property
    def rank(self) -> int:
        """0 for routine to 3 for stat."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class Referral:
    """What a referral says, whichever way it came. The same record for FHIR and for plain JSON."""

    placer: Identifier
    programme: str
    patient: Patient
    requester: Requester
    authored_on: str
    """FHIR date or dateTime with offset, as sent."""
    priority: Priority = Priority.ROUTINE
    diagnoses: tuple[str, ...] = ()
    """ICD-10-SE codes that count, upper case, with the dot (`F32.1`)."""
    forms: tuple[FormAnswers, ...] = ()
    madrs_s: tuple[MadrsS, ...] = ()
    start_call: StartCall | None = None
    notes: tuple[str, ...] = ()
    channel: Channel = Channel.FHIR


# ---------------------------------------------------------------- the decision


class Verdict(StrEnum):
    """What becomes of the referral, mildest first (contract 4). `advice` is a finding's weight, never a referral's."""

    ADVICE = "advice"
    ELIGIBLE = "eligible"
    REVIEW = "review"
    INFORMATION = "information"
    RETURN = "return"

    @property
    def rank(self) -> int:
        """Grows with gravity: advice 0 … return 4."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found, with the passage of the source that it rests on."""

    rule: str
    verdict: Verdict
    text: str
    """Swedish, for people."""
    text_en: str
    passage: str = ""
    """The source's own words, or why the pack adds this."""
    row: str = ""
    """The row of the source table (`R14`)."""
    alert: bool = False
    team_only: bool = False
    """True for what must not be told to the referrer (another unit's referral)."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict and its findings, gravest first."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()

    @property
    def alert(self) -> bool:
        """True when any finding calls for a safety follow-up."""
        return any(finding.alert for finding in self.findings)


class StartMode(StrEnum):
    """How the treatment's first contact comes about."""

    THERAPIST_PHONES = "therapist-phones"
    BOOKED = "booked"


@dataclass(frozen=True, slots=True)
class Route:
    """Which team, by which routing rule, and how the start call comes about."""

    team: str
    rule: str
    """`unit-directory`, `requester-municipality`, `patient-municipality` or `needs-routing`."""
    start: StartMode = StartMode.THERAPIST_PHONES
    findings: tuple[Finding, ...] = ()
    instead_of: tuple[str, ...] = ()
    """Teams that are absent, in the order they were passed over."""

    @property
    def needs_routing(self) -> bool:
        """True when nobody could tell, so that the coordination team must."""
        return self.rule == "needs-routing"


# ---------------------------------------------------------------- treatment and messages


@dataclass(frozen=True, slots=True)
class Activity:
    """One kind of step in a programme, as the pack lists it."""

    code: str
    title: str
    count: int = 1
    """How many child Tasks are made at acceptance."""
    most: int = 1
    """How many there may be; the therapist adds the rest."""
    before_start: bool = False
    before_reply: bool = False
    """Must be completed before the referral's Task can be completed."""
    closes_with_reply: bool = False
    """Completed by Sluss when the final reply is sent."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Programme:
    """A treatment programme of the pack."""

    code: str
    title: str
    weeks: tuple[int, int]
    """Shortest and longest, in weeks."""
    description: str = ""
    diagnoses: tuple[str, ...] = ()
    """ICD-10-SE prefixes that the pack expects for the programme (`F32`)."""
    activities: tuple[Activity, ...] = ()


class MessageCategory(StrEnum):
    """What a Communication is (CodeSystem `ikbt-message`)."""

    ACKNOWLEDGEMENT = "acknowledgement"
    INFORMATION_REQUEST = "information-request"
    RETURNED = "returned"
    SAFETY_ALERT = "safety-alert"
    STARTED = "started"
    REROUTED = "rerouted"
    DISCONTINUED = "discontinued"
    WITHDRAWAL_CONFIRMED = "withdrawal-confirmed"
    WITHDRAWAL_REFUSED = "withdrawal-refused"
    INTERIM_REPLY = "interim-reply"
    FINAL_REPLY = "final-reply"
    CORRECTION = "correction"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Message:
    """One message about a referral, before it becomes a Communication."""

    id: str
    category: MessageCategory
    text: str
    sent: str
    subject: Reference
    based_on: Reference
    part_of: Reference
    sender: Reference
    recipient: Reference
    recipient_unit: HsaId
    priority: Priority = Priority.ROUTINE
    reasons: tuple[tuple[str, str], ...] = ()
    """(rule id, Swedish text) per reason."""
    in_response_to: Reference | None = None
    prepared: bool = False
    """True while somebody must still pass it on (`preparation`)."""


class TaskKind(StrEnum):
    """The kinds of Task that Sluss keeps; `fulfill` and `abort` are FHIR's own task-code."""

    REFERRAL = "fulfill"
    ABORT = "abort"
    ACTIVITY = "activity"
    SAFETY_FOLLOW_UP = "safety-follow-up"
    RELAY_MESSAGE = "relay-message"
    TAKE_OVER = "take-over"
    REMINDER = "reminder"
    UNREADABLE_REFERRAL = "unreadable-referral"
    """A ServiceRequest on the external server that cannot be taken in."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A Task of any kind, as Sluss makes it."""

    id: str
    kind: TaskKind
    status: str
    owner: Reference
    patient: Reference
    focus: Reference
    authored_on: str
    last_modified: str
    requester: Reference | None = None
    activity: str | None = None
    """The activity code, for kind ACTIVITY."""
    description: str | None = None
    business_status: str | None = None
    status_reason: tuple[str, str] | None = None
    """(code, Swedish text); the code may be empty where only a text is known."""
    priority: Priority = Priority.ROUTINE
    part_of: Reference | None = None
    based_on: Reference | None = None
    findings: tuple[Finding, ...] = ()
    route_rule: str | None = None
    notes: tuple[tuple[str, str, str], ...] = ()
    """(author, ISO time, text), oldest first."""
    due: str | None = None
    """ISO instant: Task.restriction.period.end."""
    period: tuple[str, str | None] | None = field(default=None)
    """executionPeriod, for a booked start call."""


@dataclass(frozen=True, slots=True)
class TreatmentPlan:
    """A treatment as planned at acceptance: the programme, its period and the child Tasks that carry it out."""

    id: str
    status: str
    programme: str
    """Canonical of the programme's PlanDefinition."""
    title: str
    patient: Reference
    referral: Reference
    author: Reference
    created: str
    start: str
    end: str
    """ISO dates; the end is the programme's longest duration after the start."""
    activities: tuple[Reference, ...] = ()
    description: str = ""
