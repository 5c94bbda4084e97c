"""Conditions on a resource (r) that no index walk answers: each clause of a query as SQL over its JSON."""

import json
from collections.abc import Sequence
from typing import Any

from service.store.index_values import indexed
from service.store.query import Clause, DateValue, TokenValue
from service.store.search_parameters import Kind, SearchParameter, TokenShape


class Parameters:
    """The values of one statement, named in the order they are met, so that equal shapes give equal texts."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any, *, array: bool = False) -> str:
        """The placeholder that stands for `value` in the text."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"%({name}){'b' if array else 's'}"


def filter_condition(clause: Clause, parameters: Parameters) -> str:
    """A SQL condition on r that is true exactly when the clause holds."""
    if clause.missing is not None:
        paths = [parameters.add(f"$.{path}") for path in clause.parameter.paths]
        present = " OR ".join(f"jsonb_path_exists(r.body::jsonb, {path}::jsonpath)" for path in paths)
        return f"NOT ({present})" if clause.missing else f"({present})"
    one = _ONE[clause.parameter.kind if clause.modifier != "identifier" else Kind.TOKEN]
    any_of = " OR ".join(one(clause, value, parameters) for value in clause.values)
    return f"NOT ({any_of})" if clause.modifier == "not" else f"({any_of})"


def age_conditions(values: Sequence[DateValue], parameters: Parameters) -> list[str]:
    """SQL conditions on `{age}` (lastUpdated, an instant) for `_lastUpdated` values.

    `gt` takes a written time as an exact instant, whatever its precision: a client that cut off microseconds sees some
    resources again and skips none (contract 8). A written date covers its day, as in R4.
    """
    conditions = []
    for value in values:
        low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
        after = f"{{age}} > {low}" if value.moment.exact else f"{{age}} >= {high}"
        conditions.append(
            {
                "eq": f"({{age}} >= {low} AND {{age}} < {high})",
                "ne": f"({{age}} < {low} OR {{age}} >= {high})",
                "gt": after,
                "sa": after,
                "ge": f"{{age}} >= {low}",
                "lt": f"{{age}} < {low}",
                "eb": f"{{age}} < {low}",
                "le": f"{{age}} < {high}",
                "ap": f"({{age}} >= {low} - interval '1 day' AND {{age}} < {high} + interval '1 day')",
            }[value.prefix]
        )
    return conditions


def _exists(parameter: SearchParameter, below: str, variables: dict[str, str], parameters: Parameters) -> str:
    vars_ = parameters.add(json.dumps(variables))
    paths = [parameters.add(f"$.{path}{below}") for path in parameter.paths]
    tests = [f"jsonb_path_exists(r.body::jsonb, {path}::jsonpath, {vars_}::jsonb)" for path in paths]
    return f"({' OR '.join(tests)})"


def _token(clause: Clause, value: Any, parameters: Parameters) -> str:
    assert isinstance(value, TokenValue)  # noqa: S101 - what query.py makes of a token
    parameter = clause.parameter
    if clause.modifier == "identifier":
        return _exists(parameter, ".identifier" + _coded("value", value), _variables(value), parameters)
    if parameter.shape is TokenShape.CONCEPT:
        return _exists(parameter, ".coding" + _coded("code", value), _variables(value), parameters)
    if parameter.shape is TokenShape.IDENTIFIER:
        return _exists(parameter, _coded("value", value), _variables(value), parameters)
    # A code or boolean has no system of its own in the resource; whichever the client names is the one implied.
    test = ' ? (@ == $c || (@ == true && $c == "true") || (@ == false && $c == "false"))'
    return _exists(parameter, test, {"c": value.code}, parameters)


def _coded(member: str, value: TokenValue) -> str:
    tests = []
    if value.code:
        tests.append(f"@.{member} == $c")
    if value.system:
        tests.append("@.system == $s")
    elif value.system == "":
        tests.append("!(exists (@.system))")
    return f" ? ({' && '.join(tests)})"


def _variables(value: TokenValue) -> dict[str, str]:
    return {"c": value.code, "s": value.system or ""}


def _reference(clause: Clause, value: Any, parameters: Parameters) -> str:
    # By its index row, not by its JSON: a ServiceRequest is also found by the Patient made from its contained one.
    name = parameters.add(clause.parameter.indexed)
    target = parameters.add(indexed(value))
    return (
        "EXISTS (SELECT FROM search_value f WHERE f.type = r.type AND f.id = r.id"
        f" AND f.param = {name} AND f.value = {target})"
    )


def _string(clause: Clause, value: Any, parameters: Parameters) -> str:
    paths = parameters.add([f"$.{path}" for path in clause.parameter.paths], array=True)
    wanted = parameters.add(value)
    test = {
        None: f"starts_with(lower(element #>> '{{}}'), lower({wanted}::text))",
        "contains": f"position(lower({wanted}::text) in lower(element #>> '{{}}')) > 0",
        "exact": f"element #>> '{{}}' = {wanted}",
    }[clause.modifier]
    return _any_element(paths, test)


def _uri(clause: Clause, value: Any, parameters: Parameters) -> str:
    paths = parameters.add([f"$.{path}" for path in clause.parameter.paths], array=True)
    wanted = parameters.add(value)
    # A canonical is found with and without its version.
    return _any_element(paths, f"{wanted}::text IN (element #>> '{{}}', split_part(element #>> '{{}}', '|', 1))")


def _date(clause: Clause, value: Any, parameters: Parameters) -> str:
    assert isinstance(value, DateValue)  # noqa: S101 - what query.py makes of a date
    paths = parameters.add([f"$.{path}" for path in clause.parameter.paths], array=True)
    low, high = parameters.add(value.moment.low), parameters.add(value.moment.high)
    asked = f"tstzrange({low}::timestamptz, {high}::timestamptz)"
    test = {
        "eq": f"sluss_covered(element) <@ {asked}",
        "ne": f"NOT (sluss_covered(element) <@ {asked})",
        # &< is "does not extend to the right of", &> "… to the left of".
        "gt": f"NOT (sluss_covered(element) &< {asked})",
        "lt": f"NOT (sluss_covered(element) &> {asked})",
        "ge": f"(NOT (sluss_covered(element) &< {asked}) OR sluss_covered(element) <@ {asked})",
        "le": f"(NOT (sluss_covered(element) &> {asked}) OR sluss_covered(element) <@ {asked})",
        "sa": f"sluss_covered(element) >> {asked}",
        "eb": f"sluss_covered(element) << {asked}",
        "ap": f"sluss_covered(element) && tstzrange(lower({asked}) - {_NEAR}, upper({asked}) + {_NEAR})",
    }[value.prefix]
    return _any_element(paths, test)


def _any_element(paths: str, test: str) -> str:
    return (
        f"EXISTS (SELECT FROM unnest({paths}::text[]) AS path"
        f" CROSS JOIN jsonb_path_query(r.body::jsonb, path::jsonpath) AS element WHERE {test})"
    )


_NEAR = "interval '1 day'"
_ONE = {
    Kind.TOKEN: _token,
    Kind.REFERENCE: _reference,
    Kind.STRING: _string,
    Kind.URI: _uri,
    Kind.DATE: _date,
}
