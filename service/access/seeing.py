"""Who sees what: one table, from a caller to a Sight. Pure; the store's queries keep to it.

| Who | Sees |
|---|---|
| referrer | everything of the referrals of its units, with their Patients |
| therapist | everything of the referrals that its teams have, or in which they own a Task; coordination: of all |
| platform | the replies to its units, and the ServiceRequest, Task and Patient that they refer to |
| administrator | everything, for a reason that it gives; without one nothing of any referral |
| everybody | the directory of units, teams and roles, and the definitions |

What a token is good for narrows it further: of a type without a scope nothing is seen, of one whose scopes all have a
search only what one of these finds.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from fhir_mappings.r4 import DEFINITIONS
from service.access.caller import Caller, Role
from service.access.scopes import Scope, Scopes
from service.store.asked import SearchQuery
from service.store.query import parse_query
from service.store.search_parameters import BY_TYPE
from service.store.sight import EVERYTHING, Sight

DIRECTORY = frozenset({"Organization", "PractitionerRole", "Practitioner", "HealthcareService"})
SHARED = DIRECTORY | DEFINITIONS
"""Types that belong to no referral, and that everybody sees. Any other is clinical content."""


def sight_of(caller: Caller, coordination: str, letter: str | None = None) -> Sight:
    """What a caller may see; `coordination` is the pack's coordination team. `letter` is what the scopes of its token
    must allow it for (r, s or u); None: whether there is something to refer to, which is asked whatever they allow.
    """
    sight = _by_role(caller, coordination)
    if caller.scopes is None or letter is None:
        return sight
    return replace(sight, allowed=_allowed(caller.scopes, letter))


def _by_role(caller: Caller, coordination: str) -> Sight:
    match caller.role:
        case Role.SLUSS:
            return EVERYTHING
        case Role.ADMINISTRATOR:
            return Sight(SHARED, every_referral=caller.reason is not None)
        case Role.THERAPIST:
            return Sight(SHARED, every_referral=coordination in caller.teams, teams=caller.teams)
        case Role.REFERRER:
            return Sight(SHARED, organisations=frozenset(caller.organisations))
        case Role.PLATFORM:
            unlimited = not caller.organisations and caller.client is None and caller.token is None
            return Sight(
                SHARED, every_referral=unlimited, organisations=frozenset(caller.organisations), replies_only=True
            )


def lacks_reason(caller: Caller) -> bool:
    """True for an administrator who has given no reason: nothing but a reason stands between it and any referral."""
    return caller.role is Role.ADMINISTRATOR and caller.reason is None


def is_of_the_team(caller: Caller) -> bool:
    """True for those who may see findings that are for the team only (contract 4)."""
    return caller.role not in (Role.REFERRER, Role.PLATFORM)


@lru_cache(maxsize=1000)
def _allowed(scopes: Scopes, letter: str) -> Mapping[str, tuple[SearchQuery, ...]]:
    """By type the searches of its scopes. What a search includes may also be what the token may read by id."""
    found: dict[str, tuple[SearchQuery, ...]] = {}
    for type_ in BY_TYPE:
        granted = scopes.for_(type_, letter) or (scopes.for_(type_, "r") if letter == "s" else ())
        searches = [search for scope in granted if (search := _search(type_, scope)) is not None]
        if any(search == SearchQuery(type_) for search in searches):
            found[type_] = ()
        elif searches:
            found[type_] = tuple(searches)
    return found


def _search(type_: str, scope: Scope) -> SearchQuery | None:
    """What a scope asks a resource to match; None for what cannot be read, or is no condition: such a scope allows
    nothing.
    """
    query = parse_query(type_, scope.query, strict=True)
    if isinstance(query, list):
        return None
    condition = SearchQuery(type_, clauses=query.clauses, ids=query.ids)
    return condition if replace(query, used=()) == condition else None
