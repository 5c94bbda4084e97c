"""One client that asks several FHIR servers the same in turn, request by request, so that whatever else the machine
does slows all of them alike.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from fhir_mappings.records import Json
from service.access.caller import HEADER


@dataclass(frozen=True)
class Asked:
    """A GET."""

    path: str
    """With its query."""
    caller: str
    fresh: bool = True
    """Whether the answer may be no copy of an earlier one: HAPI has to be told. False for pages of one search."""


@dataclass(eq=False)
class Server:
    """A FHIR server that is asked over one kept connection."""

    port: int
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def renew(self) -> None:
        """The next request opens a connection: a server hangs up on one that was quiet for long."""
        self._connection.close()

    def time(self, asked: Asked) -> float:
        """Milliseconds until the whole answer is there. Raises ClickException when it is no 200."""
        return self._ask(asked)[0]

    def bundle(self, asked: Asked) -> Json:
        """The answer."""
        self.renew()
        read: Json = json.loads(self._ask(asked)[1])
        return read

    def entries(self, asked: Asked) -> tuple[int, int]:
        """How many resources are found, and how many come with them."""
        modes = [entry["search"]["mode"] for entry in self.bundle(asked).get("entry", ())]
        return modes.count("match"), modes.count("include")

    def _ask(self, asked: Asked) -> tuple[float, bytes]:
        headers = {HEADER: asked.caller, **({"Cache-Control": "no-store"} if asked.fresh else {})}
        began = time.perf_counter()
        self._connection.request("GET", asked.path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise click.ClickException(f"{asked.path}: {answer.status}: {body[:300].decode(errors='replace')}")
        return took, body


@dataclass(frozen=True)
class Figure:
    """Milliseconds."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p50:6.1f} / {self.p99:6.1f}"


def measure(asked: Mapping[Server, Sequence[Asked]], requests: int, warm_up: int) -> list[Figure]:
    """Every server is asked its paths in turn, `requests` times after `warm_up`; a figure for each."""
    took: dict[int, list[float]] = {server.port: [] for server in asked}
    for server in asked:
        server.renew()
    for number in range(warm_up + requests):
        for server, paths in asked.items():
            took[server.port].append(server.time(paths[number % len(paths)]))
    return [_figure(all_of_it[warm_up:]) for all_of_it in took.values()]


def _figure(took: list[float]) -> Figure:
    ordered = sorted(took)
    return Figure(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100])


def results(name: str, asked: Mapping[Server, Sequence[Asked]], *, included_too: bool = True) -> str:
    """How many resources each answer finds and how many come with them; the latter of each server, where it may differ
    and does. Raises ClickException where an answer shows more than another.
    """
    counts = [[server.entries(one) for one in paths] for server, paths in asked.items()]
    found = {matches for each in counts for matches, _ in each}
    included = list(dict.fromkeys("/".join(map(str, sorted({more for _, more in each}))) for each in counts))
    if len(found) != 1 or (included_too and (len(included) != 1 or "/" in included[0])):
        raise click.ClickException(f"{name}: results differ: {counts}")
    return f"{found.pop()} + {', '.join(included)}"
