"""A therapist's whole work, with each client: the worklist, the claim, the steps of a treatment, a question to the
referrer, the reply.
"""

import pytest

from fhir_mappings.records import Json
from tests.clients.conftest import Acting, Plainly
from tests.clients.roles import CLIENTS, Client, Refused
from tests.journeys.referrals import UNIT, located, referral
from tests.journeys.treatments import TEAM, because, message_category, output

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("name", CLIENTS)]

OPEN = "requested,received,accepted,in-progress,on-hold"


def _referred(plain: Plainly, name: str) -> str:
    """A referral comes in; gives its ServiceRequest."""
    answer = plain(f"referrer {UNIT}").post("/fhir", referral(f"T-{name}", identity=CLIENTS[name]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Sluss-Verdict"] == "eligible", answer.text
    return located(answer.json()["entry"][-1])


def _moved(client: Client, task: Json, status: str, **changes: object) -> Json:
    """A Task is read, changed and put back as the version that was read."""
    current = client.read(f"Task/{task['id']}")
    moved = client.update({**current, "status": status, **changes}, current["meta"]["versionId"])
    assert moved["status"] == status
    return moved


def _steps(client: Client, task: Json, code: str) -> list[Json]:
    """The open child Tasks of a kind."""
    found = client.search("Task", {"part-of": f"Task/{task['id']}", "status": "requested"})
    return [child for child in found if child["code"]["coding"][0]["code"] == code]


def test_a_therapist_does_the_whole_work(name: str, acting: Acting, plain: Plainly) -> None:
    order = _referred(plain, name)
    client = acting(name, "therapist gavle")

    worklist = client.search("Task", {"owner": TEAM, "status": OPEN, "_sort": "-_lastUpdated"}, ("focus", "patient"))
    task = next(r for r in worklist if r["resourceType"] == "Task" and r["focus"]["reference"] == order)
    assert f"{order}" in [f"{r['resourceType']}/{r['id']}" for r in worklist]
    assert client.read(task["for"]["reference"])["name"][0]["text"] == "Test Testsson"

    accepted = _moved(client, task, "accepted")
    with pytest.raises(Refused) as stale:
        client.update({**task, "status": "rejected"}, task["meta"]["versionId"])
    assert "version" in stale.value.diagnostics
    assert client.read(f"Task/{task['id']}")["status"] == "accepted"

    with pytest.raises(Refused) as too_soon:
        _moved(client, accepted, "in-progress")
    assert "Första telefonsamtal" in too_soon.value.diagnostics
    for code in ("first-call", "access-1177"):
        _moved(client, _steps(client, task, code)[0], "completed")
    _moved(client, task, "in-progress")

    _moved(client, task, "on-hold", **because("Vilken dos har patienten nu?"))
    asked = client.search("Communication", {"based-on": order, "category": "information-request"})
    assert "Vilken dos" in asked[0]["payload"][0]["contentString"]
    answer = {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": f"Task/{task['id']}"}],
        "inResponseTo": [{"reference": f"Communication/{asked[0]['id']}"}],
        "category": [message_category("information")],
        "payload": [{"contentString": "50 mg sedan i mars."}],
    }
    assert plain(f"referrer {UNIT}").post("/fhir/Communication", answer).status_code == 201
    read = client.search("Communication", {"part-of": f"Task/{task['id']}", "category": "information"})
    assert [message["payload"][0]["contentString"] for message in read] == ["50 mg sedan i mars."]
    _moved(client, task, "in-progress")

    told = {**answer, "payload": [{"contentString": "Modul 4 av 8."}]}
    del told["inResponseTo"]
    assert client.create(told)["resourceType"] == "Communication"

    for call in _steps(client, task, "follow-up-call"):
        _moved(client, call, "completed")
    with pytest.raises(Refused) as silent:
        _moved(client, task, "completed")
    assert "final-reply" in silent.value.diagnostics
    so_far = client.read(f"Task/{task['id']}").get("output", [])
    reply = output("final-reply", valueString="Behandlingen är genomförd.")
    finished = _moved(client, task, "completed", output=[*so_far, reply])
    assert finished["status"] == "completed"

    (sent,) = plain(f"referrer {UNIT}").search("Communication", **{"based-on": order, "category": "final-reply"})
    assert "Behandlingen är genomförd." in sent["payload"][0]["contentString"]
