"""What the record of who did what holds, as plain records. They know nothing of SQL."""

from dataclasses import dataclass
from typing import Any

from fhir_mappings.records import Json


@dataclass(frozen=True, slots=True)
class Agent:
    """Who does something, and from where."""

    role: str
    client: str | None = None
    person: str | None = None
    """HSA-id."""
    unit: str | None = None
    """HSA-id."""
    organisations: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    via: str | None = None
    """The way by which somebody's act has come here; None: directly."""
    reason: str | None = None
    token: str | None = None
    address: str | None = None
    """Of the caller in the network."""
    request_id: str | None = None


SLUSS = Agent("sluss")
"""Sluss itself: timers and whatever follows from something else."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does, as it is known before it is done."""

    agent: Agent
    interaction: str
    """R4's code (`read`, `search-type` …), or a word of ours for what is done otherwise."""
    action: str
    """C, R, U, D or E."""
    tried: str | None = None
    """Method and address, or a command, without what is searched for."""
    query: str | None = None
    """A search, as it was asked."""
    target: str = ""
    """How the reference of what it is about begins: `Task/7/`, or `Task/` as long as it has no id."""


class Acting:
    """An act on its way: who does it once for all, and whether the record has it. One of these for each request."""

    __slots__ = ("act", "noted", "patients")

    def __init__(self, act: Act) -> None:
        self.act = act
        self.patients: tuple[str, ...] = ()
        """Whom it is about besides those whose resources are changed."""
        self.noted = False
        """True when a change has taken it up; False again when that change is rolled back."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One row of the record, as it is to be written."""

    act: Act
    outcome: int = 0
    """R4's: 0 done, 4 refused, 8 could not be done, 12 failed inside."""
    status: int | None = None
    """Of HTTP."""
    about: tuple[str, ...] = ()
    """What was made, changed or read, `Type/id` or `Type/id/_history/version`; the main thing first."""
    patients: tuple[str, ...] = ()
    """`Patient/id`, or `personnummer|…` of one who is not stored."""
    referrals: tuple[str, ...] = ()
    """Ids of referrals whose patients are concerned too; they are looked up when it is written."""

    def as_json(self) -> Json:
        """The columns, as the statement reads them."""
        act, agent = self.act, self.act.agent
        columns: dict[str, Any] = {
            "action": act.action,
            "interaction": act.interaction,
            "outcome": self.outcome,
            "status": self.status,
            "role": agent.role,
            "client": agent.client,
            "person": agent.person,
            "unit": agent.unit,
            "organisations": agent.organisations,
            "teams": agent.teams,
            "via": agent.via,
            "reason": agent.reason,
            "token": agent.token,
            "address": agent.address,
            "request_id": agent.request_id,
            "tried": act.tried,
            "query": act.query,
            "about": [one.partition("/_history/")[0] for one in self.about],
            "versions": [int(one.partition("/_history/")[2] or 0) for one in self.about],
            "patients": self.patients,
            "referrals": self.referrals,
        }
        return {name: _text(value) for name, value in columns.items() if value is not None}


def _text(value: Any) -> Any:
    """Without U+0000, which PostgreSQL cannot store: what somebody tried may hold it."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    return [_text(one) for one in value] if isinstance(value, list | tuple) else value
