"""Steps that many journeys begin with, and what tests look at afterwards."""

from typing import Any

from fhir_mappings.records import Json
from tests.journeys.conftest import Client, Service, exact
from tests.journeys.referrals import UNIT, S, located

TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"


def refer(service: Service, bundle: Json, unit: str = UNIT) -> str:
    """A referral's Bundle is sent and received; gives `ServiceRequest/{id}`."""
    answer = service.referrer(unit).post("/fhir", bundle)
    assert answer.status_code == 200, answer.text
    return next(located(e) for e in exact(answer)["entry"] if "/ServiceRequest/" in "/" + e["response"]["location"])


def refer_alone(service: Service, order: Json, unit: str = UNIT) -> str:
    """A ServiceRequest is sent by itself and received; gives `ServiceRequest/{id}`."""
    answer = service.referrer(unit).post("/fhir/ServiceRequest", order)
    assert answer.status_code == 201, answer.text
    return f"ServiceRequest/{answer.json()['id']}"


def task_of(service: Service, order: str) -> Json:
    """The referral's current Task."""
    return service.administrator.read(f"Task/{service.row(order).task}")


def tasks_of(service: Service, order: str, code: str) -> list[Json]:
    """All Tasks of a referral with a code (`fulfill`, `abort`, `safety-follow-up` …), in the order they came to be."""
    found = [t for t in service.all_of(order, "Task") if code_of(t) == code]
    return sorted(found, key=lambda task: str(task["authoredOn"]))


def code_of(task: Json) -> str:
    return str(task["code"]["coding"][0]["code"])


def messages(service: Service, order: str, category: str | None = None) -> list[Json]:
    """The Communications of a referral, of one category if given."""
    found = service.all_of(order, "Communication")
    return [m for m in found if category is None or category_of(m) == category]


def category_of(communication: Json) -> str:
    return next(
        str(coding["code"])
        for concept in communication["category"]
        for coding in concept["coding"]
        if coding["system"] == f"{S}/CodeSystem/ikbt-message"
    )


def text_of(communication: Json) -> str:
    return "\n".join(payload["contentString"] for payload in communication["payload"])


def notes_of(task: Json) -> str:
    return "\n".join(note["text"] for note in task.get("note", ()))


def findings_of(task: Json) -> list[str]:
    """The rules on a Task, in their order."""
    return [
        item["valueCodeableConcept"]["coding"][0]["code"]
        for item in task.get("input", ())
        if item["type"]["coding"][0]["code"] == "finding"
    ]


def route_of(task: Json) -> str:
    """The routing rule recorded on a Task."""
    (route,) = [i for i in task["input"] if i["type"]["coding"][0]["code"] == "route"]
    return str(next(value for name, value in route.items() if name.startswith("value")))


def move(client: Client, task: Json, status: str, **changes: Any) -> Json:
    """A Task is moved; gives it as stored."""
    answer = client.put(f"Task/{task['id']}", {**task, "status": status, **changes})
    assert answer.status_code == 200, answer.text
    return exact(answer)


def accept(service: Service, order: str, team: str = "gavle") -> Json:
    """The team accepts the referral."""
    return move(service.therapist(team), task_of(service, order), "accepted")


def start(service: Service, order: str, team: str = "gavle") -> Json:
    """The team accepts the referral, carries out what comes before the start, and starts."""
    accept(service, order, team)
    for activity in ("first-call", "access-1177"):
        (child,) = tasks_of(service, order, activity)
        move(service.therapist(team), child, "completed")
    return move(service.therapist(team), task_of(service, order), "in-progress")


def finish(service: Service, order: str, team: str = "gavle") -> Json:
    """The whole treatment, to the final reply."""
    start(service, order, team)
    for call in tasks_of(service, order, "follow-up-call"):
        move(service.therapist(team), call, "completed")
    task = task_of(service, order)
    output = [*task.get("output", []), final_reply("Behandlingen är genomförd.")]
    return move(service.therapist(team), task, "completed", output=output)


def final_reply(text: str) -> Json:
    return {
        "type": {"coding": [{"system": f"{S}/CodeSystem/task-output", "code": "final-reply"}]},
        "valueString": text,
    }


def reason(text: str) -> Json:
    return {"statusReason": {"text": text}}


def issues_of(answer: Any) -> list[tuple[str, str | None]]:
    """(code, first expression) of each issue in an OperationOutcome."""
    return [(issue["code"], (issue.get("expression") or [None])[0]) for issue in answer.json()["issue"]]
