"""The WSGI application of `unguarded`, set up as `wsgi.py` sets up the service."""

import gc

from tests.bench.unguarded import create_app

app = create_app()
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 100)
