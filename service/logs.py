"""Structured logs: one JSON object a line on standard error, no personal data."""

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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # what libraries say may repeat what they were given; only their warnings come through, without arguments
    logging.basicConfig(stream=sys.stderr, level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(msg)s")
