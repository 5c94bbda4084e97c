"""How the exchange stands, for the person who runs it: in lines, as JSON, and what of it needs a person. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fhir_mappings.records import Json
from service.store.dead_letters import DeadLetter
from service.store.records import ExchangeFigures, QueueFigures, ServerRow, Watermark

if TYPE_CHECKING:
    from service.exchange.reconcile import Reconciliation

_LATE = timedelta(minutes=5)
"""A job that has been due, or a look that was, for longer than this; readiness says so from then on, too."""
_LONG_AWAY = timedelta(hours=1)
"""After this somebody should ask those who run the external server."""


@dataclass(frozen=True)
class Overview:
    """The figures of one moment."""

    now: datetime
    on: bool
    """False when no external server is set."""
    queue: QueueFigures
    exchange: ExchangeFigures
    watermarks: Sequence[Watermark]
    server: ServerRow

    @property
    def last_contact(self) -> datetime | None:
        """When the external server last did what was asked."""
        times = [at for at in (self.server.last_contact, self.exchange.polled_at) if at is not None]
        return max(times, default=None)

    @property
    def needs_a_person(self) -> list[str]:
        """What does not mend itself, one line each, with what shows more; empty when all is well."""
        found = []
        if self.queue.workers == 0:
            found.append("no background worker runs: sluss worker")
        elif _older(self.queue.oldest_due, self.now, _LATE):
            found.append("jobs wait although a worker runs: see its log")
        if not self.on:
            return found
        exchange, server = self.exchange, self.server
        if exchange.dead_letters:
            found.append(f"{_count(exchange.dead_letters, 'dead letter')}: sluss exchange dead")
        if _older(server.down_since, self.now, _LONG_AWAY):
            found.append(f"the external server has been away for more than an hour ({server.reason})")
        elif server.down_since is None and self.queue.workers and _older(exchange.polled_at, self.now, _LATE):
            found.append("the external server has not been looked at for more than five minutes: see the worker's log")
        if exchange.stuck:
            found.append(f"{_count(exchange.stuck, 'change')} there could not be carried out: sluss exchange reconcile")
        if exchange.quarantined:
            what = _count(exchange.quarantined, "referral")
            found.append(f"{what} there cannot be read: coordination has a Task unreadable-referral for each")
        return found

    def as_json(self) -> Json:
        """Times as instants in UTC, null where there is none."""
        exchange, server = self.exchange, self.server
        return {
            "exchange": "on" if self.on else "off",
            "external_server": {
                "state": self._state(),
                "down_since": instant(server.down_since),
                "reason": server.reason,
                "next_attempt": instant(server.probe_at),
                "last_contact": instant(self.last_contact),
            },
            "deliveries": {
                "waiting": exchange.waiting,
                "retried": self.queue.failing,
                "oldest_waiting": instant(exchange.oldest_waiting),
                "dead_letters": exchange.dead_letters,
                "oldest_dead_letter": instant(exchange.oldest_dead),
                "discarded": exchange.discarded,
            },
            "collection": {
                "last_look": instant(exchange.polled_at),
                "watermarks": {mark.type: instant(mark.watermark) for mark in self.watermarks},
                "waiting": exchange.uncollected,
                "stuck": exchange.stuck,
                "unreadable_referrals": exchange.quarantined,
            },
            "queue": {
                "waiting": self.queue.waiting,
                "running": self.queue.running,
                "oldest_due": instant(self.queue.oldest_due),
                "workers": self.queue.workers,
            },
            "needs_a_person": self.needs_a_person,
        }

    def lines(self) -> list[str]:
        """The same for a terminal."""
        exchange, queue = self.exchange, self.queue
        waiting = f"{exchange.waiting} waiting, {queue.failing} of them retried"
        looked = f"{exchange.uncollected} waiting, {exchange.stuck} stuck"
        jobs = f"{queue.waiting} waiting, {queue.running} running, oldest due {self._ago(queue.oldest_due)}"
        told = [
            ("external server", f"{self._state()}, last contact {self._ago(self.last_contact)}"),
            ("deliveries", f"{waiting}, oldest {self._ago(exchange.oldest_waiting)}"),
            ("dead letters", f"{exchange.dead_letters}, oldest {self._ago(exchange.oldest_dead)}"),
            ("discarded", f"{exchange.discarded}"),
            ("last look there", f"{self._ago(exchange.polled_at)}; {looked}"),
            ("unreadable", f"{_count(exchange.quarantined, 'referral')}"),
            *((f"  {mark.type}", f"seen up to {instant(mark.watermark) or '-'}") for mark in self.watermarks),
            ("jobs", f"{jobs}; {_count(queue.workers, 'worker')}"),
        ]
        if self.server.down_since is not None:
            away = f"since {self._ago(self.server.down_since)}: {self.server.reason}"
            told.insert(1, ("  away", f"{away}; next attempt {instant(self.server.probe_at)}"))
        told += [("NEEDS A PERSON", line) for line in self.needs_a_person]
        return [f"{name:<24}{text}" for name, text in told]

    def _ago(self, at: datetime | None) -> str:
        if at is None:
            return "-"
        return f"{instant(at)} ({timedelta(seconds=int(max(0.0, (self.now - at).total_seconds())))} ago)"

    def _state(self) -> str:
        if not self.on:
            return "off"
        if self.server.down_since is not None:
            return "down"
        return "up" if self.last_contact is not None else "not asked yet"


def letter_as_json(letter: DeadLetter) -> Json:
    """One dead or discarded letter: ids, codes and times, nothing of a patient."""
    error = letter.last_error or {}
    discarded = {"at": instant(letter.discarded_at), "by": letter.discarded_by, "why": letter.why}
    return {
        "referral": letter.referral_id,
        "task": f"Task/{letter.task_id}",
        "state": letter.state,
        "waiting_since": instant(letter.waiting_since),
        "dead_since": instant(letter.dead_at),
        "attempts": letter.attempts,
        "reason": error.get("reason"),
        "status": error.get("status"),
        "issues": error.get("issues", []),
        "discarded": discarded if letter.dead_at is None else None,
    }


def letter_as_line(letter: DeadLetter) -> str:
    """The same for a terminal."""
    error = letter.last_error or {}
    said = " ".join(str(part) for part in (error.get("reason"), error.get("status")) if part is not None)
    issues = "; ".join(
        " ".join(part for part in (issue.get("code"), issue.get("expression")) if part)
        for issue in error.get("issues", ())
    )
    line = f"{letter.referral_id}  {said}{f': {issues}' if issues else ''}"
    if letter.dead_at is not None:
        what = letter.state or "unreadable-referral"
        return f"{line}  (dead since {instant(letter.dead_at)}; Task/{letter.task_id} {what})"
    return f"{line}  (discarded {instant(letter.discarded_at)} by {letter.discarded_by}: {letter.why})"


def reconciliation_as_lines(told: "Reconciliation") -> list[str]:
    """What a reconciliation came to, for a terminal."""
    counted = [
        ("copies compared", told.compared),
        ("  changed there", told.differing),
        ("  gone there", told.gone),
        ("found there", told.found),
        ("  done here now", told.taken),
        ("  turned down", told.turned_down),
        ("  set aside", told.set_aside),
        ("  not possible yet", told.waiting),
        ("deliveries scheduled", told.scheduled),
    ]
    lines = [f"{name:<24}{number}" for name, number in counted]
    return [*lines, *(f"{'NEEDS A PERSON':<24}a copy of nothing here: {key}" for key in told.orphans)]


def instant(at: datetime | None) -> str | None:
    """An instant in UTC, to the second."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _older(at: datetime | None, now: datetime, than: timedelta) -> bool:
    return at is not None and now - at > than


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
