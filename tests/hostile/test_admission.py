"""More requests at once than the house holds: 503 at once, and those inside are served."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from json import loads
from typing import Any

import pytest

from service.web import admission
from service.web.admission import READING, READING_FROM_ONE, WAITING, Admission


class _House:
    """An application that keeps everybody until it is told to let them go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.busy = 0
        self.most = 0
        self.came = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        self.came.release()
        assert self.go.wait(20)
        with self._lock:
            self.busy -= 1
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]


class _Slow(BytesIO):
    """A body that comes when it is told to."""

    def __init__(self, come: threading.Event) -> None:
        super().__init__(b"x")
        self.come = come

    def read(self, size: int | None = -1) -> bytes:
        assert self.come.wait(20)
        return super().read(size)


def _ask(house: Admission, path: str = "/fhir/Task", **environ: Any) -> tuple[str, dict[str, str], bytes]:
    said: list[Any] = []
    body = b"".join(
        house(
            {"PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1", "wsgi.input": BytesIO(b"x"), **environ},
            lambda status, headers: said.extend((status, dict(headers))),  # type: ignore[arg-type]
        )
    )
    return said[0], said[1], body


def test_so_many_are_worked_on_at_once_some_wait_and_the_rest_is_refused_at_once() -> None:
    inside = _House()
    house = Admission(inside, 2)
    with ThreadPoolExecutor(2 * (1 + WAITING)) as pool:
        asked = [pool.submit(_ask, house) for _ in range(2 * (1 + WAITING))]
        for _ in range(2):
            assert inside.came.acquire(timeout=20)
        while house._inside < 2 * (1 + WAITING):
            pass
        status, headers, body = _ask(house)
        assert status.startswith("503")
        assert int(headers["Retry-After"]) > 0
        assert b'"OperationOutcome"' in body
        assert b'"errors"' in _ask(house, "/intake/referrals")[2]
        inside.go.set()
        assert {one.result(20)[0] for one in asked} == {"200 OK"}
    assert inside.most == 2
    assert _ask(house)[0] == "200 OK", "who comes later is served"


def test_whether_it_lives_is_told_however_full_it_is() -> None:
    inside = _House()
    house = Admission(inside, 1)
    with ThreadPoolExecutor(10) as pool:
        for _ in range(1 + WAITING):
            pool.submit(_ask, house)
        assert inside.came.acquire(timeout=20)
        while house._inside < 1 + WAITING:
            pass
        assert _ask(house)[0].startswith("503")
        alive = pool.submit(_ask, house, "/health/live")
        assert inside.came.acquire(timeout=20), "it came in"
        inside.go.set()
        assert alive.result(20)[0] == "200 OK"


def test_who_waits_too_long_for_a_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.1)
    inside = _House()
    house = Admission(inside, 1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_ask, house)
        assert inside.came.acquire(timeout=20)
        assert _ask(house)[0].startswith("503")
        inside.go.set()
        assert first.result(20)[0] == "200 OK"


def test_slow_bodies_take_no_place_to_work_and_are_bounded_by_address_and_in_all() -> None:
    inside, come = _House(), threading.Event()
    inside.go.set()
    house = Admission(inside, 8)

    def slow(address: str) -> str:
        slow_body: dict[str, Any] = {"wsgi.input": _Slow(come)}
        return _ask(house, REMOTE_ADDR=address, CONTENT_LENGTH="1", **slow_body)[0]

    with ThreadPoolExecutor(READING + 1) as pool:
        held = [pool.submit(slow, "127.0.0.2") for _ in range(READING_FROM_ONE)]
        while house._reading["127.0.0.2"] < READING_FROM_ONE:
            pass
        assert _ask(house, REMOTE_ADDR="127.0.0.2", CONTENT_LENGTH="1")[0].startswith("503")
        assert _ask(house, REMOTE_ADDR="127.0.0.3", CONTENT_LENGTH="1") == ("200 OK", {}, b"x")
        held += [pool.submit(slow, f"127.0.1.{n}") for n in range(READING - READING_FROM_ONE)]
        while house._reading.total() < READING:
            pass
        assert _ask(house, CONTENT_LENGTH="1")[0].startswith("503")
        assert _ask(house)[0] == "200 OK", "what has no body is served"
        come.set()
        assert all(one.result(20) in ("200 OK", "503 Service Unavailable") for one in held)
    assert not house._reading


def test_whoever_wants_a_token_is_refused_as_oauth_says() -> None:
    inside = _House()
    house = Admission(inside, at_once=1)
    with ThreadPoolExecutor(1 + WAITING) as pool:
        waiting = [pool.submit(_ask, house) for _ in range(1 + WAITING)]
        assert inside.came.acquire(timeout=20)
        while house._inside < 1 + WAITING:
            time.sleep(0.01)
        status, headers, body = _ask(house, "/auth/token")
        inside.go.set()
        assert {one.result()[0] for one in waiting} == {"200 OK"}
    assert (status, headers["Content-Type"]) == ("503 Service Unavailable", "application/json")
    assert headers["Retry-After"]
    assert loads(body)["error"] == "temporarily_unavailable"
