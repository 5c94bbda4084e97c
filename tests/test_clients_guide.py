"""The requests of docs/clients.md, pasted as they stand, work."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.journeys.conftest import Clock, Ids
from tests.web.caller import bundle

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "clients.md").read_text(encoding="utf-8")
COMMANDS = [block.replace("\\\n", " ") for block in re.findall(r"```sh\n(curl.*?)```", GUIDE, re.DOTALL)]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def client(store: Store) -> FlaskClient:
    """The service with the sample referral in it."""
    settings = Settings(auth="off")
    house = House(store, load("gavleborg"), Canonical(settings.canonical_base), Clock(), Ids())
    client = create_app(settings, house).test_client()
    sent = client.post("/fhir", json=bundle(), content_type="application/fhir+json")
    assert sent.status_code == 200, sent.text
    return client


def _task(client: FlaskClient) -> Json:
    found = client.get("/fhir/Task?code=fulfill").get_json()
    return dict(found["entry"][0]["resource"])


def _answer(client: FlaskClient, command: str) -> Json:
    task = _task(client)
    ids = {"TASK": task["id"], "ORDER": task["focus"]["reference"].split("/")[1]}
    words = iter(shlex.split(re.sub(r"\$(\w+)", lambda name: ids[name[1]], command))[1:])
    method, url, body, headers = "GET", "", None, {}
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                url = word
    if body is not None:  # as curl does
        headers.setdefault("Content-Type", FORM)
    parts = urlsplit(url)
    answer = client.open(f"{parts.path}?{parts.query}", method=method, data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    read: Json = answer.get_json()
    assert validate(read) == []
    return read


def test_there_is_a_search_by_get_and_by_post_a_patch_a_batch_and_a_transaction(client: FlaskClient) -> None:
    by_get, by_post, patch, batch, transaction = COMMANDS
    found = _answer(client, by_get)
    modes = {(e["resource"]["resourceType"], e["search"]["mode"]) for e in found["entry"]}
    assert modes == {
        ("Task", "match"),
        ("ServiceRequest", "include"),
        ("Patient", "include"),
        ("Communication", "include"),
    }
    assert [e["resource"]["id"] for e in _answer(client, by_post)["entry"]] == [_task(client)["id"]]
    counted = _answer(client, batch)
    assert [e["response"]["status"] for e in counted["entry"]] == ["200 OK", "200 OK"]
    assert _answer(client, patch)["status"] == "received"
    told = _answer(client, transaction)
    assert [e["response"]["status"][:3] for e in told["entry"]] == ["201", "200"]
