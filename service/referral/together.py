"""Several steps of the journey as one change: all of them are stored, or none."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fhir_mappings.bundle import references
from fhir_mappings.elements import text
from fhir_mappings.records import Json, Reference
from service.access.caller import Caller
from service.referral.house import House
from service.referral.sights import sight_for
from service.store.joined import Joined


@contextmanager
def together(house: House, caller: Caller, concerning: Iterable[Reference]) -> Iterator[House]:
    """A house whose every change is this one; committed when the block ends, rolled back when it raises.

    `concerning` are the resources that the steps will change or add to. Their referrals are locked first, in one order
    everywhere, so that two such changes never wait for each other; what the caller does not see is left aside.
    """
    with house.store.change() as change:
        seen = change.seen_by(sight_for(house, caller))
        rows = {row.id: row for reference in concerning if (row := seen.referral_of(*reference.split("/")))}
        for id_ in sorted(rows):
            change.lock_referral(id_)
        if len(rows) > 1:
            for key in sorted({row.patient_key for row in rows.values()}):
                change.lock_key(key)
        yield replace(house, store=Joined(house.store, change))


def concerned(resource: Json) -> set[Reference]:
    """What a new resource may belong to: everything that it refers to as `Type/id`."""
    literals = (text(reference, "reference") or "" for _, reference in references(resource))
    return {Reference(literal) for literal in literals if literal.count("/") == 1 and ":" not in literal}
