"""The command line for who may call: `sluss client …`. Only public keys are stored; a private one that is made here is
written once, into a file of whoever asked for it.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.audit_cli import record_operator
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.client_records import ClientRow, Credentials
    from service.store.database import Store

FIRST_CLIENT = (
    "Register the first with: sluss client add ehr --name EHR --role referrer --organisation SE2321000198-EX01"
    " --generate-key ehr.key.json (see README.md, Connect)"
)

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_known_by = (
    click.option("--jwks", type=FILE, help="File with its public keys, a JSON Web Key Set."),
    click.option("--jwks-url", metavar="URL", help="Where it publishes them; https."),
    click.option("--subject", metavar="DN", help="Subject of its TLS certificate: CN=ehr.example,O=Region,C=SE."),
    click.option("--assignment", metavar="HSA-ID", help="Care unit that the identity provider's tokens name."),
    click.option("--issuer", metavar="URI", help="What its own JWTs say as iss when it calls CDS Hooks."),
    click.option(
        "--generate-key",
        "key_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Make a key, and write the private one into this new file.",
    ),
)


def _credentials(command: Any) -> Any:
    for option in reversed(_known_by):
        command = option(command)
    return command


@click.group()
def client() -> None:
    """Clients that may call, whom they act for, and what shows who they are."""


@client.command()
@click.argument("id_", metavar="ID")
@click.option("--name", required=True, help="For people.")
@click.option("--role", required=True, help="referrer, therapist, platform or administrator.")
@click.option("--organisation", "organisations", multiple=True, metavar="HSA-ID", help="Unit that it acts for.")
@click.option("--team", "teams", multiple=True, help="Team that it acts for.")
@click.option("--scope", "scopes", multiple=True, help="What it may ask for. Default: system/*.cruds.")
@_credentials
def add(
    id_: str,
    *,
    name: str,
    role: str,
    organisations: tuple[str, ...],
    teams: tuple[str, ...],
    scopes: tuple[str, ...],
    key_file: Path | None,
    **known_by: Any,
) -> None:
    """Register a client under ID. Options that say for whom it acts may be repeated."""
    from service.access.clients import Registration, registered
    from service.packs.loading import load

    settings = Settings.from_env()
    jwk, given = _given(key_file, known_by)
    words = tuple(word for scope in scopes for word in scope.split())
    wanted = Registration(id_, name, role, organisations, teams, words, given)
    row = registered(wanted, load(settings.pack).teams, datetime.now(UTC))
    if isinstance(row, list):
        raise click.ClickException("\n".join(row))
    with _database(settings) as store:
        if store.clients.get(id_) is not None:
            raise click.ClickException(f"{id_} is there already; sluss client rotate gives it other keys")
        record_operator(store, id_)
        _write_key(key_file, jwk)
        if not store.clients.add(row):
            _forget_key(key_file)
            raise click.ClickException("its --subject, --assignment or --issuer is another client's")
    click.echo(f"{_line(row)}\n{id_} is registered.")


@client.command("list")
@click.option("--json", "machine", is_flag=True, help="JSON on standard output.")
def list_(machine: bool) -> None:
    """All clients, those that are disabled too."""
    with _database(Settings.from_env()) as store:
        rows = store.clients.listed()
    if machine:
        click.echo(json.dumps([_as_json(row) for row in rows], ensure_ascii=False, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        click.echo(f"No clients. {FIRST_CLIENT}")


@client.command()
@click.argument("id_", metavar="ID")
@_credentials
def rotate(id_: str, key_file: Path | None, **known_by: Any) -> None:
    """Know a client by other keys from now on, and by nothing that it was known by before; its tokens end."""
    from service.access.clients import read_credentials

    jwk, given = _given(key_file, known_by)
    credentials, problems = read_credentials(given)
    if problems:
        raise click.ClickException("\n".join(problems))
    with _database(Settings.from_env()) as store:
        row = store.clients.get(id_)
        if row is None or row.disabled_at is not None:
            raise click.ClickException(f"{id_} is no client" if row is None else f"{id_} is disabled")
        record_operator(store, id_)
        _write_key(key_file, jwk)
        if not store.clients.rotate(id_, credentials, datetime.now(UTC)):
            _forget_key(key_file)
            raise click.ClickException("its --subject, --assignment or --issuer is another client's")
    click.echo(f"{id_} is known by: {_shown(credentials)}")


@client.command()
@click.argument("id_", metavar="ID")
def disable(id_: str) -> None:
    """Refuse a client from now on, for good: its tokens end and its Subscriptions are told nothing more."""
    with _database(Settings.from_env()) as store:
        record_operator(store, id_)
        if not store.clients.disable(id_, datetime.now(UTC)):
            raise click.ClickException(f"{id_} is no client that is not disabled already")
    click.echo(f"{id_} is disabled.")


@client.command()
@click.argument("id_", metavar="ID")
@click.option("--key", "key_file", type=FILE, required=True, help="File with its private key.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Root of the service.")
@click.option("--scope", help="What to ask for. Default: all that it is registered for.")
def token(id_: str, key_file: Path, url: str, scope: str | None) -> None:
    """Get a token as a client does, and print it: to try things out with curl. It is good for five minutes."""
    import jwt
    import requests

    jwk = json.loads(key_file.read_text(encoding="utf-8"))
    address, now = f"{url.rstrip('/')}/auth/token", int(datetime.now(UTC).timestamp())
    claims = {"iss": id_, "sub": id_, "aud": address, "exp": now + 240, "jti": secrets.token_urlsafe(16)}
    signed = jwt.encode(claims, jwt.PyJWK(jwk, algorithm=jwk["alg"]).key, jwk["alg"], {"kid": jwk["kid"]})
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed,
    }
    try:
        answer = requests.post(address, data=form | ({"scope": scope} if scope else {}), timeout=10)
        told = answer.json()
    except (requests.RequestException, ValueError) as problem:
        raise click.ClickException(f"{address} does not answer as expected: {type(problem).__name__}") from None
    if "access_token" not in told:
        raise click.ClickException(f"{told.get('error')}: {told.get('error_description')}")
    click.echo(told["access_token"])


@contextmanager
def _database(settings: Settings) -> Iterator["Store"]:
    from service.opening import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def _given(key_file: Path | None, known_by: dict[str, Any]) -> tuple[dict[str, Any] | None, "Credentials"]:
    """What was said that it is known by, and the private key that was made for it."""
    from service.store.client_records import Credentials

    jwks = known_by.pop("jwks")
    text = jwks.read_text(encoding="utf-8", errors="replace") if jwks else None
    if key_file is None:
        return None, Credentials(jwks=text, **known_by)
    if text or known_by["jwks_url"]:
        raise click.UsageError("--generate-key makes the key itself; leave --jwks and --jwks-url out")
    jwk = _new_key()
    public = {name: value for name, value in jwk.items() if name not in ("d", "key_ops")}
    return jwk, Credentials(jwks=json.dumps({"keys": [public]}), **known_by)


def _new_key() -> dict[str, Any]:
    """A private key for ES384."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm

    made: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()), as_dict=True)
    return {**made, "kid": secrets.token_hex(8), "alg": "ES384", "use": "sig"}


def _write_key(path: Path | None, jwk: dict[str, Any] | None) -> None:
    """For its owner's eyes only, and over no other file."""
    if path is None or jwk is None:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise click.ClickException(f"{path} cannot be made: {problem.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(jwk, file)


def _forget_key(path: Path | None) -> None:
    """Nobody is known by it."""
    if path is not None:
        path.unlink()


def _as_json(row: "ClientRow") -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "organisations": list(row.organisations),
        "teams": list(row.teams),
        "scopes": row.scopes,
        "known_by": _shown(row.credentials),
        "created_at": row.created_at.isoformat(timespec="seconds"),
        "rotated_at": row.rotated_at.isoformat(timespec="seconds") if row.rotated_at else None,
        "disabled_at": row.disabled_at.isoformat(timespec="seconds") if row.disabled_at else None,
    }


def _line(row: "ClientRow") -> str:
    state = f"disabled {row.disabled_at.isoformat(timespec='seconds')}" if row.disabled_at else "active"
    reach = ",".join((*row.organisations, *row.teams)) or "-"
    return f"{row.id}  {row.role}  {reach}  {row.scopes}  {state}  {row.name}  [{_shown(row.credentials)}]"


def _shown(known_by: "Credentials") -> str:
    """What it is known by, its keys by their kids."""
    keys = [key.get("kid", "?") for key in json.loads(known_by.jwks)["keys"]] if known_by.jwks else []
    parts = (
        f"keys {','.join(keys)}" if keys else None,
        known_by.jwks_url,
        known_by.subject,
        f"assignment {known_by.assignment}" if known_by.assignment else None,
        f"issuer {known_by.issuer}" if known_by.issuer else None,
    )
    return "; ".join(part for part in parts if part)
