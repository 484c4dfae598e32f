"""Many addresses → pictures in a store: hosts side by side, each host's addresses one after the other.

An address is asked for at most ``retries`` times more when what went wrong may pass, with pauses that double, or as
long as the server says. A host that asks to be left alone for too long, or that fails too often in a row, is left for
this run. No result depends on how fast the others were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vitrail.curation.fetching.pace import Pace
from vitrail.curation.fetching.robots import MAX_BYTES, Robots
from vitrail.curation.fetching.settings import FetchSettings
from vitrail.curation.fetching.store import Result, Store
from vitrail.data.fetching.addresses import Address, Networks, Target, resolved, target_of
from vitrail.data.fetching.client import Answer, Client
from vitrail.data.fetching.failures import Failed, Refused
from vitrail.data.fetching.pictures import ACCEPT, examined
from vitrail.data.fetching.redirects import followed
from vitrail.storage.lock import FileLock

_FORBIDDING = ("noai", "noimageai", "noindex", "noimageindex", "none")
_LEFT = "host left alone"


class Fetcher:
    """Fetches into the folder ``folder``. ``pace`` and ``resolve`` are replaced by tests."""

    def __init__(
        self,
        settings: FetchSettings,
        folder: Path,
        *,
        pace: Pace | None = None,
        resolve: Callable[[str, int], list[Address]] = resolved,
    ) -> None:
        self.settings, self.folder = settings, folder
        self._networks = Networks(settings.allow_networks)
        self._pace = pace or Pace(1.0 / settings.per_second)
        self._resolve = resolve
        self._robots = Robots(self._read_robots, settings.user_agent.split("/")[0].split()[0])
        self._threads = threading.local()
        self._clients: list[Client] = []
        self._stop = threading.Event()

    def known(self, addresses: Iterable[str]) -> dict[str, Result]:
        """What the store knows of these addresses; nothing is asked for."""
        store = Store(self.folder, self.settings.terms())
        bounds = self.settings.max_bytes, self.settings.max_pixels
        found = {address: store.known(address, *bounds) for address in set(addresses)}
        return {address: result for address, result in found.items() if result is not None}

    def run(
        self, addresses: Iterable[str], say: Callable[[str], None] = lambda line: None
    ) -> dict[str, Result]:
        """What every address gives. :class:`~vitrail.storage.lock.Locked` while another process fetches here."""
        wanted = sorted(set(addresses))
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock", f"the store {self.folder}"):
            self._store = Store(self.folder, self.settings.terms())
            bounds = self.settings.max_bytes, self.settings.max_pixels
            found = {one: known for one in wanted if (known := self._store.known(one, *bounds)) is not None}
            left = [one for one in wanted if one not in found]
            say(f"{len(left):,} of {len(wanted):,} addresses to fetch into {self.folder}")
            try:
                found |= self._fetched(left, say)
            finally:
                for client in self._clients:
                    client.close()
                self._store.close()
        return found

    def _fetched(self, addresses: list[str], say: Callable[[str], None]) -> dict[str, Result]:
        by_host: dict[str, list[tuple[str, Target]]] = {}
        found: dict[str, Result] = {}
        for address in addresses:
            try:
                target = target_of(address, self.settings.ports)
                by_host.setdefault(target.host, []).append((address, target))
            except Refused as error:
                found[address] = self._noted(address, Result(reason=error.reason, detail=error.detail))
        with ThreadPoolExecutor(self.settings.hosts, thread_name_prefix="fetch") as pool:
            try:
                for host, results in zip(by_host, pool.map(self._of_host, by_host.values()), strict=True):
                    found |= results
                    pictures = sum(not one.reason for one in results.values())
                    say(f"{host}: {pictures:,} pictures of {len(results):,} addresses")
            except BaseException:
                self._stop.set()
                raise
        return found

    def _of_host(self, targets: list[tuple[str, Target]]) -> dict[str, Result]:
        found: dict[str, Result] = {}
        left_alone, failures = "", 0
        for address, target in targets:
            if self._stop.is_set():
                break
            if left_alone:
                result = Result(reason=_LEFT, detail=left_alone, passing=True)
            else:
                result = self._with_patience(target)
                failures = failures + 1 if result.passing else 0
                if result.reason == _LEFT:
                    left_alone = result.detail
                elif failures >= self.settings.give_up:
                    left_alone = f"{failures} failures in a row, the last: {result.reason}"
            found[address] = self._noted(address, result)
        return found

    def _noted(self, address: str, result: Result) -> Result:
        self._store.note(address, result)
        return result

    def _with_patience(self, target: Target) -> Result:
        """The picture at an address; what may pass is tried again."""
        for attempt in range(self.settings.retries + 1):
            try:
                answer = self._followed(target)
                return self._store.keep(answer.body, examined(answer.body, self.settings.max_pixels))
            except Refused as error:
                return Result(reason=error.reason, detail=error.detail[:300])
            except Failed as error:
                if error.wait is not None and error.wait > self.settings.max_wait:
                    why = f"it asks to wait for {error.wait:,.0f} seconds ({error.reason})"
                    return Result(reason=_LEFT, detail=why, passing=True)
                if not error.passing or attempt == self.settings.retries:
                    return Result(reason=error.reason, detail=error.detail[:300], passing=error.passing)
                pause = self.settings.backoff * 2**attempt if error.wait is None else error.wait
                self._pace.hold(target.host, min(pause, self.settings.max_wait))
        raise AssertionError("the last attempt returns")

    def _followed(self, target: Target) -> Answer:
        """The answer behind all redirects; each hop is judged, paced and asked of robots.txt like the first."""
        answer = followed(target, self._allowed, self.settings.max_redirects, self.settings.ports)
        self._require_no_tag(answer)
        return answer

    def _allowed(self, target: Target) -> Answer:
        """What is there, if robots.txt lets it be asked for."""
        self._robots.require(target.origin, target.address)
        self._pace.slow(target.host, min(self._robots.delay(target.origin), self.settings.max_wait))
        return self._asked(target, self.settings.max_bytes)

    def _asked(self, target: Target, max_bytes: int) -> Answer:
        self._pace.wait(target.host)
        return self._client.get(target, max_bytes, ACCEPT)

    def _require_no_tag(self, answer: Answer) -> None:
        words = {word.strip() for word in answer.headers.get("x-robots-tag", "").lower().split(",")}
        against = sorted(words & set(_FORBIDDING))
        if against:
            raise Refused("X-Robots-Tag", f"the server says {', '.join(against)}")

    def _read_robots(self, address: str) -> str | None:
        """The text of a robots.txt; None where it is not there (4xx)."""
        target = target_of(address, self.settings.ports)
        for attempt in range(self.settings.retries + 1):
            try:
                bounds = self.settings.max_redirects, self.settings.ports
                answer = followed(target, lambda one: self._asked(one, MAX_BYTES), *bounds)
                return answer.body.decode("utf-8", "replace")
            except Failed as error:
                if error.reason == "too many redirects" or (
                    error.reason.startswith("status 4") and not error.passing
                ):
                    return None
                wait = error.wait if error.wait is not None else self.settings.backoff * 2**attempt
                if not error.passing or attempt == self.settings.retries or wait > self.settings.max_wait:
                    raise
                self._pace.hold(target.host, wait)
        raise AssertionError("the last attempt returns")

    @property
    def _client(self) -> Client:
        """This thread's."""
        client: Client | None = getattr(self._threads, "client", None)
        if client is None:
            client = Client(
                self._networks,
                self.settings.user_agent,
                seconds=self.settings.max_seconds,
                connect_seconds=min(10.0, self.settings.max_seconds),
                resolve=self._resolve,
            )
            self._threads.client = client
            self._clients.append(client)
        return client
