"""The worker seals the record, and readiness tells when none does."""

import threading
import time
from datetime import UTC, datetime

from service.exchange.worker import BackgroundWorker, Duties
from service.store.audit_verify import verify
from service.store.database import Store
from tests.audit.tampering import tamper
from tests.web.caller import Sluss, content, plain


def test_what_is_recorded_is_sealed_within_a_second_also_by_two_workers(sluss: Sluss, store: Store) -> None:
    workers = [BackgroundWorker(Duties(store.url, lambda: datetime.now(UTC), lambda: None)) for _ in range(2)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        sluss.refer()
        end = time.monotonic() + 10
        while store.audit_view.unsealed_since() is not None:
            assert time.monotonic() < end, "nobody seals"
            time.sleep(0.05)
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(30)
    verdict = verify(store.url)
    assert (verdict.findings, verdict.waiting, verdict.late) == ((), 0, 0)
    assert verdict.events > 2


def test_without_a_worker_readiness_and_metrics_tell_it(sluss: Sluss, store: Store) -> None:
    sluss.refer()
    assert content(sluss.get("/health/ready"))["record"] == "ok"
    tamper(store, "UPDATE audit_event SET recorded = recorded - interval '10 minutes'")
    told = content(sluss.get("/health/ready"))
    assert (told["status"], told["record"][:26]) == ("degraded", "degraded: not sealed since")
    line = next(
        line for line in sluss.get("/metrics").text.splitlines() if line.startswith("sluss_record_unsealed_seconds ")
    )
    assert 590 < float(line.split()[1]) < 700


def test_a_plain_referral_that_is_here_already_is_recorded_with_its_patient(sluss: Sluss, store: Store) -> None:
    from tests.audit.looked_up import recorded

    media = {"Content-Type": "application/json"}
    assert [sluss.post("/intake/referrals", plain(), media).status_code for _ in range(2)] == [201, 200]
    first, again = [event for event in recorded(store, "create") if event.role != "sluss"]
    assert (again.about[0], list(again.patients)) == (first.about[0], list(first.patients))
