"""The whole table of contract 7, written out again by hand, against every move that anybody could try."""

from itertools import product

import pytest

from fhir_mappings.r4.bindings import REQUIRED_CODES
from fhir_mappings.records import TaskKind
from service.access.rights import Actor
from service.referral.states import MACHINES, Denied, Needs, advance, phase

O, R, S, C = Actor.OWNER, Actor.REQUESTER, Actor.SLUSS, Actor.COORDINATION  # noqa: E741  the letters of the contract

STATUSES = (
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
)
STARTED = "on-hold after start"

Table = dict[tuple[str, str], dict[Actor, Needs | None]]

# (from, to): who may, each with what it asks of them
REFERRAL: Table = {
    ("requested", "received"): {O: None},
    ("requested", "accepted"): {O: None},
    ("received", "accepted"): {O: None},
    ("requested", "rejected"): {O: Needs.REASON, S: None},
    ("received", "rejected"): {O: Needs.REASON, S: None},
    ("requested", "cancelled"): {R: None, S: None},
    ("received", "cancelled"): {R: None, S: None},
    ("requested", "on-hold"): {O: None, S: None},
    ("received", "on-hold"): {O: None, S: None},
    ("received", "requested"): {S: None},
    ("on-hold", "requested"): {S: None},
    ("on-hold", "rejected"): {O: Needs.REASON, S: None},
    ("on-hold", "cancelled"): {R: None, S: None},
    ("accepted", "in-progress"): {O: Needs.READY},
    ("accepted", "cancelled"): {R: None, O: Needs.REASON, S: None},
    ("in-progress", "on-hold"): {O: None},
    ("in-progress", "completed"): {O: Needs.REPLY},
    ("in-progress", "failed"): {O: Needs.REASON},
    ("in-progress", "cancelled"): {S: None},
    (STARTED, "in-progress"): {O: None},
    (STARTED, "cancelled"): {S: None},
}
ACTIVITY: Table = {
    ("requested", "completed"): {O: None},
    ("requested", "cancelled"): {O: None, S: None},
    ("requested", "failed"): {O: Needs.REASON},
}
ANSWER: Table = {
    ("requested", "accepted"): {O: None},
    ("requested", "rejected"): {O: Needs.REASON},
    ("requested", "cancelled"): {S: None},
}
SAFETY: Table = {
    ("requested", "received"): {O: None},
    ("requested", "accepted"): {O: None},
    ("requested", "in-progress"): {O: None},
    ("requested", "completed"): {O: None},
    ("received", "accepted"): {O: None},
    ("received", "in-progress"): {O: None},
    ("received", "completed"): {O: None},
    ("accepted", "in-progress"): {O: None},
    ("accepted", "completed"): {O: None},
    ("in-progress", "completed"): {O: None},
}
RELAY: Table = {("requested", "completed"): {O: None}, ("requested", "failed"): {O: Needs.REASON}}
REMINDER: Table = {("requested", "completed"): {O: None, C: None}, ("requested", "cancelled"): {S: None}}
UNREADABLE: Table = {("requested", "completed"): {O: None, C: None, S: None}, ("requested", "cancelled"): {S: None}}

TABLES: dict[TaskKind, Table] = {
    TaskKind.REFERRAL: REFERRAL,
    TaskKind.ACTIVITY: ACTIVITY,
    TaskKind.ABORT: ANSWER,
    TaskKind.TAKE_OVER: ANSWER,
    TaskKind.SAFETY_FOLLOW_UP: SAFETY,
    TaskKind.RELAY_MESSAGE: RELAY,
    TaskKind.REMINDER: REMINDER,
    TaskKind.UNREADABLE_REFERRAL: UNREADABLE,
}

EVERY_TRY = [
    (kind, before, after, actor)
    for kind in TaskKind
    for before, after, actor in product(
        (*STATUSES, STARTED) if kind is TaskKind.REFERRAL else STATUSES, STATUSES, (O, R, S, C)
    )
    if before.split()[0] != after
]


def test_every_move_of_everybody_is_allowed_or_refused_as_the_contract_says() -> None:
    wrong = []
    for kind, before, after, actor in EVERY_TRY:
        wanted = TABLES[kind].get((before, after), {})
        status, started = before.split()[0], before == STARTED
        answer = advance(kind, status, after, frozenset({actor}), started=started)
        if actor in wanted:
            right = answer == wanted[actor] and not isinstance(answer, Denied)
        else:
            # somebody else's move is a matter of who (403); one that no person makes, of what (422)
            who = any(other is not S for other in wanted)
            right = isinstance(answer, Denied) and answer.wrong_actor is who
        if not right:
            wrong.append((str(kind), before, after, str(actor), answer))
    assert wrong == []
    assert len(EVERY_TRY) > 3000


def test_the_table_tries_every_status_of_r4() -> None:
    assert set(STATUSES) == set(REQUIRED_CODES["Task.status"])


@pytest.mark.parametrize("end", ["completed", "rejected", "cancelled", "failed"])
def test_nothing_follows_an_end(end: str) -> None:
    assert all(not machine.get(end) for kind, machine in MACHINES.items() if kind is TaskKind.REFERRAL)
    for after in set(STATUSES) - {end}:
        denied = advance(TaskKind.REFERRAL, end, after, frozenset(Actor))
        assert isinstance(denied, Denied)
        assert not denied.wrong_actor


def test_a_refusal_names_the_state_the_move_and_what_is_allowed() -> None:
    denied = advance(TaskKind.REFERRAL, "accepted", "completed", frozenset({O}))
    assert isinstance(denied, Denied)
    assert denied.issue.expression == "Task.status"
    assert denied.issue.diagnostics == (
        "Task.status cannot go from accepted to completed; allowed: cancelled, in-progress"
    )
    assert "Från accepted" in denied.issue.text
    assert "till completed" in denied.issue.text
    assert "cancelled, in-progress" in denied.issue.text


def test_what_only_sluss_does_is_not_named_as_allowed() -> None:
    denied = advance(TaskKind.REFERRAL, "in-progress", "cancelled", frozenset({O}))
    assert isinstance(denied, Denied)
    assert not denied.wrong_actor
    assert denied.issue.diagnostics.endswith("allowed: completed, failed, on-hold")


def test_a_move_of_somebody_else_says_whose_it_is() -> None:
    denied = advance(TaskKind.REFERRAL, "requested", "accepted", frozenset({R}))
    assert isinstance(denied, Denied)
    assert denied.wrong_actor
    assert denied.issue.diagnostics == "only owner may move Task.status from requested to accepted"


def test_a_right_without_a_condition_is_enough_for_who_is_two_things() -> None:
    assert advance(TaskKind.REFERRAL, "accepted", "cancelled", frozenset({O, R})) is None
    assert advance(TaskKind.REFERRAL, "accepted", "cancelled", frozenset({O, C})) is Needs.REASON


def test_on_hold_means_two_things() -> None:
    assert phase("on-hold", started=False) == "on-hold"
    assert phase("on-hold", started=True) == STARTED
    assert phase("in-progress", started=True) == "in-progress"
    assert advance(TaskKind.REFERRAL, "on-hold", "in-progress", frozenset({O}), started=True) is None
    assert isinstance(advance(TaskKind.REFERRAL, "on-hold", "in-progress", frozenset({O})), Denied)
    assert isinstance(advance(TaskKind.REFERRAL, "on-hold", "rejected", frozenset({O}), started=True), Denied)


def test_only_a_person_ends_a_safety_follow_up() -> None:
    for before, after in product(("requested", "received", "accepted", "in-progress"), STATUSES):
        if before != after:
            assert isinstance(advance(TaskKind.SAFETY_FOLLOW_UP, before, after, frozenset({S})), Denied)
