"""Who calls: role, organisation or team. Until tokens exist, the header `Sluss-Caller` says it (contract 1)."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import HsaId
from service.access.scopes import Scopes

HEADER = "Sluss-Caller"


class Role(StrEnum):
    """What a caller is to Sluss."""

    REFERRER = "referrer"
    THERAPIST = "therapist"
    PLATFORM = "platform"
    ADMINISTRATOR = "administrator"
    SLUSS = "sluss"
    """Sluss itself: timers and reassessment. Nobody can claim it from outside."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity and rights of who calls."""

    role: Role
    organisations: frozenset[HsaId] = frozenset()
    """For a referrer: the units that it acts for; for the platform: those whose replies it fetches."""
    teams: frozenset[str] = frozenset()
    """For a therapist: the teams."""
    via: str | None = None
    """By which way it came to us; None when directly."""
    client: str | None = None
    """Id of the registered client that called; None without authentication, and for Sluss itself."""
    user: HsaId | None = None
    """The person who called, where the client says it."""
    unit: HsaId | None = None
    """The care unit that the person, or the client, works for."""
    reason: str | None = None
    """Why an administrator asks for clinical content; None: without a reason, and so without that."""
    scopes: Scopes | None = None
    """What the token is good for; None: everything that the role may do."""
    token: str | None = field(default=None, repr=False)
    """Id of the token (`jti`, or the end of an opaque one), for the record."""

    @property
    def label(self) -> str:
        """For the journal and for notes: role and organisations or teams and the way they came, never a person."""
        way = f"via {self.via}" if self.via else None
        parts = (str(self.role), ",".join(sorted(self.organisations)), ",".join(sorted(self.teams)), way)
        return " ".join(part for part in parts if part)


def referrer_of(organisation: HsaId, via: str | None = None) -> Caller:
    """Who acts for one referring unit."""
    return Caller(Role.REFERRER, organisations=frozenset({organisation}), via=via)


def therapist_of(team: str, via: str | None = None) -> Caller:
    """Who acts for one team."""
    return Caller(Role.THERAPIST, teams=frozenset({team}), via=via)


SLUSS = Caller(Role.SLUSS)
ADMINISTRATOR = Caller(Role.ADMINISTRATOR)

_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read_caller(header: str | None) -> Caller | Issue:
    """The caller that the header names; without it the administrator. An Issue when it cannot be read.

    Forms: `referrer {HSA-id}`, `therapist {team id}`, `platform` (of all units), `platform {HSA-id}`, `administrator`.
    """
    if header is None:
        return ADMINISTRATOR
    match header.split():
        case ["referrer", hsa_id] if _WORD.fullmatch(hsa_id):
            return referrer_of(HsaId(hsa_id.upper()))
        case ["therapist", team] if _WORD.fullmatch(team):
            return therapist_of(team)
        case ["platform", *units] if len(units) < 2 and all(map(_WORD.fullmatch, units)):
            return Caller(Role.PLATFORM, organisations=frozenset(HsaId(unit.upper()) for unit in units))
        case ["administrator"]:
            return ADMINISTRATOR
    return error(
        IssueCode.SECURITY,
        f"http.{HEADER}",
        "Huvudet Sluss-Caller kan inte läsas.",
        "Sluss-Caller takes: referrer <HSA-id> | therapist <team id> | platform [<HSA-id>] | administrator",
    )
