"""What a search asks for, and the pure way from an HTTP query to it. https://hl7.org/fhir/R4/search.html

Nothing here touches the database; `search.py` turns a `SearchQuery` into SQL.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from fhir_mappings.issues import Issue, IssueCode, error
from service.store.moments import Moment, parse_moment
from service.store.search_parameters import BY_TYPE, Kind, SearchParameter

DEFAULT_COUNT = 50
MAX_COUNT = 1000
MAX_PARAMETERS = 100
MAX_VALUES = 200
"""Most values of one parameter; more is refused as too costly."""

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_PAGE_ID = re.compile(r"[A-Za-z0-9\-.]{0,64}")
_LITERAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_RESULT_FORM = frozenset({"_format", "_pretty", "_summary", "_elements", "_total", "_contained"})
"""Parameters about the form of the answer, which is the web's concern; they are passed over here."""

_MODIFIERS: dict[Kind, frozenset[str]] = {
    Kind.TOKEN: frozenset({"not", "missing"}),
    Kind.REFERENCE: frozenset({"identifier", "missing"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.STRING: frozenset({"exact", "contains", "missing"}),
    Kind.URI: frozenset({"missing"}),
}


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


Value = TokenValue | DateValue | str
"""What a clause compares with: reference, string and uri values are plain text (`Type/id` for a reference)."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One parameter of the query. Its values are alternatives; clauses all hold at once."""

    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]
    missing: bool | None = None
    """For `:missing` only."""


@dataclass(frozen=True, slots=True)
class Sort:
    """What the result is ordered by: `_lastUpdated`, or a date parameter."""

    name: str
    descending: bool = False
    parameter: SearchParameter | None = None


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=Type:name[:target]`"""

    parameter: SearchParameter
    target: str | None = None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A parsed search over one type. `search` on a View answers it with a Page."""

    type: str
    clauses: tuple[Clause, ...] = ()
    ids: tuple[str, ...] | None = None
    """`_id`"""
    last_updated: tuple[DateValue, ...] = ()
    """`_lastUpdated`; all hold at once."""
    sort: Sort | None = None
    count: int = DEFAULT_COUNT
    includes: tuple[Include, ...] = ()
    page: tuple[str, str] | None = None
    """The sort value and id after which the page starts."""
    used: tuple[tuple[str, str], ...] = ()
    """The parameters that were understood, for the self and next links."""
    ignored: tuple[str, ...] = ()
    """Names that were not, when lenient."""
    organisation: str | None = None
    """Only resources of referrals from this organisation (HSA-id). Set for the caller's rights, never by a client."""
    team: str | None = None
    """Only resources of referrals at this team. As `organisation`."""

    @property
    def by_last_updated(self) -> bool:
        """True when the answer must be gap-free: filtered or sorted by `_lastUpdated`."""
        return bool(self.last_updated) or (self.sort is not None and self.sort.name == "_lastUpdated")


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
    return reader.issues or reader.query


def page_token(value: str, id_: str) -> str:
    """An opaque `_page` value: go on after this sort value and id. Read back by `parse_query`."""
    return base64.urlsafe_b64encode(json.dumps([value, id_]).encode()).decode().rstrip("=")


class _Reader:
    """Gathers one query, parameter by parameter, with all its issues."""

    def __init__(self, type_: str, strict: bool, own_base: str | None) -> None:
        self.query = SearchQuery(type_)
        self.issues: list[Issue] = []
        self._known = BY_TYPE.get(type_, {})
        self._strict = strict
        self._own_base = own_base.rstrip("/") + "/" if own_base else None

    def read(self, name: str, value: str) -> None:
        base, _, modifier = name.partition(":")
        special = self._special.get(base)
        if base in _RESULT_FORM:
            if (base, value) == ("_summary", "count"):
                self._count("0")
                self._used(name, value)
            return
        if special is not None:
            if modifier:
                self._refuse(IssueCode.NOT_SUPPORTED, f"Modifier ':{modifier}' is not supported for {base}.")
            elif value:
                special(self, value)
                self._used(name, value)
        elif base in self._known:
            if value:
                self._clause(self._known[base], modifier or None, value)
                self._used(name, value)
        elif self._strict:
            self._refuse(IssueCode.NOT_SUPPORTED, f"Unknown search parameter '{base}' for {self.query.type}.")
        else:
            self.query = replace(self.query, ignored=(*self.query.ignored, name))

    def _used(self, name: str, value: str) -> None:
        if name != "_page":
            self.query = replace(self.query, used=(*self.query.used, (name, value)))

    def _refuse(self, code: IssueCode, diagnostics: str) -> None:
        self.issues.append(_cannot(code, diagnostics))

    def _clause(self, parameter: SearchParameter, modifier: str | None, text: str) -> None:
        if modifier == "missing":
            if text not in ("true", "false"):
                self._refuse(IssueCode.VALUE, f"'{parameter.name}:missing' takes true or false.")
                return
            clause = Clause(parameter, modifier, (), missing=text == "true")
            self.query = replace(self.query, clauses=(*self.query.clauses, clause))
            return
        target = None
        if modifier is not None and modifier not in _MODIFIERS[parameter.kind]:
            if modifier not in parameter.targets:
                self._refuse(IssueCode.NOT_SUPPORTED, f"Modifier ':{modifier}' is not supported for {parameter.name}.")
                return
            target, modifier = modifier, None
        values: list[Value] = []
        for part in _split(text):
            values.extend(self._value(parameter, modifier, target, part))
        if len(values) > MAX_VALUES:
            self._refuse(IssueCode.TOO_COSTLY, f"'{parameter.name}' has more than {MAX_VALUES} values.")
        elif values:
            clause = Clause(parameter, modifier, tuple(values))
            self.query = replace(self.query, clauses=(*self.query.clauses, clause))

    def _value(
        self, parameter: SearchParameter, modifier: str | None, target: str | None, text: str
    ) -> Sequence[Value]:
        if parameter.kind is Kind.DATE:
            moment = self._date(parameter.name, text)
            return (moment,) if moment else ()
        if parameter.kind is Kind.TOKEN or modifier == "identifier":
            return self._token(parameter, text)
        if parameter.kind is Kind.REFERENCE:
            return self._reference(parameter, target, _unescape(text))
        return (_unescape(text),)

    def _token(self, parameter: SearchParameter, text: str) -> Sequence[Value]:
        parts = _split(text, "|")
        if len(parts) > 2 or not any(parts):
            self._refuse(IssueCode.VALUE, f"'{parameter.name}' takes code, system|code, |code or system|.")
            return ()
        if len(parts) == 1:
            return (TokenValue(None, _unescape(parts[0])),)
        return (TokenValue(_unescape(parts[0]), _unescape(parts[1])),)

    def _reference(self, parameter: SearchParameter, target: str | None, text: str) -> Sequence[Value]:
        if self._own_base and text.startswith(self._own_base):
            text = text[len(self._own_base) :]
        if literal := _LITERAL.fullmatch(text):
            type_, id_ = literal.groups()
            if parameter.indexed != parameter.name and type_ not in parameter.targets:
                self._refuse(IssueCode.VALUE, f"'{parameter.name}' cannot refer to a {type_}.")
                return ()
            return (f"{type_}/{id_}",)
        if _ID.fullmatch(text):
            return tuple(f"{type_}/{text}" for type_ in ((target,) if target else parameter.targets))
        if "://" in text or text.startswith("urn:"):
            return (text,)
        self._refuse(IssueCode.VALUE, f"'{parameter.name}' takes an id, Type/id or an absolute URL.")
        return ()

    def _date(self, name: str, text: str) -> DateValue | None:
        prefix, written = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
        moment = parse_moment(written) if prefix in _PREFIXES else None
        if moment is None:
            self._refuse(IssueCode.VALUE, f"'{name}' takes a date or dateTime, with one of {', '.join(_PREFIXES)}.")
            return None
        return DateValue(prefix, moment)

    def _ids(self, text: str) -> None:
        ids = tuple(dict.fromkeys(_split(text)))
        if len(ids) > MAX_VALUES:
            self._refuse(IssueCode.TOO_COSTLY, f"'_id' has more than {MAX_VALUES} values.")
        asked = ids if self.query.ids is None else tuple(id_ for id_ in self.query.ids if id_ in ids)
        self.query = replace(self.query, ids=asked)

    def _last_updated(self, text: str) -> None:
        if len(_split(text)) > 1:
            self._refuse(IssueCode.NOT_SUPPORTED, "'_lastUpdated' takes one value; repeat the parameter for a range.")
        elif value := self._date("_lastUpdated", text):
            self.query = replace(self.query, last_updated=(*self.query.last_updated, value))

    def _sort(self, text: str) -> None:
        name, descending = text.removeprefix("-"), text.startswith("-")
        parameter = self._known.get(name)
        if name == "_lastUpdated":
            self.query = replace(self.query, sort=Sort(name, descending))
        elif parameter is not None and parameter.kind is Kind.DATE:
            self.query = replace(self.query, sort=Sort(name, descending, parameter))
        else:
            self._refuse(IssueCode.NOT_SUPPORTED, "'_sort' takes _lastUpdated or one date parameter, '-' before it.")

    def _count(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            self._refuse(IssueCode.VALUE, "'_count' takes a whole number.")
        else:
            self.query = replace(self.query, count=min(int(text), MAX_COUNT))

    def _include(self, text: str) -> None:
        type_, _, rest = text.partition(":")
        name, _, target = rest.partition(":")
        parameter = BY_TYPE.get(type_, {}).get(name)
        if parameter is None or parameter.kind is not Kind.REFERENCE or type_ != self.query.type:
            self._refuse(
                IssueCode.NOT_SUPPORTED, f"'_include' knows no reference parameter of {self.query.type} there."
            )
        elif target and target not in parameter.targets:
            self._refuse(IssueCode.NOT_SUPPORTED, f"'{name}' cannot refer to that type.")
        else:
            self.query = replace(self.query, includes=(*self.query.includes, Include(parameter, target or None)))

    def _page(self, text: str) -> None:
        try:
            value, id_ = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError, binascii.Error):
            value, id_ = None, None
        if not (isinstance(value, str) and isinstance(id_, str) and parse_moment(value) and _PAGE_ID.fullmatch(id_)):
            self._refuse(IssueCode.VALUE, "'_page' is not a token that this server has given.")
        else:
            self.query = replace(self.query, page=(value, id_))

    _special: ClassVar[dict[str, Callable[["_Reader", str], None]]] = {
        "_id": _ids,
        "_lastUpdated": _last_updated,
        "_sort": _sort,
        "_count": _count,
        "_include": _include,
        "_page": _page,
    }


_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


def _cannot(code: IssueCode, diagnostics: str) -> Issue:
    return error(code, None, "Sökningen kan inte utföras som den är skriven.", diagnostics)


def _split(text: str, mark: str = ",") -> list[str]:
    """The parts between unescaped marks, still escaped."""
    parts, current, escaped = [], "", False
    for character in text:
        if character == mark and not escaped:
            parts.append(current)
            current = ""
        else:
            current += character
        escaped = character == "\\" and not escaped
    return [*parts, current]


def _unescape(text: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return re.sub(r"\\([,|$\\])", r"\1", text)
