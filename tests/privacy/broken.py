"""An application that fails where nobody catches it, with what it was sent in the error; and so does a thread of it."""

import threading
from collections.abc import Iterable
from typing import Any

from service import logs

logs.set_up("debug")


def app(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Fails."""
    said = environ["QUERY_STRING"]

    def fail() -> None:
        raise ValueError(said)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise ValueError(said)
