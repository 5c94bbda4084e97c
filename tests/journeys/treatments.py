"""One referral on its way through contract 6 and 7: who moves what, and what everybody can see of it afterwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from service.store.records import JournalEntry, Stored
from tests.journeys.conftest import Client, Service
from tests.journeys.referrals import ADULT, HSA, PATIENT, STRANGER, UNIT, S, referral
from tests.journeys.steps import category_of, code_of, refer

ROLE = "PractitionerRole/gavle-internet-therapist-1"
COLLEAGUE = "PractitionerRole/gavle-internet-therapist-2"
TEAM = "HealthcareService/gavle"
OTHER_TEAM = "HealthcareService/norra-halsingland"
COORDINATION = "HealthcareService/samordning"
BOOKING_UNIT = "SE2321000198-EX01"
"""A unit of Gävle that may book start calls."""
RELAYED_UNIT = "SE2321000198-EX02"
"""A unit of Gävle that is not on the platform."""

BOOKED_CALL = (
    "urn:uuid:10000000-0000-4000-8000-000000000009",
    {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2026-12-01T09:00:00+01:00",
        "end": "2026-12-01T09:30:00+01:00",
        "participant": [{"actor": {"reference": PATIENT}, "status": "accepted"}],
    },
)
"""A start call that the unit has booked, as an entry of its Bundle."""

NATIONAL = {
    "acknowledgement": "BEK",
    "rerouted": "VID",
    "information-request": "KOM",
    "returned": "AVV",
    "discontinued": "AVB",
    "interim-reply": "DSV",
    "final-reply": "SSV",
}


@dataclass
class Journey:
    """A referral that has been received."""

    service: Service
    order: str
    unit: str = UNIT
    team: str = "gavle"
    before_start: tuple[str, ...] = ("first-call", "access-1177")

    # ------------------------------------------------------------ who

    @property
    def therapist(self) -> Client:
        return self.service.therapist(self.team)

    @property
    def referrer(self) -> Client:
        return self.service.referrer(self.unit)

    @property
    def coordination(self) -> Client:
        return self.service.therapist("samordning")

    @property
    def strangers(self) -> list[Client]:
        """Those for whom the referral is not there."""
        return [self.service.therapist("sodra-halsingland"), self.service.referrer("SE2321000198-EX06")]

    # ------------------------------------------------------------ what there is

    def read(self, reference: str) -> Json:
        return self.stored(reference).content

    def stored(self, reference: str) -> Stored:
        type_, _, id_ = reference.partition("/")
        stored = self.service.store.view().get(type_, id_)
        assert stored is not None, reference
        return stored

    @property
    def task(self) -> Json:
        """The referral's current Task."""
        return self.read(f"Task/{self.service.row(self.order).task}")

    @property
    def plan(self) -> Json:
        """The one CarePlan."""
        (plan,) = self.service.all_of(self.order, "CarePlan")
        return plan

    def children(self, code: str, status: str | None = None) -> list[Json]:
        """Tasks of the referral with a code, oldest first; only those in a status if given."""
        found = [t for t in self.service.all_of(self.order, "Task") if code_of(t) == code]
        return [t for t in found if status is None or t["status"] == status]

    def child(self, code: str, status: str | None = None) -> Json:
        (child,) = self.children(code, status)
        return child

    def messages(self, category: str | None = None) -> list[Json]:
        found = self.service.all_of(self.order, "Communication")
        return [m for m in found if category is None or category_of(m) == category]

    def journal(self, event: str | None = None) -> list[JournalEntry]:
        entries = self.service.store.view().journal_of(self.service.row(self.order).id)
        return [entry for entry in entries if event is None or entry.event == event]

    def moves(self, reference: str) -> list[tuple[str, str]]:
        """(from, to) of every move of a Task that the journal has."""
        told = [entry.detail for entry in self.journal("moved") if entry.detail["task"] == reference]
        return [(detail["from"], detail["to"]) for detail in told]

    # ------------------------------------------------------------ what is done

    def put(
        self,
        client: Client,
        status: str | None = None,
        task: Json | None = None,
        headers: dict[str, str] | None = None,
        **changes: Any,
    ) -> requests.Response:
        """A changed Task is PUT; an element set to None is left out."""
        task = task or self.task
        sent = {**task, **({"status": status} if status else {}), **changes}
        return client.put(f"Task/{task['id']}", {n: v for n, v in sent.items() if v is not None}, headers)

    def moved(self, client: Client, status: str | None = None, task: Json | None = None, **changes: Any) -> Json:
        answer = self.put(client, status, task, **changes)
        assert answer.status_code == 200, answer.text
        return self.read(f"Task/{(task or self.task)['id']}")

    def refused(self, expected: int, client: Client, status: str | None = None, **changes: Any) -> list[Json]:
        """The issues of a refusal; nothing has changed by it."""
        before = self.stored_versions()
        answer = self.put(client, status, **changes)
        assert answer.status_code == expected, answer.text
        assert self.stored_versions() == before
        issues: list[Json] = answer.json()["issue"]
        assert all(issue["details"]["text"] and issue["diagnostics"] for issue in issues)
        return issues

    def stored_versions(self) -> dict[str, int]:
        view = self.service.store.view()
        return {s.reference: s.version for s in view.of_referral(self.service.row(self.order).id)}

    def accept(self, **changes: Any) -> Json:
        return self.moved(self.therapist, "accepted", **changes)

    def do(self, code: str) -> Json:
        """An open activity is completed."""
        return self.moved(self.therapist, "completed", self.children(code, "requested")[0])

    def start(self) -> Json:
        """From wherever it is before the start to in-progress."""
        if self.task["status"] != "accepted":
            self.accept()
        for code in self.before_start:
            self.do(code)
        return self.moved(self.therapist, "in-progress")

    def complete(self, text: str = "Behandlingen är genomförd.") -> Json:
        return self.moved(self.therapist, "completed", output=self.with_output("final-reply", valueString=text))

    def with_output(self, code: str, **value: Any) -> list[Json]:
        return [*self.task.get("output", []), output(code, **value)]

    def post(self, client: Client, resource: Json) -> requests.Response:
        return client.post(f"/fhir/{resource['resourceType']}", resource)

    def say(self, client: Client, kind: str | None, text: str = "Text", /, **changes: Any) -> requests.Response:
        """A Communication about the referral's Task is posted."""
        message: Json = {
            "resourceType": "Communication",
            "status": "completed",
            "partOf": [{"reference": f"Task/{self.task['id']}"}],
            "payload": [{"contentString": text}],
            **({"category": [message_category(kind)]} if kind else {}),
            **changes,
        }
        return self.post(client, {n: v for n, v in message.items() if v is not None})

    def said(self, client: Client, kind: str | None, text: str = "Text", /, **changes: Any) -> Json:
        answer = self.say(client, kind, text, **changes)
        assert answer.status_code == 201, answer.text
        return self.read(f"Communication/{answer.json()['id']}")

    def add(self, client: Client, system: str, code: str, **changes: Any) -> requests.Response:
        """A child Task is posted."""
        child: Json = {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "code": {"coding": [{"system": system, "code": code}]},
            "partOf": [{"reference": f"Task/{self.task['id']}"}],
            **changes,
        }
        return self.post(client, {n: v for n, v in child.items() if v is not None})

    def add_activity(self, code: str, client: Client | None = None, **changes: Any) -> requests.Response:
        return self.add(client or self.therapist, f"{S}/CodeSystem/ikbt-activity", code, **changes)

    def ask_to_take_over(self, owner: str = OTHER_TEAM, client: Client | None = None) -> requests.Response:
        return self.add(client or self.therapist, f"{S}/CodeSystem/ikbt-task", "take-over", owner={"reference": owner})

    def withdraw(self, status: str = "revoked") -> None:
        answer = self.referrer.put(self.order, {**self.read(self.order), "status": status})
        assert answer.status_code == 200, answer.text

    # ------------------------------------------------------------ what the referrer has been told

    def told(self, category: str) -> Json:
        """The one message of a category; all that the contract asks of a message holds for it."""
        (message,) = self.messages(category)
        codes = [c["code"] for concept in message["category"] for c in concept["coding"]]
        assert codes == [category, *([NATIONAL[category]] if category in NATIONAL else [])]
        self.is_a_message(message)
        assert message["status"] == "completed"
        assert "sent" in message
        return message

    def is_a_message(self, message: Json) -> None:
        """Contract 6: identifier, category, priority, subject, basedOn, partOf, sender, recipient, payload."""
        assert validate(message) == []
        assert any(i["system"] == f"{S}/identifier/communication" for i in message["identifier"])
        assert {"reference": self.order} in message["basedOn"]
        assert message["partOf"][0]["reference"].startswith("Task/")
        assert message["subject"]["reference"].startswith("Patient/")
        assert message["sender"]["reference"]
        assert message["priority"]
        unit = self.service.store.view().natural("Organization", [self.unit])[self.unit]
        assert {"reference": unit, "identifier": {"system": HSA, "value": self.unit}} in message["recipient"]
        assert message["payload"][0]["contentString"].strip()


def begin(service: Service, unit: str = UNIT, identity: str = ADULT, **changes: Any) -> Journey:
    """A referral in which nothing is found comes in from a unit of Gävle."""
    return Journey(service, refer(service, referral(unit=unit, identity=identity, **changes), unit), unit)


def begin_unrouted(service: Service) -> Journey:
    """A referral from an unknown unit about a patient who lives nowhere that can be told."""
    body = referral(unit=STRANGER)
    for entry in body["entry"]:
        entry["resource"].pop("address", None)
    return Journey(service, refer(service, body, STRANGER), STRANGER, team="samordning")


def output(code: str, **value: Any) -> Json:
    return {"type": {"coding": [{"system": f"{S}/CodeSystem/task-output", "code": code}]}, **value}


def message_category(code: str) -> Json:
    return {"coding": [{"system": f"{S}/CodeSystem/ikbt-message", "code": code}]}


def words(message: Json) -> str:
    return str(message["payload"][0]["contentString"])


def at(task: Json, name: str) -> datetime:
    return datetime.fromisoformat(task[name])


def where(issues: list[Json]) -> list[str]:
    """The expression of each issue."""
    return [(issue.get("expression") or [""])[0] for issue in issues]


def owner(task: Json) -> str:
    return str(task["owner"]["reference"])


def business_status(task: Json) -> str | None:
    codings = task.get("businessStatus", {}).get("coding", [])
    return str(codings[0]["code"]) if codings else None


def because(text: str) -> dict[str, Json]:
    return {"statusReason": {"text": text}}
