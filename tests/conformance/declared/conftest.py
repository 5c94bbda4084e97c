"""One running service with a filled store, and what it says that it does."""

import os
import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.conformance.declared.filled import fill
from tests.conformance.declared.here import Here
from tests.journeys.conftest import Clock, Ids, Service, _Quiet
from tests.web.served import new_database


@pytest.fixture(scope="session")
def here(server_url: str) -> Iterator[Here]:
    """The filled service, asked by an administrator until somebody else asks."""
    store = Store(new_database(server_url, f"declared_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"))
    store.migrate()
    # asked as often as the machine can: thousands of searches a minute, all from one address
    settings = Settings(auth="off", log_level="error", subscription_hosts=("ehr.example",), requests_per_minute=0)
    clock = Clock()
    house = House(store, load("gavleborg"), Canonical(settings.canonical_base), clock, Ids())
    server = make_server("127.0.0.1", 0, create_app(settings, house), threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    service = Service(f"http://127.0.0.1:{server.server_port}", house, clock)
    fill(service)
    yield Here(service)
    server.shutdown()
    thread.join()
    store.close()
