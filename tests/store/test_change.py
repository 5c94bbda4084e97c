"""One transaction and what it leaves behind."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from fhir_mappings.records import Json, Reference
from service.store.database import Store
from service.store.records import AbsenceRow, Deadline, JournalEntry, ReferralRow, StaleVersion, Write
from tests.store.examples import NOW, ORGANISATION, PATIENT_KEY, communication, patient, referral, service_request, task


def _jobs(store: Store) -> list[tuple[str, Json, str]]:
    with psycopg.connect(store.url) as connection:
        return connection.execute("SELECT task_name, args, status::text FROM procrastinate_jobs ORDER BY id").fetchall()


def test_a_resource_comes_back_as_it_was_sent_with_our_id_and_version(store: Store) -> None:
    sent = task(
        "t-1",
        meta={"profile": ["https://example.org/p"], "versionId": "99"},
        extension=[{"valueDecimal": Decimal("1.00")}],
    )
    with store.change() as change:
        (written,) = change.write([Write(sent, "r-1")])
    read = store.view().get("Task", "t-1")
    assert read == written
    assert read is not None
    assert '"valueDecimal":1.00' in read.body
    assert read.content["meta"] == {
        "profile": ["https://example.org/p"],
        "versionId": "1",
        "lastUpdated": read.last_updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    assert {**read.content, "meta": 0} == {**sent, "meta": 0}
    assert read.referral_id == "r-1"


def test_a_new_version_keeps_the_old_one_readable(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"), "r-1")])
    with store.change() as change:
        change.write([Write(task("t-1", status="accepted"), "r-1", expect=1)])
    view = store.view()
    assert [(stored.version, stored.content["status"]) for stored in view.history("Task", "t-1")] == [
        (2, "accepted"),
        (1, "requested"),
    ]
    first = view.version("Task", "t-1", 1)
    assert first is not None
    assert first.content["meta"]["versionId"] == "1"
    assert view.version("Task", "t-1", 3) is None
    assert view.version("Task", "t-1", 2**40) is None
    assert [stored.version for stored in view.of_referral("r-1")] == [2]


def test_two_versions_in_one_change_are_both_kept(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
        change.write([Write(task("t-1", status="cancelled"), expect=1)])
    assert [stored.content["status"] for stored in store.view().history("Task", "t-1")] == ["cancelled", "requested"]


def test_a_stale_write_is_refused_and_nothing_of_its_change_is_stored(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
    with pytest.raises(StaleVersion) as refused, store.change() as change:
        change.write([Write(communication("c-1")), Write(task("t-1", status="accepted"), expect=2)])
    assert refused.value.references == ("Task/t-1",)
    assert store.view().get("Communication", "c-1") is None
    assert len(store.view().history("Task", "t-1")) == 1


def test_creating_what_exists_is_refused(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
    with pytest.raises(StaleVersion), store.change() as change:
        change.write([Write(task("t-1"))])


def test_of_two_writers_who_saw_the_same_version_one_is_refused(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
    together = threading.Barrier(2)

    def accept(_: int) -> bool:
        try:
            with store.change() as change:
                together.wait(5)
                change.write([Write(task("t-1", status="accepted"), expect=1)])
        except StaleVersion:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(accept, range(2))) == [False, True]


def test_reads_in_a_change_see_what_it_has_written(store: Store) -> None:
    with store.change() as change:
        change.write([Write(task("t-1"))])
        assert change.get("Task", "t-1") is not None
        assert store.view().get("Task", "t-1") is None
        assert list(change.get_many(["Task/t-1", "Task/t-2", "Task/t-1"])) == ["Task/t-1"]


def test_an_exception_leaves_nothing(store: Store) -> None:
    def failing() -> None:
        with store.change() as change:
            change.open_referral(referral())
            change.write([Write(task("t-1"))])
            change.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert store.view().get("Task", "t-1") is None
    assert store.view().referral("r-1") is None


def test_a_referral_is_found_by_its_placer_and_by_what_was_stored_under_it(store: Store) -> None:
    with store.change() as change:
        row = change.open_referral(referral(alerted=("madrs-s-item-9",)))
        change.write([Write(task("t-1"), "r-1")])
        change.update_referral("r-1", state="on-hold", task="t-1", alerted=("a", "b"))
    assert isinstance(row, ReferralRow)
    view = store.view()
    found = view.referral_by_placer(ORGANISATION, "https://ehr.example/referrals", "PMO-r-1")
    assert found is not None
    assert (found.state, found.task, found.alerted, found.created_at) == ("on-hold", "t-1", ("a", "b"), NOW)
    assert found == view.referral("r-1") == view.referral_of("Task", "t-1")
    assert view.referral_by_placer(ORGANISATION, "https://ehr.example/referrals", "PMO-r-2") is None
    assert view.referral_of("Task", "t-2") is None


def test_a_placer_number_of_any_length_is_a_key(store: Store) -> None:
    long = "9" * 100_000
    with store.change() as change:
        assert change.open_referral(referral(placer_value=long))
        change.write([Write(service_request(identifier=[{"value": long}]))])
    assert store.view().referral_by_placer(ORGANISATION, "https://ehr.example/referrals", long)


def test_the_same_placer_number_is_taken_in_once(store: Store) -> None:
    with store.change() as change:
        assert change.open_referral(referral())
    with store.change() as change:
        assert change.open_referral(referral("r-2", placer_value="PMO-r-1")) is None
        assert change.open_referral(referral("r-2", placer_value="PMO-r-1", organisation="SE2321000198-EX02"))


def test_of_many_who_send_the_same_referral_at_once_one_takes_it_in(store: Store) -> None:
    together = threading.Barrier(6)

    def send(number: int) -> str | None:
        together.wait(5)
        with store.change() as change:
            row = change.open_referral(referral(f"r-{number}", placer_value="same"))
            if row is None:
                seen = change.referral_by_placer(ORGANISATION, "https://ehr.example/referrals", "same")
                assert seen is not None, "who comes too late sees the one who was first"
                return None
            change.write([Write(task(f"t-{number}"), row.id)])
            return row.id

    with ThreadPoolExecutor(6) as threads:
        taken = [id_ for id_ in threads.map(send, range(6)) if id_]
    assert len(taken) == 1


def test_a_taken_number_is_free_again_when_the_first_sender_fails(store: Store) -> None:
    inserted, failed = threading.Event(), threading.Event()

    def first() -> None:
        with contextlib.suppress(RuntimeError), store.change() as change:
            change.open_referral(referral())
            inserted.set()
            failed.wait(5)
            raise RuntimeError

    thread = threading.Thread(target=first)
    thread.start()
    inserted.wait(5)
    threading.Timer(0.05, failed.set).start()
    with store.change() as change:
        assert change.open_referral(referral("r-2", placer_value="PMO-r-1"))
    thread.join()


def test_two_referrals_of_one_patient_at_once_see_each_other(store: Store) -> None:
    together = threading.Barrier(2)

    def send(number: int) -> bool:
        with store.change() as change:
            together.wait(5)
            change.open_referral(referral(f"r-{number}"))
            others = change.surroundings((), PATIENT_KEY, f"r-{number}").others_open
            threading.Event().wait(0.05)
            return others

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(send, range(2))) == [False, True]


def test_a_referral_sees_its_surroundings_at_once(store: Store) -> None:
    unit = {"resourceType": "Organization", "id": "o-1"}
    away = AbsenceRow("gavle", date(2026, 12, 21), date(2027, 1, 6), None)
    with store.change() as change:
        change.open_referral(referral("r-1"))
        change.claim_natural("Organization", "SE2321000198-EX01", Reference("Organization/o-1"))
        change.write([Write(unit)])
        change.enter_absence(away)
    wanted = [("Organization", "SE2321000198-EX01"), ("Patient", "nobody")]
    around = store.view().surroundings(wanted, PATIENT_KEY)
    assert {key: stored.reference for key, stored in around.known.items()} == {wanted[0]: "Organization/o-1"}
    assert around.absences == (away,)
    assert around.others_open
    assert not store.view().surroundings((), PATIENT_KEY, "r-1").others_open


def test_what_stands_for_a_key_is_found_by_it_from_the_commit_on(store: Store) -> None:
    with store.change() as change:
        change.stand_for("Patient", PATIENT_KEY, Reference("Patient/p-1"))
    assert store.view().natural("Patient", [PATIENT_KEY]) == {PATIENT_KEY: "Patient/p-1"}


def test_a_referral_at_an_end_is_not_open(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral("r-1"))
        change.open_referral(referral("r-2", state="rejected"))
        change.open_referral(referral("r-3", patient_key="personnummer|200002022384"))
        change.update_referral("r-2", state="completed")
    assert [row.id for row in store.view().open_referrals(PATIENT_KEY)] == ["r-1"]


def test_a_locked_referral_waits_and_then_shows_the_newest_row(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral())
    locked = threading.Event()

    def hold() -> None:
        with store.change() as change:
            change.lock_referral("r-1")
            locked.set()
            threading.Event().wait(0.05)
            change.update_referral("r-1", state="accepted")

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(5)
    with store.change() as change:
        assert change.lock_referral("r-1").state == "accepted"
    thread.join()
    with pytest.raises(KeyError), store.change() as change:
        change.lock_referral("r-2")


def test_an_unknown_field_of_a_referral_is_a_mistake(store: Store) -> None:
    with pytest.raises(TypeError, match="colour"), store.change() as change:
        change.update_referral("r-1", colour="red")


def test_one_resource_stands_for_a_natural_key(store: Store) -> None:
    together = threading.Barrier(4)

    def claim(number: int) -> Reference:
        together.wait(5)
        with store.change() as change:
            return change.claim_natural("Organization", ORGANISATION, Reference(f"Organization/o-{number}"))

    with ThreadPoolExecutor(4) as threads:
        winners = set(threads.map(claim, range(4)))
    assert len(winners) == 1
    assert store.view().natural("Organization", [ORGANISATION, "x"]) == {ORGANISATION: winners.pop()}
    assert store.view().natural("Patient", [ORGANISATION]) == {}


def test_the_journal_is_in_order_and_at_the_stamp(store: Store) -> None:
    with store.change() as change:
        change.journal([JournalEntry("r-1", "administrator", "received", {"verdict": "review"})])
        change.journal([JournalEntry("r-1", "sluss", "routed"), JournalEntry("r-2", "sluss", "routed")])
        stamp = change.stamp
    entries = store.view().journal_of("r-1")
    assert [(entry.actor, entry.event, entry.detail, entry.at) for entry in entries] == [
        ("administrator", "received", {"verdict": "review"}, stamp),
        ("sluss", "routed", {}, stamp),
    ]


def test_deadlines_are_replaced_cleared_and_handed_out_once(store: Store) -> None:
    due = NOW - timedelta(hours=1)
    with store.change() as change:
        change.set_deadlines([Deadline("r-1", "t-1", "requested", due), Deadline("r-1", "t-1", "accepted", due)])
        change.set_deadlines([Deadline("r-2", "t-2", "requested", NOW + timedelta(hours=1))])
    with store.change() as change:
        change.set_deadlines([Deadline("r-1", "t-1", "requested", due - timedelta(hours=1), level=1)])
        change.clear_deadlines(["t-1"], ["accepted"])
    with store.change() as one, store.change() as other:
        handed = one.due_deadlines(NOW, 10)
        assert [(deadline.task_id, deadline.kind, deadline.level) for deadline in handed] == [("t-1", "requested", 1)]
        assert other.due_deadlines(NOW, 10) == []
        one.clear_deadlines(["t-1", "t-2"])
    assert store.view().queue_figures(NOW + timedelta(days=9)).overdue_deadlines == 0


def test_a_job_exists_when_its_change_is_committed(store: Store) -> None:
    with contextlib.suppress(RuntimeError), store.change() as change:
        change.defer("deliver_referral", {"referral": "r-1"})
        change.flush()
        raise RuntimeError
    assert _jobs(store) == []
    with store.change() as change:
        change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1", lock="r-1")
    assert _jobs(store) == [("deliver_referral", {"referral": "r-1"}, "todo")]
    figures = store.view().queue_figures(NOW)
    assert (figures.waiting, figures.running, figures.failed, figures.dead_letters) == (1, 0, 0, 0)
    assert figures.oldest_due is not None


def test_a_job_that_already_waits_is_enough_and_does_not_spoil_the_change(store: Store) -> None:
    for id_ in ("t-1", "t-2"):
        with store.change() as change:
            change.write([Write(task(id_))])
            change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1")
            change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1")
    assert len(_jobs(store)) == 1
    assert store.view().get("Task", "t-2") is not None


def test_a_waiting_job_does_not_start_before_the_change_that_counts_on_it_commits(store: Store) -> None:
    fetch = "SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)"
    with store.change() as change:
        change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1")
    with psycopg.connect(store.url) as worker:
        with store.change() as change:
            change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1")
            change.flush()
            assert worker.execute(fetch).fetchone() == (None,)
        assert worker.execute(fetch).fetchone() != (None,)


def test_a_job_that_has_started_is_not_enough(store: Store) -> None:
    with store.change() as change:
        change.defer("deliver_referral", {}, queueing_lock="r-1")
    with psycopg.connect(store.url) as worker:
        worker.execute("UPDATE procrastinate_jobs SET status = 'doing'")
    with store.change() as change:
        change.defer("deliver_referral", {}, queueing_lock="r-1")
    assert [status for _, _, status in _jobs(store)] == ["doing", "todo"]


def test_a_job_that_waits_for_later_is_brought_forward(store: Store) -> None:
    for at in (NOW + timedelta(days=365), None):
        with store.change() as change:
            change.defer("deliver_referral", {}, queueing_lock="r-1", at=at)
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT scheduled_at <= now() FROM procrastinate_jobs").fetchall() == [(True,)]


def test_when_a_job_was_made_stands_in_the_job_and_nowhere_else(store: Store) -> None:
    with store.change() as change:
        change.defer("deliver_referral", {}, queueing_lock="r-1")
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT count(*) FROM procrastinate_events").fetchone() == (0,)
    now = datetime.now(UTC)
    oldest = store.view().queue_figures(now).oldest_due
    assert oldest is not None
    assert abs(now - oldest) < timedelta(seconds=30)


def test_a_job_of_the_queues_own_is_noted_as_made(store: Store) -> None:
    store.wake("collect", {"timestamp": 0}, 1)
    oldest = store.view().queue_figures(datetime.now(UTC)).oldest_due
    assert oldest is not None


def test_everything_of_an_intake_is_one_change(store: Store) -> None:
    with store.change() as change:
        change.open_referral(referral())
        change.write(
            [Write(resource, "r-1") for resource in (service_request(), patient(), task("t-1"), communication())]
        )
        change.journal([JournalEntry("r-1", "referrer", "received")])
        change.set_deadlines([Deadline("r-1", "t-1", "requested", NOW)])
        change.defer("deliver_referral", {"referral": "r-1"}, queueing_lock="r-1")
        change.update_referral("r-1", team="gavle")
    stamps = {json.loads(stored.body)["meta"]["lastUpdated"] for stored in store.view().of_referral("r-1")}
    assert len(stamps) == 1
    assert len(store.view().of_referral("r-1")) == 4
