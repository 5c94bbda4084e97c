"""What therapist and referrer write to each other (contract 6, 7)."""

from typing import Any

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.referrals import HSA, S
from tests.journeys.steps import notes_of
from tests.journeys.treatments import RELAYED_UNIT, ROLE, TEAM, begin, message_category, where, words


def codes(message: Json) -> set[tuple[str, str]]:
    return {(c["system"].rpartition("/")[2], c["code"]) for k in message["category"] for c in k.get("coding", ())}


@pytest.mark.parametrize(
    ("category", "national"),
    [("final-reply", "SSV"), ("interim-reply", "DSV"), ("information", None)],
)
def test_a_therapists_post_reaches_the_referrer_whatever_it_lacks(
    service: Service, category: str, national: str | None
) -> None:
    journey = begin(service)
    message = journey.said(journey.therapist, category, "Hej.")
    journey.is_a_message(message)
    wanted = {("ikbt-message", category)} | ({("national-referral-message", national)} if national else set())
    assert codes(message) == wanted
    assert message["sender"] == {"reference": TEAM}
    assert message["sent"] == "2026-11-23T10:00:00.000+01:00"
    polled = service.platform.search(
        "Communication", **{"recipient:identifier": f"{HSA}|{journey.unit}", "status": "completed"}
    )
    assert message["id"] in [m["id"] for m in polled]


def test_what_the_therapist_said_itself_stays(service: Service) -> None:
    journey = begin(service)
    own = {"system": "https://journal.example/message", "value": "7"}
    other = {"identifier": {"system": HSA, "value": "SE2321000198-EX10"}}
    ours = {"identifier": {"system": HSA, "value": journey.unit}, "display": "Mottagningen"}
    national = {"coding": [{"system": f"{S}/CodeSystem/national-referral-message", "code": "SSV"}]}
    message = journey.said(
        journey.therapist,
        "final-reply",
        identifier=[own],
        recipient=[other, ours],
        category=[message_category("final-reply"), national],
        priority="urgent",
        sent="2026-11-22T08:00:00+01:00",
        extension=[{"url": "https://journal.example/x", "valueCode": "y"}],
    )
    journey.is_a_message(message)
    assert own in message["identifier"]
    assert [r.get("identifier", {}).get("value") for r in message["recipient"]] == [journey.unit, "SE2321000198-EX10"]
    assert codes(message) == {("ikbt-message", "final-reply"), ("national-referral-message", "SSV")}
    assert message["priority"] == "urgent"
    assert message["sent"] == "2026-11-22T08:00:00+01:00"
    assert message["extension"] == [{"url": "https://journal.example/x", "valueCode": "y"}]


def test_a_national_code_of_another_system_is_not_ours(service: Service) -> None:
    journey = begin(service)
    other = {"coding": [{"system": "https://other.example", "code": "SSV"}]}
    message = journey.said(journey.therapist, "final-reply", category=[message_category("final-reply"), other])
    assert ("national-referral-message", "SSV") in codes(message)


def test_a_message_may_be_about_the_service_request_alone(service: Service) -> None:
    journey = begin(service)
    message = journey.said(journey.therapist, "information", partOf=None, basedOn=[{"reference": journey.order}])
    journey.is_a_message(message)
    assert message["partOf"] == [{"reference": f"Task/{journey.task['id']}"}]


def test_a_correction_answers_what_it_corrects_and_the_wrong_one_stays(service: Service) -> None:
    journey = begin(service)
    wrong = journey.said(journey.therapist, "information", "Samtal kl. 9.")
    answer = journey.say(journey.therapist, "correction", "Samtal kl. 10.")
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Communication.inResponseTo"]
    answered = [{"reference": f"Communication/{wrong['id']}"}]
    right = journey.said(journey.therapist, "correction", "Samtal kl. 10.", inResponseTo=answered)
    journey.is_a_message(right)
    assert right["inResponseTo"] == answered
    assert journey.read(f"Communication/{wrong['id']}") == wrong


def test_no_message_is_ever_edited_or_taken_away(service: Service) -> None:
    journey = begin(service)
    message = journey.said(journey.therapist, "information", "Samtal kl. 9.")
    reference = f"Communication/{message['id']}"
    for client in (journey.therapist, journey.referrer, service.administrator):
        answer = client.put(reference, {**message, "payload": [{"contentString": "Annat."}]})
        assert answer.status_code == 405
        assert client._send("DELETE", reference, None, None).status_code == 405
    assert journey.read(reference) == message


def test_what_is_answered_belongs_to_the_same_referral(service: Service) -> None:
    journey = begin(service)
    other = begin(service, placer="R-2", identity="200302022389")
    elsewhere = other.said(other.therapist, "information", "Hej.")
    for reference in (f"Communication/{elsewhere['id']}", "Communication/nowhere"):
        answer = journey.say(journey.therapist, "correction", inResponseTo=[{"reference": reference}])
        assert answer.status_code == 422
        assert where(answer.json()["issue"]) == ["Communication.inResponseTo"]


@pytest.mark.parametrize(
    ("changes", "expression"),
    [
        ({"category": None}, "Communication.category"),
        ({"category": [message_category("acknowledgement")]}, "Communication.category"),
        ({"category": [message_category("finalreply")]}, "Communication.category"),
        ({"category": [message_category("final-reply"), message_category("information")]}, "Communication.category"),
        ({"payload": None}, "Communication.payload"),
        ({"payload": [{"contentReference": {"reference": "Observation/o"}}]}, "Communication.payload"),
        ({"status": "preparation"}, "Communication.status"),
        ({"status": "entered-in-error"}, "Communication.status"),
        ({"partOf": None}, "Communication.basedOn"),
        (
            {"modifierExtension": [{"url": "https://x.example/not", "valueBoolean": True}]},
            "Communication.modifierExtension[0]",
        ),
    ],
)
def test_what_a_therapists_message_lacks_is_told(service: Service, changes: dict[str, Any], expression: str) -> None:
    journey = begin(service)
    before = journey.stored_versions()
    answer = journey.say(journey.therapist, "final-reply", **changes)
    assert answer.status_code == 422, answer.text
    assert where(answer.json()["issue"]) == [expression]
    assert journey.stored_versions() == before


def test_everything_that_is_wrong_is_told_at_once(service: Service) -> None:
    journey = begin(service)
    answer = journey.say(
        journey.therapist, None, payload=None, status="stopped", inResponseTo=[{"reference": "Communication/x"}]
    )
    assert where(answer.json()["issue"]) == [
        "Communication.category",
        "Communication.payload",
        "Communication.status",
        "Communication.inResponseTo",
    ]


@pytest.mark.parametrize("category", ["final-reply", "interim-reply", "returned", "safety-alert", "nonsense"])
def test_a_referrer_informs_and_corrects_and_says_nothing_else(service: Service, category: str) -> None:
    journey = begin(service)
    answer = journey.say(journey.referrer, category)
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Communication.category"]


def test_a_referrers_message_goes_to_the_team_and_stands_as_a_note(service: Service) -> None:
    journey = begin(service)
    message = journey.said(journey.referrer, "information", "Nås bäst efter 15.")
    assert validate(message) == []
    assert message["recipient"] == [{"reference": TEAM}]
    assert message["sender"]["reference"].startswith("Organization/")
    assert {"reference": journey.order} in message["basedOn"]
    note = journey.task["note"][-1]
    assert note["text"] == "Nås bäst efter 15."
    assert journey.unit in note["authorString"]
    assert "Nås bäst efter 15." in notes_of(journey.task)
    assert [entry.actor for entry in journey.journal("informed")] == [f"referrer {journey.unit}"]


@pytest.mark.parametrize("sender", [TEAM, ROLE])
def test_a_referrer_says_nothing_in_the_teams_name(service: Service, sender: str) -> None:
    journey = begin(service)
    answer = journey.say(journey.referrer, "information", sender={"reference": sender})
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Communication.sender"]


def test_a_therapist_says_nothing_in_the_referrers_name(service: Service) -> None:
    journey = begin(service)
    referrer = journey.said(journey.referrer, "information", "Nås bäst efter 15.")["sender"]
    answer = journey.say(journey.therapist, "information", sender=referrer)
    assert answer.status_code == 422
    assert where(answer.json()["issue"]) == ["Communication.sender"]
    assert journey.said(journey.therapist, "information", "Hej.", sender={"reference": ROLE})["sender"] != referrer


def test_strangers_write_nothing(service: Service) -> None:
    journey = begin(service)
    for client in (journey.coordination, service.administrator, service.platform):
        # who comes before what
        assert journey.say(client, "information").status_code == 403
        assert journey.say(client, "nonsense", payload=None).status_code == 403
    for client in journey.strangers:
        assert journey.say(client, "information").status_code == 404


def test_a_message_about_nothing_that_is_here_is_not_found(service: Service) -> None:
    journey = begin(service)
    assert journey.say(journey.therapist, "information", partOf=[{"reference": "Task/nowhere"}]).status_code == 404


def test_a_therapists_message_to_a_unit_without_a_platform_is_passed_on(service: Service) -> None:
    journey = begin(service, RELAYED_UNIT)
    message = journey.said(journey.therapist, "interim-reply", "Halvvägs.")
    assert message["status"] == "preparation"
    assert "sent" not in message
    relays = [t for t in journey.children("relay-message") if t["focus"]["reference"].endswith(message["id"])]
    assert len(relays) == 1
    assert "meddelande i journalsystemet (PMO)" in relays[0]["description"]
    assert "Sätra Din hälsocentral" in relays[0]["description"]
    journey.moved(journey.therapist, "completed", relays[0])
    assert journey.read(f"Communication/{message['id']}")["status"] == "completed"
    waiting = journey.children("relay-message", "requested")[0]
    journey.refused(403, journey.referrer, "completed", task=waiting)
    for client in (*journey.strangers, service.platform):
        journey.refused(404, client, "completed", task=waiting)


def test_every_message_of_a_whole_way_is_coded_addressed_and_fit_for_the_record(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.coordination, owner={"reference": "HealthcareService/norra-halsingland"})
    journey.moved(service.therapist("norra-halsingland"), owner={"reference": TEAM})
    journey.start()
    journey.moved(journey.therapist, "on-hold")
    journey.moved(journey.therapist, "in-progress")
    journey.moved(journey.therapist, output=journey.with_output("interim-reply", valueString="Halvvägs."))
    journey.complete()
    for message in journey.messages():
        journey.is_a_message(message)
        assert "{" not in words(message)
        assert journey.service.row(journey.order).placer_value in words(message)
    assert [sorted(codes(m))[-1][1] for m in journey.messages()] == [
        "BEK",
        "VID",
        "VID",
        "started",
        "KOM",
        "DSV",
        "SSV",
    ]
