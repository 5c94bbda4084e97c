"""What a region pack is once it has been read: rules, routing, teams, texts and limits as frozen records.

A pack is data. What the region's routine sets and what the pack adds by itself are told apart (`SetBy`), because a
clinician must see which is which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from fhir_mappings.records import Channel, HsaId, Json, Programme, Reach, Team, Unit, Verdict
from service.packs.conditions import Condition


class SetBy(StrEnum):
    """Who decided: the region's own document, the wire contract, or the pack where the document is silent."""

    ROUTINE = "routine"
    CONTRACT = "contract"
    PACK = "pack"


class Stage(StrEnum):
    """Which decision a rule belongs to."""

    ASSESSMENT = "assessment"
    ROUTING = "routing"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way that a rule can fire."""

    when: Condition
    verdict: Verdict
    text: str
    """Swedish, for people. May name variables and limits in braces: `{madrsSTotal}`, `{madrs-s-maximum}`."""
    text_en: str
    alert: bool = False
    team_only: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the pack; its outcomes are tried in order and the first that is true counts."""

    id: str
    outcomes: tuple[Outcome, ...]
    programmes: frozenset[str] | None = None
    """The programmes it belongs to; None for all."""
    passage: str = ""
    """The source's own words, or why the pack adds the rule."""
    row: str = ""
    """Row of the source table, for example `R14`; empty where no source speaks of it."""
    set_by: SetBy = SetBy.ROUTINE
    stage: Stage = Stage.ASSESSMENT

    def concerns(self, programme: str) -> bool:
        """True when the rule is asked for referrals to `programme`."""
        return self.programmes is None or programme in self.programmes

    def fired(self, variables: Mapping[str, Any]) -> int | None:
        """The position of the first outcome that is true of `variables`, or None."""
        for position, outcome in enumerate(self.outcomes):
            if outcome.when.holds(variables):
                return position
        return None


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that rules compare with, and who set it."""

    value: int
    set_by: SetBy
    why: str
    """The passage, or the pack's reason."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long something may wait, counted from when it began to wait."""

    remind_after: timedelta
    """Then the team gets a reminder."""
    escalate_after: timedelta
    """Then coordination gets one."""


TIME_LIMITS = (
    "requested",
    "on-hold",
    "accepted",
    "needs-routing",
    "abort",
    "safety-follow-up",
    "relay-message",
    "progress",
)
"""What waits (contract 6). `progress` is days without progress in a treatment that has started."""


@dataclass(frozen=True, slots=True)
class UnitKind:
    """A kind of unit in the directory, and whether the routine lets it refer."""

    code: str
    title: str
    may_refer: bool


@dataclass(frozen=True, slots=True)
class Area:
    """Municipalities that one team serves."""

    id: str
    team: str
    municipalities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Absence:
    """A team that takes no new referrals from `first` to `last`, both included."""

    team: str
    first: date
    last: date
    substitute: str | None = None
    """The team that takes them instead; None: coordination must say."""

    def covers(self, day: date) -> bool:
        """True on every day of the absence."""
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document that the pack follows."""

    title: str
    file: str
    publisher: str


def business_version(name: str, version: str) -> str:
    """`1.0.0-gavleborg`: packs publish under the same canonical URLs; a FHIR server tells them apart by version."""
    return f"{version}-{name}"


@dataclass(frozen=True)
class Pack:
    """Everything that a region decides. Immutable; `dataclasses.replace` gives a variant."""

    name: str
    version: str
    """The region's own number for the pack, `1.0.0`; raised with every change that somebody outside can see."""
    title: str
    sources: tuple[SourceDocument, ...]
    programmes: Mapping[str, Programme]
    rules: tuple[Rule, ...]
    limits: Mapping[str, Limit]
    teams: Mapping[str, Team]
    coordination: str
    """Id of the team that decides where nobody else can; one of `teams`."""
    areas: Mapping[str, Area]
    units: Mapping[HsaId, Unit]
    unit_kinds: Mapping[str, UnitKind]
    municipalities: Mapping[str, str]
    """Four-digit code to name."""
    time_limits: Mapping[str, TimeLimit]
    """One for each of `TIME_LIMITS`."""
    texts: Mapping[str, str]
    """Swedish templates; `service.packs.texts` fills them in."""
    role_titles: Mapping[str, str]
    """Role code of the treating staff to its Swedish title."""
    default_reach: Mapping[Channel, Reach]
    """How a unit outside the directory is reached, by how its referral came."""
    platform: str
    """Where the treatment and its written contact take place, in words."""
    demo_link: str | None = None
    patient_information: str | None = None
    """Name and number of the written information for patients."""
    absences: tuple[Absence, ...] = ()
    questionnaires: Mapping[str, Json] = field(default_factory=dict)
    """By name (`madrs-s`, `ikbt-referral`); `{S}` in them stands for the canonical base."""

    @property
    def business_version(self) -> str:
        """The version of what the pack decides and publishes."""
        return business_version(self.name, self.version)

    @property
    def referrer_kinds(self) -> frozenset[str]:
        """Codes of the kinds of unit that may refer."""
        return frozenset(kind.code for kind in self.unit_kinds.values() if kind.may_refer)

    @property
    def municipality_names(self) -> Mapping[str, str]:
        """Lower-case name to four-digit code, for reading addresses."""
        return {name.lower(): code for code, name in self.municipalities.items()}

    def area_of(self, municipality: str) -> Area | None:
        """The area that holds the municipality; None outside the pack's areas."""
        return next((area for area in self.areas.values() if municipality in area.municipalities), None)

    def reach_of(self, unit: HsaId, channel: Channel) -> Reach:
        """How our messages get to a unit: as the directory says, else the way its referral came."""
        listed = self.units.get(unit)
        return listed.reach if listed else self.default_reach[channel]
