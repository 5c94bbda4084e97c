"""A real HAPI FHIR server in the foreground, to look at and to point `SLUSS_FHIR_SERVER_URL` at: `make hapi`."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import click

from tests.building import missing_tools
from tests.hapi.server import TOOLS, running_hapi


def main() -> None:
    """Run it until Ctrl-C or SIGTERM; what it held is gone then, unless `--data` says where to keep it."""
    arguments = argparse.ArgumentParser(prog="python -m tests.hapi", description=main.__doc__)
    arguments.add_argument("--port", type=int, default=8090, help="of loopback; 0 takes any free one")
    arguments.add_argument("--data", type=Path, help="folder of its database and log")
    asked = arguments.parse_args()
    missing = missing_tools(*TOOLS)
    if missing:
        sys.exit(f"a HAPI FHIR server needs {' and '.join(missing)} on the path")
    with tempfile.TemporaryDirectory(prefix="sluss-hapi-") as thrown_away:
        click.echo("HAPI FHIR server: building and starting, half a minute or more …")
        with running_hapi(asked.data or Path(thrown_away), asked.port) as running:
            click.echo(f"HAPI FHIR server at {running.url}")
            click.echo(f"  SLUSS_FHIR_SERVER_URL={running.url} make serve")
            click.echo("Ctrl-C ends it.")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
