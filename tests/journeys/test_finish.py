"""The end of a treatment and the reply (contract 6, 7; R35, R36)."""

from typing import Any

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.steps import category_of
from tests.journeys.treatments import RELAYED_UNIT, Journey, begin, output, where, words


def started(service: Service, **changes: Any) -> Journey:
    journey = begin(service, **changes)
    journey.start()
    return journey


def test_completing_needs_a_reply(service: Service) -> None:
    journey = started(service)
    assert where(journey.refused(422, journey.therapist, "completed")) == ["Task.output"]
    progress = journey.with_output("progress", valueString="Klart")
    assert where(journey.refused(422, journey.therapist, "completed", output=progress)) == ["Task.output"]


def test_a_reply_without_words_is_none(service: Service) -> None:
    journey = started(service)
    empty = journey.with_output("final-reply", valueReference={"reference": journey.order})
    issues = journey.refused(422, journey.therapist, "completed", output=empty)
    assert "Task.output" in where(issues)


def test_the_reply_as_output_ends_the_treatment_and_is_told(service: Service) -> None:
    journey = started(service)
    service.clock.later(weeks=9)
    task = journey.complete("Patienten mår bättre. MADRS-S 6.")
    assert task["status"] == "completed"
    assert validate(task) == []
    assert task["executionPeriod"] == {
        "start": "2026-11-23T10:00:00.000+01:00",
        "end": "2027-01-25T10:00:00.000+01:00",
    }
    assert journey.plan["status"] == "completed"
    message = journey.told("final-reply")
    assert "Patienten mår bättre. MADRS-S 6." in words(message)
    assert "Journalför svaret" in words(message)
    assert message["partOf"] == [{"reference": f"Task/{task['id']}"}]
    assert service.row(journey.order).state == "completed"


def test_the_reply_as_a_posted_communication_ends_it_too_without_a_second_message(service: Service) -> None:
    journey = started(service)
    posted = journey.said(journey.therapist, "final-reply", "Patienten mår bättre.")
    assert journey.task["status"] == "in-progress"
    assert journey.moved(journey.therapist, "completed")["status"] == "completed"
    assert journey.told("final-reply")["id"] == posted["id"]
    assert words(journey.told("final-reply")) == "Patienten mår bättre."


def test_both_together_are_one_message(service: Service) -> None:
    journey = started(service)
    journey.said(journey.therapist, "final-reply", "Patienten mår bättre.")
    journey.complete("Patienten mår bättre.")
    assert len(journey.messages("final-reply")) == 1


def test_a_communication_of_another_category_is_no_reply(service: Service) -> None:
    journey = started(service)
    for category in ("interim-reply", "information"):
        journey.said(journey.therapist, category, "Halvvägs.")
        journey.refused(422, journey.therapist, "completed")


def test_an_interim_reply_as_output_is_told_once(service: Service) -> None:
    journey = started(service)
    journey.moved(journey.therapist, output=journey.with_output("interim-reply", valueString="Halvvägs."))
    assert "Halvvägs." in words(journey.told("interim-reply"))
    journey.moved(journey.therapist, output=journey.with_output("progress", valueString="Avsnitt 5"))
    journey.moved(journey.therapist, output=journey.with_output("interim-reply", valueString="Nästan klart."))
    assert [words(m).split("\n")[2] for m in journey.messages("interim-reply")] == ["Halvvägs.", "Nästan klart."]
    journey.complete()
    assert len(journey.messages("interim-reply")) == 2


def test_an_interim_reply_that_was_told_is_never_edited(service: Service) -> None:
    journey = started(service)
    journey.moved(journey.therapist, output=journey.with_output("interim-reply", valueString="Halvvägs."))
    edited = [*journey.task["output"][:-1], output("interim-reply", valueString="Annat.")]
    assert where(journey.refused(422, journey.therapist, output=edited)) == ["Task.output"]


def test_the_final_reply_completes_its_activity_and_the_rest_is_cancelled_with_the_parent(service: Service) -> None:
    journey = started(service)
    journey.do("follow-up-call")
    journey.ask_to_take_over()
    task = journey.complete()
    assert [t["status"] for t in journey.children("follow-up-call")] == ["completed", "cancelled"] or [
        t["status"] for t in journey.children("follow-up-call")
    ] == ["cancelled", "completed"]
    assert journey.child("final-reply")["status"] == "completed"
    (cancelled,) = journey.children("follow-up-call", "cancelled")
    assert cancelled["statusReason"]["coding"][0]["code"] == "parent-ended"
    assert journey.child("take-over")["status"] == "cancelled"
    assert journey.moves(f"Task/{cancelled['id']}") == [("requested", "cancelled")]
    assert [t for t in service.all_of(journey.order, "Task") if t["status"] == "requested"] == []
    assert journey.moves(f"Task/{task['id']}")[-1] == ("in-progress", "completed")


def test_a_reply_to_a_unit_without_a_platform_is_passed_on_by_the_team(service: Service) -> None:
    journey = begin(service, RELAYED_UNIT)
    journey.start()
    journey.complete("Klart.")
    (reply,) = journey.messages("final-reply")
    assert reply["status"] == "preparation"
    assert "sent" not in reply
    journey.is_a_message(reply)
    (relay,) = [
        t for t in journey.children("relay-message") if t["focus"]["reference"] == f"Communication/{reply['id']}"
    ]
    assert relay["status"] == "requested"  # not cancelled with its parent
    service.clock.later(days=1)
    journey.moved(journey.therapist, "completed", relay)
    reply = journey.told("final-reply")
    assert reply["sent"] == "2026-11-24T10:00:00.000+01:00"


def test_a_message_that_nobody_could_pass_on_says_so_and_coordination_is_asked(service: Service) -> None:
    journey = begin(service, RELAYED_UNIT)
    (relay,) = journey.children("relay-message")
    assert where(journey.refused(422, journey.therapist, "failed", task=relay)) == ["Task.statusReason"]
    journey.moved(journey.therapist, "failed", relay, statusReason={"text": "Enheten är nedlagd."})
    (message,) = journey.messages("acknowledgement")
    assert message["status"] == "not-done"
    assert message["statusReason"] == {"text": "Enheten är nedlagd."}
    assert validate(message) == []
    reminder = journey.child("reminder")
    assert reminder["owner"]["reference"] == "HealthcareService/samordning"
    assert "Enheten är nedlagd." in reminder["description"]


def test_nothing_follows_the_end(service: Service) -> None:
    journey = started(service)
    journey.complete()
    for status in ("in-progress", "requested", "on-hold", "cancelled", "failed", "rejected", "accepted"):
        (issue, *_) = journey.refused(422, journey.therapist, status, statusReason={"text": "skäl"})
        assert f"cannot go from completed to {status}; allowed: -" in issue["diagnostics"]
    assert [category_of(m) for m in journey.messages()] == ["acknowledgement", "started", "final-reply"]
