"""For any WSGI server: `wsgi:app`."""

import gc

from service.app import create_app
from service.settings import Settings

app = create_app(Settings.from_env())

# Pack, definitions and modules stay for good: the garbage collector need not go through them again and again, nor look
# for cycles, of which a request makes hardly any, after every few hundred objects.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 100)
