"""Structured logs: one JSON object a line on standard error, no personal data."""

import json
import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog


def set_up(level: str) -> None:
    """Log from `level` on (debug, info, warning, error)."""
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # a line is one write: the lines of several processes do not get into each other
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # what libraries say may repeat what they were given: only that they warn comes through, and where
    root = logging.getLogger()
    root.setLevel(max(number, logging.WARNING))
    if not any(isinstance(handler.formatter, _WithoutWords) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_WithoutWords())
        root.addHandler(handler)
    logging.captureWarnings(True)
    sys.excepthook = _end
    threading.excepthook = lambda failed: _end(failed.exc_type, failed.exc_value, failed.exc_traceback)


def place_of(problem: BaseException) -> str:
    """`file.py:12`, where an error came from: that and its type is all that is told of one, as its message may repeat
    what was sent, or a row of the database.
    """
    return _place(problem.__traceback__)


def _place(trace: TracebackType | None) -> str:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""


def _end(kind: type[BaseException], _: BaseException | None, trace: TracebackType | None) -> None:
    """In the place of the traceback of what nobody has caught, in a process or a thread."""
    structlog.get_logger("sluss").error("ended_by_an_error", error=kind.__name__, where=_place(trace))


def of_the_web_server() -> dict[str, Any]:
    """What the web server is to write: its own words when it starts and stops, of an error only what kind it is."""
    return {"formatters": {name: {"()": _FewWords} for name in ("generic", "access")}}


class _WithoutWords(logging.Formatter):
    """A library's record as level, logger and place, and the type of an error; never its message."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON line."""
        told = {"event": "library", "level": record.levelname.lower(), "logger": record.name}
        place = {"where": f"{record.filename}:{record.lineno}"}
        failed = record.exc_info[0] if record.exc_info else None
        return json.dumps({**told, **place, **({"error": failed.__name__} if failed else {})})


class _FewWords(_WithoutWords):
    """As it is, up to a warning; from there on without words, as the traceback of an application stands in the text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        if record.levelno < logging.ERROR:
            return f"[{record.levelname}] {record.getMessage()}"
        return super().format(record)
