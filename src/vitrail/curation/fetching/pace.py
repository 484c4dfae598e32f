"""When the next request to a host may be: so many a second, later where a server asks for it. Safe between threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """``interval``: seconds between two requests to one host. ``clock`` and ``sleep`` are time's, or a test's."""

    def __init__(
        self,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval, self._clock, self._sleep = interval, clock, sleep
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._slower: dict[str, float] = {}

    def wait(self, host: str) -> None:
        """Return when a request to ``host`` may be made; it is taken to be made then."""
        with self._lock:
            now = self._clock()
            start = max(now, self._held.get(host, now))
            if host in self._last:
                start = max(start, self._last[host] + max(self._interval, self._slower.get(host, 0.0)))
            self._last[host] = start
        if start > now:
            self._sleep(start - now)

    def hold(self, host: str, seconds: float) -> None:
        """No request to ``host`` for so long."""
        with self._lock:
            self._held[host] = max(self._held.get(host, 0.0), self._clock() + seconds)

    def slow(self, host: str, interval: float) -> None:
        """At least ``interval`` seconds between requests to ``host`` from now on."""
        with self._lock:
            self._slower[host] = max(self._slower.get(host, 0.0), interval)
