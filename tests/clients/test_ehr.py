"""An EHR's whole work, with each client: refer, learn what became of it and why, complete, correct, take back, read the
replies.
"""

import pytest

from fhir_mappings.records import Json
from tests.clients.conftest import Acting, Plainly
from tests.clients.foreign import Foreign
from tests.clients.roles import CLIENTS, Client, Refused
from tests.journeys.conftest import Client as Plain
from tests.journeys.referrals import SEVERE, UNIT, alone, located, logical_patient, madrs_s, referral
from tests.journeys.steps import findings_of, move
from tests.journeys.treatments import output

pytestmark = pytest.mark.clients
with_each = pytest.mark.parametrize("name", CLIENTS)


def _task(client: Client, order: str) -> Json:
    """What the EHR sees of its referral's way."""
    (task,) = client.search("Task", {"focus": order})
    return task


def _replies(client: Client, order: str) -> dict[str, Json]:
    """What the EHR has been told, by category."""
    told = client.search("Communication", {"based-on": order, "status": "completed", "_sort": "_lastUpdated"})
    return {message["category"][0]["coding"][0]["code"]: message for message in told}


def _text(message: Json) -> str:
    return str(message["payload"][0]["contentString"])


def _treat(therapist: Plain, task: Json) -> None:
    """From acceptance to the final reply."""
    move(therapist, task, "accepted")
    for code in ("first-call", "access-1177", "follow-up-call"):
        for child in therapist.search("Task", **{"part-of": f"Task/{task['id']}", "status": "requested"}):
            if child["code"]["coding"][0]["code"] == code:
                move(therapist, child, "completed")
        if code == "access-1177":
            move(therapist, therapist.read(f"Task/{task['id']}"), "in-progress")
    reply = output("final-reply", valueString="Behandlingen är genomförd.")
    current = therapist.read(f"Task/{task['id']}")
    move(therapist, current, "completed", output=[*current.get("output", []), reply])


@with_each
def test_what_the_service_can_do_is_read_first(name: str, acting: Acting) -> None:
    said = acting(name, f"referrer {UNIT}").capabilities()
    assert said["fhirVersion"] == "4.0.1"
    orders = next(r for r in said["rest"][0]["resource"] if r["type"] == "ServiceRequest")
    assert {"create", "update", "read"} <= {each["code"] for each in orders["interaction"]}


@with_each
def test_a_single_referral_is_sent_completed_and_taken_back(name: str, acting: Acting) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    order = ehr.create(alone(f"S-{name}", "depression", identity=CLIENTS[name]))
    reference = f"ServiceRequest/{order['id']}"
    task = _task(ehr, reference)
    assert task["status"] == "on-hold"
    assert "madrs-s-required" in findings_of(task)
    asked = _replies(ehr, reference)["information-request"]
    assert "MADRS-S" in _text(asked)

    rating = {**madrs_s(), "id": "madrs", "subject": logical_patient(CLIENTS[name])}
    completed = {
        **ehr.read(reference),
        "contained": [*order["contained"], rating],
        "supportingInfo": [*order["supportingInfo"], {"reference": "#madrs"}],
    }
    ehr.update(completed, "1")
    assert _task(ehr, reference)["status"] == "requested"

    with pytest.raises(Refused) as stale:
        ehr.update({**order, "priority": "urgent"}, "1")
    assert stale.value.issues[0]["code"] == "conflict"
    assert "priority" not in ehr.read(reference)

    ehr.update({**ehr.read(reference), "status": "revoked"})
    assert _task(ehr, reference)["status"] == "cancelled"
    assert "withdrawal-confirmed" in _replies(ehr, reference)


@with_each
def test_a_referral_in_a_transaction_is_treated_and_answered(name: str, acting: Acting, plain: Plainly) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    sent = referral(f"B-{name}", identity=CLIENTS[name])
    answer = ehr.transaction(sent)
    (outcome,) = [e["response"]["outcome"] for e in answer["entry"] if "outcome" in e["response"]]
    assert "verdict: eligible" in outcome["issue"][0]["diagnostics"]
    order = located(answer["entry"][-1])

    again = ehr.transaction(sent)
    assert [located(each) for each in again["entry"]] == [located(each) for each in answer["entry"]]
    assert {each["response"]["status"][:3] for each in again["entry"]} == {"200"}

    _treat(plain("therapist gavle"), _task(ehr, order))
    replies = _replies(ehr, order)
    assert {"acknowledgement", "started", "final-reply"} <= set(replies)
    assert "Behandlingen är genomförd." in _text(replies["final-reply"])


@with_each
def test_why_a_referral_is_returned_can_be_read_and_amended_it_gets_a_new_task(name: str, acting: Acting) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    answer = ehr.transaction(referral(f"R-{name}", identity=CLIENTS[name], items=SEVERE))
    order = located(answer["entry"][-1])
    task = _task(ehr, order)
    assert task["status"] == "rejected"
    returned = _replies(ehr, order)["returned"]
    (rule,) = returned["reasonCode"]
    assert rule["coding"][0]["code"] == task["statusReason"]["coding"][0]["code"] == "madrs-s-maximum"
    assert "26" in rule["text"]

    amended = {"resource": {**ehr.read(order), "priority": "urgent"}, "request": {"method": "PUT", "url": order}}
    ehr.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [amended]})
    assert len(ehr.search("Task", {"focus": order})) == 2


@with_each
def test_a_referral_that_is_no_referral_is_refused_with_every_reason(name: str, acting: Acting) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    wrong = alone(f"W-{name}", "depression", identity="199002222398", intent="proposal")
    with pytest.raises(Refused) as refused:
        ehr.create(wrong)
    assert {issue["code"] for issue in refused.value.issues} == {"business-rule", "value"}
    assert all(issue["details"]["text"] for issue in refused.value.issues)


@pytest.mark.parametrize("name", ["fhir-kit-client", "medplum", "fhirclient.js", "hapi"])
def test_a_referral_is_tried_out_before_it_is_sent(name: str, acting: Acting) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    assert isinstance(ehr, Foreign)
    said = ehr.ask("assess", resource=alone(f"D-{name}", "depression", identity=CLIENTS[name]))
    assert {p["name"]: p for p in said["parameter"]}["verdict"]["valueCode"] == "information"
    assert ehr.search("ServiceRequest", {"identifier": f"D-{name}"}) == []


@pytest.mark.parametrize("name", ["fhir-kit-client", "fhirclient.js"])
def test_the_verdict_is_in_the_answers_headers(name: str, acting: Acting) -> None:
    ehr = acting(name, f"referrer {UNIT}")
    assert isinstance(ehr, Foreign)
    sent = alone(f"H-{name}", "depression", identity=CLIENTS[name])
    assert ehr.ask("verdict", resource=sent) == "information"
    (order,) = ehr.search("ServiceRequest", {"identifier": f"H-{name}"})
    ehr.update({**order, "status": "revoked"})
