"""The service without authentication and without the record, which exists for measurements only: what `guarded` is
measured against. `python -m tests.bench.unguarded PORT PROCESSES THREADS`, settings as for `sluss serve`.
"""

import sys
from unittest.mock import Mock

from flask import Flask

from service.cli import web_server


def create_app() -> Flask:
    """The application with nothing recorded."""
    from service.settings import Settings
    from service.store.change import Change
    from service.web import recording

    vars(recording)["register"] = Change._record_deeds = Mock()  # type: ignore[method-assign]
    from service.app import create_app as create

    return create(Settings.from_env())


if __name__ == "__main__":
    port, processes, threads = map(int, sys.argv[1:])
    web_server("tests.bench.unguarded_wsgi:app", "127.0.0.1", port, processes, threads).serve()
