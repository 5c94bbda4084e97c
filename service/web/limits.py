"""How often one client may ask in a minute; more is 429 with `Retry-After`. Counted in each web process by itself.

https://www.rfc-editor.org/rfc/rfc6585#section-4. Every entry of a batch or transaction that is done by itself counts.
"""

import math
import time
from ipaddress import IPv6Address, ip_address

from flask import Flask, Response, current_app, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from service.web.errors import Throttled, throttled
from service.web.proxies import client_address
from service.web.requests_in import CALLER, TOKEN

FAILED_PER_MINUTE = 600
"""Requests of one address that show no good credentials; more are told 429 instead of 401, and not recorded one by one.
Whoever has good ones is served all the same: a region's clients often share an address. So many, because their tokens
may end together, and only by 401 do they know to ask for new ones.
"""

_UNCOUNTED = frozenset({"/health/live", "/health/ready", "/metrics"})


def register(app: Flask, per_minute: int) -> None:
    """Limit each client to `per_minute` requests, and failed authentications; 0: neither. To be registered after what
    finds out who calls, and after the record, so that it comes before that on the way out.
    """
    if per_minute == 0:
        return
    app.config["LIMITS"] = _Limits(per_minute)
    app.before_request(_count)
    app.after_request(_count_failed)


class _Limits:
    def __init__(self, per_minute: int) -> None:
        self._window = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(per_minute)
        self._failures = RateLimitItemPerMinute(FAILED_PER_MINUTE, namespace="failed")

    def wait(self, key: str, *, failed: bool = False) -> int:
        """Counts one; the seconds to wait when it is too many, else 0."""
        item = self._failures if failed else self._requests
        if self._window.hit(item, key):
            return 0
        return max(1, math.ceil(self._window.get_window_stats(item, key).reset_time - time.time()))


def _limits() -> _Limits:
    kept: _Limits = current_app.config["LIMITS"]
    return kept


def _count() -> None:
    """Raises Throttled."""
    if request.path in _UNCOUNTED:
        return
    caller = request.environ.get(CALLER)
    client = (caller.client or caller.user) if caller is not None else None
    wait = _limits().wait(f"client {client}" if client else _address())
    if wait:
        raise Throttled(wait)


def _count_failed(response: Response) -> Response:
    failed = response.status_code == 401 or (request.path.rstrip("/") == TOKEN and response.status_code == 400)
    wait = _limits().wait(_address(), failed=True) if failed else 0
    return throttled(wait) if wait else response


def _address() -> str:
    """The address that the request comes from; of IPv6 the network that one customer has."""
    written = client_address()
    if written is None:
        return "address unknown"
    read = ip_address(written)
    return f"address {int(read) >> 64:x}" if isinstance(read, IPv6Address) else f"address {read}"
