"""The command line: what stops a start is told in words; what should start does (contract 1)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from service.cli import main
from service.packs.loading import SHIPPED
from service.store.database import Store
from service.store.records import JournalEntry
from tests.web.caller import single
from tests.web.served import PROJECT, Away, environment, free_port, new_database, served

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`sluss …` with nothing set but what is given. A command that goes on to the server would never come back."""
    for name in list(os.environ):
        if name.startswith("SLUSS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUSS_DATA_DIR", str(tmp_path / "never-made"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it would have started")

    monkeypatch.setattr("granian.Granian.serve", never, raising=False)

    def command(*arguments: str, **settings: str) -> Result:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(main, arguments)

    return command


def _own(name: str) -> str:
    return f"{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.mark.parametrize("command", [("serve",), ("worker",), ("db", "upgrade"), ("pack", "check")])
def test_bad_settings_stop_every_command_and_all_are_told(run: Run, command: tuple[str, ...]) -> None:
    ended = run(*command, SLUSS_AUTH="on", SLUSS_PUBLIC_URL="here", SLUSS_DATABASE_URL="mysql://u:secret@h/d")
    assert ended.exit_code == 1
    for name in ("SLUSS_AUTH takes", "SLUSS_PUBLIC_URL takes", "SLUSS_DATABASE_URL takes"):
        assert name in ended.output
    assert "secret" not in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "2001:db8::1", "remiss.example", ""])  # noqa: S104
def test_serving_on_a_public_address_without_authentication_is_refused(run: Run, host: str, tmp_path: Path) -> None:
    ended = run("serve", "--host", host, SLUSS_AUTH="off")
    assert ended.exit_code == 1
    assert "SLUSS_AUTH=off is refused" in ended.output
    assert "127.0.0.1" in ended.output
    assert not (tmp_path / "never-made").exists(), "nothing is begun"


def test_serving_on_a_public_address_wants_the_name_that_clients_sign_for(run: Run, tmp_path: Path) -> None:
    ended = run("serve", "--host", "0.0.0.0")  # noqa: S104
    assert ended.exit_code == 1
    assert "SLUSS_PUBLIC_URL" in ended.output
    assert not (tmp_path / "never-made").exists(), "nothing is begun"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of a shipped pack, free to be broken."""
    return Path(shutil.copytree(SHIPPED / "gavleborg", tmp_path / "pack"))


def test_a_pack_that_is_not_there_stops_the_start_with_the_names_that_are(run: Run) -> None:
    ended = run("serve", SLUSS_PACK="nowhere")
    assert ended.exit_code == 1
    for word in ("nowhere", "gavleborg", "praktikertjanst"):
        assert word in ended.output


def test_a_pack_that_is_no_toml_stops_the_start_with_file_line_and_reason(run: Run, pack: Path) -> None:
    rules = pack / "rules.toml"
    lines = rules.read_text().splitlines()
    rules.write_text("\n".join([*lines[:9], "this is = = not TOML", *lines[9:]]))
    ended = run("serve", SLUSS_PACK=str(pack))
    assert ended.exit_code == 1
    assert "rules.toml" in ended.output
    assert "10" in ended.output.partition("rules.toml")[2][:60]
    assert "Traceback" not in ended.output


def test_every_problem_of_a_pack_is_told_with_file_key_and_reason(run: Run, pack: Path) -> None:
    main_file, units = pack / "pack.toml", pack / "units.toml"
    text = main_file.read_text()
    assert 'coordination = "' in text
    main_file.write_text(text.replace('coordination = "', 'coordination = "nobody-', 1))
    units.write_text(units.read_text().replace("area =", "aera =", 1))
    ended = run("serve", SLUSS_PACK=str(pack))
    assert ended.exit_code == 1
    assert "pack.toml" in ended.output
    assert "coordination" in ended.output
    assert "is not the id of a team" in ended.output
    assert "units.toml" in ended.output
    assert "aera" in ended.output


def test_a_database_with_an_old_schema_stops_the_start_with_the_command_that_helps(run: Run, server_url: str) -> None:
    url = new_database(server_url, _own("old"))
    for command in ("serve", "worker"):
        ended = run(command, SLUSS_DATABASE_URL=url)
        assert ended.exit_code == 1
        assert "sluss db upgrade" in ended.output


def test_db_upgrade_brings_an_external_database_up_to_date_and_may_be_run_again(run: Run, server_url: str) -> None:
    url = new_database(server_url, _own("upgraded"))
    assert not Store(url).is_current()
    for _ in range(2):
        ended = run("db", "upgrade", SLUSS_DATABASE_URL=url)
        assert ended.exit_code == 0, ended.output
        assert "up to date" in ended.output
        assert Store(url).is_current()


def test_db_upgrade_of_a_database_that_does_not_answer_says_so(run: Run, tmp_path: Path) -> None:
    ended = run("db", "upgrade", SLUSS_DATABASE_URL=f"postgresql://u:secret@/d?host={tmp_path}")
    assert ended.exit_code == 1
    assert "the database does not answer" in ended.output
    assert "secret" not in ended.output


@pytest.mark.parametrize("name", ["gavleborg", "praktikertjanst"])
def test_the_shipped_packs_are_sound(run: Run, name: str) -> None:
    ended = run("pack", "check", name)
    assert ended.exit_code == 0, ended.output
    assert f"{name}: " in ended.output


def test_a_pack_check_of_a_broken_pack_ends_with_status_1(run: Run, pack: Path) -> None:
    (pack / "pack.toml").write_text("")
    ended = run("pack", "check", str(pack))
    assert ended.exit_code == 1
    assert "pack.toml" in ended.output


def test_what_stops_a_start_stops_the_real_process_too() -> None:
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(free_port())]
    ended = subprocess.run(
        command,
        env=environment(SLUSS_PACK="nowhere"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_service_on_the_same_port_is_told_that_it_is_taken(run: Run, server_url: str, tmp_path: Path) -> None:
    settings = {"SLUSS_DATABASE_URL": new_database(server_url, _own("second"))}
    assert run("db", "upgrade", **settings).exit_code == 0
    with served(tmp_path / "log", **settings) as first:
        port = first.url.rpartition(":")[2]
        ended = subprocess.run(
            [sys.executable, "-m", "service.cli", "serve", "--port", port],
            env=environment(**settings),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        assert f"port {port}: another process listens there already" in ended.stderr
        assert requests.get(f"{first.url}/health/live", timeout=20).status_code == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_this_machines_stops_the_start(run: Run, server_url: str, host: str) -> None:
    settings = {"SLUSS_DATABASE_URL": new_database(server_url, _own("elsewhere"))}
    assert run("db", "upgrade", **settings).exit_code == 0
    settings |= {"SLUSS_AUTH": "smart", "SLUSS_PUBLIC_URL": "https://sluss.example"}
    ended = run("serve", "--host", host, **settings)
    assert ended.exit_code == 1
    assert f"cannot serve on {host}, port 8080" in ended.output


def test_the_service_starts_on_a_database_of_its_own_and_finds_everything_again_after_a_stop(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/fhir+json"}
    with served(tmp_path / "log-1", SLUSS_DATA_DIR=str(tmp_path / "data")) as first:
        made = requests.post(f"{first.url}/fhir/ServiceRequest", json=single(), headers=headers, timeout=20)
        assert made.status_code == 201
    with served(tmp_path / "log-2", SLUSS_DATA_DIR=str(tmp_path / "data")) as second:
        path = made.headers["Location"].removeprefix(first.url)
        assert requests.get(second.url + path, timeout=20).json() == made.json()
        repeated = requests.post(f"{second.url}/fhir/ServiceRequest", json=single(), headers=headers, timeout=20)
        assert repeated.status_code == 200
    assert second.started_in < 20, "about two seconds on a machine with nothing else to do"
    # a stopped service leaves no database server behind
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


def test_a_service_whose_database_is_away_starts_and_waits_for_it(server_url: str, tmp_path: Path) -> None:
    url = new_database(server_url, _own("late"))
    Store(url).migrate()
    away = Away(url, tmp_path)
    with served(tmp_path / "log", wait_for="/health/live", SLUSS_DATABASE_URL=away.url) as running:
        answer = requests.get(f"{running.url}/fhir/Task", timeout=20)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        away.come()
        assert requests.get(f"{running.url}/fhir/Task", timeout=20).status_code == 200


def test_cards_tells_what_clinicians_did_rule_by_rule(run: Run, server_url: str) -> None:
    url = new_database(server_url, _own("cards"))
    store = Store(url)
    store.migrate()
    shown = {"service": "ikbt-order-sign", "rules": ["motivated"], "indicator": "warning"}
    with store.change() as change:
        change.journal(
            [
                JournalEntry("card/1", "referrer", "card-shown", shown),
                JournalEntry("card/2", "referrer", "card-shown", shown),
                JournalEntry("card/1", "referrer", "card-outcome", {"outcome": "overridden", "reason": "other"}),
            ]
        )
    store.close()
    ended = run("cards", SLUSS_DATABASE_URL=url)
    assert ended.exit_code == 0, ended.output
    assert ended.output == "motivated: shown 2, accepted 0, overridden 1 (other 1)\n"
    assert run("cards", "--since", "2100-01-01", SLUSS_DATABASE_URL=url).output == ""
