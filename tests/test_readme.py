"""The README's commands and requests, pasted as they stand, work."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from service.store.database import Store
from tests.web.served import PROJECT, Served, environment, new_database, served

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.replace("\\\n", " ") for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if ".venv/bin/sluss client" in line]
REQUESTS = [block for block in BLOCKS if block.startswith("curl")]


@pytest.fixture(scope="module")
def running(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`sluss serve` with authentication, as it is by default."""
    url = new_database(server_url, f"readme_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    Store(url).migrate()
    folder: Path = tmp_path_factory.mktemp("readme")
    with served(
        folder / "log", wait_for="/health/live", SLUSS_AUTH="", SLUSS_DATABASE_URL=url, NO_PROXY="127.0.0.1"
    ) as one:
        yield one


@pytest.fixture(scope="module")
def tokens(running: Served, server_url: str) -> dict[str, str]:
    """What the commands have made: the variables that they set."""
    url = server_url.replace("/postgres?", f"/readme_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}?")
    made = {}
    for line in COMMANDS:
        variable, _, command = line.rpartition("=$(") if "=$(" in line else ("", "", line)
        words = [sys.executable, "-m", "service.cli", *shlex.split(command.rstrip(")"))[1:]]
        if words[4] == "token":
            words += ["--url", running.url]
        ended = subprocess.run(
            words,
            cwd=running.log.parent,
            env=environment(SLUSS_AUTH="", SLUSS_DATABASE_URL=url, PYTHONPATH=str(PROJECT), NO_PROXY="127.0.0.1"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        if variable:
            made[variable] = ended.stdout.strip()
    return made


def _send(running: Served, command: str, variables: dict[str, str]) -> int:
    filled = re.sub(r"\$([A-Z]+)", lambda found: variables[found[1]], command)
    words = iter(shlex.split(filled)[1:])
    method, url, body, headers = "GET", "", None, {}
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words).encode()
            case "-i":
                pass
            case _:
                url = word.replace("http://127.0.0.1:8080", running.url)
    return requests.request(method, url, data=body, headers=headers, timeout=20).status_code


def test_each_user_has_a_request_to_paste() -> None:
    assert len(REQUESTS) == 4
    assert len(COMMANDS) == 6


def test_before_anybody_is_registered_the_service_says_how(running: Served) -> None:
    assert "sluss client add" in running.written


@pytest.mark.parametrize("command", REQUESTS)
def test_a_pasted_request_works(running: Served, tokens: dict[str, str], command: str) -> None:
    assert _send(running, command, tokens) in (200, 201)


@pytest.mark.parametrize("command", REQUESTS)
def test_without_its_token_it_is_refused(running: Served, command: str) -> None:
    assert _send(running, re.sub(r'-H "Authorization.*?"', "", command), {}) == 401


def test_the_readme_names_every_setting() -> None:
    source = (PROJECT / "service" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r"SLUSS_[A-Z_]+", source)) <= set(re.findall(r"SLUSS_[A-Z_]+", README))
