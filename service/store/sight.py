"""What somebody may see of what is stored, as a plain record. `service.access.seeing` says who gets which; `visible.py`
makes SQL of it, which every read for a caller goes by.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from service.store.asked import SearchQuery
from service.store.records import Stored


@dataclass(frozen=True, slots=True)
class Sight:
    """Of the types in `shared` everything; of any other what belongs to the referrals that are named, and their
    Patients. With nothing set: nothing.
    """

    shared: frozenset[str] = frozenset()
    every_referral: bool = False
    """All referrals, and what belongs to none."""
    organisations: frozenset[str] = frozenset()
    """The referrals that these units (HSA-ids) have sent, and messages to them that belong to no referral."""
    teams: frozenset[str] = frozenset()
    """The referrals that these teams have, or in which they own a Task."""
    replies_only: bool = False
    """Of these referrals only the replies, and the ServiceRequests, Tasks and Patients that the replies refer to."""
    within: str | None = None
    """Only the referrals of this unit, whatever else could be seen, and of what is shared nothing that another unit has
    described."""
    allowed: Mapping[str, tuple[SearchQuery, ...]] | None = None
    """By type, the searches of which a resource must match one (none: it need not match any). A type that is not here
    is not seen at all. None: no type is narrowed."""
    withhold: Callable[[Stored], Stored] | None = None
    """Takes out of a resource what is not for these eyes."""

    @property
    def is_everything(self) -> bool:
        """True when nothing is kept back."""
        return self.every_referral and not self.replies_only and self.within is None and self.allowed is None

    @property
    def sees_referrals(self) -> bool:
        """True when there may be a referral to see."""
        return self.every_referral or bool(self.organisations or self.teams)

    def covers(self, organisation: str, team: str, involved: Iterable[str] = ()) -> bool:
        """True for a referral that `organisation` has sent and `team` has; the teams `involved` own a Task in it."""
        if self.within not in (None, organisation):
            return False
        return self.every_referral or organisation in self.organisations or not self.teams.isdisjoint((team, *involved))

    def within_unit(self, organisation: str) -> "Sight":
        """The same eyes, on the referrals of one unit only."""
        return replace(self, within=organisation)

    def without_scopes(self) -> "Sight":
        """The same eyes, whatever the token is good for."""
        return replace(self, allowed=None)

    def shown(self, stored: Stored) -> Stored:
        """The resource as these eyes see it."""
        return self.withhold(stored) if self.withhold is not None else stored


EVERYTHING = Sight(every_referral=True)
"""Sluss's own eyes."""
