"""What differs between FHIR servers: what a status means that R4 leaves open. A table; pure.

R4 (https://hl7.org/fhir/R4/http.html) has 412 for a version that has passed and for several matches of a conditional
create, and 409 for whatever conflicts with the rules of the server. What the servers make of that, by their own sources
and trackers, stands beside each row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_mappings.records import Json


class Meaning(StrEnum):
    """What a refusal means for who was refused. In every case nothing of the transaction was kept."""

    LOOK = "look"
    """What is there may not be what we thought: another version, another create of the same, several matches. Where
    looking finds nothing of that, somebody else was at it at the same moment, and it is to be repeated.
    """
    REPEAT = "repeat"
    """The server's database undid it because of somebody else's transaction; the same request may succeed at once."""
    TARGET_MISSING = "target-missing"
    """Something that is referred to is not there, or no longer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One kind of server."""

    name: str
    software: re.Pattern[str]
    """What its CapabilityStatement calls itself (`software.name`)."""
    meanings: Mapping[int, Meaning]
    """By HTTP status."""
    told_by: tuple[tuple[re.Pattern[str], Meaning], ...] = ()
    """By a code that the server writes into its diagnostics, where the status alone does not tell."""
    creates_once: bool = False
    """True where its conditional create alone does what a look before it does: by any of several identifiers, in what
    is there now, and refused when several match.
    """

    def meaning(self, status: int, diagnostics: str = "") -> Meaning | None:
        """What a refusal with this status means; None where it means what it means everywhere."""
        told = next((meaning for pattern, meaning in self.told_by if pattern.search(diagnostics)), None)
        return told if told is not None and status < 500 else self.meanings.get(status)


def _called(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


HAPI = Peer(
    "HAPI",
    _called(r"\bhapi\b|smile ?cdr"),
    # 409 for a stale If-Match, for an If-None-Exist race that its table of search URLs catches (hapi-fhir#4609) and for
    # two updates at once; 412 for several matches.
    {409: Meaning.LOOK, 412: Meaning.LOOK},
    # A target that is not there is a 400 like any other, but for its message number (1094: not found, 1096: deleted).
    ((re.compile(r"\bHAPI-109[46]\b"), Meaning.TARGET_MISSING),),
    # It searches its tables for If-None-Exist, never what it keeps of earlier searches; tests/hapi/test_delivery.py.
    creates_once=True,
)
MEDPLUM = Peer(
    "Medplum",
    _called("medplum"),
    # Transactions are SERIALIZABLE; one that cannot be serialised ends in 409 when the server's own retries are used up
    # (medplum#10177, #7943). 412 for a stale If-Match and for several matches.
    {409: Meaning.REPEAT, 412: Meaning.LOOK},
)
AIDBOX = Peer(
    "Aidbox",
    _called("aidbox|health samurai"),
    # 412 for a stale If-Match, for several matches, and for a transaction that could not be serialised: only a look
    # tells which.
    {409: Meaning.LOOK, 412: Meaning.LOOK},
)
BLAZE = Peer(
    "Blaze",
    _called(r"\bblaze\b"),
    # Transactions are carried out one after another, so there are no races; 409 is its referential integrity, 412 a
    # stale If-Match or several matches.
    {409: Meaning.TARGET_MISSING, 412: Meaning.LOOK},
)
MICROSOFT = Peer(
    "Microsoft",
    _called(r"microsoft|\bazure\b"),
    # 409 for a transaction that met another one (fhir-server#5592; a 500 before that), 412 for a stale If-Match and for
    # several matches (fhir-server#896). Conditional creates race (fhir-server#1382): the look afterwards finds it.
    {409: Meaning.REPEAT, 412: Meaning.LOOK},
)
CAUTIOUS = Peer("unknown", re.compile(r"\A(?!)"), {409: Meaning.LOOK, 412: Meaning.LOOK})
"""A server that we do not know, or that does not say what it is: look before anything is sent again."""

PEERS = (HAPI, MEDPLUM, AIDBOX, BLAZE, MICROSOFT)


def recognise(capability_statement: Json) -> Peer:
    """The kind of server that this CapabilityStatement is of; CAUTIOUS for any that we do not know."""
    software = capability_statement.get("software")
    name = software.get("name") if isinstance(software, dict) else None
    if not isinstance(name, str):
        return CAUTIOUS
    return next((peer for peer in PEERS if peer.software.search(name)), CAUTIOUS)
