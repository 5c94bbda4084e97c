"""Two at the same moment, over two applications on one database. More of them: tests/faults/test_at_once.py."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.web.caller import Sluss


def test_two_changes_of_the_same_version_at_once_are_one_change_and_one_412(
    sluss: Sluss, another: Callable[..., Sluss]
) -> None:
    apps = [sluss.acting("therapist gavle"), another().acting("therapist gavle")]
    with ThreadPoolExecutor(2) as pool:
        for number in range(10):
            task = sluss.refer(f"R-{number}")["task"]
            start = Barrier(2)

            def move(app: Sluss, start: Barrier = start, task: dict[str, object] = task) -> int:
                start.wait()
                sent = {**task, "status": "received"}
                return app.put(f"/fhir/Task/{task['id']}", sent, {"If-Match": 'W/"1"'}).status_code

            assert sorted(pool.map(move, apps)) == [200, 412]
