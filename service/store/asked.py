"""What a search asks for, as plain values. `query.py` makes them of an HTTP query, `search.py` SQL of them."""

from dataclasses import dataclass
from decimal import Decimal

from service.store.index_values import indexed
from service.store.moments import Moment
from service.store.search_kinds import Kind, SearchParameter, Shape

DEFAULT_COUNT = 50


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`[system]|[code]`. system None: any; '' : none. code '': any."""

    system: str | None
    code: str


@dataclass(frozen=True, slots=True)
class DateValue:
    """A comparison with a moment that has a precision: [low, high)."""

    prefix: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A comparison with a number that has a precision, and a unit: system None: any; '': none. code '': any."""

    prefix: str
    number: Decimal
    half: Decimal
    """Half of its last digit: 5.4 stands for 5.35 up to 5.45."""
    system: str | None = None
    code: str = ""


Value = TokenValue | DateValue | QuantityValue | str
"""What a clause compares with: reference, string and uri values are plain text (`Type/id` for a reference)."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One parameter of the query. Its values are alternatives; clauses all hold at once."""

    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]
    missing: bool | None = None
    """For `:missing` only."""
    chained: tuple[tuple[str, "Clause"], ...] = ()
    """For `subject:Patient.name`: (type referred to, what must hold there); alternatives."""

    @property
    def pairs(self) -> list[tuple[str, str]] | None:
        """The (row name, value) pairs of `search_value` that answer it, or None when those alone cannot."""
        parameter = self.parameter
        if parameter.indexed is None or parameter.kind is Kind.QUANTITY or self.modifier not in (None, "identifier"):
            return None
        name = parameter.indexed if self.modifier is None else f"{parameter.indexed}:identifier"
        pairs = []
        for value in self.values:
            if isinstance(value, str):
                pairs.append((name, indexed(value)))
            elif isinstance(value, TokenValue) and value.code and value.system is None:
                if parameter.shape is Shape.CONCEPT:
                    # A code is indexed with its system only: those without are too many to be of help.
                    return None
                pairs.append((f"{name}:value", indexed(value.code)))
            elif isinstance(value, TokenValue) and value.code:
                pairs.append((name, indexed(f"{value.system}|{value.code}")))
            else:
                return None
        return pairs or None

    @property
    def told_by_rows(self) -> bool:
        """True when what has one of its `pairs` is a match without being looked into."""
        return bool(self.pairs) and not (self.parameter.shares and self.modifier == "identifier")


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of the order: `_id`, `_lastUpdated`, or a parameter."""

    name: str
    descending: bool = False
    parameter: SearchParameter | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The PostgreSQL types of what it compares. The main date of a type is compared by its start, then its end."""
        if self.parameter is None:
            return ("text",) if self.name == "_id" else ("timestamptz",)
        if self.parameter.main:
            return ("timestamptz", "timestamptz")
        return ({Kind.DATE: "timestamptz", Kind.QUANTITY: "numeric"}.get(self.parameter.kind, "text"),)


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=Type:name[:target]`, or `_revinclude`."""

    parameter: SearchParameter
    target: str | None = None
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A parsed search over one type. `search` on a View answers it with a Page."""

    type: str
    clauses: tuple[Clause, ...] = ()
    ids: tuple[str, ...] | None = None
    """`_id`"""
    last_updated: tuple[tuple[DateValue, ...], ...] = ()
    """`_lastUpdated`; of each one alternative holds."""
    sort: tuple[Sort, ...] = ()
    count: int = DEFAULT_COUNT
    includes: tuple[Include, ...] = ()
    page: tuple[str, ...] | None = None
    """The sort values and the id after which the page starts."""
    total: bool | None = None
    """`_total`: whether to count all matches; None: only where that costs nothing."""
    summary: str = "false"
    elements: tuple[str, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    """The parameters that were understood, for the self and next links."""
    ignored: tuple[str, ...] = ()
    """Names that were not, when lenient."""

    @property
    def by_last_updated(self) -> bool:
        """True when the answer must be gap-free: filtered or sorted by `_lastUpdated`."""
        return bool(self.last_updated) or any(key.name == "_lastUpdated" for key in self.sort)

    @property
    def order(self) -> tuple[Sort, ...]:
        """What the result is ordered by. Unless the client says, by age, or by the date that is asked for, so that the
        index which finds the rows also gives their order.
        """
        if self.sort:
            return self.sort
        if not any(clause.pairs for clause in self.clauses):
            for clause in self.clauses:
                if clause.parameter.main and clause.missing is None:
                    return (Sort(clause.parameter.name, parameter=clause.parameter),)
        return (Sort("_lastUpdated"),)

    @property
    def by_age(self) -> bool:
        """True when the result is ordered by age alone."""
        return [key.name for key in self.order] == ["_lastUpdated"]
