# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""What a history asks for, and its way to SQL: versions of one resource or of a type, newest first, in pages.

https://hl7.org/fhir/R4/http.html#history
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_mappings.issues import Issue, IssueCode, error
from service.store.filters import Parameters
from service.store.moments import Moment, instant, parse_asked, parse_moment
from service.store.query import DEFAULT_COUNT, MAX_COUNT, MAX_PARAMETERS
from service.store.records import Stored
from service.store.sight import EVERYTHING, Sight
from service.store.statements import STORED
from service.store.visible import version_seen_by

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RESULT_FORM = frozenset({"_summary", "_elements"})


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A parsed history. `history` on a View answers it."""

    type: str
    id: str | None = None
    """None for the history of the type."""
    since: datetime | None = None
    """`_since`: versions made then or later."""
    at: Moment | None = None
    """`_at`: versions that were current at some time within it."""
    count: int = DEFAULT_COUNT
    page: tuple[datetime, str, int] | None = None
    """Stamp, id and version after which the page starts."""
    used: tuple[tuple[str, str], ...] = ()
    """The parameters that were understood, for the links."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of a history."""

    versions: tuple[Stored, ...]
    next: str | None = None
    """The `_page` token of the next page; None at the end."""
    total: int | None = None
    """All versions that were asked for; not told for a type, whose versions nobody counts."""


def parse_history(
    type_: str, id_: str | None, parameters: Sequence[tuple[str, str]], *, strict: bool = False
) -> HistoryQuery | list[Issue]:
    """The history that `parameters` ask for, or every problem. Unknown ones are passed over unless `strict`."""
    if len(parameters) > MAX_PARAMETERS:
        return [_cannot(IssueCode.TOO_COSTLY, f"A history takes at most {MAX_PARAMETERS} parameters.")]
    query = HistoryQuery(type_, id_)
    issues: list[Issue] = []
    for name, value in parameters:
        if name in _RESULT_FORM:
            continue
        read = _READERS.get(name)
        if read is None:
            if strict:
                issues.append(_cannot(IssueCode.NOT_SUPPORTED, f"Unknown parameter '{name}' for a history."))
            continue
        if not value:
            continue
        changes = read(value)
        if isinstance(changes, str):
            issues.append(_cannot(IssueCode.VALUE, changes))
        else:
            query = replace(query, **changes)
            if name != "_page":
                query = replace(query, used=(*query.used, (name, value)))
    return issues or query


def _since(text: str) -> dict[str, Any] | str:
    moment = parse_asked(text)
    return {"since": moment.low} if moment else "'_since' takes an instant."


def _at(text: str) -> dict[str, Any] | str:
    moment = parse_asked(text)
    return {"at": moment} if moment else "'_at' takes a date or dateTime."


def _count(text: str) -> dict[str, Any] | str:
    is_count = text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0
    return {"count": min(int(text), MAX_COUNT)} if is_count else "'_count' takes a whole number above 0."


def _page(text: str) -> dict[str, Any] | str:
    try:
        stamp, id_, version = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        moment = parse_moment(stamp)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        moment, id_, version = None, None, None
    known = moment and isinstance(id_, str) and _ID.fullmatch(id_) and type(version) is int and 0 < version < 2**31
    return {"page": (moment.low, id_, version)} if moment and known else "'_page' is no token that this server gave."


def _form(_: str) -> dict[str, Any]:
    # The web reads it; it holds for the next page too.
    return {}


_READERS: dict[str, Callable[[str], dict[str, Any] | str]] = {
    "_since": _since,
    "_at": _at,
    "_count": _count,
    "_page": _page,
    "_format": _form,
    "_pretty": _form,
}


def _cannot(code: IssueCode, diagnostics: str) -> Issue:
    return error(code, None, "Historiken kan inte läsas som den efterfrågas.", diagnostics)


# ---------------------------------------------------------------- to SQL


def statement_of(
    query: HistoryQuery, settled: datetime | None, sight: Sight = EVERYTHING
) -> tuple[bytes, dict[str, Any]]:
    """The statement that finds one page and one version more, among what `sight` covers. `settled`: nothing from then
    on is shown, as a write transaction that is still open might come before it.
    """
    conditions, values = _conditions(query, sight)
    if settled is not None:
        values["settled"] = settled
        conditions += " AND r.last_updated < %(settled)s"
    if query.page is not None:
        values |= dict(zip(("page_stamp", "page_id", "page_version"), query.page, strict=True))
        conditions += (
            " AND r.last_updated <= %(page_stamp)s"
            " AND (r.last_updated, r.id, r.version) < (%(page_stamp)s, %(page_id)s, %(page_version)s)"
        )
    order = f"ORDER BY last_updated DESC, id DESC, version DESC LIMIT {query.count + 1}"
    superseded = _SUPERSEDED if query.at is not None else ""
    sql = f"""
        SELECT * FROM (
            (SELECT {STORED} FROM resource r WHERE {conditions} {order})
            UNION ALL
            (SELECT {STORED} FROM resource_history r WHERE {conditions}{superseded} {order})
        ) version {order}
    """
    return sql.encode(), values


def count_of(query: HistoryQuery, sight: Sight = EVERYTHING) -> tuple[bytes, dict[str, Any]]:
    """The statement that counts all versions of one resource that are asked for, if `sight` covers it."""
    conditions, values = _conditions(query, sight)
    superseded = _SUPERSEDED if query.at is not None else ""
    sql = f"""
        SELECT (SELECT count(*) FROM resource r WHERE {conditions})
             + (SELECT count(*) FROM resource_history r WHERE {conditions}{superseded})
    """
    return sql.encode(), values


def page_of(query: HistoryQuery, versions: Sequence[Stored], total: int | None) -> HistoryPage:
    """The page in what `statement_of` found."""
    shown = tuple(versions[: query.count])
    if len(versions) <= query.count:
        return HistoryPage(shown, None, total)
    last = shown[-1]
    token = json.dumps([instant(last.last_updated), last.id, last.version])
    return HistoryPage(shown, base64.urlsafe_b64encode(token.encode()).decode().rstrip("="), total)


_SUPERSEDED = """ AND NOT EXISTS (
    SELECT FROM resource n
    WHERE n.type = r.type AND n.id = r.id AND n.version = r.version + 1 AND n.last_updated <= %(at_low)s
) AND NOT EXISTS (
    SELECT FROM resource_history n
    WHERE n.type = r.type AND n.id = r.id AND n.version = r.version + 1 AND n.last_updated <= %(at_low)s
)"""
"""Not one that the next had replaced before then."""


def _conditions(query: HistoryQuery, sight: Sight) -> tuple[str, dict[str, Any]]:
    parameters = Parameters()
    conditions = " AND ".join(["r.type = %(type)s", *version_seen_by(sight, query.type, "r", parameters)])
    values = {**parameters.values, "type": query.type}
    if query.id is not None:
        values["id"] = query.id
        conditions += " AND r.id = %(id)s"
    if query.since is not None:
        values["since"] = query.since
        conditions += " AND r.last_updated >= %(since)s"
    if query.at is not None:
        values |= {"at_low": query.at.low, "at_high": query.at.high}
        conditions += " AND r.last_updated < %(at_high)s"
    return conditions, values
