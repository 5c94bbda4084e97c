"""What the pack says that others must be able to read: teams, therapists' roles, units, and all definitions.

Published as resources at start; a pack that has changed gives new versions, one that has not changes nothing.
"""

from collections.abc import Iterator

from fhir_mappings.providers import to_fhir_organization
from fhir_mappings.records import HsaId, Json, Reference
from fhir_mappings.teams import to_fhir_healthcare_service, to_fhir_team_role
from service.definitions.published import definitions
from service.referral.house import House
from service.referral.in_use import check_in_use
from service.store.change import Change
from service.store.records import Write


def publish(house: House) -> int:
    """Store what differs from what is stored; gives how many resources were written. Several processes may do so at
    once: they take turns. Raises PackInUse.
    """
    check_in_use(house.pack, house.store)
    with house.store.change() as change:
        change.lock_key("the directory")  # processes that start together take turns
        organisations = dict(_organisations(house, change))
        described = definitions(house.pack, house.canonical)
        resources = [*_units(house, organisations), *_teams(house, organisations), *described]
        stored = change.get_many(f"{r['resourceType']}/{r['id']}" for r in resources)
        writes = []
        for resource in resources:
            old = stored.get(Reference(f"{resource['resourceType']}/{resource['id']}"))
            if old is None or {**old.content, "meta": None} != {**resource, "meta": None}:
                writes.append(Write(resource, expect=old.version if old else 0))
        if writes:
            change.write(writes)
        return len(writes)


def _organisations(house: House, change: Change) -> Iterator[tuple[HsaId, Reference]]:
    """Every unit and every team's seat, by HSA-id; the reference that stands for it from now on."""
    known: set[HsaId] = {*house.pack.units, *(team.hsa_id for team in house.pack.teams.values())}
    found = change.natural("Organization", sorted(known))
    for hsa_id in sorted(known):
        if hsa_id in found:
            yield hsa_id, found[hsa_id]
        else:
            yield hsa_id, change.claim_natural("Organization", hsa_id, Reference(f"Organization/{house.new_id()}"))


def _units(house: House, organisations: dict[HsaId, Reference]) -> Iterator[Json]:
    seats = {team.hsa_id: team.seat for team in house.pack.teams.values()}
    for hsa_id, reference in organisations.items():
        unit = house.pack.units.get(hsa_id)
        name = unit.name if unit else seats[hsa_id]
        resource = to_fhir_organization(hsa_id, name, unit.municipality if unit else None, house.canonical)
        yield {**resource, "id": reference.partition("/")[2]}


def _teams(house: House, organisations: dict[HsaId, Reference]) -> Iterator[Json]:
    for team in house.pack.teams.values():
        seat = organisations[team.hsa_id]
        yield to_fhir_healthcare_service(team, house.canonical, seat)
        for role in team.roles:
            yield to_fhir_team_role(team, role, seat, house.canonical)
