"""The pure way from an HTTP query to a `SearchQuery`. https://hl7.org/fhir/R4/search.html

Nothing here touches the database; `search.py` turns a `SearchQuery` into SQL.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from fhir_mappings.issues import Issue, IssueCode, error
from service.store import query_values
from service.store.asked import DEFAULT_COUNT, Clause, DateValue, Include, SearchQuery, Sort, TokenValue, Value
from service.store.query_values import Unreadable, is_id, split, unescape
from service.store.search_kinds import LAST_UPDATED
from service.store.search_parameters import BY_TYPE, Kind, SearchParameter, Shape

__all__ = ["DEFAULT_COUNT", "MAX_COUNT", "SearchQuery", "TokenValue", "modifiers_of", "page_token", "parse_query"]

MAX_COUNT = 1000
MAX_PARAMETERS = 100
MAX_VALUES = 200
"""Most values of one parameter; more is refused as too costly."""
MAX_KEYS = 5
"""Most sort keys."""

_WEBS_OWN = frozenset({"_format", "_pretty"})
"""Parameters about the form of the answer, which the web reads; they hold for the next page too."""
_SUMMARIES = ("true", "text", "data", "count", "false")

_MODIFIERS: dict[Kind, frozenset[str]] = {
    Kind.TOKEN: frozenset({"not", "missing"}),
    Kind.REFERENCE: frozenset({"identifier", "missing"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.STRING: frozenset({"exact", "contains", "missing"}),
    Kind.URI: frozenset({"missing"}),
    Kind.QUANTITY: frozenset({"missing"}),
}


def parse_query(
    type_: str, parameters: Sequence[tuple[str, str]], *, strict: bool = False, own_base: str | None = None
) -> SearchQuery | list[Issue]:
    """The search that `parameters` (decoded name-value pairs) asks for, or every problem with them.

    An unknown parameter is passed over and named in `ignored`, or an Issue when `strict` (`Prefer: handling=strict`).
    An unknown modifier or a bad value is always an Issue. `own_base`: our own base URL, which clients may write before
    a reference.
    """
    reader = _Reader(type_, strict, own_base)
    if len(parameters) > MAX_PARAMETERS:
        return [_cannot(IssueCode.TOO_COSTLY, f"A search takes at most {MAX_PARAMETERS} parameters.")]
    for name, value in parameters:
        if "\0" in name + value:
            return [_cannot(IssueCode.VALUE, "A search cannot hold U+0000.")]
        reader.read(name, value)
    return reader.end()


def modifiers_of(parameter: SearchParameter) -> frozenset[str]:
    """What may follow a parameter's name after a colon, beside the types that it refers to."""
    return _MODIFIERS[parameter.kind] - ({"identifier"} if parameter.shape is Shape.CANONICAL else set())


def page_token(values: Sequence[str], id_: str) -> str:
    """An opaque `_page` value: go on after these sort values and this id. Read back by `parse_query`."""
    return base64.urlsafe_b64encode(json.dumps([*values, id_]).encode()).decode().rstrip("=")


class _Reader:
    """Gathers one query, parameter by parameter, with all its issues."""

    def __init__(self, type_: str, strict: bool, own_base: str | None) -> None:
        self.query = SearchQuery(type_)
        self.issues: list[Issue] = []
        self._known = BY_TYPE.get(type_, {})
        self._strict = strict
        self._own_base = own_base.rstrip("/") + "/" if own_base else None
        self._page_token = ""
        self._only_counts = False

    def read(self, name: str, value: str) -> None:
        head, chain, tail = name.partition(".")
        base, _, modifier = head.partition(":")
        special = self._special.get(base)
        if base in _WEBS_OWN:
            self._used(name, value)
            return
        if special is not None:
            if not chain and modifier == "iterate" and base in ("_include", "_revinclude"):
                if value:
                    self._include(value, reverse=base == "_revinclude", iterate=True)
                    self._used(name, value)
            elif modifier or chain:
                self._refuse(IssueCode.NOT_SUPPORTED, f"'{name[len(base) :]}' is not supported for {base}.")
            elif value:
                special(self, value)
                self._used(name, value)
        elif base not in self._known or (chain and self._leads_nowhere(self._known[base], tail)):
            if self._strict:
                self._refuse(IssueCode.NOT_SUPPORTED, f"Unknown search parameter '{name}' for {self.query.type}.")
            else:
                self.query = replace(self.query, ignored=(*self.query.ignored, name))
        elif value:
            parameter = self._known[base]
            clause = (
                self._chain(parameter, modifier or None, tail, value)
                if chain
                else self._clause(parameter, modifier or None, value)
            )
            if clause is not None:
                self.query = replace(self.query, clauses=(*self.query.clauses, clause))
            self._used(name, value)

    def end(self) -> SearchQuery | list[Issue]:
        """The query, or every problem with it."""
        if self._page_token:
            self._start_after(self._page_token)
        if self.query.summary == "text" and self.query.includes:
            # https://hl7.org/fhir/R4/search.html#summary
            self._refuse(IssueCode.NOT_SUPPORTED, "'_summary=text' cannot be asked for together with an include.")
        if self._only_counts:
            self.query = replace(self.query, count=0)
        return self.issues or self.query

    def _used(self, name: str, value: str) -> None:
        if name != "_page":
            self.query = replace(self.query, used=(*self.query.used, (name, value)))

    def _refuse(self, code: IssueCode, diagnostics: str) -> None:
        issue = _cannot(code, diagnostics)
        if issue not in self.issues:
            self.issues.append(issue)

    # ------------------------------------------------------------ what must hold

    def _clause(self, parameter: SearchParameter, modifier: str | None, text: str) -> Clause | None:
        if modifier == "missing":
            if text not in ("true", "false"):
                self._refuse(IssueCode.VALUE, f"'{parameter.name}:missing' takes true or false.")
                return None
            return Clause(parameter, modifier, (), missing=text == "true")
        target = None
        if modifier is not None and modifier not in modifiers_of(parameter):
            if modifier not in parameter.targets:
                self._refuse(IssueCode.NOT_SUPPORTED, f"Modifier ':{modifier}' is not supported for {parameter.name}.")
                return None
            target, modifier = modifier, None
        parts = split(text)
        if len(parts) > MAX_VALUES:
            self._refuse(IssueCode.TOO_COSTLY, f"'{parameter.name}' has more than {MAX_VALUES} values.")
            return None
        values: list[Value] = []
        for part in parts:
            read = self._value(parameter, modifier, target, part)
            if isinstance(read, Unreadable):
                self._refuse(IssueCode.VALUE, read)
            elif isinstance(read, tuple):
                values.extend(read)
            else:
                values.append(read)
        return Clause(parameter, modifier, tuple(values))

    def _value(
        self, parameter: SearchParameter, modifier: str | None, target: str | None, text: str
    ) -> Value | tuple[str, ...] | Unreadable:
        if modifier == "identifier":
            return query_values.token(parameter.name, text)
        match parameter.kind:
            case Kind.DATE:
                return query_values.date(parameter.name, text)
            case Kind.QUANTITY:
                return query_values.quantity(parameter.name, text)
            case Kind.TOKEN:
                return query_values.token(parameter.name, text)
            case Kind.REFERENCE:
                return query_values.reference(parameter, target, unescape(text), self._own_base)
        # every text begins with an empty one
        return unescape(text) or Unreadable(f"'{parameter.name}' has an empty value among its values.")

    @staticmethod
    def _leads_nowhere(parameter: SearchParameter, tail: str) -> bool:
        """True for a chain whose last name is no parameter of any type it could be about."""
        name = tail.partition(".")[0].partition(":")[0]
        known = name in ("_id", LAST_UPDATED.name) or any(name in BY_TYPE.get(type_, {}) for type_ in parameter.targets)
        return not (known and parameter.targets)

    def _chain(self, parameter: SearchParameter, target: str | None, tail: str, text: str) -> Clause | None:
        if parameter.shape is Shape.CANONICAL or "." in tail:
            self._refuse(
                IssueCode.NOT_SUPPORTED, "A chain leads over one reference (patient.name), not over several or a URL."
            )
            return None
        if target is not None and target not in parameter.targets:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{parameter.name}' cannot refer to that type.")
            return None
        name, _, modifier = tail.partition(":")
        targets = (target,) if target else parameter.targets
        if name == "_id" and not modifier:
            ids = split(text)
            if len(ids) > MAX_VALUES:
                self._refuse(IssueCode.TOO_COSTLY, f"'{parameter.name}._id' has more than {MAX_VALUES} values.")
                return None
            return Clause(parameter, None, tuple(f"{type_}/{id_}" for type_ in targets for id_ in ids))
        if name == LAST_UPDATED.name and not modifier:
            held_there = self._clause(LAST_UPDATED, None, text)
            return held_there and Clause(parameter, None, (), chained=tuple((type_, held_there) for type_ in targets))
        known = [(type_, BY_TYPE[type_][name]) for type_ in targets if name in BY_TYPE.get(type_, {})]
        if not known:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{name}' is no search parameter of {target} to end in.")
        there = [(type_, self._clause(last, modifier or None, text)) for type_, last in known]
        return Clause(parameter, None, (), chained=tuple((type_, held) for type_, held in there if held is not None))

    def _ids(self, text: str) -> None:
        ids = tuple(dict.fromkeys(split(text)))
        if len(ids) > MAX_VALUES:
            self._refuse(IssueCode.TOO_COSTLY, f"'_id' has more than {MAX_VALUES} values.")
            return
        asked = ids if self.query.ids is None else tuple(id_ for id_ in self.query.ids if id_ in ids)
        self.query = replace(self.query, ids=asked)

    def _last_updated(self, text: str) -> None:
        clause = self._clause(LAST_UPDATED, None, text)
        if clause is not None:
            alternatives = tuple(value for value in clause.values if isinstance(value, DateValue))
            self.query = replace(self.query, last_updated=(*self.query.last_updated, alternatives))

    # ------------------------------------------------------------ what is shown, and in which order

    def _sort(self, text: str) -> None:
        keys = [*self.query.sort]
        asked = split(text)
        if len(keys) + len(asked) > MAX_KEYS:
            self._refuse(IssueCode.TOO_COSTLY, f"'_sort' takes at most {MAX_KEYS} keys.")
            return
        for written in asked:
            name, descending = written.removeprefix("-"), written.startswith("-")
            parameter = self._known.get(name)
            if name in ("_id", "_lastUpdated"):
                keys.append(Sort(name, descending))
            elif parameter is not None and parameter.kind is not Kind.REFERENCE:
                keys.append(Sort(name, descending, parameter))
            else:
                self._refuse(
                    IssueCode.NOT_SUPPORTED,
                    "'_sort' takes _id, _lastUpdated and parameters that are no reference, '-' before them or not.",
                )
        self.query = replace(self.query, sort=tuple({key.name: key for key in reversed(keys)}.values())[::-1])

    def _count(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            self._refuse(IssueCode.VALUE, "'_count' takes a whole number.")
        else:
            self.query = replace(self.query, count=min(int(text), MAX_COUNT))

    def _total(self, text: str) -> None:
        if text not in ("none", "estimate", "accurate"):
            self._refuse(IssueCode.VALUE, "'_total' takes none, estimate or accurate.")
        else:
            self.query = replace(self.query, total=text != "none")

    def _summary(self, text: str) -> None:
        if text not in _SUMMARIES:
            self._refuse(IssueCode.VALUE, f"'_summary' takes {', '.join(_SUMMARIES)}.")
        elif text == "count":
            self._only_counts = True
        else:
            self.query = replace(self.query, summary=text)

    def _elements(self, text: str) -> None:
        named = split(text)
        if len(named) > MAX_VALUES:
            self._refuse(IssueCode.TOO_COSTLY, f"'_elements' has more than {MAX_VALUES} values.")
            return
        self.query = replace(self.query, elements=(*self.query.elements, *named))

    def _forwards(self, text: str) -> None:
        self._include(text, reverse=False, iterate=False)

    def _backwards(self, text: str) -> None:
        self._include(text, reverse=True, iterate=False)

    def _include(self, text: str, *, reverse: bool, iterate: bool) -> None:
        name = "_revinclude" if reverse else "_include"
        type_, _, rest = text.partition(":")
        code, _, target = rest.partition(":")
        parameter = BY_TYPE.get(type_, {}).get(code)
        of_another = not reverse and not iterate and type_ != self.query.type
        if parameter is None or parameter.kind is not Kind.REFERENCE or of_another:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{name}' knows no such reference parameter there.")
        elif reverse and parameter.shape is Shape.CANONICAL:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{name}' does not follow URLs.")
        elif target and target not in parameter.targets:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{code}' cannot refer to that type.")
        elif reverse and not iterate and self.query.type not in ((target,) if target else parameter.targets):
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{code}' of {type_} does not refer to a {self.query.type}.")
        else:
            include = Include(parameter, target or None, reverse, iterate)
            self.query = replace(self.query, includes=(*self.query.includes, include))

    def _page(self, text: str) -> None:
        self._page_token = text

    def _start_after(self, text: str) -> None:
        kinds = [column for key in self.query.order for column in key.columns]
        try:
            read = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            read = None
        if (
            isinstance(read, list)
            and len(read) == len(kinds) + 1
            and all(isinstance(value, str) and "\0" not in value for value in read)
            and all(_IS[kind](value) for kind, value in zip(kinds, read[:-1], strict=True))
            and (is_id(read[-1]) or not read[-1])
        ):
            self.query = replace(self.query, page=tuple(read))
        else:
            self._refuse(IssueCode.VALUE, "'_page' is not a token that this server has given for this search.")

    _special: ClassVar[dict[str, Callable[["_Reader", str], None]]] = {
        "_id": _ids,
        "_lastUpdated": _last_updated,
        "_sort": _sort,
        "_count": _count,
        "_total": _total,
        "_summary": _summary,
        "_elements": _elements,
        "_include": _forwards,
        "_revinclude": _backwards,
        "_page": _page,
    }


def _is_instant(text: str) -> bool:
    if text in ("-infinity", "infinity"):
        return True
    try:
        return _INSTANT.fullmatch(text) is not None and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|\+00)")
_DECIMAL = re.compile(r"-?[0-9]{1,2100}(\.[0-9]{1,1100})?|-Infinity")
_IS: dict[str, Callable[[str], bool]] = {
    "timestamptz": _is_instant,
    "numeric": lambda text: _DECIMAL.fullmatch(text) is not None,
    "text": _is_text,
}
"""Whether a text can be cast to a PostgreSQL type."""


def _cannot(code: IssueCode, diagnostics: str) -> Issue:
    return error(code, None, "Sökningen kan inte utföras som den är skriven.", str(diagnostics))
