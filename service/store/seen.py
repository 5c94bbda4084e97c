# ruff: noqa: S608 - the texts are put together from constants of this package; every value is a parameter
"""What somebody may see of what is stored: every read that a caller causes. What they may not see is not there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from fhir_mappings.records import Reference
from service.store.asked import Clause, SearchQuery
from service.store.connections import Row
from service.store.filters import Parameters
from service.store.histories import HistoryPage, HistoryQuery, count_of, statement_of
from service.store.histories import page_of as page_of_history
from service.store.includes import MAX_INCLUDES, MAX_ROUNDS, includes_of
from service.store.records import Page, ReferralRow, Stored, referral_values
from service.store.search import NARROW, SETTLED_UNTIL, count_for, page_of, probe_of, statement_for
from service.store.sight import Sight
from service.store.statements import REFERRAL, STORED
from service.store.text_arrays import Texts
from service.store.visible import any_seen_by, seen_by, version_seen_by


class Rows(Protocol):
    """Carries a statement out; see `View`."""

    def __call__(
        self, statement: bytes, parameters: Mapping[str, Any], seen: Iterable[tuple[str, str]] | None = None
    ) -> list[Row]:
        """The rows that it gives."""


class Seen:
    """Reads with one Sight. Raises StoreUnavailable."""

    def __init__(self, rows: Rows, sight: Sight) -> None:
        self._rows = rows
        self.sight = sight

    def within_unit(self, organisation: str) -> "Seen":
        """The same, of one unit's referrals only."""
        return Seen(self._rows, self.sight.within_unit(organisation))

    def get(self, type_: str, id_: str) -> Stored | None:
        """The current version of a resource."""
        parameters = Parameters()
        conditions = _and(seen_by(self.sight, parameters)(type_, "r"))
        sql = f"SELECT {STORED} FROM resource r WHERE r.type = %(type)s AND r.id = %(id)s{conditions}"
        values = {**parameters.values, "type": type_, "id": id_}
        return self._first(self._rows(sql.encode(), values, seen=self._looked_at([(type_, id_)])))

    def get_many(self, references: Iterable[str]) -> dict[Reference, Stored]:
        """The current versions of `Type/id` references; those that are not stored are left out."""
        split = (reference.partition("/") for reference in dict.fromkeys(references))
        pairs = [(type_, id_) for type_, _, id_ in split]
        if not pairs:
            return {}
        parameters = Parameters()
        conditions = _and(any_seen_by(self.sight, "r", parameters))
        sql = (
            f"SELECT {STORED} FROM unnest(%(types)b::text[], %(ids)b::text[]) AS wanted (type, id)"
            f" JOIN resource r ON r.type = wanted.type AND r.id = wanted.id{conditions}"
        )
        wanted = {"types": Texts(type_ for type_, _ in pairs), "ids": Texts(id_ for _, id_ in pairs)}
        found = self._rows(sql.encode(), {**parameters.values, **wanted}, seen=self._looked_at(pairs))
        return {stored.reference: stored for stored in map(self._shown, found)}

    def version(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version of a resource, current or not."""
        if not 0 < version < 2**31:
            return None
        parameters = Parameters()
        conditions = _and(version_seen_by(self.sight, type_, "r", parameters))
        which = f"r.type = %(type)s AND r.id = %(id)s AND r.version = %(version)s{conditions}"
        sql = (
            f"SELECT {STORED} FROM resource r WHERE {which}"
            f" UNION ALL SELECT {STORED} FROM resource_history r WHERE {which}"
        )
        values = {**parameters.values, "type": type_, "id": id_, "version": version}
        return self._first(self._rows(sql.encode(), values))

    def history_page(self, query: HistoryQuery) -> HistoryPage:
        """One page of a history. That of a type shows only what no open write transaction can come before, so that who
        asks again with `_since` misses nothing; that of one resource shows every version.
        """
        settled: datetime | None = None
        if query.id is None:
            ((settled,),) = self._rows(SETTLED_UNTIL.encode(), {})
        found = [self._shown(row) for row in self._rows(*statement_of(query, settled, self.sight))]
        total = None
        if query.id is not None:
            ((total,),) = self._rows(*count_of(query, self.sight))
        return page_of_history(query, found, total)

    def referral_of(self, type_: str, id_: str) -> ReferralRow | None:
        """The referral that a resource was stored under."""
        parameters = Parameters()
        conditions = _and(seen_by(self.sight, parameters)(type_, "r"))
        sql = (
            f"SELECT {REFERRAL} FROM referral WHERE id ="
            f" (SELECT r.referral_id FROM resource r WHERE r.type = %(type)s AND r.id = %(id)s{conditions})"
        )
        rows = self._rows(sql.encode(), {**parameters.values, "type": type_, "id": id_})
        return ReferralRow(*referral_values(rows[0])) if rows else None

    # ------------------------------------------------------------ search

    def search(self, query: SearchQuery) -> Page:
        """One page of what `query` asks for, with its includes.

        Filtered or sorted by `_lastUpdated`, it shows only what can no longer be overtaken by a write transaction that
        is still open, so that a poller who goes on from the last stamp it saw misses nothing.
        """
        # By itself and first: what is settled must be known before the rows are looked at.
        settled = {"settled": self._rows(SETTLED_UNTIL.encode(), {})[0][0]} if query.by_last_updated else {}
        narrow = self._narrow(query)
        if query.count == 0:
            return Page((), total=self._counted(query, narrow, settled))
        statement = statement_for(query, narrow, self.sight)
        matches, token = page_of(query, self._rows(statement.sql, statement.parameters | settled))
        total = None
        if query.total:
            total = self._counted(query, narrow, settled)
        elif query.total is None and query.page is None and token is None:
            total = len(matches)
        includes, cut = self._included(query, matches)
        shown = self.sight.shown
        return Page(tuple(map(shown, matches)), tuple(map(shown, includes)), token, total, includes_cut=cut)

    def _narrow(self, query: SearchQuery) -> Clause | None:
        """The clause of a search whose finds are few enough to be gathered, if it needs one."""
        probe = probe_of(query)
        if probe is None:
            return None
        statement, clauses = probe
        (counts,) = self._rows(statement.sql, statement.parameters)
        least, clause = min(zip(counts, clauses, strict=True), key=lambda counted: counted[0])
        return clause if least <= NARROW else None

    def _counted(self, query: SearchQuery, narrow: Clause | None, settled: Mapping[str, Any]) -> int:
        statement = count_for(query, narrow, self.sight)
        ((total,),) = self._rows(statement.sql, {**statement.parameters, **settled})
        return int(total)

    def _included(self, query: SearchQuery, matches: Sequence[Stored]) -> tuple[tuple[Stored, ...], bool]:
        """What the includes ask for besides the matches, each once, and whether there was more."""
        shown = {(stored.type, stored.id) for stored in matches}
        included: dict[tuple[str, str], Stored] = {}
        last: Iterable[tuple[str, str]] = tuple(shown)
        for turn in range(MAX_ROUNDS):
            wanted = includes_of(query, last, iterating=turn > 0, sight=self.sight)
            if wanted is None:
                break
            found = [Stored(*row) for row in self._rows(wanted.sql, wanted.parameters)]
            new = {(s.type, s.id): s for s in found if (s.type, s.id) not in shown and (s.type, s.id) not in included}
            included |= new
            if len(found) > MAX_INCLUDES or len(included) > MAX_INCLUDES:
                return tuple(included.values())[:MAX_INCLUDES], True
            last = tuple(new)
        else:
            return tuple(included.values()), bool(last)
        return tuple(included.values()), False

    # ------------------------------------------------------------ private

    def _looked_at(self, pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]] | None:
        """What a read by id looks at: for Sluss itself these resources alone, else their referrals too."""
        return pairs if self.sight.is_everything else None

    def _shown(self, row: Row) -> Stored:
        return self.sight.shown(Stored(*row))

    def _first(self, rows: list[Row]) -> Stored | None:
        return self._shown(rows[0]) if rows else None


def _and(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)
