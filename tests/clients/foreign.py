"""Clients in other languages: each in a process of its own, told its steps by lines of JSON."""

import json
import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_mappings.records import Json
from tests.building import build, need
from tests.clients.roles import Refused

FOLDER = Path(__file__).resolve().parent
_PATIENCE = 60.0


@dataclass
class Process:
    """A client that runs."""

    popen: "subprocess.Popen[str]"

    def ask(self, caller: str, step: str, **given: Any) -> Any:
        """What came of one step. Raises Refused with the OperationOutcome that the client shows."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(json.dumps({"caller": caller, "step": step, "given": given}) + "\n")
        self.popen.stdin.flush()
        assert select.select([self.popen.stdout], [], [], _PATIENCE)[0], f"{step}: no answer"
        answer = json.loads(self.popen.stdout.readline() or '{"error": "it has ended", "refused": null}')
        if "error" in answer:
            assert answer["refused"], answer["error"]
            raise Refused(answer["refused"])
        return answer["done"]


@dataclass(frozen=True)
class Foreign:
    """One of them, acting for a caller."""

    process: Process
    caller: str

    def capabilities(self) -> Json:
        return self._ask("capabilities")

    def read(self, reference: str) -> Json:
        return self._ask("read", **_split(reference))

    def search(self, type_: str, parameters: Mapping[str, str], include: Sequence[str] = ()) -> list[Json]:
        found: list[Json] = self.ask("search", type=type_, parameters=parameters, include=include)
        return found

    def create(self, resource: Json) -> Json:
        return self._ask("create", resource=resource)

    def update(self, resource: Json, version: str | None = None) -> Json:
        return self._ask("update", resource=resource, version=version)

    def transaction(self, bundle: Json) -> Json:
        return self._ask("transaction", bundle=bundle)

    def ask(self, step: str, **given: Any) -> Any:
        """A step that not every client has."""
        return self.process.ask(self.caller, step, **given)

    def _ask(self, step: str, **given: Any) -> Json:
        answer: Json = self.ask(step, **given)
        return answer


def _split(reference: str) -> Mapping[str, str]:
    type_, _, id_ = reference.partition("/")
    return {"type": type_, "id": id_}


def on_node(script: str) -> tuple[str, ...]:
    """The command of a client of package.json, which is installed first if need be."""
    need("a JavaScript client", "node", "npm")
    build(FOLDER / "js", "node_modules", ("npm", "ci"), "package.json", "package-lock.json", ".npmrc")
    return ("node", str(FOLDER / "js" / f"{script}.mjs"))


def on_java() -> tuple[str, ...]:
    """The command of HAPI's client, which is built first if need be."""
    need("HAPI's client", "java", "mvn")
    target = build(FOLDER / "java", "target", ("mvn", "--quiet", "--batch-mode", "package"), "pom.xml", "src")
    return ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(target / "client.jar"))


@contextmanager
def started(command: tuple[str, ...], base: str, log: Path) -> Iterator[Process]:
    """A client of the FHIR service at `base`; what it says besides its answers goes to `log`."""
    environment = os.environ | {"FHIR_BASE": base, "NO_PROXY": "127.0.0.1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    with log.open("w") as said, subprocess.Popen(command, env=environment, stderr=said, **pipes) as popen:  # type: ignore[call-overload]  # of the pipes
        try:
            yield Process(popen)
        finally:
            assert popen.stdin is not None
            popen.stdin.close()  # it ends when its input does
            try:
                popen.wait(10)
            except subprocess.TimeoutExpired:
                popen.kill()
