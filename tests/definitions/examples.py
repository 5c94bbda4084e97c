"""A pack's examples are what the service really stores for one of its cases, with ids that can be read.

`python -m tests.definitions.examples` writes those of the shipped packs anew.
"""

import json
import tempfile
from pathlib import Path

from fhir_mappings.records import Json
from service.packs.loading import folder_of
from service.store.database import Store
from tests.fixtures.sending import BY_NAME, Service, order_of, serve

EXAMPLES = {"gavleborg": "depression-all-well", "praktikertjanst": "praktikertjanst-depression-all-well"}
"""The case that each pack's examples are made of."""

S = "https://sluss.example/fhir"


def made(pack: str, store: Store) -> dict[str, Json]:
    """The examples by file name: the case sent, then accepted by the team's first therapist."""
    case = BY_NAME[EXAMPLES[pack]]
    service = serve(case, store)
    answer = service.send(case)
    assert answer.status_code == 200, answer.text
    order = order_of(case, answer)
    (task,) = [
        t for t in service.search(f"Task?focus={order}") if t["owner"]["reference"].startswith("HealthcareService/")
    ]
    team = task["owner"]["reference"].removeprefix("HealthcareService/")
    accepted = service.put({**task, "status": "accepted"}, f"therapist {team}")
    assert accepted.status_code == 200, accepted.text
    return _readable(_around(service, order, task, team))


def _around(service: Service, order: str, task: Json, team: str) -> list[Json]:
    referral = service.read(order)
    patient, requester = referral["subject"]["reference"], referral["requester"]["reference"]
    role = service.read(requester)
    about = f"patient={patient.removeprefix('Patient/')}&_sort=_lastUpdated"
    children = service.search(f"Task?part-of=Task/{task['id']}&_sort=_lastUpdated")
    plan = service.search(f"CarePlan?{about}")
    return [
        service.read(patient),
        service.read(role["organization"]["reference"]),
        role,
        service.read(f"HealthcareService/{team}"),
        service.read(f"PractitionerRole/{service.house.pack.teams[team].roles[0]}"),
        referral,
        *service.search(f"QuestionnaireResponse?{about}"),
        *service.search(f"Observation?{about}"),
        service.read(f"Task/{task['id']}"),
        *children[:1],
        *({**one, "activity": one["activity"][:1]} for one in plan),
        *service.search(f"Communication?{about}"),
    ]


def _readable(resources: list[Json]) -> dict[str, Json]:
    """With `task-1` for a uuid and `{S}` for the canonical base, and without what a server sets."""
    text = json.dumps([_without_server_meta(one) for one in resources], ensure_ascii=False, default=float)
    counted: dict[str, int] = {}
    for one in resources:
        if len(one["id"]) == 36:
            type_ = one["resourceType"]
            counted[type_] = counted.get(type_, 0) + 1
            text = text.replace(one["id"], f"{type_.lower()}-{counted[type_]}")
    readable: list[Json] = json.loads(text.replace(S, "{S}"))
    return {f"{one['resourceType']}-{one['id']}.json": one for one in readable}


def _without_server_meta(resource: Json) -> Json:
    """Nor what an EHR claims of profiles that only it has."""
    meta = {k: v for k, v in resource["meta"].items() if k not in ("versionId", "lastUpdated", "profile")}
    return {**resource, "meta": meta} if meta else {k: v for k, v in resource.items() if k != "meta"}


def write() -> None:
    """Write the examples of the shipped packs into their folders."""
    from service.store import embedded

    with tempfile.TemporaryDirectory() as data:
        server = embedded.start(Path(data) / "data")
        for pack in EXAMPLES:
            import psycopg

            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{pack}"'.encode())
            store = Store(server.url.replace("/postgres?", f"/{pack}?"))
            store.migrate()
            folder = folder_of(pack) / "examples"
            folder.mkdir(exist_ok=True)
            for old in folder.glob("*.json"):
                old.unlink()
            for name, one in made(pack, store).items():
                (folder / name).write_text(json.dumps(one, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
            store.close()
        server.stop()


if __name__ == "__main__":
    write()
