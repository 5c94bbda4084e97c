"""kill -9 at any moment: nothing is lost and nothing doubled, and the work goes on."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.faults.conftest import MakeSluss, Tell
from tests.faults.load import Load
from tests.faults.outside import StandIn
from tests.faults.processes import Process, Sluss
from tests.faults.proxy import FINE, Trouble, proxied
from tests.faults.tally import settled


def test_web_worker_and_both_are_killed_while_referrals_come_in_and_move(
    database: str, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    # some answers are lost: a worker that is killed soon after had something carried out that it does not know of
    with proxied(outside.url, chance.random(), Trouble(unanswered=0.02)) as proxy, ThreadPoolExecutor(1) as pool:
        sluss = make_sluss(database, proxy.url)
        load = Load(sluss.urls, chance.random())
        loading = pool.submit(load.run, range(500), pause=0.05)
        (web,), (worker,) = sluss.webs, sluss.workers
        kills = 0
        while not loading.done():
            time.sleep(chance.uniform(0.3, 2.5))
            kills += _kill(sluss, ([web], [worker], [web, worker])[kills % 3])
        loading.result()
        proxy.trouble = FINE
        tally = settled(load.known, database, outside.shown)
    tell(
        f"{tally}; {kills} times killed, {proxy.happened['unanswered']} answers lost; clients got {dict(load.answers)}"
    )
    assert kills > 3
    assert tally.is_whole(500), (tally.amiss, sluss.logs())


def test_a_worker_is_killed_after_their_commit_and_before_we_know(
    database: str, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    # every answer waits on its way back, so that something has been carried out whenever the worker is killed
    with proxied(outside.url, chance.random(), Trouble(late=1.0, seconds=2.0)) as proxy:
        sluss = make_sluss(database, proxy.url)
        load = Load(sluss.urls, chance.random())
        kills = 0
        for first in range(0, 20, 5):
            before = len(outside.shown())
            load.run(range(first, first + 5))
            until = time.monotonic() + 30
            while len(outside.shown()) == before and time.monotonic() < until:
                time.sleep(0.005)
            assert len(outside.shown()) > before
            kills += _kill(sluss, sluss.workers)
        with psycopg.connect(database) as connection:
            unsure = connection.execute("SELECT count(*) FROM exchange WHERE unanswered_since IS NOT NULL").fetchone()
        proxy.trouble = FINE
        tally = settled(load.known, database, outside.shown)
    assert unsure is not None
    tell(f"{tally}; {kills} times killed; of {unsure[0]} deliveries we did not know at the last kill")
    assert unsure[0] > 0
    assert tally.is_whole(20), (tally.amiss, sluss.logs())


def test_of_two_web_processes_and_two_workers_one_each_is_killed_and_work_goes_on(
    database: str, outside: StandIn, make_sluss: MakeSluss, chance: random.Random, tell: Tell
) -> None:
    sluss = make_sluss(database, outside.url, webs=2, workers=2)
    load = Load(sluss.urls, chance.random())
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, range(200))
        time.sleep(chance.uniform(0.3, 1.5))
        sluss.webs[0].kill()
        sluss.workers[0].kill()
        at_the_kill = len(load.known)
        loading.result()
    time.sleep(5)
    meanwhile = sum(one["resourceType"] == "ServiceRequest" for one in outside.shown())
    tally = settled(load.known, database, outside.shown)
    tell(
        f"{tally}; {at_the_kill} were received before the kill, {meanwhile} were there 5 s after the last;"
        f" clients got {dict(load.answers)}"
    )
    assert at_the_kill < 150
    assert meanwhile > 150, "the other worker goes on at once"
    assert tally.is_whole(200), (tally.amiss, sluss.logs())


def _kill(sluss: Sluss, group: list[Process]) -> int:
    """Kill some at the same moment and start them again; gives 1, for one blow."""
    blows = [threading.Thread(target=process.kill) for process in group]
    for blow in blows:
        blow.start()
    for blow in blows:
        blow.join()
    for process in group:
        process.start()
    sluss.wait()
    return 1
