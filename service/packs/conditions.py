"""Conditions of rules: FHIRPath over named variables, compiled once.

https://hl7.org/fhirpath/N1/ (the version that FHIR R4 refers to). A condition holds only when it gives exactly `true`;
an empty result (nothing is known) does not hold, so that a rule about what is unknown must say `.empty()`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from fhirpathpy import compile as compile_fhirpath
from fhirpathpy.models import models
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

_STRING = re.compile(r"'(?:\\.|[^'\\])*'")
_CLOCK = re.compile(r"\b(?:today|now|timeOfDay)\(")
_VARIABLE = re.compile(r"%(?:`([^`]+)`|([A-Za-z_][A-Za-z0-9_]*))")


class BadCondition(ValueError):  # noqa: N818  # said of the condition, not of the error
    """The text is not a FHIRPath expression that can be evaluated."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A FHIRPath condition and its compiled form; two are equal when their texts are."""

    text: str
    variables: tuple[str, ...] = field(repr=False, compare=False)
    """The names it uses after `%`, in alphabetical order."""
    _evaluate: Callable[[dict[str, Any], Mapping[str, Any]], list[Any]] = field(repr=False, compare=False)
    _remembered: Callable[..., bool] = field(repr=False, compare=False)

    def evaluate(self, variables: Mapping[str, Any]) -> list[Any]:
        """The raw result, a collection. Raises what fhirpathpy raises: variables that are not there, wrong types."""
        return self._evaluate({}, variables)

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """True when the result is the one value `true`. Raises KeyError for a variable that is not there."""
        values = (variables[name] for name in self.variables)
        return self._remembered(*(tuple(value) if isinstance(value, list) else value for value in values))


def compile_condition(text: str) -> Condition:
    """The condition, ready to be evaluated. Raises BadCondition when the text is not one whole FHIRPath expression, or
    asks for the clock: what day it is comes in with the variables.
    """
    _refuse_bad_syntax(text)
    without_strings = _STRING.sub("''", text)
    clock = _CLOCK.search(without_strings)
    if clock:
        raise BadCondition(f"column {clock.start() + 1}: {clock[0]}) asks for the clock; use a variable")
    try:
        evaluate = compile_fhirpath(text, models["r4"])
    except Exception as problem:  # the parser raises bare Exception, KeyError and its own errors alike
        raise BadCondition(f"{problem or type(problem).__name__}") from problem
    names = tuple(sorted({quoted or plain for quoted, plain in _VARIABLE.findall(without_strings)}))

    # A condition is a pure function of a handful of small values, and referrals are much alike; remembering
    # brought an assessment from 0.7 ms to 0.1 ms.
    @lru_cache(maxsize=512, typed=True)
    def remembered(*values: Any) -> bool:
        variables = {
            name: list(value) if isinstance(value, tuple) else value for name, value in zip(names, values, strict=True)
        }
        return bool(evaluate({}, variables) == [True])

    return Condition(text, names, evaluate, remembered)


class _FirstError(ErrorListener):  # type: ignore[misc]  # antlr4 has no types
    def syntaxError(  # noqa: N802  # the listener's own name
        self, _recognizer: Any, _symbol: Any, _line: int, column: int, message: str, _cause: Any
    ) -> None:
        raise BadCondition(f"column {column + 1}: {message}")


def _refuse_bad_syntax(text: str) -> None:
    """The library mends syntax errors in silence and stops at the end of the first expression (`true rubbish` is
    `true` to it); here the grammar is asked for the whole text, and the first error counts.
    """
    lexer = FHIRPathLexer(InputStream(text))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(_FirstError())
    parser.expression()
    rest = parser.getCurrentToken()
    if rest.type != -1:
        raise BadCondition(f"column {rest.column + 1}: nothing may follow the expression, found '{rest.text}'")
