"""Callers as the record of who did what names them."""

from service.access.caller import Caller
from service.store.audit_records import Agent


def agent_of(caller: Caller) -> Agent:
    """Who a caller is, for the record."""
    return Agent(
        role=str(caller.role),
        client=caller.client,
        person=caller.user,
        unit=caller.unit,
        organisations=tuple(sorted(caller.organisations)),
        teams=tuple(sorted(caller.teams)),
        via=caller.via,
        reason=caller.reason,
        token=caller.token,
    )
