"""Roles, persons and units that were stored before each was kept for the unit that described it."""

import os

from fhir_mappings.records import Reference
from service.store.change import Change
from service.store.database import Store
from service.store.records import Write
from tests.store.examples import referral, service_request
from tests.store.revisions import upgrade_to
from tests.web.served import new_database

A, B, C = (f"SE2321000198-EX0{n}" for n in (1, 2, 3))


def _describe(change: Change, kind: str, key: str, id_: str) -> None:
    change.claim_natural(kind, key, Reference(f"{kind}/{id_}"))
    change.write([Write({"resourceType": kind, "id": id_})])


def _send(store: Store, unit: str, *described: tuple[str, str, str], version: int = 1) -> None:
    """A referral of the unit, or its amendment, and what came in its Bundle as (type, key, id)."""
    id_ = f"sr-{unit}"
    with store.change() as change:
        if version == 1:
            new = referral(f"r-{unit}", organisation=unit, placer_value=unit, service_request=id_)
            assert change.open_referral(new) is not None
        for kind, key, name in described:
            _describe(change, kind, key, name)
        change.write([Write(service_request(id_), f"r-{unit}", expect=version - 1)])


def test_what_was_stored_is_kept_for_the_unit_that_described_it(server_url: str) -> None:
    url = new_database(server_url, f"before_providers_by_unit_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    upgrade_to(url, "0015")
    store = Store(url)
    with store.change() as change:
        _describe(change, "Organization", "SE-PACK", "from-the-pack")
        _describe(change, "PractitionerRole", "SE-UNKNOWN", "of-nobody")
    units = (("Organization", A, "a"), ("Organization", B, "b"), ("Organization", C, "c"))
    _send(store, A, ("PractitionerRole", "SE-ROLE", "role"), *units)
    _send(store, B)
    _send(store, A, ("Practitioner", "SE-PERSON", "person"), version=2)
    _send(store, B, version=2)
    upgrade_to(url, "head")
    keys = {
        (kind, id_): store.view().keys_of(kind, f"{kind}/{id_}")
        for kind, id_ in (
            *(("Organization", id_) for id_ in ("from-the-pack", "a", "b", "c")),
            ("PractitionerRole", "role"),
            ("PractitionerRole", "of-nobody"),
            ("Practitioner", "person"),
        )
    }
    store.close()
    assert keys == {
        ("Organization", "from-the-pack"): ["SE-PACK"],
        ("Organization", "a"): [A],
        ("Organization", "b"): [B],  # its referrals are told by it; its next description of itself renews it
        ("Organization", "c"): [f"{C}@{A}"],
        ("PractitionerRole", "role"): [f"SE-ROLE@{A}"],
        ("PractitionerRole", "of-nobody"): [],
        ("Practitioner", "person"): [f"SE-PERSON@{A}"],
    }
