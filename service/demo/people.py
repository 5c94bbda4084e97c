"""The people around Sluss, each with no more than HTTP: the referrer's record system, the therapist, the platform."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump, parse
from fhir_mappings.terminology import Canonical, Systems

_PATIENCE = 20.0
Query = Mapping[str, str | list[str]]
"""Search parameters; a list stands for a parameter that is repeated."""
OPEN_STATES = "requested,received,accepted,in-progress,on-hold"
"""The states of a referral that a worklist shows."""


class Unexpected(Exception):  # noqa: N818  told as a failed check
    """Sluss answered otherwise than the step needs."""


@dataclass(frozen=True)
class Person:
    """Who calls, and how."""

    base: str
    """Base URL of the service, without `/fhir`."""
    caller: str | None
    """The header `Sluss-Caller`; None: none is sent."""
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def call(
        self, method: str, path: str, body: Json | bytes | None = None, query: Query | None = None
    ) -> requests.Response:
        """Whatever is answered. Raises requests.RequestException when nothing is."""
        kind = "application/json" if path.startswith("/intake") else "application/fhir+json"
        headers = {"Accept": "application/fhir+json, application/json, application/problem+json"}
        if self.caller:
            headers["Sluss-Caller"] = self.caller
        if body is not None:
            headers["Content-Type"] = kind
        data = dump(body).encode() if isinstance(body, dict) else body
        url = path if path.startswith("http") else self.base + path
        return self.session.request(method, url, params=query, data=data, headers=headers, timeout=_PATIENCE)

    def ask(self, method: str, path: str, body: Json | bytes | None = None, query: Query | None = None) -> Json:
        """The JSON of an answer that must be 2xx; Unexpected, with what the service says, for any other."""
        answer = self.call(method, path, body, query)
        if not answer.ok:
            raise Unexpected(f"{method} {path.partition('?')[0]}: {told(answer)}")
        return exact(answer)

    def read(self, reference: str) -> Json:
        """A resource by `Type/id`."""
        return self.ask("GET", f"/fhir/{reference}")

    def search(self, type_: str, **query: str | list[str]) -> list[Json]:
        """All matches of a search, page after page; `_` in a name is written `-`, except at its beginning."""
        found: list[Json] = []
        names = {name[0] + name[1:].replace("_", "-"): value for name, value in query.items()}
        bundle = self.ask("GET", f"/fhir/{type_}", query=names)
        while True:
            found += [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
            following = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
            if not following:
                return found
            bundle = self.ask("GET", following[0])


@dataclass(frozen=True)
class Therapist(Person):
    """An internet therapist of one team, working from the worklist of contract 8."""

    team: str = ""
    role: str = ""
    """Id of the own PractitionerRole."""
    canonical: Canonical = field(default_factory=lambda: Canonical(""))

    def worklist(self) -> list[Json]:
        """The team's and the own open Tasks, newest first."""
        return self.search("Task", **self._worklist_query())

    def worklist_includes(self) -> set[str]:
        """What the worklist brings along as `Type/id`: the referrals in focus and their patients."""
        query = self._worklist_query()
        included: list[str] = []
        bundle = self.ask("GET", "/fhir/Task", query=query)
        while True:
            entries = [e for e in bundle.get("entry", ()) if e["search"]["mode"] == "include"]
            included += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries]
            following = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
            if not following:
                return set(included)
            bundle = self.ask("GET", following[0])

    def _worklist_query(self) -> dict[str, str | list[str]]:
        return {
            "owner": f"HealthcareService/{self.team},PractitionerRole/{self.role}",
            "status": OPEN_STATES,
            "_sort": "-_lastUpdated",
            "_include": ["Task:focus", "Task:patient"],
        }

    def change(self, task: str, **elements: Any) -> Json:
        """Read a Task, replace elements, and PUT it with the version that was read."""
        current = self.read(task)
        body = {name: value for name, value in {**current, **elements}.items() if value is not None}
        return self.ask("PUT", f"/fhir/{task}", body)

    def claim(self, task: str) -> Json:
        """Make it one's own."""
        return self.change(task, owner={"reference": f"PractitionerRole/{self.role}"})

    def complete_activity(self, task: str, activity: str) -> Json:
        """End the first open child Task of an activity."""
        for child in self.search("Task", part_of=task, status="requested"):
            if (self.canonical.activity, activity) in codes(child.get("code")):
                return self.change(f"Task/{child['id']}", status="completed")
        raise Unexpected(f"{task} has no open child Task {activity}")

    def output(self, task: str, kind: str, text: str, **elements: Any) -> Json:
        """Add an output with words to the Task, and perhaps move it."""
        held = self.read(task).get("output", [])
        made = {"type": {"coding": [{"system": self.canonical.task_output, "code": kind}]}, "valueString": text}
        return self.change(task, output=[*held, made], **elements)

    def open_tasks(self, kind: str, patient: str | None = None) -> list[Json]:
        """The open Tasks of one kind (`relay-message`, `abort` …) in the worklist, perhaps of one patient only."""
        return [
            task
            for task in self.worklist()
            if kind in {code for _, code in codes(task.get("code"))} and patient in (None, task["for"]["reference"])
        ]


@dataclass
class Platform:
    """A record system's platform that polls for replies to its units, as contract 8 has it."""

    person: Person
    units: tuple[str, ...]
    last_seen: dict[str, str] = field(default_factory=dict)
    received: list[Json] = field(default_factory=list)
    """Every message, in the order in which it came."""
    out_of_order: int = 0
    polls: int = 0

    def poll(self) -> list[Json]:
        """What is new for each unit since the last stamp that was seen there."""
        new: list[Json] = []
        for unit in self.units:
            new += self._poll(unit)
        self.received += new
        self.polls += 1
        return new

    def _poll(self, unit: str) -> list[Json]:
        query = {
            "recipient:identifier": f"{Systems.HSA_ID}|{unit}",
            "status": "completed",
            "_sort": "_lastUpdated",
            "_count": "200",
        }
        seen = self.last_seen.get(unit)
        if seen is not None:
            query["_lastUpdated"] = f"gt{seen}"
        found: list[Json] = []
        bundle = self.person.ask("GET", "/fhir/Communication", query=query)
        while True:
            found += [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
            following = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
            if not following:
                break
            bundle = self.person.ask("GET", following[0])
        for message in found:
            stamp = message["meta"]["lastUpdated"]
            if unit in self.last_seen and instant(stamp) < instant(self.last_seen[unit]):
                self.out_of_order += 1
            self.last_seen[unit] = stamp
        return found

    def of(self, order: str) -> list[Json]:
        """The messages about one referral, in the order in which they came."""
        return [m for m in self.received if {"reference": order} in m.get("basedOn", ())]


def exact(answer: requests.Response) -> Json:
    """The JSON body with every decimal as it was written. Raises Unexpected when it is none."""
    body = parse(answer.content)
    if isinstance(body, list):
        raise Unexpected(f"the answer to {answer.request.method} is no JSON: {body[0].diagnostics}")
    return body


def told(answer: requests.Response) -> str:
    """Status and English diagnostics of a refusal."""
    body = parse(answer.content)
    issues = [] if isinstance(body, list) else body.get("issue", ())
    words = "; ".join(str(issue.get("diagnostics", issue.get("code", ""))) for issue in issues)
    return f"{answer.status_code} {words or answer.reason}"


def codes(concept: Json | None) -> set[tuple[str, str]]:
    """The (system, code) of a CodeableConcept's codings."""
    return {(c.get("system", ""), c.get("code", "")) for c in (concept or {}).get("coding", ())}


def instant(stamp: str) -> datetime:
    """`meta.lastUpdated` as a point in time."""
    return datetime.fromisoformat(stamp)
