"""A Sight as SQL: the conditions on a resource for somebody to be shown it, or to learn anything from it.

This is the one place where reads are kept within somebody's rights: reads by id, histories, matches, what a chain leads
to, includes and reverse includes all ask here. `of` is the name of the resource's table in the statement.
"""

from collections.abc import Sequence

from fhir_mappings.terminology import Systems
from service.store.asked import SearchQuery
from service.store.filters import BY_ITSELF, Parameters, Seen, filter_condition, named
from service.store.index_values import indexed
from service.store.sight import Sight

_WITH_REPLIES = ("ServiceRequest", "Task", "Patient", "Communication")
"""What is seen of a referral by those who fetch replies."""
_SPECIAL = ("Patient", "Communication", "Task")
"""Types that are not seen as everything else of a referral is."""


def seen_by(sight: Sight, parameters: Parameters) -> Seen:
    """The conditions on the current version of a resource of a known type; none where everything is seen."""

    def conditions(type_: str, of: str) -> list[str]:
        return [*_by_role(sight, type_, of, parameters), *_by_scope(sight, type_, of, parameters)]

    return conditions


def any_seen_by(sight: Sight, of: str, parameters: Parameters) -> list[str]:
    """The conditions on a current version of whichever type."""
    if sight.is_everything:
        return []
    seen = seen_by(sight, parameters)
    if sight.allowed is not None:
        types, otherwise = sorted(sight.allowed), "false"
    else:
        types = sorted({*sight.shared, *(_WITH_REPLIES if sight.replies_only else _SPECIAL)})
        otherwise = _all(_by_role(sight, "", of, parameters))
    # Types that the same holds for share a branch: each costs whoever carries the statement out.
    alike: dict[object, list[str]] = {}
    for type_ in types:
        apart = type_ if type_ in (*_SPECIAL, *_WITH_REPLIES) else type_ in sight.shared
        alike.setdefault((apart, None if sight.allowed is None else sight.allowed[type_]), []).append(type_)
    cases = "".join(
        f" WHEN {of}.type = ANY({parameters.add(named, array=True)}::text[]) THEN {_all(seen(named[0], of))}"
        for named in alike.values()
    )
    return [f"CASE{cases} ELSE {otherwise} END" if cases else otherwise]


def version_seen_by(sight: Sight, type_: str, of: str, parameters: Parameters) -> list[str]:
    """The conditions on any version of a resource: whoever may see it now may see how it was."""
    conditions = _by_role(sight, type_, of, parameters)
    if by_scope := _by_scope(sight, type_, "now_", parameters):
        found = f"resource now_ WHERE now_.type = {of}.type AND now_.id = {of}.id AND {_all(by_scope)}"
        conditions.append(f"EXISTS (SELECT FROM {found})")
    return conditions


def _all(conditions: Sequence[str]) -> str:
    return " AND ".join(conditions) or "true"


# ---------------------------------------------------------------- by what somebody is


def _by_role(sight: Sight, type_: str, of: str, parameters: Parameters) -> list[str]:
    if type_ in sight.shared:
        return [] if sight.within is None else [_not_anothers(of, sight.within, parameters)]
    if sight.replies_only and type_ not in _WITH_REPLIES:
        return ["false"]
    conditions = []
    rights = _rights(sight, parameters)
    if rights:
        ours = f"o.patient = {of}.id" if type_ == "Patient" else f"o.id = {of}.referral_id"
        conditions.append(f"EXISTS (SELECT FROM referral o WHERE {ours} AND {_all(rights)})")
        if type_ == "Communication" and sight.organisations and sight.within is None:
            # to who has sent something that could not be taken in
            conditions[0] = f"({conditions[0]} OR {_addressed(sight, of, parameters)} AND {_of_no_referral(of)})"
    if sight.replies_only and type_ == "Communication":
        conditions.append(_addressed(sight, of, parameters))
    if sight.replies_only and type_ == "Task":
        told = parameters.add("Task/")
        conditions.append(
            "EXISTS (SELECT FROM search_value f WHERE f.type = 'Communication' AND f.param = 'part-of'"
            f" AND f.value = {told} || {of}.id)"
        )
    return conditions


def _not_anothers(of: str, unit: str, parameters: Parameters) -> str:
    """What no other unit has described: a key `…@unit` says who has, see `service.referral.parties`."""
    described = f"strpos(n.key, '@') > 0 AND split_part(n.key, '@', -1) <> {parameters.add(unit)}"
    return f"NOT EXISTS (SELECT FROM natural_key n WHERE n.reference = {of}.type || '/' || {of}.id AND {described})"


def _rights(sight: Sight, parameters: Parameters) -> list[str]:
    """What must hold of a referral o; nothing where every one is seen. Of a referral that is nobody's: false."""
    alternatives = []
    if sight.organisations:
        alternatives.append(f"o.organisation = ANY({parameters.add(sorted(sight.organisations), array=True)}::text[])")
    if sight.teams:
        teams = parameters.add(sorted(sight.teams), array=True)
        alternatives.append(f"(o.team = ANY({teams}::text[]) OR o.involved && {teams}::text[])")
    conditions = [] if sight.every_referral else [f"({' OR '.join(alternatives) or 'false'})"]
    if sight.within is not None:
        conditions.append(f"o.organisation = {parameters.add(sight.within)}")
    return conditions


def _addressed(sight: Sight, of: str, parameters: Parameters) -> str:
    """A message to one of the units; to any, where all are seen."""
    row = f"f.type = {of}.type AND f.id = {of}.id AND "
    if sight.every_referral:
        row += named("f", "'recipient:identifier'")
    else:
        units = [f"recipient:identifier {indexed(f'{Systems.HSA_ID}|{unit}')}" for unit in sorted(sight.organisations)]
        row += f"f.param || ' ' || f.value = ANY({parameters.add(units, array=True)}::text[])"
    return f"EXISTS (SELECT FROM search_value f WHERE {row}{BY_ITSELF})"


def _of_no_referral(of: str) -> str:
    return f"NOT EXISTS (SELECT FROM referral o WHERE o.id = {of}.referral_id)"


# ---------------------------------------------------------------- by what a token is good for


def _by_scope(sight: Sight, type_: str, of: str, parameters: Parameters) -> list[str]:
    if sight.allowed is None:
        return []
    searches = sight.allowed.get(type_)
    if searches is None:
        return ["false"]
    alternatives = [_all(_matching(search, sight, of, parameters)) for search in searches]
    return [f"({' OR '.join(f'({one})' for one in alternatives)})"] if alternatives else []


def _matching(search: SearchQuery, sight: Sight, of: str, parameters: Parameters) -> list[str]:
    # What a scope's own chain leads to need not be allowed by another scope.
    seen = seen_by(sight.without_scopes(), parameters)
    conditions = [filter_condition(clause, seen, parameters, of) for clause in search.clauses]
    if search.ids is not None:
        conditions.append(f"{of}.id = ANY({parameters.add(list(search.ids), array=True)}::text[])")
    return conditions
