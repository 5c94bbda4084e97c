"""What waits, and until when (contract 6)."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fhir_mappings import task as tasks
from fhir_mappings.records import Json, Reference, TaskKind, TaskRecord
from service.packs.model import TIME_LIMITS, Pack
from service.referral.time_limits import escalation_due, first_due, waiting_for
from tests.fhir_mappings.examples import CANONICAL
from tests.referral.examples import GAVLEBORG, PRAKTIKERTJANST

NOW = datetime(2026, 11, 23, 10, tzinfo=ZoneInfo("Europe/Stockholm"))


def task(kind: TaskKind, status: str, business_status: str | None = None) -> Json:
    record = TaskRecord(
        id="t1",
        kind=kind,
        status=status,
        owner=Reference("HealthcareService/gavle"),
        patient=Reference("Patient/p1"),
        focus=Reference("ServiceRequest/s1"),
        authored_on="2026-11-23T10:00:00+01:00",
        last_modified="2026-11-23T10:00:00+01:00",
        activity="first-call" if kind is TaskKind.ACTIVITY else None,
        business_status=business_status,
    )
    return tasks.to_fhir_task(record, CANONICAL)


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        ("requested", "requested"),
        ("received", "requested"),
        ("accepted", "accepted"),
        ("on-hold", "on-hold"),
        ("in-progress", "progress"),
        ("completed", None),
        ("rejected", None),
        ("cancelled", None),
        ("failed", None),
    ],
)
def test_a_referral_waits_as_its_state_says(status: str, waits: str | None) -> None:
    assert waiting_for(task(TaskKind.REFERRAL, status), CANONICAL) == waits


@pytest.mark.parametrize("status", ["requested", "received", "on-hold"])
def test_a_referral_that_nobody_could_route_waits_to_be_routed(status: str) -> None:
    assert waiting_for(task(TaskKind.REFERRAL, status, "needs-routing"), CANONICAL) == "needs-routing"


def test_a_referral_that_has_ended_waits_to_be_routed_no_more() -> None:
    assert waiting_for(task(TaskKind.REFERRAL, "cancelled", "needs-routing"), CANONICAL) is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TaskKind.ABORT, "abort"),
        (TaskKind.SAFETY_FOLLOW_UP, "safety-follow-up"),
        (TaskKind.RELAY_MESSAGE, "relay-message"),
    ],
)
def test_what_somebody_must_do_waits_until_it_is_done(kind: TaskKind, name: str) -> None:
    assert waiting_for(task(kind, "requested"), CANONICAL) == name
    for status in ("completed", "cancelled", "failed", "rejected"):
        assert waiting_for(task(kind, status), CANONICAL) is None


@pytest.mark.parametrize("status", ["received", "accepted", "in-progress"])
def test_a_safety_follow_up_waits_until_a_person_has_ended_it(status: str) -> None:
    assert waiting_for(task(TaskKind.SAFETY_FOLLOW_UP, status), CANONICAL) == "safety-follow-up"


def test_an_accepted_abort_is_answered() -> None:
    assert waiting_for(task(TaskKind.ABORT, "accepted"), CANONICAL) is None


@pytest.mark.parametrize("kind", [TaskKind.ACTIVITY, TaskKind.TAKE_OVER, TaskKind.REMINDER])
def test_nothing_reminds_of_an_activity_a_take_over_or_a_reminder(kind: TaskKind) -> None:
    assert waiting_for(task(kind, "requested"), CANONICAL) is None


def test_a_task_of_no_kind_of_ours_waits_for_nothing() -> None:
    assert waiting_for({**task(TaskKind.ABORT, "requested"), "code": {"text": "x"}}, CANONICAL) is None


@pytest.mark.parametrize("pack", [GAVLEBORG, PRAKTIKERTJANST], ids=lambda pack: pack.name)
@pytest.mark.parametrize("name", TIME_LIMITS)
def test_coordination_is_reminded_so_long_after_the_wait_began_as_the_pack_says(name: str, pack: Pack) -> None:
    limit = pack.time_limits[name]
    first = first_due(name, NOW, pack)
    assert first - NOW == limit.remind_after > timedelta(0)
    assert escalation_due(name, first, pack) - NOW == limit.escalate_after


def test_every_time_limit_of_the_packs_is_one_that_something_waits_for() -> None:
    kinds = [
        (TaskKind.REFERRAL, "requested"),
        (TaskKind.REFERRAL, "on-hold"),
        (TaskKind.REFERRAL, "accepted"),
        (TaskKind.REFERRAL, "in-progress"),
        (TaskKind.ABORT, "requested"),
        (TaskKind.SAFETY_FOLLOW_UP, "requested"),
        (TaskKind.RELAY_MESSAGE, "requested"),
    ]
    found = {waiting_for(task(*which), CANONICAL) for which in kinds}
    assert found | {"needs-routing"} == set(TIME_LIMITS)
