"""Who calls: role, organisation or team. Until tokens exist, the header `Sluss-Caller` says it (contract 1)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import HsaId

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
    organisation: HsaId | None = None
    """For a referrer: the unit it acts for."""
    team: str | None = None
    """For a therapist: the team."""
    via: str | None = None
    """By which way it came to us; None when directly."""

    @property
    def label(self) -> str:
        """For the journal and for notes: role and organisation or team and the way they came, never a person."""
        way = f"via {self.via}" if self.via else None
        return " ".join(part for part in (str(self.role), self.organisation, self.team, way) if part)


SLUSS = Caller(Role.SLUSS)
ADMINISTRATOR = Caller(Role.ADMINISTRATOR)

_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read_caller(header: str | None) -> Caller | Issue:
    """The caller that the header names; without it the administrator. An Issue when it cannot be read.

    Forms: `referrer {HSA-id}`, `therapist {team id}`, `platform`, `administrator`.
    """
    if header is None:
        return ADMINISTRATOR
    match header.split():
        case ["referrer", hsa_id] if _WORD.fullmatch(hsa_id):
            return Caller(Role.REFERRER, organisation=HsaId(hsa_id.upper()))
        case ["therapist", team] if _WORD.fullmatch(team):
            return Caller(Role.THERAPIST, team=team)
        case ["platform"]:
            return Caller(Role.PLATFORM)
        case ["administrator"]:
            return ADMINISTRATOR
    return error(
        IssueCode.SECURITY,
        f"http.{HEADER}",
        "Huvudet Sluss-Caller kan inte läsas.",
        "Sluss-Caller takes: referrer <HSA-id> | therapist <team id> | platform | administrator",
    )
