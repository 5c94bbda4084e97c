"""Who may change what of a Task, and in which order that is told (contract 2, 7)."""

from typing import Any

import pytest

from fhir_mappings.records import Json
from tests.journeys.conftest import Service
from tests.journeys.treatments import OTHER_TEAM, ROLE, because, begin, where


def test_a_stale_version_comes_before_who_and_what(service: Service) -> None:
    journey = begin(service)
    stale = {"If-Match": 'W/"7"'}
    for client in (journey.therapist, service.platform):
        journey.refused(412, client, "completed", headers=stale, priority="stat")
    journey.refused(412, journey.therapist, "received", headers={"If-Match": "nonsense"})
    journey.refused(403, service.platform, "completed", priority="stat")
    for client in journey.strangers:  # it is not there for them
        journey.refused(404, client, "completed", headers=stale, priority="stat")
    journey.refused(422, journey.therapist, "completed", priority="stat")


def test_not_r4_and_not_found_come_before_all_of_that(service: Service) -> None:
    journey = begin(service)
    stale = {"If-Match": 'W/"7"'}
    journey.refused(400, journey.strangers[0], "nonsense", headers=stale)
    task = {**journey.task, "id": "nowhere"}
    assert journey.put(journey.strangers[0], "completed", task, stale).status_code == 404


def test_the_current_version_may_be_named_or_left_out(service: Service) -> None:
    journey = begin(service)
    version = journey.task["meta"]["versionId"]
    answer = journey.put(journey.therapist, "received", headers={"If-Match": f'W/"{version}"'})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == f'W/"{int(version) + 1}"'
    journey.refused(412, journey.therapist, "accepted", headers={"If-Match": f'W/"{version}"'})
    journey.moved(journey.therapist, "accepted")


@pytest.mark.parametrize(
    ("changes", "expression"),
    [
        ({"priority": "stat"}, "Task.priority"),
        ({"requester": {"reference": "Organization/o"}}, "Task.requester"),
        ({"for": {"reference": "Patient/p"}}, "Task.for"),
        ({"focus": {"reference": "ServiceRequest/s"}}, "Task.focus"),
        ({"input": None}, "Task.input"),
        ({"identifier": None}, "Task.identifier"),
        ({"authoredOn": "2020-01-01T00:00:00Z"}, "Task.authoredOn"),
        ({"description": "annat"}, "Task.description"),
        ({"code": {"text": "annat"}}, "Task.code"),
        ({"note": None}, "Task.note"),
    ],
)
def test_every_other_element_must_equal_what_is_stored(
    service: Service, changes: dict[str, Any], expression: str
) -> None:
    journey = begin(service, items=(4, 4, 4, 4, 4, 1, 0, 0, 0))
    journey.moved(journey.therapist, note=[*journey.task.get("note", []), {"text": "läst"}])
    assert where(journey.refused(422, journey.therapist, **changes)) == [expression]
    # and together with a move that is allowed
    assert where(journey.refused(422, journey.therapist, "received", **changes)) == [expression]


def test_every_problem_is_told_at_once(service: Service) -> None:
    journey = begin(service)
    issues = journey.refused(422, journey.therapist, "completed", priority="stat", owner={"reference": "Patient/x"})
    assert set(where(issues)) >= {"Task.status", "Task.priority"}


def test_an_owner_changes_what_the_contract_lists(service: Service) -> None:
    journey = begin(service)
    task = journey.moved(
        journey.therapist,
        "received",
        owner={"reference": ROLE},
        statusReason={"text": "skäl"},
        businessStatus={"text": "läst"},
        output=[{"type": {"text": "eget"}, "valueString": "x"}],
        note=[*journey.task.get("note", []), {"authorString": "Behandlare", "text": "ringt"}],
        executionPeriod={"start": "2026-12-01"},
    )
    assert task["statusReason"] == {"text": "skäl"}
    assert task["businessStatus"] == {"text": "läst"}
    assert task["executionPeriod"] == {"start": "2026-12-01"}
    assert task["output"][0]["valueString"] == "x"
    assert task["note"][-1]["text"] == "ringt"
    assert [entry.event for entry in journey.journal()][-1] == "moved"


def test_meta_and_last_modified_are_left_aside(service: Service) -> None:
    journey = begin(service)
    task = journey.moved(
        journey.therapist,
        "received",
        meta={"versionId": "99", "lastUpdated": "2030-01-01T00:00:00Z"},
        lastModified=None,
    )
    assert task["meta"]["versionId"] == "2"
    assert not task["meta"]["lastUpdated"].startswith("2030")
    assert task["lastModified"] == "2026-11-23T10:00:00.000+01:00"


def test_notes_are_only_added(service: Service) -> None:
    journey = begin(service)
    first: Json = {"authorString": "Behandlare", "text": "ett"}
    journey.moved(journey.therapist, note=[*journey.task.get("note", []), first])
    for notes in (None, [{"text": "två"}], [{**first, "text": "ändrad"}], [{"text": "före"}, first]):
        assert where(journey.refused(422, journey.therapist, note=notes)) == ["Task.note"]
    journey.moved(journey.therapist, note=[*journey.task["note"], {"text": "två"}])


@pytest.mark.parametrize("status", ["received", "accepted", "rejected", "on-hold"])
def test_the_referrer_moves_only_its_own(service: Service, status: str) -> None:
    journey = begin(service)
    journey.refused(403, journey.referrer, status, **because("skäl"))


@pytest.mark.parametrize("changes", [{"businessStatus": {"text": "x"}}, {"output": []}, {"owner": {"reference": ROLE}}])
def test_the_referrer_changes_nothing_of_the_teams(service: Service, changes: dict[str, Any]) -> None:
    journey = begin(service)
    changes = {n: v or [{"type": {"text": "x"}, "valueString": "y"}] for n, v in changes.items()}
    assert where(journey.refused(422, journey.referrer, **changes)) == [f"Task.{next(iter(changes))}"]


def test_the_referrer_may_add_a_note(service: Service) -> None:
    journey = begin(service)
    journey.moved(journey.referrer, note=[*journey.task.get("note", []), {"text": "Nås efter 15."}])
    assert journey.task["note"][-1]["text"] == "Nås efter 15."


@pytest.mark.parametrize("status", ["received", "accepted", "rejected", "cancelled", "on-hold"])
def test_coordination_routes_and_does_not_treat(service: Service, status: str) -> None:
    journey = begin(service)
    for client in (journey.coordination, service.administrator):
        journey.refused(403, client, status, **because("skäl"))


@pytest.mark.parametrize("code", ["fulfill", "first-call", "final-reply"])
def test_strangers_change_nothing(service: Service, code: str) -> None:
    journey = begin(service)
    journey.accept()
    task = journey.child(code)
    seen = code == "fulfill"  # by the platform: the Task that replies refer to
    for client, status in ((service.platform, 403 if seen else 404), *((one, 404) for one in journey.strangers)):
        journey.refused(status, client, "completed", task=task)
        journey.refused(status, client, task=task, note=[{"text": "x"}])
        journey.refused(status, client, task=task, owner={"reference": OTHER_TEAM})
        journey.refused(status, client, task=task)


def test_a_caller_who_cannot_be_read_is_nobody(service: Service) -> None:
    journey = begin(service)
    client = type(journey.therapist)(service.base, "therapist")
    journey.refused(400, client, "received")
