"""The whole service, and what it has recorded."""

from collections.abc import Callable

import pytest

from fhir_mappings.audit_event import Recorded
from service.store.database import Store
from service.store.query import parse_query
from tests.audit.looked_up import CANONICAL
from tests.web.caller import Sluss
from tests.web.conftest import another, house, pack, sluss

__all__ = ["Events", "another", "house", "pack", "sluss"]

Events = Callable[[], list[Recorded]]


@pytest.fixture
def events(store: Store, sluss: Sluss) -> Events:
    """What was recorded since it was last asked for, oldest first; without what a start makes."""
    seen: set[int] = set()

    def new() -> list[Recorded]:
        query = parse_query("AuditEvent", [("_sort", "_lastUpdated"), ("_count", "1000")])
        assert not isinstance(query, list)
        found = [event for event in store.audit_view.search(query, CANONICAL)[0] if event.id not in seen]
        seen.update(event.id for event in found)
        return found

    new()
    return new
