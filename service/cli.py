"""The command line: `sluss serve`, `worker`, `exchange`, `db`, `pack`, `publish`, `cards`, `team`, `demo` …"""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from service.audit_cli import audit, record_operator
from service.client_cli import FIRST_CLIENT, client
from service.exchange_cli import exchange
from service.logs import of_the_web_server, place_of
from service.settings import BadSettings, Settings

SLOWEST_HEAD = 15
"""Seconds until a request's head must be there, and after which a connection is closed that nobody uses."""
MOST_CONNECTIONS = 1000
"""Of a web process; more wait to be accepted."""
LAST_REQUESTS = 20
"""Seconds that what a web process is doing gets when it is asked to end: what takes longer waits for its client."""

DAY = click.DateTime(formats=["%Y-%m-%d"])


class _Told(click.Group):
    """What can go wrong at a start is told in words, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        try:
            return super().invoke(ctx)
        except Exception as problem:
            told = _in_words(problem)
            if told is None and isinstance(problem, click.ClickException | click.exceptions.Exit | click.Abort):
                raise
            # of what nobody can do anything about only what it is: a message may repeat what is stored
            told = told or f"internal error: {type(problem).__name__} at {place_of(problem)}"
            raise click.ClickException(told) from None


@click.group(cls=_Told)
def main() -> None:
    """Sluss: referrals to internet-delivered CBT, judged, routed and answered; FHIR R4."""


def _in_words(problem: Exception) -> str | None:
    """What to do about a problem that somebody can do something about; None for any other."""
    # not before: `serve` has something to say to the metrics before they are imported
    from service.opening import OldSchema
    from service.packs.loading import BrokenPack
    from service.store.records import StoreUnavailable

    if isinstance(problem, BadSettings | BrokenPack | OldSchema | ValueError):
        return str(problem)
    if isinstance(problem, StoreUnavailable):
        return f"the database does not answer: {problem}"
    return None


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Web processes.")
@click.option("--threads", envvar="SLUSS_THREADS", default=8, show_default=True, help="Requests at work per process.")
@click.option("--with-worker", is_flag=True, help="Also run the background worker.")
def serve(host: str, port: int, workers: int, threads: int, with_worker: bool) -> None:
    """Run the web service."""
    os.environ["SLUSS_THREADS"] = str(threads)
    settings = Settings.from_env()
    if settings.auth == "smart" and settings.public_url is None and not _is_loopback(host):
        raise click.ClickException(f"set SLUSS_PUBLIC_URL: on {host} clients must know for whom they sign")
    if settings.auth == "off" and not _is_loopback(host):
        raise click.ClickException(f"SLUSS_AUTH=off is refused on {host}: only a loopback address such as 127.0.0.1")
    if workers > 1:
        # Figures of several processes are added up from files there. The library looks once, when it is imported, and
        # web processes are forks of this one.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="sluss-metrics-"))
    from service import logs
    from service.opening import open_store
    from service.packs.loading import load
    from service.referral.in_use import check_in_use
    from service.store.records import StoreUnavailable

    logs.set_up(settings.log_level)
    # what is wrong with the pack stops the start here, not in the web process
    pack = load(settings.pack)
    # holds the embedded database up for as long as this process lives, and migrates it once
    store = open_store(settings)
    with contextlib.suppress(StoreUnavailable):  # the web process asks again when it answers
        check_in_use(pack, store)
        if settings.auth == "smart" and not store.clients.listed():
            click.echo(f"Nobody is registered yet, so everybody is refused. {FIRST_CLIENT}", err=True)
    store.close()
    _must_be_free(host, port)
    server, beside = web_server("wsgi:app", host, port, workers, threads), list[subprocess.Popen[bytes]]()
    if with_worker:
        # not before the server hears when it is asked to end: the worker would be left
        server.on_startup(lambda: beside.append(subprocess.Popen([sys.executable, "-m", "service.cli", "worker"])))
    try:
        server.serve()
    finally:
        for process in beside:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def web_server(target: str, host: str, port: int, workers: int, threads: int) -> Any:
    """The web server (granian) of a WSGI application `module:name`, ready for `.serve()`. Measurements serve theirs by
    the same one.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from service.web.admission import threads_for

    # Until it has its own, a web process has this one's handlers of signals, and would not hear that it should end.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    return Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        # HTTP/2 and WebSockets are what nobody uses here and somebody could try
        http=HTTPModes.http1,
        websockets=False,
        # of a connection on which nothing is asked, or slowly
        http1_settings=HTTP1Settings(header_read_timeout=SLOWEST_HEAD * 1000),
        blocking_threads=threads_for(threads),
        backpressure=MOST_CONNECTIONS,
        log_access=False,
        log_dictconfig=of_the_web_server(),
        respawn_failed_workers=True,
        workers_kill_timeout=LAST_REQUESTS,
        working_dir=Path(__file__).resolve().parent.parent,
    )


def _must_be_free(host: str, port: int) -> None:
    """Raises ClickException where nobody can listen there, or somebody does: web processes share a port, and would
    share it with those of another service too, without a word.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have just ended do not count
            one.bind(address)
    except OSError as problem:
        taken = "another process listens there already; end it, or choose another --port"
        told = taken if problem.errno == errno.EADDRINUSE else problem.strerror
        raise click.ClickException(f"cannot serve on {host}, port {port}: {told}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@main.command()
def worker() -> None:
    """Run the background worker: deliveries, collection, timers, notifications."""
    from service import garbage, logs
    from service.app import make_house
    from service.exchange.external import external_server
    from service.exchange.notify import notifier_of
    from service.exchange.worker import Duties, run_worker
    from service.referral.journey.timers import run_timers

    settings = Settings.from_env()
    logs.set_up(settings.log_level)
    house = make_house(settings)

    def timers() -> None:
        run_timers(house, house.now())
        house.store.clients.forget(house.now())

    collector = external_server(settings, house)
    garbage.look_seldom()
    run_worker(
        Duties(
            house.store.url,
            house.clock,
            timers,
            collector.deliverer if collector else None,
            collector=collector,
            collect_every=settings.collect_seconds,
            notifier=notifier_of(settings, house),
        )
    )


main.add_command(audit)
main.add_command(exchange)
main.add_command(client)


@main.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
@click.option("--grant", "role", metavar="ROLE", help="The role that the service runs as: gets what it needs, no more.")
def db_upgrade(role: str | None) -> None:
    """Bring the schema up to this version (the embedded database does so by itself). As the role that owns it."""
    from service.opening import owners_url
    from service.store.database import Store
    from service.store.roles import grant

    settings = Settings.from_env()
    if settings.database_url is None:
        from service.opening import open_store

        open_store(settings).close()
    else:
        Store(settings.database_url).migrate()
        if role:
            grant(owners_url(settings), role)
    click.echo("The database is up to date.")


@main.group()
def pack() -> None:
    """Region packs."""


@pack.command("check")
@click.argument("path", required=False)
def pack_check(path: str | None) -> None:
    """Check a region pack (a shipped one's name, or a folder) and run its cases. Default: SLUSS_PACK."""
    from service.packs.cases import cases_of
    from service.packs.loading import load
    from service.referral.case_reading import referral_of
    from service.referral.rehearsal import rehearse

    settings = Settings.from_env()
    name = path or settings.pack
    loaded = load(name)
    cases, problems = cases_of(name, loaded.name)
    report = rehearse(loaded, cases, lambda case: referral_of(case, loaded, settings.canonical_base), problems)
    for line in report.lines():
        click.echo(line)
    click.echo(f"{report.pack}: {report.cases} cases, {'sound' if report.sound else 'NOT sound'}")
    if not report.sound:
        sys.exit(1)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def publish(directory: Path) -> None:
    """Write what describes us (profiles, code systems, forms, rules …) as an npm-style FHIR package into DIRECTORY."""
    from fhir_mappings.terminology import Canonical
    from service.definitions.package import as_text, examples_in, package_files, package_name, tarball
    from service.definitions.published import definitions
    from service.packs.loading import folder_of, load
    from service.web.capability import capability_of

    settings = Settings.from_env()
    pack, canonical = load(settings.pack), Canonical(settings.canonical_base)
    described = [*definitions(pack, canonical), capability_of(canonical)]
    files = package_files(pack, canonical, described, examples_in(folder_of(settings.pack)))
    if (directory / "package").exists():
        raise click.ClickException(f"{directory / 'package'} is there already; nothing is overwritten")
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(as_text(content), encoding="utf-8")
    packed = directory / f"{package_name(pack)}-{pack.version}.tgz"
    packed.write_bytes(tarball(files))
    click.echo(f"{packed}: {len(files)} files")


@main.command()
@click.option("--since", type=DAY, help="First day, 2026-12-21. Default: the last 90 days.")
def cards(since: datetime | None) -> None:
    """What clinicians did with the CDS Hooks cards, rule by rule: one that is always overridden is perhaps wrong."""
    from collections import Counter

    from service.opening import open_store

    store = open_store(Settings.from_env())
    first = since.replace(tzinfo=UTC) if since else datetime.now(UTC) - timedelta(days=90)
    for one in store.view().card_figures(first):
        reasons = ", ".join(f"{code} {times}" for code, times in Counter(one.reasons).most_common())
        told = f"{one.rule}: shown {one.shown}, accepted {one.accepted}, overridden {one.overridden}"
        click.echo(told + (f" ({reasons})" if reasons else ""))
    store.close()


@main.group()
def team() -> None:
    """Teams of internet therapists."""


@team.command("absent")
@click.argument("team_id")
@click.option("--from", "first", type=DAY, required=True, help="First day, 2026-12-21.")
@click.option("--to", "last", type=DAY, required=True, help="Last day, included.")
@click.option("--substitute", help="Team that takes new referrals meanwhile; without one coordination decides.")
def team_absent(team_id: str, first: datetime, last: datetime, substitute: str | None) -> None:
    """A team takes no new referrals from one day to another. What it has not accepted moves at once if that is now."""
    from service.app import make_house
    from service.packs.model import Absence
    from service.referral.journey.timers import enter_absence

    house = make_house(Settings.from_env())
    record_operator(house.store, team_id)
    days: list[date] = [moment.replace(tzinfo=UTC).date() for moment in (first, last)]
    moved = enter_absence(house, Absence(team_id, days[0], days[1], substitute))
    click.echo(f"{team_id} is absent from {days[0]} to {days[1]}; {moved} referrals moved.")


@main.command("stand-in")
@click.option("--port", type=click.IntRange(1, 65535), default=8090, show_default=True)
def stand_in(port: int) -> None:
    """Run a small FHIR server that stands in for the region's, for demonstrations and tests."""
    from service.exchange.stand_in import running_stand_in

    with running_stand_in(port) as running:
        click.echo(f"Stand-in FHIR server at {running.url}")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@main.command()
@click.option("--once", is_flag=True, help="End by itself when every step has happened.")
def demo(once: bool) -> None:
    """Show the whole main job on sample referrals."""
    from service.demo import run

    sys.exit(run(once=once))


if __name__ == "__main__":
    main()
