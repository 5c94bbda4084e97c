# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""Which clauses of a search an index answers, and what each finds by it."""

from service.store.asked import Clause, DateValue, QuantityValue, SearchQuery
from service.store.filters import Parameters, number_test
from service.store.search_kinds import Kind

_MOST_SELECTIVE = ("identifier", "focus", "based-on", "part-of", "derived-from", "subject", "actor")
"""Row names that few resources share, best first; any other comes after them."""

_LONGEST_DATE = "interval '367 days'"
"""What a written date covers at most: its year."""


def drives(clause: Clause) -> bool:
    """True when an index gives what it finds."""
    if clause.chained:
        return all(held.pairs for _, held in clause.chained)
    if clause.modifier == "not" or clause.missing is not None:
        return False
    if clause.parameter.kind is Kind.QUANTITY:
        asked = [value for value in clause.values if isinstance(value, QuantityValue)]
        return clause.parameter.indexed is not None and all(value.prefix != "ne" for value in asked)
    if clause.parameter.main:
        return len(clause.values) == 1 and isinstance(clause.values[0], DateValue) and clause.values[0].prefix != "ne"
    return bool(clause.pairs)


def driven_by(clause: Clause, parameters: Parameters) -> str:
    """A SELECT of the ids (perhaps several times) that a clause finds by its index; some more than hold, at times."""
    if clause.chained:
        return " UNION ALL ".join(
            f"SELECT s.id FROM {_wanted(held, parameters)} JOIN search_value i ON i.type = {parameters.add(type_)}"
            " AND i.param = wanted.param AND i.value = wanted.value JOIN search_value s ON s.type = %(type)s"
            f" AND s.param = {parameters.add(clause.parameter.indexed)} AND s.value = i.type || '/' || i.id"
            for type_, held in clause.chained
        )
    if clause.parameter.kind is Kind.QUANTITY:
        name = parameters.add(clause.parameter.indexed)
        return " UNION ALL ".join(
            f"SELECT m.id FROM measured m WHERE m.type = %(type)s AND m.param = {name}"
            f" AND {number_test('m.value', value, parameters)}"
            for value in clause.values
            if isinstance(value, QuantityValue)
        )
    if clause.parameter.main:
        between = dated_between(clause, parameters)
        return f"SELECT r.id FROM resource r WHERE r.type = %(type)s AND r.dated_from IS NOT NULL{between}"
    return (
        f"SELECT s.id FROM {_wanted(clause, parameters)} JOIN search_value s"
        " ON s.type = %(type)s AND s.param = wanted.param AND s.value = wanted.value"
    )


def _wanted(clause: Clause, parameters: Parameters) -> str:
    pairs = list(dict.fromkeys(clause.pairs or ()))
    names = parameters.add([name for name, _ in pairs], array=True)
    values = parameters.add([value for _, value in pairs], array=True)
    return f"unnest({names}::text[], {values}::text[]) AS wanted (param, value)"


def dated_between(clause: Clause, parameters: Parameters) -> str:
    """What must hold of `dated_from` for a date clause to hold, as bounds that the index is walked between."""
    (value,) = clause.values
    assert isinstance(value, DateValue)  # noqa: S101 - `drives` has looked
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    may_last = any("Period" in path or path == "period" for path in clause.parameter.paths)
    since = "" if may_last else f" AND r.dated_from > {low}::timestamptz - {_LONGEST_DATE} - interval '1 day'"
    return {
        "eq": f" AND r.dated_from >= {low}::timestamptz AND r.dated_from < {high}::timestamptz",
        "gt": f" AND r.dated_until > {high}::timestamptz{since}",
        "ge": f" AND r.dated_until > {low}::timestamptz{since}",
        "sa": f" AND r.dated_from >= {high}::timestamptz",
        "lt": f" AND r.dated_from < {low}::timestamptz",
        "eb": f" AND r.dated_from < {low}::timestamptz",
        "le": f" AND r.dated_from < {high}::timestamptz",
        "ap": f" AND r.dated_from < {high}::timestamptz + interval '1 day'{since}",
    }[value.prefix]


def best_driver(query: SearchQuery) -> Clause | None:
    """The clause with index rows that finds least, by what it is about; None without one."""
    usable = [clause for clause in query.clauses if clause.pairs]

    def rank(clause: Clause) -> int:
        name = clause.parameter.indexed
        return _MOST_SELECTIVE.index(name) if name in _MOST_SELECTIVE else len(_MOST_SELECTIVE)

    return min(usable, key=rank, default=None)
