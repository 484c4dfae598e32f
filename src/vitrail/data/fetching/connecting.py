"""Connections to the address that was checked, and to no other; and a moment at which everything ends.

The name of a host is resolved here, once, and what is connected to is a number: a name that leads elsewhere at its
second question (DNS rebinding) gains nothing. TLS still proves the name. The deadline counts over all that a request
does, so that a server which sends a byte a second, headers included, is left in time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2

from vitrail.data.fetching.addresses import Address, Networks, resolved
from vitrail.data.fetching.failures import Refused

_TRIED = 4
"""Addresses of a host that are tried one after the other."""
_LOOK = 0.25
"""Seconds after which a read that waits looks whether anybody still wants it."""


class Deadline:
    """When a request must have ended, on a clock that cannot be set; sooner where :meth:`stop` says so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end, self._stopped = clock, 0.0, False

    def begin(self, seconds: float) -> None:
        """Everything from now on must have ended in so many seconds."""
        self._end = self._clock() + seconds

    def stop(self) -> None:
        """From any thread: the time is up, for this request and all later ones."""
        self._stopped = True

    def left(self, timeout: float | None = None) -> float:
        """How long an operation may take. ``httpcore2.ReadTimeout`` when the time is up."""
        if self._stopped:
            raise httpcore2.ReadTimeout("nobody waits for this request any more")
        left = self._end - self._clock()
        if left <= 0:
            raise httpcore2.ReadTimeout("the time for this request is up")
        return left if timeout is None else min(left, timeout)


class CheckedBackend(httpcore2.NetworkBackend):
    """TCP connections to addresses that ``networks`` admits. :class:`Refused` where a host has none."""

    def __init__(
        self,
        networks: Networks,
        deadline: Deadline,
        resolve: Callable[[str, int], list[Address]] = resolved,
    ) -> None:
        self._networks, self._deadline, self._resolve = networks, deadline, resolve
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the first address that answers."""
        found = self._resolve(host, port)
        admitted = [address for address in found if self._networks.admits(address)]
        if not admitted:
            raise Refused("address not public", f"{host} is {', '.join(map(str, found[:3])) or 'nowhere'}")
        failure: Exception | None = None
        for address in admitted[:_TRIED]:
            try:
                stream = self._sockets.connect_tcp(
                    str(address), port, self._deadline.left(timeout), None, socket_options or ()
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            return _Bounded(stream, self._deadline)
        assert failure is not None
        raise failure


class _Bounded(httpcore2.NetworkStream):
    """A stream whose every operation ends by the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline.left(timeout)
        while left > _LOOK:
            try:
                return self._stream.read(max_bytes, _LOOK)
            except httpcore2.ReadTimeout:
                left = min(left - _LOOK, self._deadline.left())
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Bounded(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
