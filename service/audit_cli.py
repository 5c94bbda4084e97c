"""The command line for the record of who did what: `sluss audit …`.

Exit status: 0 nothing needs a person, 1 it could not be done (and why), 2 wrong use, 3 something needs a person.
"""

import getpass
import json
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.settings import Settings

if TYPE_CHECKING:
    from service.store.audit_records import Act
    from service.store.database import Store

NEEDS_A_PERSON = 3
DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def audit() -> None:
    """The record of who did what: whether it is whole, what it holds of a patient, what has had its time."""


@audit.command()
@click.option("--head", metavar="HASH", help="A hash that an earlier run has printed and somebody has kept elsewhere.")
def verify(head: str | None) -> None:
    """Recompute every seal. Keep the hash that it prints: whatever is changed before it shows from then on."""
    from service.opening import open_store
    from service.store.audit_verify import verify as look

    store = open_store(Settings.from_env())
    told = look(store.url, head)
    store.close()
    for finding in told.findings:
        click.echo(f"{finding.kind}: {finding.text}")
    click.echo(f"{told.seals} seals on {told.events} events, {told.waiting} events wait for one, {told.late} came late")
    if told.may_change:
        click.echo("This role could change the record: run the service as another than its owner.", err=True)
    click.echo(f"head {told.head.hex()}")
    if told.findings:
        sys.exit(NEEDS_A_PERSON)


@audit.command()
@click.option("--patient", required=True, metavar="NUMBER", help="Twelve digits (personnummer, samordningsnummer …).")
@click.option("--from", "first", type=DAY, help="First day. Default: all that is kept.")
@click.option("--to", "last", type=DAY, help="Last day, included.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def extract(patient: str, first: datetime | None, last: datetime | None, format_: str) -> None:
    """Who has looked at a patient's data, from which unit, when and what for; in Swedish, for the patient."""
    from fhir_mappings.datetimes import SWEDEN
    from fhir_mappings.records import IdentityKind
    from service.app import make_house
    from service.referral.log_extract import account_of, lines_of
    from service.store.audit_records import AuditEvent

    house = make_house(Settings.from_env())
    key = _identity(patient, house.today())
    since = datetime.combine(first or date(1900, 1, 1), time(), SWEDEN)
    until = datetime.combine(last, time(), SWEDEN) + timedelta(days=1) if last else datetime.now(UTC)
    events = house.store.audit_view.of_patient(key, since, until)
    if not events and key.startswith(IdentityKind.RESERVNUMMER) and key[-4:].isdigit():
        raise _NO_NUMBER  # more likely a slip of the pen than such a number
    house.store.audit.record(AuditEvent(act_of_operator("sluss audit extract"), patients=(key,)))
    if format_ == "json":
        click.echo(json.dumps([account_of(event, house.pack) for event in events], ensure_ascii=False, indent=2))
    else:
        days = f"{since:%Y-%m-%d} till {until:%Y-%m-%d}" if first else f"till {until:%Y-%m-%d}"
        click.echo(f"Loggutdrag: vem som har använt uppgifter om patient {patient} i Sluss, {days}.")
        for line in lines_of(events, house.pack):
            click.echo(line)
        click.echo(f"{len(events)} händelser.")
    house.store.close()


@audit.command()
@click.option("--before", type=DAY, required=True, help="Day; nothing younger than five years goes.")
@click.option("--to", "folder", type=click.Path(file_okay=False, exists=True, path_type=Path), required=True)
def archive(before: datetime, folder: Path) -> None:
    """Move what has had its time into a file, verified before anything is taken out. As the owner's role."""
    from service.opening import owners_url
    from service.store.audit_archive import YEARS, Unsound
    from service.store.audit_archive import archive as take_out
    from service.store.audit_records import AuditEvent

    moment, today = before.replace(tzinfo=UTC), datetime.now(UTC)
    if moment > today - timedelta(days=YEARS * 365.25 + 1):
        raise click.UsageError(f"--before: the record is kept for at least {YEARS} years")
    try:
        event = AuditEvent(act_of_operator(f"sluss audit archive --before {before:%Y-%m-%d}"))
        archived = take_out(owners_url(Settings.from_env()), moment, folder, event)
    except (Unsound, OSError) as problem:
        raise click.ClickException(str(problem)) from None
    if archived is None:
        click.echo("Nothing is that old.")
    else:
        click.echo(f"{archived.path}: {archived.events} events of {archived.seals} seals, sha256 {archived.sha256}")


def act_of_operator(tried: str, reason: str | None = None) -> "Act":
    """What somebody does on the command line, for the record."""
    from service.store.audit_records import Act, Agent

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return Act(Agent("administrator", client=f"operator {user}", reason=reason), "administration", "E", tried)


def record_operator(store: "Store", *more: str, reason: str | None = None) -> None:
    """Record the command that is being carried out, before it is; `more` are the ids that it is about."""
    from service.store.audit_records import AuditEvent

    context: Any = click.get_current_context()
    store.audit.record(AuditEvent(act_of_operator(" ".join([context.command_path, *more]), reason)))


def _identity(number: str, today: date) -> str:
    """`personnummer|199002222397`. Raises click.UsageError; the number is not repeated."""
    from fhir_mappings.identity import parse_identity
    from fhir_mappings.terminology import IDENTITY_SYSTEMS

    bare = number.replace("-", "").replace("+", "").replace(" ", "")
    for system in IDENTITY_SYSTEMS.values():
        read = parse_identity(system, bare, "patient", today)
        if not isinstance(read, list):
            return read.key
    raise _NO_NUMBER


_NO_NUMBER = click.UsageError(
    "--patient takes a personnummer, samordningsnummer or reservnummer of twelve characters; is it right?"
)
