# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""What is shown besides the matches: `_include`, `_revinclude`, and both `:iterate`.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from collections.abc import Iterable, Sequence

from service.store.asked import Include, SearchQuery
from service.store.filters import Parameters, named
from service.store.search import Statement
from service.store.search_kinds import Shape
from service.store.sight import EVERYTHING, Sight
from service.store.statements import STORED
from service.store.visible import any_seen_by

MAX_INCLUDES = 1000
"""The most resources that are shown besides the matches of a page."""
MAX_ROUNDS = 8
"""How often includes are looked for in what was included."""


def includes_of(
    query: SearchQuery, found: Iterable[tuple[str, str]], *, iterating: bool = False, sight: Sight = EVERYTHING
) -> Statement | None:
    """The statement that finds what the includes ask for of `found` (type, id), one more than `MAX_INCLUDES` at most,
    among what `sight` covers; None when nothing is asked for. `iterating`: those are includes themselves, so only
    `:iterate` goes on from them.
    """
    pairs = list(found)
    asked = [
        include
        for include in dict.fromkeys(query.includes)
        if (include.iterate or not iterating) and any(_goes_on_from(include, type_) for type_, _ in pairs)
    ]
    if not asked or not pairs:
        return None
    parameters = Parameters()
    parameters.values |= {"types": [type_ for type_, _ in pairs], "ids": [id_ for _, id_ in pairs]}
    rights = "".join(f" AND {condition}" for condition in any_seen_by(sight, "r", parameters))
    parts = [
        *_forwards([i for i in asked if not i.reverse and i.parameter.shape is not Shape.CANONICAL], parameters),
        *_by_url([i for i in asked if not i.reverse and i.parameter.shape is Shape.CANONICAL], parameters),
        *_backwards([i for i in asked if i.reverse], rights, parameters),
    ]
    sql = f"""
        SELECT {STORED} FROM (SELECT DISTINCT type, id FROM ({" UNION ALL ".join(parts)}) hit) one
        JOIN resource r ON r.type = one.type AND r.id = one.id{rights}
        ORDER BY r.type, r.id LIMIT {MAX_INCLUDES + 1}
    """
    return Statement(sql.encode(), parameters.values)


def _goes_on_from(include: Include, type_: str) -> bool:
    if not include.reverse:
        return include.parameter.type == type_
    return type_ in ((include.target,) if include.target else include.parameter.targets)


_FOUND = "unnest(%(types)b::text[], %(ids)b::text[]) AS found (type, id)"


def _forwards(asked: Sequence[Include], parameters: Parameters) -> list[str]:
    if not asked:
        return []
    rows = dict.fromkeys((i.parameter.type, i.parameter.indexed or i.parameter.name, _wanted_type(i)) for i in asked)
    types, names, targets = (parameters.add(list(column), array=True) for column in zip(*rows, strict=True))
    return [
        f"""
        SELECT split_part(s.value, '/', 1) AS type, split_part(s.value, '/', 2) AS id FROM {_FOUND}
        JOIN unnest({types}::text[], {names}::text[], {targets}::text[]) AS asked (type, param, target)
             ON asked.type = found.type
        JOIN search_value s ON s.type = found.type AND s.id = found.id AND {named("s", "asked.param")}
             AND (asked.target = '' OR starts_with(s.value, asked.target || '/'))
        """
    ]


def _wanted_type(include: Include) -> str:
    # `patient` lies in the rows of `subject`, and asks for the Patients among them.
    return include.target or (include.parameter.targets[0] if include.parameter.shares else "")


def _by_url(asked: Sequence[Include], parameters: Parameters) -> list[str]:
    """Forms and plans are few, and are looked through."""
    parts = []
    for include in asked:
        type_ = parameters.add(include.parameter.type)
        paths = parameters.add([f"$.{path}[*]" for path in include.parameter.paths], array=True)
        targets = parameters.add(list((include.target,) if include.target else include.parameter.targets), array=True)
        parts.append(
            f"""
            SELECT d.type, d.id FROM (
                SELECT DISTINCT split_part(element #>> '{{}}', '|', 1) AS url, split_part(element #>> '{{}}', '|', 2)
                       AS version
                FROM {_FOUND} JOIN resource r ON r.type = found.type AND r.id = found.id AND r.type = {type_}
                CROSS JOIN unnest({paths}::text[]) AS path
                CROSS JOIN jsonb_path_query(r.body::jsonb, path::jsonpath) AS element
            ) said JOIN resource d ON d.type = ANY({targets}::text[]) AND d.body::jsonb ->> 'url' = said.url
                 AND said.version IN ('', d.body::jsonb ->> 'version')
            """
        )
    return parts


def _backwards(asked: Sequence[Include], rights: str, parameters: Parameters) -> list[str]:
    if not asked:
        return []
    rows = dict.fromkeys(
        (i.parameter.type, i.parameter.indexed or i.parameter.name, target)
        for i in asked
        for target in ((i.target,) if i.target else i.parameter.targets)
    )
    types, names, targets = (parameters.add(list(column), array=True) for column in zip(*rows, strict=True))
    # What may not be seen must not fill the page.
    seen = f"JOIN resource r ON r.type = s.type AND r.id = s.id{rights}" if rights else ""
    return [
        f"""
        (SELECT s.type, s.id FROM {_FOUND}
         JOIN unnest({types}::text[], {names}::text[], {targets}::text[]) AS asked (type, param, target)
              ON asked.target = found.type
         JOIN search_value s ON s.type = asked.type AND s.param = asked.param
              AND s.value = found.type || '/' || found.id
         {seen}
         LIMIT {MAX_INCLUDES + 1})
        """
    ]
