"""What therapists do in the external server is done here, by the same rules, over HTTP and on a real PostgreSQL."""

from service.store.records import ReferralRow
from tests.exchange.gateway import Gateway
from tests.exchange.region import categories, message_in


def test_what_we_delivered_ourselves_is_an_echo(gateway: Gateway, referred: ReferralRow) -> None:
    account = gateway.collect()
    assert account.found > 0
    assert (account.taken, account.turned_down, account.waiting) == (0, 0, 0)
    assert "collected" not in gateway.events(referred)


def test_a_therapist_accepts_there_and_the_plan_is_made_here_and_shown_there(
    gateway: Gateway, referred: ReferralRow
) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    assert gateway.collect().taken == 1
    assert gateway.task(referred)["status"] == "accepted"
    gateway.settle()
    (plan,) = gateway.all_of(referred, "CarePlan")
    assert gateway.region.copy_of(f"CarePlan/{plan['id']}")["status"] == "draft"
    assert len(gateway.region.children_of(gateway.copy_of_task(referred))) >= 3


def test_the_journal_says_who_counts_as_having_done_it_and_that_it_was_done_there(
    gateway: Gateway, referred: ReferralRow
) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    gateway.collect()
    actors = {entry.event: entry.actor for entry in gateway.house.store.view().journal_of(referred.id)}
    assert actors["received"] == f"referrer {referred.organisation}"
    assert actors["moved"] == actors["collected"] == "therapist gavle via external-server"


def test_nothing_is_done_twice(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    gateway.settle()
    before = gateway.events(referred)
    assert gateway.collect().taken == 0
    assert gateway.events(referred) == before


def test_several_moves_between_two_looks_are_walked_through(gateway: Gateway, referred: ReferralRow) -> None:
    task = gateway.copy_of_task(referred)
    gateway.region.change(task, status="received")
    gateway.region.change(task, status="accepted")
    gateway.collect()
    versions = gateway.house.store.view().history("Task", gateway.task(referred)["id"])
    assert [v.content["status"] for v in versions][::-1][:3] == ["requested", "received", "accepted"]


def test_a_whole_treatment_is_carried_out_there(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.treat_there(referred)
    assert gateway.task(referred)["status"] == "completed"
    assert gateway.copy_of_task(referred)["status"] == "completed"
    assert "final-reply" in categories(gateway.all_of(referred, "Communication"))
    order = gateway.region.copy_of(f"ServiceRequest/{referred.service_request}")
    assert categories(gateway.region.messages_about(f"ServiceRequest/{order['id']}")) == [
        "acknowledgement",
        "final-reply",
        "started",
    ]


def test_a_move_that_breaks_a_rule_is_written_back_with_a_note_that_says_why(
    gateway: Gateway, referred: ReferralRow
) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="completed")
    assert gateway.collect().turned_down == 1
    gateway.settle()
    shown = gateway.copy_of_task(referred)
    assert shown["status"] == "requested"
    assert "gäller inte" in shown["note"][-1]["text"]
    assert "requested" in shown["note"][-1]["text"]
    assert "turned-down" in gateway.events(referred)


def test_a_changed_focus_is_written_back(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.region.change(gateway.copy_of_task(referred), description="Något annat")
    gateway.settle()
    shown = gateway.copy_of_task(referred)
    assert shown.get("description") == gateway.task(referred).get("description")
    assert "description" in shown["note"][-1]["text"]


def test_a_therapist_rejects_there_and_the_referrer_is_told_here(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.region.change(
        gateway.copy_of_task(referred), status="rejected", statusReason={"text": "Annan vård är bättre."}
    )
    gateway.settle()
    assert gateway.task(referred)["status"] == "rejected"
    assert "returned" in categories(gateway.all_of(referred, "Communication"))


def test_a_move_there_and_another_here_leave_one_winner_on_both_sides(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.move(referred, status="rejected", statusReason={"text": "Fel målgrupp."})
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    gateway.settle()
    assert gateway.task(referred)["status"] == "rejected"
    assert gateway.copy_of_task(referred)["status"] == "rejected"
    assert gateway.all_of(referred, "CarePlan") == []


def test_notes_on_both_sides_are_both_kept(gateway: Gateway, referred: ReferralRow) -> None:
    theirs = {"authorString": "Behandlare", "text": "Skriven där"}
    shown = gateway.copy_of_task(referred)
    gateway.move(referred, note=[*gateway.task(referred).get("note", ()), {"authorString": "B", "text": "Skriven här"}])
    gateway.region.change(shown, note=[*shown.get("note", ()), theirs])
    gateway.settle()
    for task in (gateway.task(referred), gateway.copy_of_task(referred)):
        texts = [note["text"] for note in task["note"]]
        assert {"Skriven här", "Skriven där"} <= set(texts)
        assert len(texts) == len(set(texts))


def test_a_therapists_message_there_reaches_the_referrer_and_stays_one(gateway: Gateway, referred: ReferralRow) -> None:
    task = gateway.copy_of_task(referred)
    posted = gateway.region.post(
        message_in("interim-reply", "Det går bra så långt.", partOf=[{"reference": f"Task/{task['id']}"}])
    )
    assert gateway.collect().taken == 1
    gateway.settle()
    (ours,) = [m for m in gateway.all_of(referred, "Communication") if categories([m]) == ["interim-reply"]]
    shown = gateway.region.copy_of(f"Communication/{ours['id']}")
    assert shown["id"] == posted["id"], "it is completed where it stands, and not copied"
    assert shown["recipient"][0]["identifier"]["value"] == referred.organisation
    assert len(gateway.region.search("Communication")) == 2


def test_a_message_of_a_kind_that_nobody_knows_is_turned_down_with_a_note(
    gateway: Gateway, referred: ReferralRow
) -> None:
    task = gateway.copy_of_task(referred)
    gateway.region.post(message_in("nonsense", "Hej", partOf=[{"reference": f"Task/{task['id']}"}]))
    assert gateway.collect().turned_down == 1
    assert gateway.collect().turned_down == 0
    gateway.settle()
    assert "Meddelandet" in gateway.copy_of_task(referred)["note"][-1]["text"]


def test_the_referrer_answers_there_by_a_message_on_its_order(gateway: Gateway) -> None:
    row = gateway.receive()
    gateway.settle()
    gateway.move(row, status="on-hold", statusReason={"text": "Vilken medicin?"})
    gateway.settle()
    order = gateway.region.copy_of(f"ServiceRequest/{row.service_request}")
    gateway.region.post(
        message_in("information", "Ingen medicin.", basedOn=[{"reference": f"ServiceRequest/{order['id']}"}])
    )
    gateway.settle()
    assert gateway.task(row)["status"] == "requested"
    assert "Ingen medicin." in [note["text"] for note in gateway.task(row)["note"]]


def test_an_extra_contact_that_is_made_there_becomes_part_of_the_plan(gateway: Gateway, referred: ReferralRow) -> None:
    gateway.region.change(gateway.copy_of_task(referred), status="accepted")
    gateway.settle()
    parent = gateway.copy_of_task(referred)
    made = gateway.region.post(
        {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "code": {
                "coding": [{"system": "https://sluss.example/fhir/CodeSystem/ikbt-activity", "code": "extra-contact"}]
            },
            "partOf": [{"reference": f"Task/{parent['id']}"}],
            "for": parent["for"],
        }
    )
    gateway.settle()
    (plan,) = gateway.all_of(referred, "CarePlan")
    assert made["id"] in [task["id"] for task in gateway.region.children_of(parent)]
    references = [activity["reference"]["reference"] for activity in plan["activity"]]
    (ours,) = [t for t in gateway.all_of(referred, "Task") if f"Task/{t['id']}" == references[-1]]
    assert gateway.region.copy_of(f"Task/{ours['id']}")["id"] == made["id"]
