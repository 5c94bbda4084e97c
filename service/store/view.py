"""Reading what is stored."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, LiteralString

from fhir_mappings.records import Reference
from service.store import server_state, statements
from service.store.asked import Clause, SearchQuery
from service.store.connections import Connections, Row
from service.store.histories import HistoryPage, HistoryQuery, count_of, statement_of
from service.store.histories import page_of as page_of_history
from service.store.includes import MAX_INCLUDES, MAX_ROUNDS, includes_of
from service.store.index_values import digest, indexed
from service.store.records import (
    OPEN_STATES,
    AbsenceRow,
    CardFigures,
    Deadline,
    ExchangeFigures,
    JournalEntry,
    Page,
    QueueFigures,
    ReferralRow,
    ServerRow,
    Stored,
    Surroundings,
    Watermark,
)
from service.store.search import NARROW, SETTLED_UNTIL, count_for, page_of, probe_of, statement_for
from service.store.text_arrays import Texts


class View:
    """Reads; every call is on its own and sees what was committed before it. Raises StoreUnavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def _rows(
        self,
        statement: LiteralString | bytes,
        parameters: Mapping[str, Any],
        seen: Iterable[tuple[str, str]] | None = None,  # noqa: ARG002 - a Change needs it
    ) -> list[Row]:
        """`seen` says which resources (type, id) the statement looks at, where it looks at nothing else that a Change
        gathers before it is sent.
        """
        with self._connections.connection() as connection:
            return connection.execute(statement, parameters).fetchall()

    def get(self, type_: str, id_: str) -> Stored | None:
        """The current version of a resource."""
        return _first(self._rows(statements.GET, {"type": type_, "id": id_}, seen=((type_, id_),)))

    def get_many(self, references: Iterable[str]) -> dict[Reference, Stored]:
        """The current versions of `Type/id` references; those that are not stored are left out."""
        split = (reference.partition("/") for reference in dict.fromkeys(references))
        pairs = [(type_, id_) for type_, _, id_ in split]
        if not pairs:
            return {}
        wanted = {"types": Texts(type_ for type_, _ in pairs), "ids": Texts(id_ for _, id_ in pairs)}
        found = [Stored(*row) for row in self._rows(statements.GET_MANY, wanted, seen=pairs)]
        return {stored.reference: stored for stored in found}

    def version(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version of a resource, current or not."""
        if not 0 < version < 2**31:
            return None
        return _first(self._rows(statements.VERSION, {"type": type_, "id": id_, "version": version}))

    def history(self, type_: str, id_: str) -> list[Stored]:
        """All versions of a resource, newest first; empty when there is none."""
        return [Stored(*row) for row in self._rows(statements.HISTORY, {"type": type_, "id": id_})]

    def history_page(self, query: HistoryQuery) -> HistoryPage:
        """One page of a history. That of a type shows only what no open write transaction can come before, so that who
        asks again with `_since` misses nothing; that of one resource shows every version.
        """
        settled: datetime | None = None
        if query.id is None:
            ((settled,),) = self._rows(SETTLED_UNTIL, {})
        found = [Stored(*row) for row in self._rows(*statement_of(query, settled))]
        total = None
        if query.id is not None:
            ((total,),) = self._rows(*count_of(query))
        return page_of_history(query, found, total)

    def of_referral(self, referral_id: str) -> list[Stored]:
        """The current version of everything that was stored under a referral, oldest change first."""
        return [Stored(*row) for row in self._rows(statements.OF_REFERRAL, {"referral": referral_id})]

    def search(self, query: SearchQuery) -> Page:
        """One page of what `query` asks for, with its includes.

        Filtered or sorted by `_lastUpdated`, it shows only what can no longer be overtaken by a write transaction that
        is still open, so that a poller who goes on from the last stamp it saw misses nothing.
        """
        # By itself and first: what is settled must be known before the rows are looked at.
        settled = {"settled": self._rows(SETTLED_UNTIL, {})[0][0]} if query.by_last_updated else {}
        narrow = self._narrow(query)
        if query.count == 0:
            return Page((), total=self._counted(query, narrow, settled))
        statement = statement_for(query, narrow)
        matches, token = page_of(query, self._rows(statement.sql, statement.parameters | settled))
        total = None
        if query.total:
            total = self._counted(query, narrow, settled)
        elif query.total is None and query.page is None and token is None:
            total = len(matches)
        includes, cut = self._included(query, matches)
        return Page(matches, includes, token, total, includes_cut=cut)

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
        statement = count_for(query, narrow)
        ((total,),) = self._rows(statement.sql, {**statement.parameters, **settled})
        return int(total)

    def _included(self, query: SearchQuery, matches: Sequence[Stored]) -> tuple[tuple[Stored, ...], bool]:
        """What the includes ask for besides the matches, each once, and whether there was more."""
        shown = {(stored.type, stored.id) for stored in matches}
        included: dict[tuple[str, str], Stored] = {}
        last: Iterable[tuple[str, str]] = tuple(shown)
        for turn in range(MAX_ROUNDS):
            wanted = includes_of(query, last, iterating=turn > 0)
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

    def referral(self, referral_id: str) -> ReferralRow | None:
        """A referral's row."""
        return _first_referral(self._rows(statements.REFERRAL_BY_ID, {"id": referral_id}))

    def referral_by_placer(self, organisation: str, system: str, value: str) -> ReferralRow | None:
        """The referral that an organisation has sent under its own number."""
        key = digest(organisation, system, value)
        return _first_referral(self._rows(statements.REFERRAL_BY_PLACER, {"placer_key": key}))

    def referral_of(self, type_: str, id_: str) -> ReferralRow | None:
        """The referral that a resource was stored under."""
        return _first_referral(self._rows(statements.REFERRAL_OF, {"type": type_, "id": id_}))

    def open_referrals(self, patient_key: str) -> list[ReferralRow]:
        """The referrals of a patient that are not at an end, oldest first, from whichever organisation."""
        rows = self._rows(
            statements.OPEN_REFERRALS, {"patient_key": patient_key, "states": Texts(OPEN_STATES)}, seen=()
        )
        return [ReferralRow(*row) for row in map(referral_values, rows)]

    def natural(self, kind: str, keys: Sequence[str]) -> dict[str, Reference]:
        """The resources that stand for `keys` of a kind (`claim_natural`); keys that nobody claimed are left out."""
        return {key: reference for (_, key), reference in self.naturals([(kind, key) for key in keys]).items()}

    def naturals(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Reference]:
        """As `natural`, for (kind, key) of several kinds at once."""
        by_row = {(kind, indexed(key)): (kind, key) for kind, key in keys}
        wanted = {"kinds": Texts(kind for kind, _ in by_row), "keys": Texts(key for _, key in by_row)}
        rows = self._rows(statements.NATURAL, wanted, seen=())
        return {by_row[kind, key]: Reference(reference) for kind, key, reference in rows}

    def surroundings(self, keys: Iterable[tuple[str, str]], patient_key: str, besides: str = "") -> Surroundings:
        """`naturals`, `absences` and whether `open_referrals` has any besides one, asked in one go."""
        by_row = {(kind, indexed(key)): (kind, key) for kind, key in keys}
        wanted = {
            "kinds": Texts(kind for kind, _ in by_row),
            "keys": Texts(key for _, key in by_row),
            "patient_key": patient_key,
            "states": Texts(OPEN_STATES),
            "besides": besides,
        }
        known: dict[tuple[str, str], Stored] = {}
        absences = []
        others_open = False
        for what, *row in self._rows(statements.SURROUNDINGS, wanted):
            if what == "natural":
                kind, key, reference, referral_id, version, last_updated, body = row
                type_, _, id_ = reference.partition("/")
                known[by_row[kind, key]] = Stored(type_, id_, version, last_updated, body, referral_id)
            elif what == "absence":
                team, first, last, substitute, *_ = row
                absences.append(AbsenceRow(team, date.fromisoformat(first), date.fromisoformat(last), substitute))
            else:
                others_open = True
        return Surroundings(known, tuple(absences), others_open)

    def journal_of(self, referral_id: str) -> list[JournalEntry]:
        """What has happened to a referral, oldest first."""
        return [JournalEntry(*row) for row in self._rows(statements.JOURNAL_OF, {"referral": referral_id})]

    def keys_of(self, kind: str, reference: str) -> list[str]:
        """The keys that a resource stands for: for a Patient, one for each organisation that knows it so."""
        return [key for (key,) in self._rows(statements.KEYS_OF, {"kind": kind, "reference": reference})]

    def absences(self) -> list[AbsenceRow]:
        """Every absence that people have entered, in that order."""
        return [AbsenceRow(*row) for row in self._rows(statements.ABSENCES, {}, seen=())]

    def in_use(self) -> list[tuple[str, str]]:
        """(team, programme) of every referral that is not at an end, each pair once."""
        return [(team, programme) for team, programme in self._rows(statements.IN_USE, {"states": list(OPEN_STATES)})]

    def waiting_at(self, team: str, states: Sequence[str]) -> list[ReferralRow]:
        """The referrals of a team whose Task is in one of these states, oldest first."""
        rows = self._rows(statements.WAITING_AT, {"team": team, "states": list(states)})
        return [ReferralRow(*row) for row in map(referral_values, rows)]

    def overdue(self, now: datetime, limit: int) -> list[Deadline]:
        """Up to `limit` deadlines that are due at `now`, earliest first; not locked."""
        return [Deadline(*row) for row in self._rows(statements.OVERDUE, {"now": now, "limit": limit})]

    def deadlines_of(self, task_id: str) -> list[Deadline]:
        """The deadlines of one Task."""
        return [Deadline(*row) for row in self._rows(statements.DEADLINES_OF, {"task": task_id})]

    def external_server(self) -> ServerRow:
        """Whether the external server answers, as far as any worker knows."""
        rows = self._rows(server_state.KNOWN, {})
        return ServerRow(*rows[0]) if rows else ServerRow()

    def queue_figures(self, now: datetime) -> QueueFigures:
        """How many jobs wait, run and have failed, and what is overdue at `now`."""
        (row,) = self._rows(statements.QUEUE_FIGURES, {"now": now})
        return QueueFigures(*row)

    def card_figures(self, since: datetime) -> list[CardFigures]:
        """What became of the cards shown since then, rule by rule, the most shown first."""
        rows = self._rows(statements.CARD_FIGURES, {"since": since})
        return [
            CardFigures(rule, shown, accepted, overridden, tuple(reasons))
            for rule, shown, accepted, overridden, reasons in rows
        ]

    def exchange_figures(self) -> ExchangeFigures:
        """How the exchange with the external server stands."""
        (row,) = self._rows(statements.EXCHANGE_FIGURES, {})
        return ExchangeFigures(*row)

    def watermarks(self) -> list[Watermark]:
        """How far each type has been collected, by name; empty before the first look."""
        return [Watermark(*row) for row in self._rows(statements.WATERMARKS, {})]


def _stored(row: Row) -> Stored:
    return Stored(*row)


def _first(rows: list[Row]) -> Stored | None:
    return Stored(*rows[0]) if rows else None


def referral_values(row: Row) -> Row:
    """The columns with `alerted` as the tuple that the record holds."""
    *before, alerted, unit_reach = row
    return (*before, tuple(alerted), unit_reach)


def _first_referral(rows: list[Row]) -> ReferralRow | None:
    return ReferralRow(*referral_values(rows[0])) if rows else None
