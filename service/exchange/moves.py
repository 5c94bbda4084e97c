"""What somebody changed on a Task over there, and the same change as it would come to us. Pure."""

from collections.abc import Sequence
from typing import Any

from fhir_mappings.records import Json, TaskKind
from service.access.rights import Actor
from service.exchange.original import without_server_elements
from service.referral.states import MACHINES, phase

_SET_BY_SERVERS = frozenset({"lastModified"})
_GROWING = ("note", "output")
"""Elements that both sides add to: what was added there is added here, beside what was added here meanwhile."""
_THROUGH = frozenset({"received", "accepted", "in-progress"})
"""States that a Task may be taken through on its way to the one it was found in."""

Changes = dict[str, Any]
"""By element: its value there now, None where it was taken away. For growing elements, what was added."""


def changes_of(before: Json, after: Json) -> Changes:
    """What differs between two versions of a resource, both as they would stand here. A narrative that only the newer
    one has was made by the server.
    """
    old, new = without_server_elements(before), without_server_elements(after)
    names = sorted({*old, *new} - _SET_BY_SERVERS - ({"text"} if "text" not in old else set()))
    changed: Changes = {}
    for name in names:
        if old.get(name) == new.get(name):
            continue
        if name in _GROWING:
            had, has = old.get(name, []), new.get(name, [])
            if all(item in has for item in had):
                changed[name] = _Added([item for item in has if item not in had])
                continue
        changed[name] = new.get(name)
    return changed


class _Added(list[Any]):
    """Items that were added to a growing element."""


def applied(current: Json, changes: Changes) -> Json:
    """The stored resource with these changes, as a client would send it."""
    sent = {name: value for name, value in current.items() if changes.get(name, value) is not None}
    for name, value in changes.items():
        if isinstance(value, _Added):
            had = current.get(name, [])
            sent[name] = [*had, *(item for item in value if item not in had)]
        elif value is not None:
            sent[name] = value
    return sent


def is_said(current: Json, sent: Json) -> bool:
    """True when nothing would change: it has been carried out before."""
    return without_server_elements(current) == without_server_elements(sent)


def way(kind: TaskKind, before: str, after: str, *, started: bool) -> Sequence[str]:
    """The states in between, where a server that keeps no history shows only the last: the shortest way that the owner
    may go. Empty when the move is one step, or none leads there.
    """
    table = MACHINES[kind]
    ways: list[tuple[str, ...]] = [()]
    seen = {before}
    while ways:
        path = ways.pop(0)
        here = path[-1] if path else before
        moves = table.get(phase(here, started), {})
        for state, move in moves.items():
            if Actor.OWNER not in move.by:
                continue
            if state == after:
                return path
            if state in _THROUGH and state not in seen:
                seen.add(state)
                ways.append((*path, state))
    return ()
