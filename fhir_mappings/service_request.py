"""The referral itself: a ServiceRequest in, read row by row as contract 3 lists them, and a ServiceRequest out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_mappings.datetimes import SWEDEN, earliest_instant, has_time, is_day
from fhir_mappings.diagnoses import diagnoses_from, normalise_icd10, to_fhir_reason
from fhir_mappings.elements import child, children, codings, text
from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import Identifier, Json, Priority, Reference, Referral
from fhir_mappings.terminology import PROGRAMMES, Canonical, Systems

__all__ = [
    "Order",
    "diagnoses_from",
    "from_fhir_service_request",
    "normalise_icd10",
    "to_fhir_service_request",
    "unknown_modifier_extensions",
]


_TIMING_CHOICE = re.compile(r"(?<=[a-z])(Timing|Dosage)$")
"""The two data types that can hold a modifierExtension, where they stand in a choice: `occurrenceTiming`."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the ServiceRequest says by itself; whom its references mean is read elsewhere."""

    placer: Identifier
    programme: str
    authored_on: str
    """FHIR date or dateTime with offset, as sent."""
    priority: Priority
    subject: Json
    """Reference."""
    requester: Json
    """Reference."""
    reasons: tuple[tuple[str | None, str], ...] = ()
    """(system, code) of every coding in reasonCode, as sent."""
    notes: tuple[str, ...] = ()
    supporting: tuple[str, ...] = ()
    """Literal references of supportingInfo and reasonReference, in order."""


def from_fhir_service_request(
    resource: Json, expression: str, canonical: Canonical, now: datetime, programmes: Sequence[str] = PROGRAMMES
) -> tuple[Order | None, list[Issue]]:
    """The order, and every problem with it; None where any of them is an error.

    `now` is an instant with offset: `authoredOn` may not be after it. A modifierExtension anywhere in the resource,
    contained resources included, is refused, because Sluss knows none
    (https://hl7.org/fhir/R4/extensibility.html#modifierExtension).
    """
    placer, issues = _placer(resource, expression)
    issues += _fixed_values(resource, expression)
    programme, found = _programme(resource, expression, canonical, programmes)
    issues += found
    authored_on = text(resource, "authoredOn")
    issues += _authored_on(authored_on, f"{expression}.authoredOn", now)
    priority, found = _priority(resource, expression)
    issues += found
    subject, requester = child(resource, "subject"), child(resource, "requester")
    if not subject:
        issues.append(_required(f"{expression}.subject", "Remissen saknar patient.", "subject is missing."))
    if not requester:
        issues.append(_required(f"{expression}.requester", "Remissen saknar remittent.", "requester is missing."))
    issues += unknown_modifier_extensions(resource, expression)
    if issues or placer is None or programme is None or authored_on is None:
        return None, issues
    order = Order(
        placer=placer,
        programme=programme,
        authored_on=authored_on,
        priority=priority,
        subject=subject,
        requester=requester,
        reasons=tuple(
            (text(coding, "system"), code)
            for _, reason in children(resource, "reasonCode")
            for _, coding in children(reason, "coding")
            if (code := text(coding, "code"))
        ),
        notes=tuple(note for _, written in children(resource, "note") if (note := text(written, "text"))),
        supporting=tuple(
            literal
            for name in ("supportingInfo", "reasonReference")
            for _, reference in children(resource, name)
            if (literal := text(reference, "reference"))
        ),
    )
    return order, []


def to_fhir_service_request(
    referral: Referral,
    canonical: Canonical,
    subject: Reference,
    requester: Reference,
    supporting: Sequence[Reference] = (),
) -> Json:
    """The ServiceRequest of a referral that came as plain JSON; the pair of `from_fhir_service_request`."""
    resource: Json = {
        "resourceType": "ServiceRequest",
        "identifier": [
            {
                "type": {"coding": [{"system": Systems.IDENTIFIER_TYPE.value, "code": "PLAC"}]},
                "system": referral.placer.system,
                "value": referral.placer.value,
            }
        ],
        "status": "active",
        "intent": "order",
        "priority": referral.priority.value,
        "code": {"coding": [{"system": canonical.programme, "code": referral.programme}]},
        "subject": {"reference": subject},
        "authoredOn": referral.authored_on,
        "requester": {"reference": requester},
    }
    if referral.diagnoses:
        resource["reasonCode"] = [to_fhir_reason(code) for code in referral.diagnoses]
    if supporting:
        resource["supportingInfo"] = [{"reference": reference} for reference in supporting]
    if referral.notes:
        resource["note"] = [{"text": note} for note in referral.notes]
    return resource


_RULES = "implicitRules"


def unknown_modifier_extensions(element: object, expression: str) -> list[Issue]:
    """One error for each modifierExtension in the element or below it, and for each implicitRules, which is a modifier
    too; none is known to Sluss.
    """
    if not _holds_modifier_extension(element):
        return []
    return [
        error(
            IssueCode.NOT_SUPPORTED,
            place,
            "Meddelandet följer regler som kan ändra innebörden och som vi inte känner till.",
            "These implicitRules are not known here, so the resource cannot be understood safely.",
        )
        if place.endswith(_RULES)
        else error(
            IssueCode.EXTENSION,
            place,
            "Här finns ett tillägg som kan ändra innebörden och som vi inte känner till.",
            "This modifierExtension is not known here, so its resource cannot be understood safely.",
        )
        for place in _modifier_extensions(element, expression)
    ]


def _holds_modifier_extension(element: object) -> bool:
    """What nearly always answers the question, and costs a tenth of telling the places."""
    waiting = [element]
    for node in waiting:
        if isinstance(node, dict):
            if "modifierExtension" in node or _RULES in node:
                return True
            waiting += [value for value in node.values() if isinstance(value, dict | list)]
        elif isinstance(node, list):
            waiting += node
    return False


def _modifier_extensions(element: object, expression: str) -> Iterator[str]:
    if isinstance(element, dict):
        for name, value in element.items():
            # FHIRPath names a choice of types without the type
            place = f"{expression}.{_TIMING_CHOICE.sub('', name)}"
            if name == _RULES:
                yield place
            elif name != "modifierExtension":
                yield from _modifier_extensions(value, place)
            elif isinstance(value, list):
                yield from (f"{place}[{position}]" for position in range(len(value)))
    elif isinstance(element, list):
        for position, member in enumerate(element):
            yield from _modifier_extensions(member, f"{expression}[{position}]")


def _placer(resource: Json, expression: str) -> tuple[Identifier | None, list[Issue]]:
    """The referrer's own number: the one typed PLAC, or the only one; with system and value."""
    place = f"{expression}.identifier"
    identifiers = list(children(resource, "identifier"))
    typed = [
        (position, identifier)
        for position, identifier in identifiers
        if (Systems.IDENTIFIER_TYPE, "PLAC") in codings(identifier, "type")
    ]
    candidates = typed or identifiers
    if not candidates:
        return None, [_required(place, "Remissen saknar remittentens egen beteckning.", "identifier is missing.")]
    if len(candidates) > 1:
        which = "several are typed PLAC" if typed else "several identifiers and none is typed PLAC"
        return None, [
            _required(
                place,
                "Det går inte att se vilken beteckning som är remittentens egen.",
                f"Which identifier is the placer's cannot be told: {which} ({Systems.IDENTIFIER_TYPE.value}).",
            )
        ]
    position, identifier = candidates[0]
    system, value = text(identifier, "system"), text(identifier, "value")
    issues = [
        _required(
            f"{place}[{position}].{name}",
            "Remittentens egen beteckning är inte fullständig.",
            f"The placer's identifier needs a {name}.",
        )
        for name, part in (("system", system), ("value", value))
        if part is None
    ]
    return (Identifier(system, value) if system and value else None), issues


def _fixed_values(resource: Json, expression: str) -> list[Issue]:
    """Status active, intent order, doNotPerform not true."""
    issues = [
        error(
            IssueCode.BUSINESS_RULE,
            f"{expression}.{name}",
            f"En remiss som skickas hit ska ha {name} ”{wanted}”.",
            f"{name} must be '{wanted}', not {text(resource, name)!r}.",
        )
        for name, wanted in (("status", "active"), ("intent", "order"))
        if resource.get(name) != wanted
    ]
    if resource.get("doNotPerform") is True:
        issues.append(
            error(
                IssueCode.BUSINESS_RULE,
                f"{expression}.doNotPerform",
                "En remiss kan inte be om att något inte ska göras.",
                "doNotPerform must not be true.",
            )
        )
    return issues


def _programme(
    resource: Json, expression: str, canonical: Canonical, programmes: Sequence[str]
) -> tuple[str | None, list[Issue]]:
    """The programme asked for: exactly one coding in our system, beside any in others."""
    place = f"{expression}.code"
    ours = [
        (position, coding)
        for position, coding in children(child(resource, "code"), "coding")
        if coding.get("system") == canonical.programme
    ]
    if len(ours) != 1:
        how_many = "is missing" if not ours else f"stands {len(ours)} times"
        return None, [
            error(
                IssueCode.CODE_INVALID,
                f"{place}.coding" if child(resource, "code") else place,
                "Remissen ska ange ett behandlingsprogram, och bara ett.",
                f"Exactly one coding of {canonical.programme} is needed; it {how_many}.",
            )
        ]
    position, coding = ours[0]
    code = text(coding, "code")
    if code in programmes:
        return code, []
    return None, [
        error(
            IssueCode.CODE_INVALID,
            f"{place}.coding[{position}].code",
            "Behandlingsprogrammet finns inte.",
            f"Unknown programme; {canonical.programme} has {', '.join(programmes)}.",
        )
    ]


def _authored_on(written: str | None, expression: str, now: datetime) -> list[Issue]:
    if written is None or not (is_day(written) or has_time(written)):
        return [
            error(
                IssueCode.VALUE,
                expression,
                "Remissens datum saknas eller är ofullständigt.",
                "authoredOn is needed, as a complete date (YYYY-MM-DD) or a dateTime with offset.",
            )
        ]
    instant = earliest_instant(written)
    # A date alone begins at midnight in Sweden, so today's date is not in the future.
    if instant is not None and instant > now:
        return [
            error(
                IssueCode.VALUE,
                expression,
                "Remissens datum ligger i framtiden.",
                f"authoredOn is in the future; it is {now.astimezone(SWEDEN).isoformat(timespec='seconds')} here.",
            )
        ]
    return []


def _priority(resource: Json, expression: str) -> tuple[Priority, list[Issue]]:
    """The priority; routine where none is stated, as R4 says: https://hl7.org/fhir/R4/servicerequest.html"""
    written = resource.get("priority", Priority.ROUTINE.value)
    if written in [priority.value for priority in Priority]:
        return Priority(written), []
    return Priority.ROUTINE, [
        error(
            IssueCode.CODE_INVALID,
            f"{expression}.priority",
            "Remissens prioritet finns inte.",
            f"priority must be one of {', '.join(Priority)}.",
        )
    ]


def _required(expression: str, swedish: str, english: str) -> Issue:
    return error(IssueCode.REQUIRED, expression, swedish, english)
