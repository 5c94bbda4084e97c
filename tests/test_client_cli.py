"""`sluss client …`: who may call is registered, shown, given other keys, refused; nothing secret is stored or told."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.store.database import Store
from tests.access.signing import key_set, public_jwk

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path) -> Run:
    for name in list(os.environ):
        if name.startswith("SLUSS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUSS_DATABASE_URL", store.url)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["client", *arguments])


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    file = tmp_path / "jwks.json"
    file.write_text(key_set())
    return str(file)


REFERRER = ("ehr", "--name", "EHR", "--role", "referrer", "--organisation", "SE2321000198-EX01")


def test_a_client_is_registered_and_shown(run: Run, jwks: str) -> None:
    added = run("add", *REFERRER, "--organisation", "se2321000198-ex02", "--jwks", jwks)
    assert added.exit_code == 0, added.output
    (shown,) = json.loads(run("list", "--json").output)
    assert shown["id"] == "ehr"
    assert shown["role"] == "referrer"
    assert shown["organisations"] == ["SE2321000198-EX01", "SE2321000198-EX02"]
    assert shown["scopes"] == "system/*.cruds"
    assert shown["known_by"] == "keys k1"
    assert shown["disabled_at"] is None
    assert "ehr  referrer" in run("list").output


def test_before_the_first_it_is_told_how_to_register_one(run: Run) -> None:
    assert "sluss client add" in run("list").output


def test_every_role_and_every_way_to_be_known_can_be_registered(run: Run) -> None:
    for arguments in (
        ("t", "--name", "T", "--role", "therapist", "--team", "gavle", "--assignment", "SE2321000198-TEAM1"),
        ("p", "--name", "P", "--role", "platform", "--organisation", "SE2321000198-EX01", "--jwks-url", "https://p/k"),
        ("a", "--name", "A", "--role", "administrator", "--subject", "CN=a,O=Region,C=SE"),
        ("h", "--name", "H", "--role", "referrer", "--organisation", "SE2321000198-EX01", "--jwks-url", "https://h/k",
         "--issuer", "https://h/"),
        ("s", "--name", "S", "--role", "therapist", "--team", "gavle", "--scope", "system/Task.rs system/Patient.r",
         "--scope", "system/Task.u?owner=HealthcareService/gavle", "--subject", "CN=s"),
    ):  # fmt: skip
        assert run("add", *arguments).exit_code == 0, arguments
    shown = {one["id"]: one for one in json.loads(run("list", "--json").output)}
    assert shown["t"]["known_by"] == "assignment SE2321000198-TEAM1"
    assert shown["p"]["known_by"] == "https://p/k"
    assert shown["h"]["known_by"] == "https://h/k; issuer https://h/"
    assert shown["a"]["known_by"] == "CN=a,O=Region,C=SE"
    assert shown["s"]["scopes"] == "system/Task.rs system/Patient.r system/Task.u?owner=HealthcareService/gavle"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a b", "--name", "x", "--role", "administrator", "--subject", "CN=x"), "the id takes"),
        (("x", "--name", " ", "--role", "administrator", "--subject", "CN=x"), "--name takes"),
        (("x", "--name", "x", "--role", "king", "--subject", "CN=x"), "--role takes"),
        (("x", "--name", "x", "--role", "sluss", "--subject", "CN=x"), "--role takes"),
        (("x", "--name", "x", "--role", "referrer", "--subject", "CN=x"), "give --organisation"),
        (("x", "--name", "x", "--role", "platform", "--subject", "CN=x"), "give --organisation"),
        (("x", "--name", "x", "--role", "therapist", "--subject", "CN=x"), "give --team"),
        (("x", "--name", "x", "--role", "therapist", "--team", "nowhere", "--subject", "CN=x"), "it has gavle"),
        (("x", "--name", "x", "--role", "administrator", "--team", "gavle", "--subject", "CN=x"), "is for therapists"),
        ((*REFERRER, "--organisation", "199002222397", "--subject", "CN=x"), "these are none: 199002222397"),
        ((*REFERRER, "--team", "gavle", "--subject", "CN=x"), "is for therapists"),
        (REFERRER, "say by what it is known"),
        ((*REFERRER, "--subject", "nobody"), "RFC 4514"),
        ((*REFERRER, "--assignment", "x"), "--assignment takes"),
        ((*REFERRER, "--jwks-url", "http://ehr.example/keys"), "https URL"),
        ((*REFERRER, "--jwks-url", "https://u:secret@ehr.example/keys"), "https URL"),
        ((*REFERRER, "--jwks-url", "https://ehr.example/keys", "--issuer", "ehr"), "--issuer takes"),
        ((*REFERRER, "--subject", "CN=x", "--issuer", "https://ehr.example/"), "--issuer goes with"),
        ((*REFERRER, "--subject", "CN=x", "--scope", "system/Task.dus"), "no scope"),
        ((*REFERRER, "--subject", "CN=x", "--scope", "system/Task.rs?nonsense=1"), "cannot be searched so"),
        ((*REFERRER, "--subject", "CN=x", "--scope", "system/Task.c?owner=x"), "cannot be narrowed"),
        ((*REFERRER, "--jwks", __file__), "--jwks: no JSON Web Key Set"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_nothing_is_registered(
    run: Run, arguments: tuple[str, ...], told: str
) -> None:
    ended = run("add", *arguments)
    assert ended.exit_code == 1, ended.output
    assert told in ended.output
    assert "Traceback" not in ended.output
    assert json.loads(run("list", "--json").output) == []


def test_all_that_is_wrong_is_told_at_once(run: Run) -> None:
    told = run("add", "a b", "--name", "", "--role", "king", "--scope", "x", "--subject", "y").output
    assert len(told.splitlines()) == 5


def test_nothing_that_is_anothers_can_be_taken(run: Run, jwks: str) -> None:
    run("add", *REFERRER, "--subject", "CN=a")
    again = run("add", *REFERRER, "--jwks", jwks)
    assert again.exit_code == 1
    assert "sluss client rotate" in again.output
    other = ("other", *REFERRER[1:])
    assert "another client's" in run("add", *other, "--subject", "CN=a").output
    assert "another client's" in run("add", *other, "--subject", "CN=a", "--generate-key", "k.json").output
    assert not Path("k.json").exists()
    assert run("add", *other, "--subject", "CN=b").exit_code == 0
    assert "another client's" in run("rotate", "other", "--subject", "CN=a").output
    issuer = ("--jwks", jwks, "--issuer", "https://ehr.example/")
    assert run("rotate", "other", *issuer).exit_code == 0
    assert "another client's" in run("rotate", "ehr", *issuer).output
    assert "another client's" in run("add", "third", *REFERRER[1:], *issuer).output


def test_a_key_that_is_made_is_written_once_for_its_owner_and_kept_nowhere(run: Run, store: Store) -> None:
    made = run("add", *REFERRER, "--generate-key", "ehr.key.json")
    assert made.exit_code == 0, made.output
    file = Path("ehr.key.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    private = json.loads(file.read_text())
    assert private["d"] not in made.output
    with psycopg.connect(store.url) as connection:
        (row,) = connection.execute("SELECT c::text FROM client c").fetchall()
    assert private["d"] not in row[0]
    assert private["x"] in row[0]
    over = run("rotate", "ehr", "--generate-key", "ehr.key.json")
    assert over.exit_code == 1
    assert json.loads(file.read_text()) == private, "no file is written over"


def test_keys_and_a_made_one_at_once_are_wrong_use(run: Run, jwks: str) -> None:
    assert run("add", *REFERRER, "--jwks", jwks, "--generate-key", "k.json").exit_code == 2
    assert "one of them" in run("add", *REFERRER, "--jwks", jwks, "--jwks-url", "https://x/y").output


def test_a_client_is_known_by_something_else_after_a_rotation(run: Run, jwks: str, tmp_path: Path) -> None:
    run("add", *REFERRER, "--jwks", jwks)
    other = tmp_path / "other.json"
    other.write_text(key_set(public_jwk(kid="k2", number=2)))
    assert run("rotate", "ehr", "--jwks", str(other)).exit_code == 0
    (shown,) = json.loads(run("list", "--json").output)
    assert shown["known_by"] == "keys k2"
    assert shown["rotated_at"] is not None
    assert run("rotate", "ehr").exit_code == 1
    assert "no client" in run("rotate", "nobody", "--jwks", jwks).output


def test_a_client_is_disabled_for_good(run: Run, jwks: str) -> None:
    run("add", *REFERRER, "--jwks", jwks)
    assert run("disable", "ehr").exit_code == 0
    (shown,) = json.loads(run("list", "--json").output)
    assert shown["disabled_at"] is not None
    assert "disabled 20" in run("list").output
    assert run("disable", "ehr").exit_code == 1
    assert run("disable", "nobody").exit_code == 1
    assert "is disabled" in run("rotate", "ehr", "--jwks", jwks).output
    assert run("add", *REFERRER, "--jwks", jwks).exit_code == 1, "its name is not given to another"


def test_what_is_done_to_clients_is_recorded_with_who_did_it(run: Run, jwks: str, store: Store) -> None:
    run("add", *REFERRER, "--jwks", jwks)
    run("rotate", "ehr", "--subject", "CN=ehr")
    run("disable", "ehr")
    with psycopg.connect(store.url) as connection:
        rows = connection.execute("SELECT tried, client FROM audit_event ORDER BY id").fetchall()
    assert [tried.split("client ")[1] for tried, _ in rows] == ["add ehr", "rotate ehr", "disable ehr"]
    assert all(client.startswith("operator ") for _, client in rows)


def test_a_token_cannot_be_had_from_where_nobody_answers(run: Run) -> None:
    run("add", *REFERRER, "--generate-key", "k.json")
    ended = run("token", "ehr", "--key", "k.json", "--url", "http://127.0.0.1:1")
    assert ended.exit_code == 1
    assert "does not answer" in ended.output
