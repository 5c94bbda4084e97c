"""What stands on the external server for what of ours, looked up copy by copy: what is there, what is gone."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.exchange.client import Permanent
from service.exchange.poll import Change, change_of
from service.exchange.reader import Reader
from service.store.collection_state import Standing

_AT_ONCE = 50
"""Ids in one search."""


@dataclass(frozen=True, slots=True)
class CopiesThere:
    """The copies as they are over there."""

    changes: tuple[Change, ...]
    """Each as it is now, changed or not."""
    gone: tuple[Standing, ...]
    """What is not there any more."""


def copies_there(reader: Reader, standings: Sequence[Standing]) -> CopiesThere:
    """Look these copies up, many at once. Raises Away."""
    by_type: dict[str, dict[str, Standing]] = defaultdict(dict)
    for standing in standings:
        by_type[standing.copy.reference.partition("/")[0]][standing.copy.remote_id] = standing
    changes: list[Change] = []
    gone: list[Standing] = []
    for type_, wanted in by_type.items():
        ids = sorted(wanted)
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            found = reader.those(type_, some)
            for id_ in some:
                resource = found.get(id_)
                if resource is None:  # a search may be behind
                    read = reader.certain(type_, id_)
                    if isinstance(read, Permanent):
                        gone.append(wanted[id_])
                        continue
                    resource = read.resource
                change = change_of(resource)
                if change is not None:
                    changes.append(change)
    return CopiesThere(tuple(changes), tuple(gone))
