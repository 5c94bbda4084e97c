"""What an EHR posts, amends and takes back in the external server is taken in as if it had come to us."""

import pytest

from fhir_mappings.records import Json
from service.exchange.original import our_key
from service.referral.refusal import Kind, Refusal
from tests.exchange.gateway import Gateway
from tests.exchange.region import CANONICAL, categories, message_in
from tests.journeys.referrals import ADULT, GRAVE, ORDER, UNIT, madrs_s, referral
from tests.journeys.referrals import patient as a_patient


def posted(gateway: Gateway, bundle: Json | None = None) -> str:
    """`ServiceRequest/{id}` over there."""
    references = gateway.region.transact(bundle or referral())
    return next(reference for reference in references if reference.startswith("ServiceRequest/"))


@pytest.fixture
def order(gateway: Gateway) -> str:
    """A referral that an EHR posted there, taken in and told."""
    there = posted(gateway)
    gateway.settle()
    return there


def unreadable_task(gateway: Gateway) -> Json:
    (task,) = [task for task in gateway.region.search("Task") if "unreadable-referral" in str(task["code"])]
    return task


def messages(gateway: Gateway, order: str) -> list[str]:
    return categories(gateway.region.messages_about(order))


def test_a_referral_there_is_judged_and_routed_here_and_the_task_appears_there(gateway: Gateway, order: str) -> None:
    row = gateway.the_one()
    assert (row.state, row.verdict, row.team) == ("requested", "eligible", "gavle")
    task = gateway.copy_of_task(row)
    assert task["focus"]["reference"] == order
    assert messages(gateway, order) == ["acknowledgement"]
    assert len(gateway.region.search("ServiceRequest")) == len(gateway.region.search("Patient")) == 1
    assert gateway.region.read(order)["meta"]["versionId"] == "1", "the referrer's order is never written"


def test_it_is_taken_in_once(gateway: Gateway, order: str) -> None:
    before = gateway.events(gateway.the_one())
    assert gateway.collect().taken == 0
    assert gateway.events(gateway.the_one()) == before


def test_the_journal_says_that_the_unit_sent_it_by_way_of_that_server(gateway: Gateway, order: str) -> None:
    entries = gateway.house.store.view().journal_of(gateway.the_one().id)
    assert {entry.actor for entry in entries} == {f"referrer {UNIT} via external-server"}


def test_one_that_came_to_us_as_well_is_the_same_referral(gateway: Gateway) -> None:
    gateway.receive()
    posted(gateway)
    gateway.settle()
    assert len(gateway.house.store.view().waiting_at("gavle", ("requested",))) == 1


def test_evidence_that_is_based_on_it_is_judged_with_it_though_it_does_not_name_it(gateway: Gateway) -> None:
    bundle = referral(supportingInfo=None)
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "QuestionnaireResponse":
            entry["resource"]["basedOn"] = [{"reference": ORDER}]
    there = posted(gateway, bundle)
    gateway.settle()
    assert gateway.the_one().verdict == "eligible"
    assert messages(gateway, there) == ["acknowledgement"]


def test_a_rating_that_is_posted_later_gives_the_information_that_was_asked_for(gateway: Gateway) -> None:
    there = posted(gateway, referral(items=None))
    gateway.settle()
    assert gateway.the_one().state == "on-hold"
    assert messages(gateway, there) == ["information-request"]
    subject = gateway.region.read(there)["subject"]
    gateway.region.post(madrs_s(subject=subject, basedOn=[{"reference": there}]))
    gateway.settle()
    assert gateway.the_one().state == "requested"
    assert messages(gateway, there) == ["acknowledgement", "information-request"]


def test_the_referrer_answers_an_information_request_there_in_words(gateway: Gateway) -> None:
    there = posted(gateway, referral(items=None))
    gateway.settle()
    (request,) = gateway.region.messages_about(there)
    gateway.region.post(
        message_in(
            "information",
            "MADRS-S var 14.",
            basedOn=[{"reference": there}],
            inResponseTo=[{"reference": f"Communication/{request['id']}"}],
        )
    )
    gateway.settle()
    assert gateway.the_one().state == "requested"
    assert "MADRS-S var 14." in [note["text"] for note in gateway.copy_of_task(gateway.the_one())["note"]]


def test_the_referrers_message_on_the_task_is_known_by_its_unit_and_not_taken_for_the_therapists(
    gateway: Gateway, order: str
) -> None:
    row = gateway.the_one()
    (unit,) = [one for one in gateway.region.search("Organization") if UNIT in str(one.get("identifier"))]
    task = gateway.copy_of_task(row)
    gateway.region.post(
        message_in(
            "information",
            "Patienten har bytt telefon.",
            partOf=[{"reference": f"Task/{task['id']}"}],
            sender={"reference": f"Organization/{unit['id']}"},
        )
    )
    gateway.settle()
    (note,) = [n for n in gateway.task(row)["note"] if n["text"] == "Patienten har bytt telefon."]
    assert note["authorString"] == f"Remittent {UNIT}"


def test_an_edited_message_is_turned_down_and_the_words_stand(gateway: Gateway, order: str) -> None:
    said = gateway.region.post(message_in("information", "Ring på kvällen.", basedOn=[{"reference": order}]))
    gateway.settle()
    gateway.region.change(said, payload=[{"contentString": "Ring aldrig."}])
    assert gateway.collect().turned_down == 1
    gateway.settle()
    assert "correction" in gateway.copy_of_task(gateway.the_one())["note"][-1]["text"]
    assert gateway.region.read(f"Communication/{said['id']}")["payload"][0]["contentString"] == "Ring aldrig."


def test_an_amendment_there_is_assessed_anew(gateway: Gateway, order: str) -> None:
    gateway.region.change(gateway.region.read(order), priority="urgent")
    gateway.settle()
    assert "amended" in gateway.events(gateway.the_one())
    assert gateway.copy_of_task(gateway.the_one())["priority"] == "urgent"
    assert gateway.region.read(order)["meta"]["versionId"] == "2"


def test_an_amendment_brings_what_the_unit_now_says_of_the_patient(gateway: Gateway, order: str) -> None:
    reference = gateway.region.read(order)["subject"]["reference"]
    gateway.region.change(gateway.region.read(reference), telecom=[{"system": "phone", "value": "026-000000"}])
    gateway.region.change(gateway.region.read(order), priority="urgent")
    gateway.settle()
    stored = gateway.house.store.view().get("Patient", gateway.the_one().patient)
    assert stored is not None
    assert stored.content["telecom"] == [{"system": "phone", "value": "026-000000"}]


def test_a_changed_rating_there_is_judged_anew_and_its_signs_of_risk_alert(gateway: Gateway, order: str) -> None:
    (rating,) = [q for q in gateway.region.search("QuestionnaireResponse") if "madrs" in q["questionnaire"]]
    changed = madrs_s(GRAVE)["item"]
    gateway.region.change(rating, item=changed)
    gateway.settle()
    row = gateway.the_one()
    assert any("safety-follow-up" in str(task["code"]) for task in gateway.all_of(row, "Task"))
    assert "safety-alert" in messages(gateway, order)


@pytest.mark.parametrize("status", ["revoked", "entered-in-error"])
def test_a_referral_that_is_taken_back_there_is_withdrawn(gateway: Gateway, order: str, status: str) -> None:
    gateway.region.change(gateway.region.read(order), status=status)
    gateway.settle()
    assert gateway.the_one().state == "cancelled"
    assert gateway.copy_of_task(gateway.the_one())["status"] == "cancelled"
    assert "withdrawal-confirmed" in messages(gateway, order)


def test_one_that_is_taken_back_during_treatment_asks_the_therapist_who_answers_there(
    gateway: Gateway, order: str
) -> None:
    row = gateway.the_one()
    gateway.region.change(gateway.copy_of_task(row), status="accepted")
    gateway.settle()
    for activity in ("first-call", "access-1177"):
        (child,) = [c for c in gateway.region.children_of(gateway.copy_of_task(row)) if activity in str(c["code"])]
        gateway.region.change(child, status="completed")
    gateway.region.change(gateway.copy_of_task(row), status="in-progress")
    gateway.settle()
    gateway.region.change(gateway.region.read(order), status="revoked")
    gateway.settle()
    (abort,) = [c for c in gateway.region.children_of(gateway.copy_of_task(row)) if "abort" in str(c["code"])]
    gateway.region.change(abort, status="accepted")
    gateway.settle()
    assert gateway.the_one().state == "cancelled"
    (plan,) = gateway.all_of(row, "CarePlan")
    assert gateway.region.copy_of(f"CarePlan/{plan['id']}")["status"] == "revoked"


def test_an_amendment_that_does_not_stand_is_told_and_what_was_taken_in_stands(gateway: Gateway, order: str) -> None:
    other = [{"system": "https://ehr.example/referral", "value": "R-2"}]
    gateway.region.change(gateway.region.read(order), identifier=other)
    assert gateway.collect().set_aside == 1
    gateway.settle()
    assert "remissnummer" in gateway.copy_of_task(gateway.the_one())["note"][-1]["text"]
    assert "remissnummer" in unreadable_task(gateway)["description"]
    gateway.region.change(gateway.region.read(order), identifier=[{**other[0], "value": "R-1"}])
    gateway.settle()
    assert unreadable_task(gateway)["status"] == "completed"


# ---------------------------------------------------------------- what cannot be taken in


def test_one_that_cannot_be_taken_in_is_told_to_coordination_and_to_who_posted_it(gateway: Gateway) -> None:
    there = posted(gateway, referral(identifier=None, authoredOn=None))
    assert gateway.collect().set_aside == 1
    gateway.settle()
    task = unreadable_task(gateway)
    assert task["focus"]["reference"] == there
    assert "INTE mottagen" in task["description"]
    (message,) = gateway.region.messages_about(there)
    assert message["basedOn"][0]["reference"] == there
    assert message["recipient"][0]["identifier"]["value"] == UNIT
    assert "identifier" in message["payload"][0]["contentString"]
    assert gateway.house.store.view().waiting_at("gavle", ("requested",)) == []


def test_readable_signs_of_suicide_risk_in_it_come_first_and_make_it_urgent(gateway: Gateway) -> None:
    there = posted(gateway, referral(items=GRAVE, identifier=None))
    gateway.settle()
    assert unreadable_task(gateway)["priority"] == "stat"
    (message,) = gateway.region.messages_about(there)
    assert message["payload"][0]["contentString"].startswith("OBS!")


def test_the_same_is_not_told_twice(gateway: Gateway) -> None:
    there = posted(gateway, referral(identifier=None))
    gateway.settle(rounds=5)
    assert len(gateway.region.messages_about(there)) == 1


def test_when_it_is_mended_it_is_taken_in_and_the_task_ends(gateway: Gateway) -> None:
    there = posted(gateway, referral(identifier=None))
    gateway.settle()
    identifier = [{"system": "https://ehr.example/referral", "value": "R-1"}]
    gateway.region.change(gateway.region.read(there), identifier=identifier)
    gateway.settle()
    assert gateway.the_one().state == "requested"
    assert unreadable_task(gateway)["status"] == "completed"
    assert "acknowledgement" in messages(gateway, there)


def test_a_mended_patient_is_noticed_though_the_order_has_not_changed(gateway: Gateway) -> None:
    bundle = referral()
    bundle["entry"][0]["resource"] = a_patient(identifier=[{"system": "x", "value": "1"}])
    there = posted(gateway, bundle)
    gateway.settle()
    patient = gateway.region.read(gateway.region.read(there)["subject"]["reference"])
    gateway.region.change(patient, identifier=a_patient(ADULT)["identifier"])
    gateway.settle()
    assert gateway.the_one().state == "requested"


def test_one_that_is_taken_back_needs_nobody_any_more(gateway: Gateway) -> None:
    there = posted(gateway, referral(identifier=None))
    gateway.settle()
    gateway.region.change(gateway.region.read(there), status="revoked")
    gateway.settle()
    assert unreadable_task(gateway)["status"] == "cancelled"


def test_coordination_closes_it_there(gateway: Gateway) -> None:
    posted(gateway, referral(identifier=None))
    gateway.settle()
    gateway.region.change(unreadable_task(gateway), status="completed")
    assert gateway.collect().taken == 1
    gateway.settle()
    assert unreadable_task(gateway)["status"] == "completed"


def test_what_else_is_done_to_it_there_is_written_back_with_a_note(gateway: Gateway) -> None:
    posted(gateway, referral(identifier=None))
    gateway.settle()
    gateway.region.change(unreadable_task(gateway), status="accepted", description="Löst")
    assert gateway.collect().turned_down == 1
    gateway.settle()
    task = unreadable_task(gateway)
    assert task["status"] == "requested"
    assert "INTE mottagen" in task["description"]
    assert "Från requested kan uppgiften inte gå till accepted" in task["note"][-1]["text"]


def test_coordination_closes_it_here_and_no_team_does(gateway: Gateway) -> None:
    posted(gateway, referral(identifier=None))
    gateway.settle()
    key = our_key(unreadable_task(gateway), CANONICAL)
    assert key is not None
    stored = gateway.house.store.view().get(*key.split("/"))
    assert stored is not None
    ours = stored.content
    with pytest.raises(Refusal) as refused:
        gateway.move_task({**ours, "status": "completed"}, "gavle")
    assert refused.value.kind is Kind.NOT_FOUND
    with pytest.raises(Refusal):
        gateway.move_task({**ours, "owner": {"reference": "HealthcareService/gavle"}}, "samordning")
    gateway.move_task({**ours, "status": "completed"}, "samordning")
    gateway.settle()
    assert unreadable_task(gateway)["status"] == "completed"


def test_an_answer_about_it_is_read_by_coordination_and_evidence_waits_for_it(gateway: Gateway) -> None:
    there = posted(gateway, referral(items=None, identifier=None))
    gateway.settle()
    (message,) = gateway.region.messages_about(there)
    on_it = [{"reference": there}]
    gateway.region.post(message_in("information", "Numret kommer i morgon.", basedOn=on_it))
    answered = [{"reference": f"Communication/{message['id']}"}]
    gateway.region.post(message_in("information", "Vi ringer.", inResponseTo=answered))
    subject = gateway.region.read(there)["subject"]
    gateway.region.post(madrs_s(subject=subject, basedOn=on_it))
    gateway.settle()
    notes = [note["text"] for note in unreadable_task(gateway)["note"]]
    assert notes[-2:] == ["Numret kommer i morgon.", "Vi ringer."]
    identifier = [{"system": "https://ehr.example/referral", "value": "R-1"}]
    gateway.region.change(gateway.region.read(there), identifier=identifier)
    gateway.settle()
    assert (gateway.the_one().state, gateway.the_one().verdict) == ("requested", "eligible")


def test_what_it_refers_to_elsewhere_is_left_alone_and_never_fetched(gateway: Gateway, order: str) -> None:
    elsewhere = {"reference": "https://other.example/fhir/Observation/1"}
    current = gateway.region.read(order)
    gateway.region.change(current, supportingInfo=[*current["supportingInfo"], elsewhere])
    gateway.settle()
    stored = gateway.house.store.view().get("ServiceRequest", gateway.the_one().service_request)
    assert stored is not None
    assert elsewhere in stored.content["supportingInfo"]
    assert gateway.the_one().verdict == "eligible"


def test_another_programme_than_ours_is_nobodys_business_here(gateway: Gateway) -> None:
    gateway.region.transact(referral(code={"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}))
    account = gateway.collect()
    assert (account.taken, account.set_aside) == (0, 0)
