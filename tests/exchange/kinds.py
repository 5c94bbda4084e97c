"""A server that behaves like one of those that regions run, as far as they differ in what they say no with."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from fhir_mappings.records import Json
from service.exchange.stand_in import Running, running_stand_in
from service.exchange.stand_in_memory import Memory
from service.exchange.stand_in_search import Refused


@dataclass(frozen=True)
class Kind:
    """What a kind of server says, as its maintainers and users tell."""

    software: str | None
    """What its CapabilityStatement calls itself."""
    stale: int
    """Status of an If-Match that names another version."""
    undone: int | None
    """Status of a transaction that met another one; None where they are carried out one after another."""
    missing: tuple[int, str, str] | None
    """Status, code and diagnostics when a reference leads nowhere; None where nobody looks."""


NOT_FOUND = "HAPI-1094: Resource Patient/999 not found, specified in path: Task.for"

HAPI = Kind("HAPI FHIR Server", stale=409, undone=409, missing=(400, "processing", NOT_FOUND))
MEDPLUM = Kind("medplum", stale=412, undone=409, missing=None)
AIDBOX = Kind("Aidbox", stale=412, undone=412, missing=(422, "invalid", "Referenced resource does not exist"))
BLAZE = Kind("Blaze", stale=412, undone=None, missing=(409, "conflict", "Referential integrity violated."))
MICROSOFT = Kind("Microsoft FHIR Server", stale=412, undone=409, missing=None)
NAMELESS = Kind(None, stale=412, undone=409, missing=(422, "not-found", "not there"))

KINDS = {
    "hapi": HAPI,
    "medplum": MEDPLUM,
    "aidbox": AIDBOX,
    "blaze": BLAZE,
    "microsoft": MICROSOFT,
    "nameless": NAMELESS,
}


@dataclass(slots=True)
class KindMemory(Memory):
    """A memory that refuses in the words of its kind. The next `to_undo` transactions are undone."""

    kind: Kind = NAMELESS
    to_undo: int = 0
    transactions: list[Json] = field(default_factory=list)
    """Every one that was asked for."""

    def transaction(self, bundle: Json) -> Json:
        self.transactions.append(bundle)
        if self.to_undo and self.kind.undone is not None:
            self.to_undo -= 1
            raise Refused(self.kind.undone, "conflict", "concurrent update")
        try:
            return Memory.transaction(self, bundle)
        except Refused as refused:
            raise self._in_its_words(refused) from None

    def _in_its_words(self, refused: Refused) -> Refused:
        if refused.code == "conflict":
            return Refused(self.kind.stale, "conflict", "version conflict")
        if refused.code == "not-found" and self.kind.missing is not None:
            return Refused(*self.kind.missing)
        return refused

    def _check_references(self, resource: Json) -> None:
        if self.kind.missing is not None:
            Memory._check_references(self, resource)

    def remove(self, resource_type: str) -> None:
        """Somebody deletes everything of a type, past every check."""
        for key in [key for key in self.versions if key[0] == resource_type]:
            del self.versions[key]


@contextmanager
def running(kind: Kind) -> Iterator[tuple[Running, KindMemory]]:
    """A server of this kind on a loopback port."""
    memory = KindMemory(kind=kind)

    def introduce(app: Flask) -> None:
        inner = app.wsgi_app
        statement = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
        if kind.software is not None:
            statement |= {"software": {"name": kind.software}}  # type: ignore[dict-item]

        def wsgi(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/fhir/metadata":
                start("200 OK", [("Content-Type", "application/fhir+json")])
                return [json.dumps(statement).encode()]
            return inner(environ, start)

        app.wsgi_app = wsgi  # type: ignore[method-assign,assignment]

    with running_stand_in(memory=memory, wrap=introduce) as there:
        yield there, memory
