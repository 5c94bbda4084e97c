"""More referrals than a service can take: sent when they are due, whether the ones before were answered or not.

`python -m tests.faults.flood` reads a Flood from standard input and writes a Told to standard output, both as JSON: a
process of its own, so that the test's work does not slow it.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import count, islice

from tests.bench import referrals

RETURNING = 20_000
"""So many patients."""


@dataclass(frozen=True)
class Flood:
    """What to send where."""

    port: int
    seconds: float
    rate: float
    """Referrals per second that are due; 0: each connection sends as soon as it is answered."""
    connections: int
    first: int
    """Number of the first referral."""


@dataclass(frozen=True)
class Told:
    """What came of it. Times in seconds."""

    statuses: dict[str, int]
    accepted: list[str]
    """Placer identifiers that were told to be received."""
    refused_in: list[float] = field(repr=False)
    accepted_in: list[float] = field(repr=False)
    without_retry_after: int
    seconds: float

    @property
    def rate(self) -> float:
        """Accepted per second."""
        return len(self.accepted) / self.seconds


def run(flood: Flood) -> Told:
    """The flood, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.flood"],
        input=json.dumps(asdict(flood)).encode(),
        capture_output=True,
        check=True,
        timeout=flood.seconds + 120,
    )
    return Told(**json.loads(done.stdout))


def percentile(values: list[float], share: float) -> float:
    """`share` of the values are at most this; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


class _Work:
    def __init__(self, flood: Flood) -> None:
        self.flood = flood
        self.templates = [referrals.template(unit, date.today()) for unit in referrals.UNITS]  # noqa: DTZ011
        self.people = list(islice(referrals.identities(), RETURNING))
        self.numbers = count()
        self.statuses: Counter[str] = Counter()
        self.accepted: list[str] = []
        self.refused_in: list[float] = []
        self.accepted_in: list[float] = []
        self.without = 0
        self.began = time.perf_counter()

    def client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.flood.port, timeout=60)
        while True:
            turn = next(self.numbers)
            due = self.began + (turn / self.flood.rate if self.flood.rate else 0.0)
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            if time.perf_counter() - self.began >= self.flood.seconds:
                break
            self.send(connection, self.flood.first + turn)
        connection.close()

    def send(self, connection: http.client.HTTPConnection, number: int) -> None:
        placer = f"O-{number}"
        template = self.templates[number % len(self.templates)]
        body = referrals.body(template, placer, self.people[number % RETURNING], number % referrals.ROLES)
        began = time.perf_counter()
        try:
            connection.request("POST", "/fhir", body, {"Content-Type": "application/fhir+json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            self.statuses[type(problem).__name__] += 1
            return
        took = time.perf_counter() - began
        self.statuses[str(answer.status)] += 1
        if answer.status == 200:
            self.accepted.append(placer)
            self.accepted_in.append(took)
        else:
            self.refused_in.append(took)
            self.without += answer.getheader("Retry-After") is None

    def told(self) -> Told:
        clients = [threading.Thread(target=self.client) for _ in range(self.flood.connections)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        seconds = time.perf_counter() - self.began
        return Told(
            dict(self.statuses), self.accepted, self.refused_in, self.accepted_in, self.without, round(seconds, 2)
        )


if __name__ == "__main__":
    json.dump(asdict(_Work(Flood(**json.load(sys.stdin))).told()), sys.stdout)
