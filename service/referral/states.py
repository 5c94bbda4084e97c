"""The Task state machines as tables (contract 7). Pure: a move is looked up, then allowed, or refused with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_mappings.issues import Issue, IssueCode, error
from fhir_mappings.records import TaskKind
from service.access.rights import Actor

O, R, S = Actor.OWNER, Actor.REQUESTER, Actor.SLUSS  # noqa: E741  the letters of the contract's table


class Needs(StrEnum):
    """What a move asks for besides the right to make it."""

    REASON = "statusReason"
    REPLY = "final-reply"
    READY = "before-start activities"


@dataclass(frozen=True, slots=True)
class Move:
    """One allowed move: who may make it, and what it needs from whom."""

    by: frozenset[Actor]
    needs: Mapping[Actor, Needs]


def _move(*by: Actor, **needs: Needs) -> Move:
    return Move(frozenset(by), {Actor(who): need for who, need in needs.items()})


_DECIDE = {
    "accepted": _move(O),
    "rejected": _move(O, S, owner=Needs.REASON),
    "cancelled": _move(R, S),
    "on-hold": _move(O, S),
}

REFERRAL: Mapping[str, Mapping[str, Move]] = {
    "requested": {**_DECIDE, "received": _move(O)},
    # back to requested only when Sluss routes a received referral to another team, which has not received it
    "received": {**_DECIDE, "requested": _move(S)},
    "on-hold": {
        "requested": _move(S),
        "rejected": _move(O, S, owner=Needs.REASON),
        "cancelled": _move(R, S),
    },
    "accepted": {
        "in-progress": _move(O, owner=Needs.READY),
        "cancelled": _move(R, O, S, owner=Needs.REASON),
    },
    "in-progress": {
        "on-hold": _move(O),
        "completed": _move(O, owner=Needs.REPLY),
        "failed": _move(O, owner=Needs.REASON),
        "cancelled": _move(S),
    },
    "on-hold after start": {"in-progress": _move(O), "cancelled": _move(S)},
}
"""The referral's Task. Sluss cancels a started one only when an abort has been accepted."""

_END = {"completed": _move(O), "cancelled": _move(O, S), "failed": _move(O, owner=Needs.REASON)}
_ANSWER = {"accepted": _move(O), "rejected": _move(O, owner=Needs.REASON), "cancelled": _move(S)}
_BY_A_PERSON = {"completed": _move(O), "received": _move(O), "accepted": _move(O), "in-progress": _move(O)}

MACHINES: Mapping[TaskKind, Mapping[str, Mapping[str, Move]]] = {
    TaskKind.REFERRAL: REFERRAL,
    TaskKind.ACTIVITY: {"requested": _END},
    TaskKind.ABORT: {"requested": _ANSWER},
    TaskKind.TAKE_OVER: {"requested": _ANSWER},
    # only a person ends a safety follow-up: no cancelled, not even by Sluss
    TaskKind.SAFETY_FOLLOW_UP: {
        "requested": _BY_A_PERSON,
        "received": {k: v for k, v in _BY_A_PERSON.items() if k != "received"},
        "accepted": {k: v for k, v in _BY_A_PERSON.items() if k in ("in-progress", "completed")},
        "in-progress": {"completed": _move(O)},
    },
    TaskKind.RELAY_MESSAGE: {"requested": {"completed": _move(O), "failed": _move(O, owner=Needs.REASON)}},
    TaskKind.REMINDER: {"requested": {"completed": _move(O, Actor.COORDINATION), "cancelled": _move(S)}},
    # Sluss ends it when the referral has been mended and taken in, or taken back; a person may do so too
    TaskKind.UNREADABLE_REFERRAL: {"requested": {"completed": _move(O, Actor.COORDINATION, S), "cancelled": _move(S)}},
}


def phase(status: str, started: bool) -> str:
    """The row of the table: `on-hold` means two things, before and after the start."""
    return "on-hold after start" if status == "on-hold" and started else status


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a move is refused; `wrong_actor` tells 403 from 422."""

    issue: Issue
    wrong_actor: bool


def advance(
    kind: TaskKind, before: str, after: str, actors: frozenset[Actor], *, started: bool = False
) -> Needs | Denied | None:
    """None when the move is allowed as it is, what it still needs, or why it is refused.

    `before` and `after` are Task.status codes, `actors` what the caller is to this Task. A move that stays in the same
    state is no move and must not be asked for.
    """
    row = MACHINES[kind].get(phase(before, started), {})
    move = row.get(after)
    if move is None or (move.by == {S} and S not in actors):
        # what nobody but Sluss ever does (an accepted abort, information given) is no matter of who asks
        return Denied(_illegal(before, after, row), wrong_actor=False)
    entitled = [actor for actor in (O, R, S, Actor.COORDINATION) if actor in move.by & actors]
    if not entitled:
        return Denied(_not_yours(before, after, move), wrong_actor=True)
    # a right without a condition is enough, whichever of the caller's parts it comes from
    needs = [move.needs.get(actor) for actor in entitled]
    return None if None in needs else needs[0]


def _illegal(before: str, after: str, row: Mapping[str, Move]) -> Issue:
    allowed = ", ".join(sorted(status for status, move in row.items() if move.by != {S})) or "-"
    return error(
        IssueCode.BUSINESS_RULE,
        "Task.status",
        f"Från {before} kan uppgiften inte gå till {after}. Möjligt: {allowed}.",
        f"Task.status cannot go from {before} to {after}; allowed: {allowed}",
    )


def _not_yours(before: str, after: str, move: Move) -> Issue:
    who = ", ".join(sorted(move.by))
    return error(
        IssueCode.FORBIDDEN,
        "Task.status",
        f"Du får inte flytta uppgiften från {before} till {after}. Det får: {who}.",
        f"only {who} may move Task.status from {before} to {after}",
    )
