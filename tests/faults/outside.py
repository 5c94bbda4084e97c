"""External servers: the stand-in, which is quick, and a real HAPI that can be killed and started again on its data."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.exchange.stand_in import Running as StandInRunning
from service.exchange.stand_in import running_stand_in
from service.exchange.translate import REFERRAL_TYPES, SHARED_TYPES
from tests.hapi.server import Running as HapiRunning
from tests.hapi.server import running_hapi
from tests.hapi.there import There

CANONICAL = Canonical("https://sluss.example/fhir")


class Outside(Protocol):
    """An external server."""

    @property
    def url(self) -> str:
        """Its FHIR base."""

    def shown(self) -> Sequence[Json]:
        """Everything of ours that it shows, and every patient."""


@dataclass
class StandIn:
    """One in this process."""

    running: StandInRunning

    @property
    def url(self) -> str:
        return self.running.url

    def shown(self) -> Sequence[Json]:
        return [kept[-1] for kept in list(self.running.memory.versions.values())]


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """An empty one."""
    with running_stand_in() as running:
        yield StandIn(running)


@dataclass
class Hapi:
    """A HAPI whose data lie in a folder; its address stays the same over restarts."""

    folder: Path
    port: int = 0
    _running: HapiRunning | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"

    def start(self) -> None:
        """Returns when it answers."""
        self._running = self._stack.enter_context(running_hapi(self.folder, self.port))
        self.port = self._running.port

    def kill(self) -> None:
        """kill -9."""
        assert self._running is not None
        self._running.process.kill()
        self._running.process.wait()
        self._stack.close()

    def stop(self) -> None:
        """End it for good, whether it runs or not."""
        self._stack.close()

    def shown(self) -> Sequence[Json]:
        there = There(self.url, CANONICAL)
        there.session.trust_env = False  # loopback needs no proxy
        with there.session:
            return [one for type_ in (*REFERRAL_TYPES, *SHARED_TYPES, "Patient") for one in there.found(type_)]
