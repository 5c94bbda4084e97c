"""The demonstration's own checks: each is told as it is made, and a failed one decides the exit status."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
from rich.console import Console
from rich.markup import escape

from service.demo.people import Unexpected


@dataclass
class Checks:
    """What has been checked so far."""

    console: Console
    made: int = 0
    failures: list[str] = field(default_factory=list)

    def that(self, holds: bool, what: str, instead: object = None) -> bool:
        """Note and show whether `what` holds; `instead` says what was found where it does not."""
        self.made += 1
        if holds:
            self.console.print(f"  [green]✓[/green] {escape(what)}", highlight=False)
            return True
        text = what if instead is None else f"{what} – i stället: {instead}"
        self.failures.append(text)
        self.console.print(f"  [bold red]✗ MISSLYCKAD KONTROLL:[/bold red] {escape(text)}", highlight=False)
        return False

    def aside(self, text: str) -> None:
        """Show what happens, without a check."""
        self.console.print(f"  [yellow]{escape(text)}[/yellow]", highlight=False)

    def equal(self, found: object, wanted: object, what: str) -> bool:
        """Note and show whether two values are equal."""
        return self.that(found == wanted, what, found)

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """One part of the story, under its title. What stops it is a failed check; the next part goes on."""
        self.console.print(f"\n[bold cyan]{escape(title)}[/bold cyan]", highlight=False)
        try:
            yield
        except Unexpected as problem:
            self.that(False, f"{title}: steget gick inte", problem)
        except requests.RequestException as problem:
            self.that(False, f"{title}: inget svar", type(problem).__name__)
        except (KeyError, IndexError, StopIteration) as problem:
            self.that(False, f"{title}: svaret saknar något", f"{type(problem).__name__} {problem}")
