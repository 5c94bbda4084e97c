"""Smaller reads that the journey, the timers and the metrics rest on."""

from datetime import date, timedelta

import psycopg

from fhir_mappings.records import Reference
from service.store.database import Store
from service.store.records import AbsenceRow, Deadline
from tests.store.examples import NOW, referral


def test_a_shared_resource_tells_every_key_it_stands_for(store: Store) -> None:
    with store.change() as change:
        change.claim_natural("Patient", "one", Reference("Patient/p-1"))
        change.claim_natural("Patient", "other", Reference("Patient/p-1"))
        change.claim_natural("Patient", "third", Reference("Patient/p-2"))
    assert sorted(store.view().keys_of("Patient", "Patient/p-1")) == ["one", "other"]


def test_absences_come_back_in_the_order_they_were_entered(store: Store) -> None:
    first = AbsenceRow("gavle", date(2026, 12, 1), date(2026, 12, 24), "norra-halsingland")
    second = AbsenceRow("gavle", date(2026, 12, 1), date(2026, 12, 2), None)
    for absence in (first, second):
        with store.change() as change:
            change.enter_absence(absence)
    assert store.view().absences() == [first, second]


def test_referrals_that_wait_at_a_team_are_oldest_first(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral("r-1", team="gavle", created_at=NOW))
        change.open_referral(referral("r-2", team="gavle", created_at=NOW - timedelta(days=1), state="on-hold"))
        change.open_referral(referral("r-3", team="gavle", state="accepted"))
        change.open_referral(referral("r-4", team="norra-halsingland"))
    assert [row.id for row in store.view().waiting_at("gavle", ["requested", "on-hold"])] == ["r-2", "r-1"]


def test_overdue_deadlines_are_earliest_first_and_no_more_than_asked_for(store: Store) -> None:
    deadlines = [Deadline("r-1", f"t-{hours}", "requested", NOW - timedelta(hours=hours)) for hours in (1, 3, 2, -1)]
    with store.change() as change:
        change.set_deadlines(deadlines)
    view = store.view()
    assert [deadline.task_id for deadline in view.overdue(NOW, 2)] == ["t-3", "t-2"]
    assert view.deadlines_of("t-1") == [deadlines[0]]
    assert view.queue_figures(NOW).overdue_deadlines == 3


def test_dead_letters_are_counted(store: Store) -> None:
    with psycopg.connect(store.url) as connection:
        connection.execute("INSERT INTO exchange (referral_id, dead_at) VALUES ('r-1', now())")
    assert store.view().queue_figures(NOW).dead_letters == 1
