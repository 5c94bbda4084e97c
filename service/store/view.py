"""Reading what is stored."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, LiteralString

from fhir_mappings.records import Reference
from service.store import server_state, statements
from service.store.asked import SearchQuery
from service.store.connections import Connections, Row
from service.store.histories import HistoryPage, HistoryQuery
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
    referral_values,
)
from service.store.seen import Seen
from service.store.sight import EVERYTHING, Sight
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

    def seen_by(self, sight: Sight) -> Seen:
        """What somebody may see of it, and nothing else."""
        return Seen(self._rows, sight)

    def get(self, type_: str, id_: str) -> Stored | None:
        """The current version of a resource."""
        return self.seen_by(EVERYTHING).get(type_, id_)

    def get_many(self, references: Iterable[str]) -> dict[Reference, Stored]:
        """The current versions of `Type/id` references; those that are not stored are left out."""
        return self.seen_by(EVERYTHING).get_many(references)

    def version(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version of a resource, current or not."""
        return self.seen_by(EVERYTHING).version(type_, id_, version)

    def history(self, type_: str, id_: str) -> list[Stored]:
        """All versions of a resource, newest first; empty when there is none."""
        return [Stored(*row) for row in self._rows(statements.HISTORY, {"type": type_, "id": id_})]

    def history_page(self, query: HistoryQuery) -> HistoryPage:
        """As Seen's."""
        return self.seen_by(EVERYTHING).history_page(query)

    def of_referral(self, referral_id: str) -> list[Stored]:
        """The current version of everything that was stored under a referral, oldest change first."""
        return [Stored(*row) for row in self._rows(statements.OF_REFERRAL, {"referral": referral_id})]

    def search(self, query: SearchQuery) -> Page:
        """As Seen's."""
        return self.seen_by(EVERYTHING).search(query)

    def referral(self, referral_id: str) -> ReferralRow | None:
        """A referral's row."""
        return _first_referral(self._rows(statements.REFERRAL_BY_ID, {"id": referral_id}))

    def referral_by_placer(self, organisation: str, system: str, value: str) -> ReferralRow | None:
        """The referral that an organisation has sent under its own number."""
        key = digest(organisation, system, value)
        return _first_referral(self._rows(statements.REFERRAL_BY_PLACER, {"placer_key": key}))

    def referral_of(self, type_: str, id_: str) -> ReferralRow | None:
        """The referral that a resource was stored under."""
        return self.seen_by(EVERYTHING).referral_of(type_, id_)

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


def _first_referral(rows: list[Row]) -> ReferralRow | None:
    return ReferralRow(*referral_values(rows[0])) if rows else None
