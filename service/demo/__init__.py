"""The demonstration: the whole main job on sample referrals, on servers of its own (`sluss demo`)."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape

from service.demo.account import tell
from service.demo.checks import Checks
from service.demo.people import OPEN_STATES
from service.demo.servers import NotStarted, Servers, running
from service.demo.story import Story

_SWEDEN = ZoneInfo("Europe/Stockholm")
_ENGLISH = (
    "Sluss demonstration: synthetic referrals to internet CBT on servers of their own; what follows is in Swedish, "
    "with FHIR's own words."
)
_WIDTH = 132
"""Columns where the output is no terminal."""


def run(*, once: bool) -> int:
    """Show the demonstration; 0 when every check held, 1 when one failed or a part did not start.

    With `once` it ends by itself; without, it stays up until Ctrl-C. Either way it stops all that it has started.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(_ENGLISH, highlight=False)
    checks = Checks(console)
    began = time.monotonic()
    with _sigterm_as_ctrl_c():
        try:
            with running(lambda text: console.print(f"[dim]{text}[/dim]")) as servers:
                _show(console, checks, servers, began)
                if not once:
                    _stay(console, servers)
                console.print("[dim]Stoppar allt och tar bort mappen …[/dim]")
        except NotStarted as problem:
            console.print(f"[bold red]Det gick inte att starta:[/bold red] {escape(str(problem))}", highlight=False)
            return 1
        except KeyboardInterrupt:
            console.print("Avbruten; allt är stoppat.")
            return 130
    return 1 if checks.failures else 0


def _show(console: Console, checks: Checks, servers: Servers, began: float) -> None:
    console.print(f"[dim]Allt är igång efter {time.monotonic() - began:.1f} s.[/dim]")
    story = Story.begin(servers, checks, datetime.now(_SWEDEN).date())
    try:
        story.play()
        tell(story)
    except NotStarted as problem:
        checks.that(False, "Allt körs hela tiden", problem)
    console.print()
    if checks.failures:
        console.rule(f"[bold red]{len(checks.failures)} av {checks.made} kontroller misslyckades[/bold red]")
        for failure in checks.failures:
            console.print(f"[red]✗[/red] {escape(failure)}", highlight=False)
        console.print(f"[dim]{escape(servers.logs())}[/dim]", highlight=False)
    else:
        console.rule(f"[bold green]Alla {checks.made} kontroller gick igenom[/bold green]")
    console.print(f"[dim]Tid: {time.monotonic() - began:.1f} s.[/dim]")


def _stay(console: Console, servers: Servers) -> None:
    """Tell what can be tried, and wait for Ctrl-C."""
    base = f"{servers.url}/fhir"
    unit = "urn:oid:1.2.752.29.4.19|SE2321000198-EX03"
    includes = "&_include=Task:focus&_include=Task:patient"
    console.rule("Tjänsten är igång – prova (Ctrl-C avslutar)")
    for name, url in (
        (
            "Arbetslista",
            f"{base}/Task?owner=HealthcareService/gavle&status={OPEN_STATES}&_sort=-_lastUpdated{includes}",
        ),
        ("Svar till en enhet", f"{base}/Communication?recipient:identifier={unit}&status=completed&_sort=_lastUpdated"),
        ("CapabilityStatement", f"{base}/metadata"),
        ("Hälsa", f"{servers.url}/health/ready"),
        ("Mätvärden", f"{servers.url}/metrics"),
        ("Extern FHIR-server (ersättare)", f"{servers.stand_in.url}/Task"),
    ):
        console.print(f"  {name}:\n    {escape(url)}", soft_wrap=True, highlight=False)
    try:
        while not threading.Event().wait(1.0):
            servers.check_alive()
    except KeyboardInterrupt:
        console.print()


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the demonstration as Ctrl-C does. Only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
