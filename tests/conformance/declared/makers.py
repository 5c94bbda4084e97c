"""What a client of each type makes and changes. A type that comes to be declared as creatable or updatable needs a line
here, and fails until it has one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from fhir_mappings.records import Json
from tests.conformance.client import content, message, new_number
from tests.conformance.declared.here import Here
from tests.journeys.referrals import UNIT, alone, madrs_s
from tests.journeys.treatments import Journey, begin
from tests.web.caller import S
from tests.web.test_subscriptions import wanted

REFERRER = f"referrer {UNIT}"
GAVLE = "therapist gavle"

_numbers = count(1)


@dataclass(frozen=True)
class Made:
    """Something a caller may send, and which search finds it (and nothing else) once it is stored."""

    caller: str
    resource: Json
    condition: str


def _journey(here: Here) -> Journey:
    return begin(here.service, placer=new_number())


def _order(here: Here) -> Made:
    sent = alone(new_number())
    identifier = sent["identifier"][0]
    return Made(REFERRER, sent, f"identifier={identifier['system']}|{identifier['value']}")


def _numbered(resource: Json) -> tuple[Json, str]:
    identifier = {"system": "https://ehr.example/made", "value": f"M-{next(_numbers)}"}
    return {**resource, "identifier": [identifier]}, f"identifier={identifier['system']}|{identifier['value']}"


def _about(here: Here, **elements: Any) -> dict[str, Any]:
    journey = _journey(here)
    subject = journey.read(journey.order)["subject"]
    return {"subject": subject, "basedOn": [{"reference": journey.order}], **elements}


def _answers(here: Here) -> Made:
    resource = madrs_s(**_about(here))
    system, value = "https://ehr.example/made", f"M-{next(_numbers)}"
    return Made(
        REFERRER, {**resource, "identifier": {"system": system, "value": value}}, f"identifier={system}|{value}"
    )


def _rating(here: Here) -> Made:
    resource, condition = _numbered(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": f"{S}/CodeSystem/madrs-s", "code": "total"}]},
            "valueQuantity": {"value": 12, "system": "http://unitsofmeasure.org", "code": "{score}"},
            "effectiveDateTime": "2026-11-20",
            **_about(here),
        }
    )
    return Made(REFERRER, resource, condition)


def _message(here: Here) -> Made:
    resource, condition = _numbered(message(_journey(here).order))
    return Made(REFERRER, resource, condition)


def _child(here: Here) -> Made:
    journey = _journey(here)
    journey.accept()
    activity = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": f"{S}/CodeSystem/ikbt-activity", "code": "extra-contact"}]},
        "partOf": [{"reference": f"Task/{journey.task['id']}"}],
    }
    resource, condition = _numbered(activity)
    return Made(GAVLE, resource, condition)


def _subscription(here: Here) -> Made:
    endpoint = f"https://ehr.example/told/{next(_numbers)}"
    return Made(REFERRER, wanted("task-updated", endpoint=endpoint), f"url={endpoint}")


MAKERS: Mapping[str, Callable[[Here], Made]] = {
    "Communication": _message,
    "Observation": _rating,
    "QuestionnaireResponse": _answers,
    "ServiceRequest": _order,
    "Subscription": _subscription,
    "Task": _child,
}

CHANGES: Mapping[str, tuple[str, Any]] = {
    "Observation": ("status", "amended"),
    "QuestionnaireResponse": ("status", "amended"),
    "ServiceRequest": ("priority", "urgent"),
    "Subscription": ("reason", "another one"),
    "Task": ("note", [{"text": "Ringt en gång."}]),
}
"""An element of each type that whoever made it may set."""


def maker_of(type_: str) -> Callable[[Here], Made]:
    """What makes one of a type that is declared as creatable."""
    assert type_ in MAKERS, f"{type_} is declared as creatable, and nothing here makes one"
    return MAKERS[type_]


def newly(here: Here, type_: str) -> tuple[Made, Json]:
    """One that has just been created: as it was sent, and as it is stored."""
    made = maker_of(type_)(here)
    answer = here.ask("POST", type_, body=made.resource, caller=made.caller)
    assert answer.status_code == 201, answer.text
    return made, content(answer)
