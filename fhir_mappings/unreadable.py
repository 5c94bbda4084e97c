"""A ServiceRequest on the external server that cannot be taken in: the Task that tells coordination, and the message
that tells whoever posted it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_mappings.communication import CATEGORY_TITLES
from fhir_mappings.issues import Issue, is_error
from fhir_mappings.records import Json, MessageCategory, TaskKind
from fhir_mappings.task import KIND_TITLES, annotation
from fhir_mappings.terminology import NATIONAL_MESSAGE_CODES, Canonical

_SAFETY = "Bedöm patientens säkerhet nu enligt lokal rutin."


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What is to be told of it."""

    about: str
    """The ServiceRequest, by absolute reference."""
    text: str
    """All that is wrong, in Swedish."""
    risk: bool
    """True when it carries readable signs of suicide risk."""
    recipient: Json | None = None
    """Whoever posted it, as a Reference, where that can be read."""
    issues: tuple[Issue, ...] = ()


def what_is_wrong(issues: Sequence[Issue], signs: Sequence[str]) -> str:
    """Every problem as a line of Swedish text, readable signs of suicide risk first."""
    problems = [issue for issue in issues if is_error(issue)] or list(issues)
    lines = [f"- {issue.text}{f' ({issue.expression})' if issue.expression else ''}" for issue in problems]
    warned = [f"OBS! Den innehåller tecken på suicidrisk ({', '.join(signs)}). {_SAFETY}", ""] if signs else []
    return "\n".join((*warned, "Remissen är INTE mottagen. Det som behöver rättas:", *dict.fromkeys(lines)))


def to_unreadable_task(found: Unreadable, id_: str, coordination: str, at: str, canonical: Canonical) -> Json:
    """The Task for the coordination team, authored `at`."""
    return {
        "resourceType": "Task",
        "id": id_,
        "identifier": [{"system": canonical.identifier("task"), "value": id_}],
        "status": "requested",
        "intent": "order",
        "priority": "stat" if found.risk else "urgent",
        "code": {
            "coding": [{"system": canonical.task_kind, "code": str(TaskKind.UNREADABLE_REFERRAL)}],
            "text": KIND_TITLES[TaskKind.UNREADABLE_REFERRAL],
        },
        "description": found.text,
        "focus": {"reference": found.about},
        "authoredOn": at,
        "lastModified": at,
        "owner": {"reference": coordination},
        "note": [annotation("Sluss", at, found.text)],
    }


def to_unreadable_message(found: Unreadable, id_: str, coordination: str, at: str, canonical: Canonical) -> Json:
    """The message to whoever posted it, based on the ServiceRequest."""
    category = MessageCategory.INFORMATION_REQUEST
    coding = [
        {"system": canonical.message, "code": str(category), "display": CATEGORY_TITLES[category]},
        {"system": canonical.national_message, "code": NATIONAL_MESSAGE_CODES[category]},
    ]
    message: Json = {
        "resourceType": "Communication",
        "id": id_,
        "identifier": [{"system": canonical.identifier("communication"), "value": id_}],
        "basedOn": [{"reference": found.about}],
        "status": "completed",
        "category": [{"coding": coding, "text": CATEGORY_TITLES[category]}],
        "priority": "stat" if found.risk else "urgent",
        "sent": at,
        "recipient": [found.recipient] if found.recipient else None,
        "sender": {"reference": coordination},
        "payload": [{"contentString": found.text}],
    }
    return {name: value for name, value in message.items() if value is not None}
