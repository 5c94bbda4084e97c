"""Structured logs: one JSON object a line on standard error, no personal data."""

import json
import logging
import sys

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


class _WithoutWords(logging.Formatter):
    """A library's record as level, logger and place, and the type of an error; never its message."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON line."""
        told = {"event": "library", "level": record.levelname.lower(), "logger": record.name}
        place = {"where": f"{record.filename}:{record.lineno}"}
        failed = record.exc_info[0] if record.exc_info else None
        return json.dumps({**told, **place, **({"error": failed.__name__} if failed else {})})
