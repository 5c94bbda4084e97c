"""The resources of a store in a real HAPI, under the same ids."""

import json
import sys
import threading
from collections.abc import Iterator
from itertools import groupby

import click
import psycopg
import requests

from fhir_mappings.records import Json

CONNECTIONS = 4
_SHARED = ("Organization", "HealthcareService", "PractitionerRole", "Patient")
"""What belongs to no referral and is referred to, in the order in which they refer to each other."""
_AT_ONCE = 100
_TRIES = 5
"""HAPI now and then rolls back a transaction because of another one."""


def has(hapi: str, referrals: int) -> bool:
    """Whether an earlier run has put so many there."""
    answer = requests.get(f"{hapi}/ServiceRequest", {"_summary": "count"}, timeout=60, proxies={"http": ""})
    return bool(answer.json()["total"] == referrals)


def post(url: str, hapi: str) -> int:
    """Puts there what every referral in the store consists of, a transaction for each, oldest first; gives how many
    resources. Raises ClickException when HAPI refuses something.
    """
    with psycopg.connect(url) as connection:
        shared = connection.execute(
            "SELECT body FROM resource WHERE type = ANY(%s) ORDER BY array_position(%s, type), last_updated",
            (list(_SHARED), list(_SHARED)),
        ).fetchall()
        owned = connection.execute(
            "SELECT referral_id, body FROM resource WHERE referral_id IS NOT NULL AND type <> ALL(%s)"
            " ORDER BY referral_id, last_updated",
            (list(_SHARED),),
        ).fetchall()
    rows = [body for (body,) in shared]
    for first in range(0, len(rows), _AT_ONCE):
        _send(hapi, iter([_bundle(rows[first : first + _AT_ONCE])]))
    bundles = [_bundle([body for _, body in each]) for _, each in groupby(owned, lambda row: row[0])]
    with click.progressbar(bundles, label="HAPI", file=sys.stderr) as waiting:
        _send(hapi, iter(waiting))
    return len(shared) + len(owned)


def _bundle(bodies: list[str]) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(json.loads(body)) for body in bodies]}


def _entry(resource: Json) -> Json:
    meta = {name: value for name, value in resource["meta"].items() if name not in ("versionId", "lastUpdated")}
    sent = {**resource, "meta": meta} if meta else {k: v for k, v in resource.items() if k != "meta"}
    return {"resource": sent, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}


def _send(hapi: str, bundles: Iterator[Json]) -> None:
    refused: list[str] = []
    turn = threading.Lock()

    def send() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not refused:
                with turn:
                    bundle = next(bundles, None)
                if bundle is None:
                    return
                headers = {"Content-Type": "application/fhir+json"}
                for _ in range(_TRIES):
                    answer = session.post(hapi, data=json.dumps(bundle), headers=headers, timeout=120)
                    if answer.status_code == 200:
                        break
                else:
                    refused.append(answer.text[:1000])

    hands = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    if refused:
        raise click.ClickException(f"HAPI refused: {refused[0]}")
