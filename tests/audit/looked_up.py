"""What the record of a store holds."""

from fhir_mappings.audit_event import Recorded
from fhir_mappings.terminology import Canonical
from service.store.database import Store
from service.store.query import parse_query

CANONICAL = Canonical("https://sluss.example/fhir")


def recorded(store: Store, interaction: str) -> list[Recorded]:
    """The events of one kind, oldest first."""
    query = parse_query("AuditEvent", [("_sort", "_lastUpdated"), ("_count", "1000")])
    assert not isinstance(query, list)
    return [event for event in store.audit_view.search(query, CANONICAL)[0] if event.interaction == interaction]
