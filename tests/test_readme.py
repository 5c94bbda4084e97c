"""The README's requests, pasted as they stand, work."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.journeys.conftest import Clock, Ids

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    block.replace("\\\n", " ")
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    if block.startswith("curl")
]


@pytest.fixture
def client(store: Store) -> FlaskClient:
    settings = Settings()
    house = House(store, load("gavleborg"), Canonical(settings.canonical_base), Clock(), Ids())
    return create_app(settings, house).test_client()


def _send(client: FlaskClient, command: str) -> int:
    words = iter(shlex.split(command)[1:])
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
            case "-i":
                pass
            case _:
                url = word
    parts = urlsplit(url)
    return client.open(f"{parts.path}?{parts.query}", method=method, data=body, headers=headers).status_code


def test_each_user_has_a_request_to_paste() -> None:
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pasted_request_works(client: FlaskClient, command: str) -> None:
    assert _send(client, command) in (200, 201)


def test_the_readme_names_every_setting() -> None:
    source = (Path(__file__).resolve().parent.parent / "service" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r"SLUSS_[A-Z_]+", source)) <= set(re.findall(r"SLUSS_[A-Z_]+", README))
