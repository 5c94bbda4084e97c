"""Trouble between us and the stand-in: a server that is away, slow, or whose answer is lost on the way back."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from werkzeug.test import run_wsgi_app

Started = Callable[..., Any]


@dataclass(frozen=True)
class Trouble:
    """What happens to one request. `after`: the server carries it out, and its answer is lost."""

    status: int = 503
    body: str = ""
    after: bool = False
    seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    only: str = "POST /fhir"
    """Method and path of the requests that it happens to."""


@dataclass
class Way:
    """The way to the server: what was asked, and the trouble still to come. `always` never ends."""

    asked: list[str] = field(default_factory=list)
    """`METHOD path?query` of every request."""
    coming: list[Trouble] = field(default_factory=list)
    always: Trouble | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lead_through(self, app: Flask) -> None:
        """Put the trouble before an app."""
        inner = app.wsgi_app

        def wsgi(environ: dict[str, Any], start: Started) -> Iterable[bytes]:
            trouble = self._meets(environ)
            if trouble is None:
                return inner(environ, start)
            if trouble.after:
                run_wsgi_app(inner, environ)
            time.sleep(trouble.seconds)
            start(f"{trouble.status} Trouble", [("Content-Type", "application/fhir+json"), *trouble.headers])
            return [trouble.body.encode()]

        app.wsgi_app = wsgi  # type: ignore[method-assign,assignment]

    def _meets(self, environ: dict[str, Any]) -> Trouble | None:
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        with self._lock:
            self.asked.append(f"{line}?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else line)
            for trouble in self.coming:
                if trouble.only == line:
                    self.coming.remove(trouble)
                    return trouble
        return self.always
