"""Conditions on a resource that no index walk answers: each clause of a query as SQL over its JSON.

`of` is the name of the resource's table in the statement: r for a match, t for what a chain leads to.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from service.store.asked import Clause, DateValue, QuantityValue, TokenValue, Value
from service.store.index_values import indexed
from service.store.search_kinds import LAST_UPDATED, Kind, SearchParameter, Shape


class Parameters:
    """The values of one statement, named in the order they are met, so that equal shapes give equal texts."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any, *, array: bool = False) -> str:
        """The placeholder that stands for `value` in the text."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"%({name}){'b' if array else 's'}"


Seen = Callable[[str, str], list[str]]
"""The conditions on a resource, by its type and the name of its table, for the one who searches to be shown it."""


def filter_condition(clause: Clause, seen: Seen, parameters: Parameters, of: str = "r") -> str:
    """A SQL condition that is true exactly when the clause holds of the resource."""
    if clause.missing is not None:
        present = _present(clause.parameter, parameters, of)
        return f"NOT ({present})" if clause.missing else f"({present})"
    if clause.chained:
        return _chain(clause, seen, parameters, of)
    if clause.parameter is LAST_UPDATED:
        alternatives = [value for value in clause.values if isinstance(value, DateValue)]
        (age,) = age_conditions([alternatives], parameters)
        return age.format(age=f"{of}.last_updated")
    if clause.parameter.main:
        one = _main_date
    else:
        one = _ONE[clause.parameter.kind if clause.modifier != "identifier" else Kind.TOKEN]
    any_of = " OR ".join(one(clause, value, parameters, of) for value in clause.values) or "false"
    return f"NOT ({any_of})" if clause.modifier == "not" else f"({any_of})"


def age_conditions(asked: Iterable[Iterable[DateValue]], parameters: Parameters) -> list[str]:
    """SQL conditions on `{age}` (lastUpdated, an instant) for `_lastUpdated`s, each with its alternatives.

    `gt` takes a written time as an exact instant, whatever its precision: a client that cut off microseconds sees some
    resources again and skips none (contract 8). A written date covers its day, as in R4.
    """
    return [f"({' OR '.join([_age_condition(value, parameters) for value in any_of])})" for any_of in asked]


def _age_condition(value: DateValue, parameters: Parameters) -> str:
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    after = f"{{age}} > {low}" if value.moment.exact else f"{{age}} >= {high}"
    return {
        "eq": f"({{age}} >= {low} AND {{age}} < {high})",
        "ne": f"({{age}} < {low} OR {{age}} >= {high})",
        "gt": after,
        "sa": after,
        "ge": f"{{age}} >= {low}",
        "lt": f"{{age}} < {low}",
        "eb": f"{{age}} < {low}",
        "le": f"{{age}} < {high}",
        "ap": f"({{age}} >= {low} - {_NEAR} AND {{age}} < {high} + {_NEAR})",
    }[value.prefix]


def elements(parameter: SearchParameter, parameters: Parameters, of: str) -> str:
    """A FROM item: every element of a parameter, `element`, one by one."""
    paths = parameters.add([f"$.{path}[*]" for path in parameter.paths], array=True)
    return f"unnest({paths}::text[]) AS path CROSS JOIN jsonb_path_query({of}.body::jsonb, path::jsonpath) AS element"


def named(row: str, name: str, value: str | None = None) -> str:
    """That an index row of a resource, found by its id, is one of a parameter (of a value). No index can be entered by
    what is said so: by the parameter and value alone PostgreSQL may go through all rows that have them, once for each
    resource, where its figures are of a table that was small.
    """
    return f"{row}.param || '' = {name}" + (f" AND {row}.value || '' = {value}" if value is not None else "")


def referred_to(clause_parameter: SearchParameter, parameters: Parameters, of: str) -> str:
    """A FROM item and its condition: the stored resources t that a reference parameter of a resource points at."""
    name = parameters.add(clause_parameter.indexed)
    return (
        "search_value f JOIN resource t ON t.type = split_part(f.value, '/', 1) AND t.id = split_part(f.value, '/', 2)"
        f" WHERE f.type = {of}.type AND f.id = {of}.id AND {named('f', name)}"
    )


def _present(parameter: SearchParameter, parameters: Parameters, of: str) -> str:
    if parameter.shape is Shape.TRUTH:
        return "true"
    # A name or an address is there when any part of it is, also one that nobody searches by.
    whole = len(parameter.paths) > 1 and all(path.startswith(f"{parameter.name}.") for path in parameter.paths)
    paths = [parameters.add(f"$.{path}") for path in ((parameter.name,) if whole else parameter.paths)]
    present = " OR ".join(f"jsonb_path_exists({of}.body::jsonb, {path}::jsonpath)" for path in paths)
    if not parameter.shares:
        return present
    # Those made from contained ones have rows.
    name, target = parameters.add(parameter.indexed), parameters.add(f"{parameter.targets[0]}/")
    row = _has_row(of, f"{named('f', name)} AND starts_with(f.value, {target})")
    said = parameters.add(f"$.{parameter.paths[0]}{_its_own(parameter)}")
    return f"{row} OR jsonb_path_exists({of}.body::jsonb, {said}::jsonpath)"


def _its_own(parameter: SearchParameter) -> str:
    """The path condition by which `patient` leaves out references to others than Patients, where the element may hold
    those too. What is only named by an identifier may be any, unless it says its type.
    """
    if not parameter.shares:
        return ""
    (type_,) = parameter.targets
    return (
        f' ? (@.reference like_regex "(^|/){type_}/" || '
        f'(!exists(@.reference) && (!exists(@.type) || @.type == "{type_}")))'
    )


def _has_row(of: str, condition: str) -> str:
    return f"EXISTS (SELECT FROM search_value f WHERE f.type = {of}.type AND f.id = {of}.id AND {condition}{BY_ITSELF})"


def _chain(clause: Clause, seen: Seen, parameters: Parameters, of: str) -> str:
    alternatives = []
    for type_, held in clause.chained:
        there = referred_to(clause.parameter, parameters, of)
        conditions = [filter_condition(held, seen, parameters, "t"), *seen(type_, "t")]
        there += f" AND t.type = {parameters.add(type_)} AND {' AND '.join(conditions)}"
        alternatives.append(f"EXISTS (SELECT FROM {there}{BY_ITSELF})")
    return f"({' OR '.join(alternatives)})" if alternatives else "false"


def _exists(parameter: SearchParameter, below: str, variables: dict[str, str], parameters: Parameters, of: str) -> str:
    vars_ = parameters.add(json.dumps(variables))
    paths = [parameters.add(f"$.{path}{below}") for path in parameter.paths]
    tests = [f"jsonb_path_exists({of}.body::jsonb, {path}::jsonpath, {vars_}::jsonb)" for path in paths]
    return f"({' OR '.join(tests)})"


def _token(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    assert isinstance(value, TokenValue)  # noqa: S101 - what query.py makes of a token
    parameter = clause.parameter
    variables = {"c": value.code, "s": value.system or ""}
    if clause.modifier == "identifier":
        below = f"{_its_own(parameter)}.identifier{_coded('value', value)}"
        return _exists(parameter, below, variables, parameters, of)
    if (pairs := Clause(parameter, None, (value,)).pairs) is not None:
        ((row, wanted),) = pairs
        return _has_row(of, named("f", parameters.add(row), parameters.add(wanted)))
    if parameter.shape not in (Shape.CODE, Shape.TRUTH):
        below = ".coding" if parameter.shape is Shape.CONCEPT else ""
        member = "value" if parameter.shape is Shape.IDENTIFIER else "code"
        return _exists(parameter, below + _coded(member, value), variables, parameters, of)
    return _code(parameter, value, parameters, of)


def _code(parameter: SearchParameter, value: TokenValue, parameters: Parameters, of: str) -> str:
    if not parameter.can_be_of(value.system):
        return "false"
    if parameter.shape is Shape.TRUTH:
        there = _exists(parameter, ' ? (@ == true || @.type() == "string")', {}, parameters, of)
        return {"true": there, "false": f"NOT {there}", "": "true"}.get(value.code, "false")
    if not value.code:
        return f"({_present(parameter, parameters, of)})"
    test = ' ? (@ == $c || (@ == true && $c == "true") || (@ == false && $c == "false"))'
    return _exists(parameter, test, {"c": value.code}, parameters, of)


def _coded(member: str, value: TokenValue) -> str:
    tests = []
    if value.code:
        tests.append(f"@.{member} == $c")
    if value.system:
        tests.append("@.system == $s")
    elif value.system == "":
        tests.append("!(exists (@.system))")
    return f" ? ({' && '.join(tests)})"


def _reference(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    if clause.parameter.shape is Shape.CANONICAL:
        return _uri(clause, value, parameters, of)
    if clause.parameter.indexed is None:
        variables = {"r": str(value), "v": f"{value}/_history/"}
        return _exists(clause.parameter, ".reference ? (@ == $r || @ starts with $v)", variables, parameters, of)
    # By its index row, not by its JSON: a ServiceRequest is also found by the Patient made from its contained one.
    name = parameters.add(clause.parameter.indexed)
    target = parameters.add(indexed(str(value)))
    return _has_row(of, named("f", name, target))


def _string(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    test = text_test("(element #>> '{}')", clause.modifier, parameters.add(value))
    return _any_element(clause.parameter, test, parameters, of)


def text_test(text: str, modifier: str | None, wanted: str) -> str:
    """A SQL condition on a text by a string parameter with this modifier: https://hl7.org/fhir/R4/search.html#string"""
    return {
        None: f"starts_with(sluss_folded({text}), sluss_folded({wanted}::text))",
        "contains": f"position(sluss_folded({wanted}::text) in sluss_folded({text})) > 0",
        "exact": f"{text} = {wanted}",
    }[modifier]


def _uri(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    wanted = parameters.add(value)
    if clause.parameter.shape is not Shape.CANONICAL:
        return _any_element(clause.parameter, f"element #>> '{{}}' = {wanted}", parameters, of)
    # A canonical is found with and without its version.
    test = f"{wanted}::text IN (element #>> '{{}}', split_part(element #>> '{{}}', '|', 1))"
    return _any_element(clause.parameter, test, parameters, of)


def _date(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    assert isinstance(value, DateValue)  # noqa: S101 - what query.py makes of a date
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    # A Period that is open at an end goes on for ever.
    start, end = "coalesce(lower(covered), '-infinity')", "coalesce(upper(covered), 'infinity')"
    return (
        f"EXISTS (SELECT FROM {elements(clause.parameter, parameters, of)}"
        " CROSS JOIN LATERAL (SELECT sluss_covered(element) AS covered OFFSET 0) AS time"
        f" WHERE covered IS NOT NULL AND {_compared(value.prefix, start, end, low, high)})"
    )


def _main_date(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:  # noqa: ARG001  as all in _ONE
    assert isinstance(value, DateValue)  # noqa: S101 - what query.py makes of a date
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    compared = _compared(value.prefix, f"{of}.dated_from", f"{of}.dated_until", low, high)
    # What has no such date extends from minus infinity to there.
    return f"({of}.dated_until > '-infinity' AND {compared})"


def _compared(prefix: str, start: str, end: str, low: str, high: str) -> str:
    """How the time that an element covers stands to the time asked for, [low, high):
    https://hl7.org/fhir/R4/search.html#date
    """
    low, high = f"{low}::timestamptz", f"{high}::timestamptz"
    within = f"({start} >= {low} AND {end} <= {high})"
    return {
        "eq": within,
        "ne": f"NOT {within}",
        "gt": f"{end} > {high}",
        "lt": f"{start} < {low}",
        "ge": f"({end} > {high} OR {within})",
        "le": f"({start} < {low} OR {within})",
        "sa": f"{start} >= {high}",
        "eb": f"{end} <= {low}",
        "ap": f"({start} < {high} + {_NEAR} AND {end} > {low} - {_NEAR})",
    }[prefix]


def _quantity(clause: Clause, value: Value, parameters: Parameters, of: str) -> str:
    assert isinstance(value, QuantityValue)  # noqa: S101 - what query.py makes of a quantity
    rows = clause.parameter.indexed is not None and not value.system and not value.code
    number = "m.value" if rows else "(element ->> 'value')::numeric"
    tests = [number_test(number, value, parameters)]
    if value.system:
        tests.append(f"element ->> 'system' = {parameters.add(value.system)}")
    if value.code:
        code = parameters.add(value.code)
        written = f"element ->> 'code' = {code}"
        tests.append(written if value.system else f"({written} OR element ->> 'unit' = {code})")
    if rows:
        name = parameters.add(clause.parameter.indexed)
        return (
            f"EXISTS (SELECT FROM measured m WHERE m.type = {of}.type AND m.id = {of}.id AND {named('m', name)}"
            f" AND {tests[0]}{BY_ITSELF})"
        )
    return _any_element(clause.parameter, " AND ".join(tests), parameters, of)


def number_test(number: str, value: QuantityValue, parameters: Parameters) -> str:
    """A SQL condition on a number, in a form that an index on it can be walked by."""
    exact, half = f"{parameters.add(value.number)}::numeric", f"{parameters.add(value.half)}::numeric"
    within = f"{number} >= {exact} - {half} AND {number} < {exact} + {half}"
    return {
        "eq": within,
        "ne": f"NOT ({within})",
        "gt": f"{number} > {exact}",
        "sa": f"{number} > {exact}",
        "lt": f"{number} < {exact}",
        "eb": f"{number} < {exact}",
        "ge": f"{number} >= {exact}",
        "le": f"{number} <= {exact}",
        "ap": f"{number} >= {exact} - abs({exact}) * 0.1 AND {number} <= {exact} + abs({exact}) * 0.1",
    }[value.prefix]


def _any_element(parameter: SearchParameter, test: str, parameters: Parameters, of: str) -> str:
    return f"EXISTS (SELECT FROM {elements(parameter, parameters, of)} WHERE {test})"


BY_ITSELF = " OFFSET 0"
"""Keeps a condition a condition: without it PostgreSQL may begin with all rows that the inner query finds."""
_NEAR = "interval '1 day'"
_ONE = {
    Kind.TOKEN: _token,
    Kind.REFERENCE: _reference,
    Kind.STRING: _string,
    Kind.URI: _uri,
    Kind.DATE: _date,
    Kind.QUANTITY: _quantity,
}
