"""Referrals of different units with everything that belongs to them, and who asks for them."""

import re
from dataclasses import dataclass

from werkzeug.test import TestResponse

from fhir_mappings.records import Json
from service.access.caller import Caller, Role
from tests.journeys import referrals
from tests.web.caller import Sluss, content
from tests.web.test_subscriptions import wanted

HSA = referrals.HSA
WITHOUT_REASON = Caller(Role.ADMINISTRATOR)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Side:
    """One referral, and whose it is."""

    unit: str
    team: str
    person: str
    placer: str
    subscription: str
    resources: dict[str, list[Json]]
    """Of every type, with the Patient."""

    def one(self, type_: str) -> Json:
        """The first of a type."""
        return self.resources[type_][0]

    def reference(self, type_: str) -> str:
        """`Type/id` of the first of a type."""
        return f"{type_}/{self.one(type_)['id']}"


@dataclass(frozen=True)
class Who:
    """A caller as the tests name it."""

    name: str
    header: str | None = None
    known: Caller | None = None

    def ask(
        self, sluss: Sluss, method: str, path: str, body: Json | bytes | str | None, headers: dict[str, str]
    ) -> TestResponse:
        """An answer to this caller."""
        more = {"environ_overrides": {"sluss.caller": self.known}} if self.known else {}
        return Sluss(sluss.app, self.header).call(method, path, body, headers, **more)


def refer(sluss: Sluss, unit: str, team: str, person: str, placer: str) -> Side:
    """A referral that has been accepted, with evidence of every kind, and a Subscription of its unit."""
    about = {"subject": {"reference": referrals.PATIENT}}
    condition: Json = {"resourceType": "Condition", **about, "code": {"text": "Nedstämdhet"}}
    booked: Json = {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2026-12-01T09:00:00+01:00",
        "end": "2026-12-01T09:30:00+01:00",
        "participant": [{"actor": {"reference": referrals.PATIENT}, "status": "accepted"}],
    }
    names = [f"urn:uuid:10000000-0000-4000-8000-00000000001{number}" for number in range(2)]
    extra = ((names[0], condition), (names[1], booked))
    sent = referrals.referral(placer, unit=unit, identity=person, extra=extra)
    referrer = sluss.acting(f"referrer {unit}")
    answer = referrer.post("/fhir", sent)
    assert answer.status_code == 200, answer.text
    order = next(
        found["response"]["location"].split("/_history")[0]
        for found in content(answer)["entry"]
        if found["response"]["location"].startswith("ServiceRequest/")
    )
    (task,) = sluss.search(f"Task?focus={order}&code=fulfill")
    moved = sluss.acting(f"therapist {team}").put(f"/fhir/Task/{task['id']}", {**task, "status": "accepted"})
    assert moved.status_code == 200, moved.text
    patient = sluss.read(order)["subject"]["reference"]
    resources = {"Patient": [sluss.read(patient)]}
    for type_ in ("ServiceRequest", "Task", "CarePlan", "Communication", "Observation", "QuestionnaireResponse"):
        resources[type_] = sluss.search(f"{type_}?patient={patient}")
    resources["Task"].sort(key=lambda one: one["code"]["coding"][0]["code"] != "fulfill")
    for type_ in ("Condition", "Appointment"):
        resources[type_] = sluss.search(f"{type_}?patient={patient}")
    resources["Provenance"] = sluss.search(f"Provenance?target={order}")
    made = referrer.post("/fhir/Subscription", wanted("reply-sent"))
    assert made.status_code == 201, made.text
    found = {type_: listed for type_, listed in resources.items() if listed}
    return Side(unit, team, person, placer, content(made)["id"], found)


def told(answer: TestResponse, secrets: dict[str, str]) -> tuple[int, list[tuple[str, str]], str]:
    """Everything of an answer, but for the names of what was asked for and what is another at every request."""

    def hidden(text: str) -> str:
        for secret, name in secrets.items():
            text = text.replace(secret, name)
        return _DATE.sub("@", _INSTANT.sub("@", _UUID.sub("#", text)))

    headers = sorted((n, hidden(v)) for n, v in answer.headers.items() if n not in ("X-Request-Id", "Content-Length"))
    return answer.status_code, headers, hidden(answer.get_data(as_text=True))
