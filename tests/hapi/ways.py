"""Ways that referrals take through contract 6 and 7, which together have every kind of step."""

from collections.abc import Callable
from datetime import timedelta

from service.packs.model import Absence
from service.referral.journey.timers import enter_absence, run_timers
from tests.journeys.conftest import Service
from tests.journeys.referrals import GRAVE, SEVERE, alone, madrs_s, plain
from tests.journeys.steps import TASK_CODE, refer_alone
from tests.journeys.treatments import (
    BOOKED_CALL,
    BOOKING_UNIT,
    OTHER_TEAM,
    RELAYED_UNIT,
    TEAM,
    Journey,
    because,
    begin,
    begin_unrouted,
)

Way = Callable[[Service], Journey]


def from_acceptance_to_the_final_reply(service: Service) -> Journey:
    journey = begin(service)
    journey.moved(journey.therapist, "received")
    journey.start()
    journey.do("follow-up-call")
    assert journey.add_activity("extra-contact").status_code == 201
    journey.moved(journey.therapist, output=journey.with_output("interim-reply", valueString="Halvvägs."))
    journey.moved(journey.therapist, output=journey.with_output("progress", valueString="Modul 4 av 8"))
    wrong = journey.said(journey.therapist, "information", "Nästa kontakt i vecka 50.")
    answered = [{"reference": f"Communication/{wrong['id']}"}]
    journey.said(journey.therapist, "correction", "Nästa kontakt i vecka 51.", inResponseTo=answered)
    journey.complete()
    return journey


def booked_by_the_referrer(service: Service) -> Journey:
    journey = begin(service, BOOKING_UNIT, extra=(BOOKED_CALL,))
    journey.accept()
    return journey


def amended_and_paused(service: Service) -> Journey:
    journey = begin(service)
    amended = {**journey.read(journey.order), "priority": "urgent", "note": [{"text": "Nås bäst efter klockan 15."}]}
    assert journey.referrer.put(journey.order, amended).status_code == 200
    journey.start()
    journey.moved(journey.therapist, "on-hold", **because("Patienten är bortrest."))
    journey.said(journey.referrer, "information", "Patienten är åter.")
    later = {**madrs_s(), "subject": journey.task["for"], "basedOn": [{"reference": journey.order}]}
    assert journey.post(journey.referrer, later).status_code == 201
    journey.moved(journey.therapist, "in-progress")
    journey.moved(journey.therapist, "failed", **because("Patienten går inte att nå."))
    return journey


def asked_for_information_and_returned(service: Service) -> Journey:
    journey = begin(service, items=None)
    journey.said(journey.referrer, "information", "MADRS-S var 14 den 18 november.")
    journey.moved(journey.therapist, "rejected", **because("Annan behandling behövs."))
    return journey


def returned_and_overridden(service: Service) -> Journey:
    journey = begin(service, items=SEVERE)
    overridden = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODE, "code": "fulfill"}]},
        "focus": {"reference": journey.order},
        "note": [{"authorString": "Behandlare i Gävle", "text": "Bedömd på nytt tillsammans med remittenten."}],
    }
    answer = journey.therapist.post("/fhir/Task", overridden)
    assert answer.status_code == 201, answer.text
    journey.accept()
    journey.do("first-call")
    journey.moved(journey.therapist, "cancelled", **because("Inte lämpligt just nu."))
    return journey


def withdrawn_before_the_start(service: Service) -> Journey:
    journey = begin(service)
    journey.accept()
    journey.withdraw()
    return journey


def aborted(service: Service) -> Journey:
    journey = begin(service)
    journey.start()
    journey.withdraw()
    journey.moved(journey.therapist, "accepted", journey.child("abort"))
    return journey


def not_aborted(service: Service) -> Journey:
    journey = begin(service)
    journey.start()
    journey.withdraw()
    journey.moved(journey.therapist, "rejected", journey.child("abort"), **because("Patienten vill gå vidare."))
    return journey


def taken_over(service: Service) -> Journey:
    journey = begin(service)
    journey.start()
    assert journey.ask_to_take_over().status_code == 201
    journey.moved(service.therapist("norra-halsingland"), "accepted", journey.child("take-over"))
    return journey


def rerouted(service: Service) -> Journey:
    journey = begin(service)
    journey.moved(journey.therapist, owner={"reference": OTHER_TEAM})
    return journey


def moved_by_an_absence(service: Service) -> Journey:
    journey = begin(service)
    today = service.clock().date()
    enter_absence(service.house, Absence("gavle", today, today + timedelta(days=14), "norra-halsingland"))
    return journey


def routed_by_hand(service: Service) -> Journey:
    journey = begin_unrouted(service)
    journey.moved(journey.coordination, owner={"reference": TEAM})
    return journey


def relayed_with_an_alert(service: Service) -> Journey:
    journey = begin(service, RELAYED_UNIT, items=GRAVE)
    for relay in journey.children("relay-message"):
        journey.moved(journey.therapist, "completed", relay)
    journey.moved(journey.therapist, "completed", journey.child("safety-follow-up"))
    return journey


def not_relayed(service: Service) -> Journey:
    journey = begin(service, RELAYED_UNIT)
    journey.moved(journey.therapist, "failed", journey.child("relay-message"), **because("Fel adress."))
    return journey


def forgotten(service: Service) -> Journey:
    """Reminders to the team, then to coordination."""
    journey = begin(service, items=GRAVE)
    for _ in range(3):
        service.clock.later(days=40)
        run_timers(service.house, service.clock())
    return journey


def alone_with_contained_parties(service: Service) -> Journey:
    return Journey(service, refer_alone(service, alone()))


def as_plain_json(service: Service) -> Journey:
    answer = service.administrator.post("/intake/referrals", plain(channel="paper-letter"))
    assert answer.status_code == 201, answer.text
    return Journey(service, answer.json()["service_request"])


GAVLEBORG: tuple[Way, ...] = (
    from_acceptance_to_the_final_reply,
    booked_by_the_referrer,
    amended_and_paused,
    asked_for_information_and_returned,
    returned_and_overridden,
    withdrawn_before_the_start,
    aborted,
    not_aborted,
    taken_over,
    rerouted,
    moved_by_an_absence,
    routed_by_hand,
    relayed_with_an_alert,
    not_relayed,
    forgotten,
    alone_with_contained_parties,
    as_plain_json,
)


def with_an_assessment_visit_first(service: Service) -> Journey:
    """Of pack `praktikertjanst`."""
    journey = begin(service, "SE2321000198-EX60")
    journey.team = "psykosociala-teamet"
    journey.before_start = ("assessment-visit", "access-programme")
    journey.start()
    for code in ("weekly-message", "closing-visit"):
        for child in journey.children(code, "requested"):
            journey.moved(journey.therapist, "completed", child)
    journey.complete()
    return journey
