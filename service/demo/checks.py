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

    def heading(self, title: str) -> None:
        """Begin a part of the story."""
        self.console.print(f"\n[bold cyan]{escape(title)}[/bold cyan]", highlight=False)

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """What stops these steps is a failed check; the story goes on after them."""
        try:
            yield
        except Unexpected as problem:
            self.that(False, f"{what}: steget gick inte", problem)
        except requests.RequestException as problem:
            self.that(False, f"{what}: inget svar", type(problem).__name__)
        except (LookupError, StopIteration) as problem:
            self.that(False, f"{what}: något saknas", f"{type(problem).__name__} {problem}")
