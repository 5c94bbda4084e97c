"""What a caller may see in this house: the table of `service.access.seeing`, with this pack and these systems."""

from dataclasses import replace

from service.access.caller import Caller
from service.access.seeing import is_of_the_team, sight_of
from service.referral.house import House
from service.referral.withheld import withholding
from service.store.seen import Seen
from service.store.sight import Sight


def sight_for(house: House, caller: Caller, letter: str | None = None) -> Sight:
    """The caller's Sight; `letter` as in `sight_of`."""
    sight = sight_of(caller, house.pack.coordination, letter)
    return sight if is_of_the_team(caller) else replace(sight, withhold=withholding(house.pack, house.canonical))


def seen_by(house: House, caller: Caller, letter: str | None = None) -> Seen:
    """What is stored, as far as the caller may see it."""
    return house.store.view().seen_by(sight_for(house, caller, letter))
