"""Connections whose answer comes within its time as a whole: the timeout of a socket is for one read, and a server may
send a byte at a time.
"""

import http.client
import io
import socket
import time
from collections.abc import Mapping
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection


class WithinTime(HTTPAdapter):
    """For a session: the timeout of a read is for head and body together. Costs a look at the clock for every read."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """As of requests; through a proxy too."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = _OF_SCHEME[pool.scheme]
        return pool


class _Reads(io.RawIOBase):
    """What comes over a socket until its time is up: the timeout that it has now, from now on."""

    def __init__(self, connection: socket.socket, reads: io.RawIOBase) -> None:
        self._connection, self._reads = connection, reads
        seconds = connection.gettimeout()
        self._until = float("inf") if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("answer too slow")
        self._connection.settimeout(left)
        read: int | None = self._reads.readinto(buffer)
        return read

    def close(self) -> None:
        self._reads.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Reads(sock, self.fp.detach()))


class _Plain(HTTPConnection):
    response_class = _Answer


class _Tls(HTTPSConnection):
    response_class = _Answer


_OF_SCHEME: Mapping[str, Any] = {"http": _Plain, "https": _Tls}
