"""What every step of the story needs from outside: the store, the pack, the clock and ids, all injected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.terminology import Canonical
from service.packs.model import Pack
from service.store.database import Store


@dataclass(frozen=True)
class House:
    """The dependencies of the journey; one per process, shared by all threads."""

    store: Store
    pack: Pack
    canonical: Canonical
    clock: Callable[[], datetime]
    """The time now, aware. Time limits and texts use it; `meta.lastUpdated` is the store's own stamp."""
    new_id: Callable[[], str]
    sources: Mapping[str, str] = field(default_factory=dict)
    """While something is collected from the external server: the absolute URL, with version, of what it is there, by
    what a submission calls it or by its reference here.
    """

    def now(self) -> datetime:
        """The time now in Sweden, to the millisecond, as Sluss writes it into resources."""
        now = self.clock().astimezone(SWEDEN)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def today(self) -> date:
        """The day in Sweden: ages and time limits are counted where the patients are."""
        return self.clock().astimezone(SWEDEN).date()


def instant(moment: datetime) -> str:
    """ISO 8601 with milliseconds and offset, as FHIR's dateTime and instant take it."""
    return moment.isoformat(timespec="milliseconds")
