"""From requested to in-progress: claiming, accepting, the CarePlan, what comes before the start (contract 6, 7)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_mappings.r4 import validate
from tests.journeys.conftest import Service
from tests.journeys.referrals import S
from tests.journeys.steps import notes_of
from tests.journeys.treatments import (
    BOOKED_CALL,
    BOOKING_UNIT,
    COLLEAGUE,
    ROLE,
    TEAM,
    at,
    because,
    begin,
    business_status,
    owner,
    where,
    words,
)


def test_the_team_receives_and_accepts(service: Service) -> None:
    journey = begin(service)
    assert owner(journey.task) == TEAM
    assert journey.moved(journey.therapist, "received")["status"] == "received"
    assert journey.moved(journey.therapist, "accepted")["status"] == "accepted"
    assert service.row(journey.order).state == "accepted"


def test_a_therapist_claims_and_accepts_in_one_put(service: Service) -> None:
    journey = begin(service)
    task = journey.accept(owner={"reference": ROLE})
    assert owner(task) == ROLE
    assert journey.plan["author"] == {"reference": ROLE}


def test_within_the_team_the_owner_changes_at_any_time(service: Service) -> None:
    journey = begin(service)
    assert owner(journey.moved(journey.therapist, owner={"reference": ROLE})) == ROLE
    journey.start()
    assert owner(journey.moved(journey.therapist, owner={"reference": COLLEAGUE})) == COLLEAGUE
    assert owner(journey.moved(journey.therapist, owner={"reference": TEAM})) == TEAM
    assert journey.messages("rerouted") == []


def test_without_a_claim_the_teams_organisation_is_the_author(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    author = journey.read(journey.plan["author"]["reference"])
    assert author["resourceType"] == "Organization"
    assert author["name"] == "Sätra Din hälsocentral"


def test_acceptance_makes_a_care_plan_in_draft_with_a_child_task_for_each_activity(service: Service) -> None:
    journey = begin(service)
    task = journey.accept()
    plan = journey.plan
    assert validate(plan) == []
    assert plan["status"] == "draft"
    assert plan["intent"] == "plan"
    assert plan["instantiatesCanonical"] == [f"{S}/PlanDefinition/gavleborg-depression"]
    assert service.administrator.read("PlanDefinition/gavleborg-depression")["url"] == plan["instantiatesCanonical"][0]
    assert plan["period"] == {"start": "2026-11-23", "end": "2027-02-22"}  # thirteen weeks
    assert plan["subject"] == task["for"]
    children = [journey.read(activity["reference"]["reference"]) for activity in plan["activity"]]
    assert [child["code"]["coding"][0]["code"] for child in children] == [
        "first-call",
        "access-1177",
        "follow-up-call",
        "follow-up-call",
        "final-reply",
    ]
    for child in children:
        assert validate(child) == []
        assert child["status"] == "requested"
        assert child["code"]["coding"][0]["system"] == f"{S}/CodeSystem/ikbt-activity"
        assert child["partOf"] == [{"reference": f"Task/{task['id']}"}]
        assert child["basedOn"] == [{"reference": f"CarePlan/{plan['id']}"}]
        assert owner(child) == TEAM
        assert child["focus"] == {"reference": journey.order}


def test_the_care_plan_is_an_output_of_the_task(service: Service) -> None:
    journey = begin(service)
    task = journey.accept()
    (output,) = task["output"]
    assert output["type"]["coding"] == [{"system": f"{S}/CodeSystem/task-output", "code": "care-plan"}]
    assert output["valueReference"] == {"reference": f"CarePlan/{journey.plan['id']}"}
    assert validate(task) == []


def test_nothing_starts_before_what_comes_before_it_is_done_in_order(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    (issue,) = journey.refused(422, journey.therapist, "in-progress")
    assert "Första telefonsamtal, Ge tillgång till IKBT via 1177.se" in issue["details"]["text"]
    access = journey.child("access-1177")
    (issue,) = journey.refused(422, journey.therapist, "completed", task=access)
    assert "Första telefonsamtal" in issue["details"]["text"]
    journey.do("first-call")
    (issue,) = journey.refused(422, journey.therapist, "in-progress")
    assert "Första telefonsamtal" not in issue["details"]["text"]
    journey.do("access-1177")
    assert journey.moved(journey.therapist, "in-progress")["status"] == "in-progress"


def test_a_failed_first_call_does_not_count_and_can_be_repeated(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    journey.moved(journey.therapist, "failed", journey.child("first-call"), **because("Svarade inte."))
    journey.refused(422, journey.therapist, "completed", task=journey.child("access-1177"))
    assert journey.add_activity("first-call").status_code == 201
    assert journey.add_activity("first-call").status_code == 422
    journey.start()
    assert [t["status"] for t in journey.children("first-call")] == ["failed", "completed"]


def test_the_start_activates_the_plan_for_its_weeks_and_is_told(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    service.clock.later(days=8)
    task = journey.start()
    assert journey.plan["status"] == "active"
    assert journey.plan["period"] == {"start": "2026-12-01", "end": "2027-03-02"}
    assert task["executionPeriod"] == {"start": "2026-12-01T10:00:00.000+01:00"}
    message = journey.told("started")
    assert "har startat" in words(message)
    assert "6–13 veckor" in words(message)
    assert message["partOf"] == [{"reference": f"Task/{task['id']}"}]


def test_acceptance_itself_is_no_turn_for_the_referrer(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    assert [category for category in map(words, journey.messages()) if "startat" in category] == []
    assert len(journey.messages()) == 1  # the acknowledgement


def test_a_start_call_that_the_referrer_booked_counts_once_it_is_held(service: Service) -> None:
    journey = begin(service, BOOKING_UNIT, extra=(BOOKED_CALL,))
    journey.accept()
    call = journey.child("first-call")
    assert call["executionPeriod"]["start"] == "2026-12-01T09:00:00+01:00"
    assert call["status"] == "requested"
    journey.refused(422, journey.therapist, "in-progress")
    journey.start()
    assert journey.task["status"] == "in-progress"


def test_a_repeated_call_has_not_the_booked_time_any_more(service: Service) -> None:
    journey = begin(service, BOOKING_UNIT, extra=(BOOKED_CALL,))
    journey.accept()
    journey.moved(journey.therapist, "failed", journey.child("first-call"), **because("Svarade inte."))
    assert journey.add_activity("first-call").status_code == 201
    assert "executionPeriod" not in journey.child("first-call", "requested")


def test_a_reason_and_a_status_of_the_state_that_was_left_do_not_stay(service: Service) -> None:
    journey = begin(service)
    journey.moved(
        journey.therapist,
        statusReason={"text": "Väntar på journalen."},
        businessStatus={"text": "väntar"},
    )
    task = journey.accept()
    assert "statusReason" not in task
    assert "businessStatus" not in task


def test_last_modified_follows_every_change_and_is_never_before_authored_on(service: Service) -> None:
    journey = begin(service)
    service.clock.later(hours=-3)  # a clock that was set back
    task = journey.moved(journey.therapist, "received")
    assert at(task, "lastModified") >= at(task, "authoredOn")
    service.clock.later(days=1)
    task = journey.accept(lastModified="2031-01-01T00:00:00Z")
    assert at(task, "lastModified") == service.clock.now


def test_the_owner_is_there_in_every_state(service: Service) -> None:
    journey = begin(service)
    seen = [journey.task, journey.moved(journey.therapist, "received"), journey.accept(), journey.start()]
    seen += [journey.moved(journey.therapist, "on-hold"), journey.moved(journey.therapist, "in-progress")]
    seen.append(journey.complete())
    assert {owner(task) for task in seen} == {TEAM}
    for before in ("requested", "accepted"):
        other = begin(service, placer=f"R-{before}")
        if before == "accepted":
            other.accept()
        issues = other.refused(422, other.therapist, owner=None)
        assert where(issues) == ["Task.owner.reference"]


@pytest.mark.parametrize(
    "who", ["Practitioner/p", "Organization/o", "HealthcareService/nowhere", "PractitionerRole/nobody", "Patient/x"]
)
def test_an_owner_is_a_team_or_a_therapist_of_one(service: Service, who: str) -> None:
    journey = begin(service)
    answer = journey.put(journey.therapist, owner={"reference": who})
    assert answer.status_code in (400, 422), answer.text  # 400 where R4 itself forbids it
    assert owner(journey.task) == TEAM


def test_the_task_has_what_the_contract_lists(service: Service) -> None:
    journey = begin(service)
    task = journey.task
    assert validate(task) == []
    assert task["identifier"][0]["system"] == f"{S}/identifier/task"
    assert task["intent"] == "order"
    assert task["priority"] == "routine"
    assert task["focus"] == {"reference": journey.order}
    assert task["for"]["reference"].startswith("Patient/")
    assert task["requester"]["reference"].startswith("PractitionerRole/")
    assert {i["type"]["coding"][0]["code"] for i in task["input"]} >= {"route"}


def test_a_further_put_of_an_accepted_task_makes_no_second_plan(service: Service) -> None:
    journey = begin(service)
    journey.accept()
    (issue,) = journey.refused(422, journey.therapist, "received")
    assert "allowed: cancelled, in-progress" in issue["diagnostics"]
    journey.moved(journey.therapist, note=[{"text": "ringt"}])
    assert len(service.all_of(journey.order, "CarePlan")) == 1


@pytest.mark.parametrize("priority", ["urgent", "asap", "stat"])
def test_the_referrals_priority_is_the_tasks(service: Service, priority: str) -> None:
    assert begin(service, priority=priority).task["priority"] == priority


def test_business_status_says_nothing_where_nothing_is_to_be_said(service: Service) -> None:
    assert business_status(begin(service).task) is None


def test_a_call_that_the_unit_may_not_book_is_not_booked_and_the_wish_is_a_note(service: Service) -> None:
    journey = begin(service, extra=(BOOKED_CALL,))
    (appointment,) = service.all_of(journey.order, "Appointment")
    assert appointment["status"] == "cancelled"
    assert appointment["meta"]["versionId"] == "2"
    assert "önskade startsamtal 2026-12-01 kl. 09:00" in notes_of(journey.task)
    journey.accept()
    assert "executionPeriod" not in journey.child("first-call")


def test_two_therapists_who_accept_at_once_make_one_plan(service: Service) -> None:
    journey = begin(service)
    task = journey.task
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda role: journey.put(service.therapist(), "accepted", task, owner={"reference": role}),
            (ROLE, COLLEAGUE),
        )
        # the second has not seen the plan that the first one's acceptance made
        assert sorted(answer.status_code for answer in answers) == [200, 422]
    assert len(service.all_of(journey.order, "CarePlan")) == 1
    assert journey.moves(f"Task/{task['id']}") == [("requested", "accepted")]


def test_with_if_match_only_one_of_them_accepts(service: Service) -> None:
    journey = begin(service)
    task = journey.task
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda role: journey.put(
                service.therapist(), "accepted", task, {"If-Match": 'W/"1"'}, owner={"reference": role}
            ),
            (ROLE, COLLEAGUE),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412]
    assert journey.plan["author"] == journey.task["owner"]
