"""A store as after months of work: every case that can come in, referrals in every state with what people have written
about them, subscriptions; and resources made up so that each search finds some and not others.
"""

from datetime import datetime, time, timedelta
from itertools import count
from typing import Any

from fhir_mappings.audit_event import OTHERWISE
from fhir_mappings.datetimes import SWEDEN
from service.packs.cases import Way
from service.store.audit_records import SLUSS, Act, Agent, AuditEvent
from service.store.records import Write
from service.store.search_parameters import BY_TYPE
from tests.fixtures.sending import CASES
from tests.journeys.conftest import NOW, Service
from tests.journeys.referrals import ADULT, BOOKING_UNIT, GRAVE, MILD, SECOND_ADULT, UNIT, alone, madrs_s
from tests.journeys.steps import refer_alone
from tests.journeys.treatments import BOOKED_CALL, OTHER_TEAM, RELAYED_UNIT, Journey, because, begin, begin_unrouted
from tests.store.made_up import CODES, Maker
from tests.web.test_subscriptions import wanted

SUBSCRIBERS = ("therapist gavle", "platform")
_ADDRESS = {Way.BUNDLE: "/fhir", Way.SINGLE: "/fhir/ServiceRequest", Way.PLAIN: "/intake/referrals"}


def fill(service: Service) -> None:
    """All of it, by the ways that clients have, but what is made up."""
    _recorded(service)
    _cases(service)
    service.clock.now = NOW
    _journeys(service)
    for caller, topic in zip(SUBSCRIBERS, ("task-updated", "reply-sent"), strict=True):
        sent = service.administrator.post("/fhir/Subscription", wanted(topic), {"Sluss-Caller": caller})
        assert sent.status_code == 201, sent.text
    _made_up(service)


def _cases(service: Service) -> None:
    received = 0
    for case in sorted(CASES, key=lambda case: case.today):
        if case.pack != "gavleborg" or case.absences:
            continue
        service.clock.now = datetime.combine(case.today, time(12), SWEDEN)
        caller = {"Sluss-Caller": case.caller} if case.caller else {}
        received += service.administrator.post(_ADDRESS[case.way], case.body, caller).status_code < 300
    assert received > 100


def _journeys(service: Service) -> None:
    """One referral in each state, and what is said and done on the way."""
    numbers = count(1)

    def new(unit: str = UNIT, identity: str = ADULT, **changes: Any) -> Journey:
        return begin(service, unit, identity, placer=f"D-{next(numbers)}", **changes)

    received = new()
    received.moved(received.therapist, "received")
    asked = new(identity=SECOND_ADULT)
    asked.moved(asked.therapist, "on-hold", **because("Är patienten informerad?"))
    asked.said(asked.referrer, "information", "Ja.")
    rejected = new(items=GRAVE)
    rejected.moved(rejected.therapist, "rejected", **because("Pågående annan behandling"))
    new(RELAYED_UNIT, programme="sleep").withdraw()
    new(programme="worry").withdraw("entered-in-error")
    begin_unrouted(service)
    rerouted = new()
    rerouted.moved(rerouted.therapist, owner={"reference": OTHER_TEAM})
    new(BOOKING_UNIT, extra=(BOOKED_CALL,)).accept()
    _treated(new())
    stopped = new()
    stopped.start()
    stopped.ask_to_take_over()
    stopped.moved(stopped.therapist, "failed", **because("Patienten hör inte av sig"))
    ended = new()
    ended.start()
    ended.withdraw()
    refer_alone(service, alone("D-alone"))


def _treated(journey: Journey) -> None:
    journey.start()
    journey.said(journey.therapist, "interim-reply", "Behandlingen går framåt.")
    journey.add_activity("extra-contact")
    journey.service.clock.later(weeks=4)
    order = journey.read(journey.order)
    answers = madrs_s(
        MILD,
        subject=order["subject"],
        basedOn=[{"reference": journey.order}],
        authored=(NOW + timedelta(weeks=3)).isoformat(),
    )
    rated = journey.post(journey.referrer, answers)
    assert rated.status_code == 201, rated.text
    journey.complete()
    journey.service.clock.now = NOW


def _made_up(service: Service) -> None:
    """Of every type three that refer to each other, and seven more."""
    with service.store.change() as change:
        for type_ in sorted(BY_TYPE):
            maker = Maker(seed=len(type_))
            ids = [*CODES, *(f"made-up-{number}" for number in range(7))]
            change.write([Write(maker.resource(type_, id_)) for id_ in ids])


def _recorded(service: Service) -> None:
    """What is done by no request, by tokens, from elsewhere, about people who are not stored."""
    told = Agent("referrer", "klient", "SE2321000198-P001", UNIT, token="t~1", address="192.0.2.7", request_id="r-1")
    service.store.audit.record(
        *(AuditEvent(Act(SLUSS, name, "E"), about=("Task/one",)) for name in OTHERWISE),
        AuditEvent(Act(told, "transaction", "C"), about=("Task/one/_history/1", "CarePlan/two/_history/1")),
        AuditEvent(Act(told, "search-type", "E", query="a=b"), patients=(f"personnummer|{ADULT}", "Patient/one")),
    )
