"""The command line for whoever runs the exchange: `sluss exchange …`.

Exit status: 0 nothing needs a person, 1 it could not be done (and why), 2 wrong use, 3 something needs a person.
"""

import getpass
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from service.audit_cli import record_operator
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.database import Store
    from service.store.dead_letters import DeadLetters, Decision

NEEDS_A_PERSON = 3

_OFF = "exchange is off: set SLUSS_FHIR_SERVER_URL"
_LONGEST_WHY = 500
_PERSONAL_NUMBER = re.compile(r"(?<![\w-])(\d{8}|\d{6})[-+ ]?\d{4}(?![\w-])")
"""Not the digits within an id of ours."""


@click.group()
def exchange() -> None:
    """The exchange with the external FHIR server: how it stands, and what only a person can do about it.

    Exit status: 0 nothing needs a person, 1 it could not be done, 2 wrong use, 3 something needs a person.
    """


as_json = click.option("--json", "machine", is_flag=True, help="JSON on standard output.")
by = click.option("--by", "name", metavar="NAME", help="Who decides. Default: the user of the system.")


@exchange.command()
@as_json
def status(machine: bool) -> None:
    """Queue, oldest waiting, dead letters, how far is collected, and whether the server answers."""
    from service.exchange.overview import Overview

    settings = Settings.from_env()
    with _database(settings) as store:
        view, now = store.view(), datetime.now(UTC)
        overview = Overview(
            now=now,
            on=settings.fhir_server_url is not None,
            queue=view.queue_figures(now),
            exchange=view.exchange_figures(),
            watermarks=view.watermarks(),
            server=view.external_server(),
        )
    if machine:
        _print_json(overview.as_json())
    else:
        _print(overview.lines())
    if overview.needs_a_person:
        sys.exit(NEEDS_A_PERSON)


@exchange.command()
@as_json
def dead(machine: bool) -> None:
    """Deliveries that were given up, and those that were discarded: referral, since when, what the server said."""
    from service.exchange.overview import letter_as_json, letter_as_line

    with _letters() as letters:
        found = letters.listed()
    if machine:
        _print_json([letter_as_json(letter) for letter in found])
    else:
        _print([letter_as_line(letter) for letter in found] or ["No dead letters."])
    if any(letter.dead_at is not None for letter in found):
        sys.exit(NEEDS_A_PERSON)


@exchange.command()
@click.argument("referrals", nargs=-1, metavar="[REFERRAL…]")
@click.option("--all", "everything", is_flag=True, help="Every dead letter; discarded ones only by name.")
@click.option("--why", help="For the journal. No personal data.")
@by
@as_json
def replay(referrals: tuple[str, ...], everything: bool, why: str | None, name: str | None, machine: bool) -> None:
    """Deliver dead or discarded letters again, at once. Put right what was wrong first."""
    if bool(referrals) == everything:
        raise click.UsageError("name referrals, or say --all")
    decision = _decision(name, why)
    with _letters(*(referrals or ("--all",)), why=why) as letters:
        replayed = letters.replay(None if everything else referrals, decision)
    others = [one for one in dict.fromkeys(referrals) if one not in replayed]
    if machine:
        _print_json({"replayed": replayed, "not_dead": others})
    else:
        lines = [f"{one} is delivered again." for one in replayed]
        _print([*lines, *(f"{one} is no dead letter; nothing was changed." for one in others)] or ["No dead letters."])
    if others:
        sys.exit(1)


@exchange.command()
@click.argument("referral")
@click.option("--why", required=True, help="For the journal, and for `sluss exchange dead`. No personal data.")
@by
@as_json
def discard(referral: str, why: str, name: str | None, machine: bool) -> None:
    """Leave a dead letter undelivered, for a reason, until something of the referral changes or it is replayed.

    What was judged is the referral as it is now. Any later change (an answer, a withdrawal, signs of risk) has it
    delivered whole again: that it fails once more costs less than a therapist over there who never hears of it.
    """
    from service.store.records import OPEN_STATES

    decision = _decision(name, why)
    with _letters(referral, why=why) as letters:
        before = next((letter for letter in letters.listed() if letter.referral_id == referral), None)
        if not letters.discard(referral, decision):
            raise click.ClickException(f"{referral} is no dead letter; nothing was changed")
    is_open = before is not None and before.state in OPEN_STATES
    if machine:
        _print_json({"discarded": referral, "open": is_open})
        return
    _print([f"{referral} is left undelivered until it changes or is replayed."])
    if is_open:
        click.echo("It is open: who works on the external server does not see how it stands.", err=True)


@exchange.command()
@as_json
def reconcile(machine: bool) -> None:
    """Compare everything on both sides and mend what was missed, as the worker does every night.

    One that is interrupted goes on where it was. Needs a person: copies there of nothing that is here, which a restored
    backup or somebody's own copying leaves.
    """
    from service import logs
    from service.app import make_house
    from service.exchange.external import external_server
    from service.exchange.overview import reconciliation_as_lines
    from service.exchange.reconcile import reconcile as compare

    settings = Settings.from_env()
    logs.set_up(settings.log_level)
    house = make_house(settings)
    collector = external_server(settings, house)
    if collector is None:
        raise click.ClickException(_OFF)
    told = compare(collector)
    if machine:
        _print_json(asdict(told))
    else:
        _print(reconciliation_as_lines(told))
    if not told.complete:
        raise click.ClickException(f"not finished ({told.failure}); run it again, it goes on where it was")
    if told.orphans:
        sys.exit(NEEDS_A_PERSON)


@exchange.command()
@click.option("--remove", is_flag=True, help="Take the Subscriptions away.")
@as_json
def subscribe(remove: bool, machine: bool) -> None:
    """Have the external server say when something changes there (R4 Subscription, rest-hook). May be repeated."""
    from fhir_mappings.terminology import Canonical
    from service.exchange.client import FhirClient
    from service.exchange.subscriptions import Subscriptions
    from service.web.requests_in import WAKE

    settings = Settings.from_env()
    if settings.fhir_server_url is None:
        raise click.ClickException(_OFF)
    subscriptions = Subscriptions(FhirClient(settings.fhir_server_url), Canonical(settings.canonical_base))
    if remove:
        outcome = subscriptions.remove()
    else:
        if settings.wake_token is None or settings.public_url is None:
            raise click.ClickException(
                "set SLUSS_PUBLIC_URL and SLUSS_WAKE_TOKEN: whom that server calls, how it is known"
            )
        outcome = subscriptions.register(f"{settings.public_url}{WAKE}", settings.wake_token)
    if not isinstance(outcome, list):
        answer = "" if outcome.status is None else f" ({outcome.status})"
        raise click.ClickException(f"the external server did not do it: {outcome.reason}{answer}")
    if machine:
        _print_json([{"id": one.id, "criteria": one.criteria, "status": one.status} for one in outcome])
    else:
        _print(
            [f"Subscription/{one.id}  {one.status}  {one.criteria}" for one in outcome] or ["No Subscriptions left."]
        )
    if any(one.status == "error" for one in outcome):
        sys.exit(NEEDS_A_PERSON)


@contextmanager
def _database(settings: Settings) -> Iterator["Store"]:
    from service.opening import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _letters(*decided: str, why: str | None = None) -> Iterator["DeadLetters"]:
    """The dead letters; what is decided about them is recorded first."""
    from service.store.dead_letters import DeadLetters

    with _database(Settings.from_env()) as store:
        if decided:
            record_operator(store, *decided, reason=why)
        letters = DeadLetters(store.url)
        try:
            yield letters
        finally:
            letters.close()


def _decision(name: str | None, why: str | None) -> "Decision":
    """Who decides now, and why. Both stay in the journal, so neither may hold a patient's number."""
    from service.store.dead_letters import Decision

    user = _user()
    who, reason = (name or user or "").strip(), (why or "").strip()
    if not who:
        raise click.UsageError("say who decides: --by NAME")
    if why is not None and not reason:
        raise click.UsageError("--why is empty")
    if len(reason) > _LONGEST_WHY or len(who) > _LONGEST_WHY:
        raise click.UsageError(f"at most {_LONGEST_WHY} characters")
    if _PERSONAL_NUMBER.search(f"{who}\n{reason}"):
        raise click.UsageError("no personal numbers: what is written here stays in the journal")
    return Decision(f"operator {who}", reason or None, {"os_user": user}, datetime.now(UTC))


def _user() -> str | None:
    """The user of the system, where it has a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _print_json(what: Any) -> None:
    click.echo(json.dumps(what, ensure_ascii=False, indent=2))
