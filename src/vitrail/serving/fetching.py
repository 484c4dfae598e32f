"""Pictures that a request names by address, fetched beside everything else, or refused in one sentence.

Each fetch has a thread of its own, so that nothing waits for it but the request that asked: at most so many at once, of
one host a quarter of them, of one request a few. Whoever no longer waits (the client hung up, the time is up) leaves
the thread to break off by itself; it keeps its place until it has. What a client is told of a failure never says where
a name leads or a redirect went, nor whether a name that leads nowhere public exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from vitrail.data.fetching.addresses import Address, Hosts, Networks, Target, resolved, target_of
from vitrail.data.fetching.failures import Failed
from vitrail.data.fetching.failures import Refused as NotFetched
from vitrail.data.fetching.pictures import ACCEPT
from vitrail.serving.errors import Refused
from vitrail.serving.settings import Fetching

if TYPE_CHECKING:
    from vitrail.data.fetching.client import Answer, Client

LOGGER = logging.getLogger("vitrail.serving")
AS_DATA = "send the picture itself as data:image/png;base64,…"
AT_ONCE = 4
"""Pictures of one request that are fetched side by side."""
LONGEST = 8_192
"""Characters of an address."""
_ADDRESS = re.compile("https?:", re.IGNORECASE)
_NOWHERE = "its host has no address that this server may ask, which are those in the public internet"
_WHY = {
    "address not public": _NOWHERE,
    "no such host": _NOWHERE,
    "host": "its host is none of those that this server may ask",
    "port": "this server asks ports {ports} alone",
    "scheme": "it leads to what is neither http nor https",
    "bad address": "it is no address of http or https without a name or password in it, or leads to none",
    "no connection": "its host does not answer",
    "certificate": "its host shows no certificate that this server trusts",
    "too slow": "it was not here within {seconds:g} s",
    "too many bytes": "it has more than {bytes:,} bytes",
    "too many redirects": "it is redirected more than {redirects} times",
    "content encoding": "it comes in a content encoding that was not asked for",
    "broken off": "its server broke off",
}
"""Reason → what a client is told."""


def require_library() -> None:
    """ImportError that names the extra."""
    try:
        import httpcore2  # noqa: F401
    except ImportError:
        raise ImportError(
            "fetching pictures by address needs httpcore2: pip install 'vitrail[serve]'"
        ) from None


def is_address(url: str) -> bool:
    """Whether a picture's URL is one to be fetched."""
    return _ADDRESS.match(url) is not None


class PictureFetcher:
    """``most``: bytes that the pictures of one request may have together. For one event loop.

    ``noted`` is told of each picture whether it came. ImportError without httpcore2.
    """

    def __init__(
        self,
        settings: Fetching,
        most: int,
        noted: Callable[[bool], None] = lambda came: None,
        resolve: Callable[[str, int], list[Address]] = resolved,
    ) -> None:
        require_library()
        from httpcore2 import default_ssl_context

        self.settings, self._most, self._noted, self._resolve = settings, most, noted, resolve
        self._networks, self._hosts = Networks(settings.allow_networks), Hosts(settings.allow_hosts)
        self._trusted = default_ssl_context()
        self._places = asyncio.Semaphore(settings.together)
        self._of_host: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def fetched(self, wanted: Mapping[str, str]) -> dict[str, bytes]:
        """What is at each address of ``wanted`` (where it stands → address), each fetched once.

        :class:`~vitrail.serving.errors.Refused` names the first place that has an address with nothing to be had.
        """
        targets: dict[str, tuple[str, Target]] = {}
        for where, address in wanted.items():
            if address not in targets:
                targets[address] = (where, self._judged(where, address))
        end = time.monotonic() + self.settings.max_seconds
        turns, left = asyncio.Semaphore(AT_ONCE), [self._most]
        tasks = [asyncio.create_task(self._one(*told, turns, left, end)) for told in targets.values()]
        try:
            return dict(zip(targets, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _judged(self, where: str, address: str) -> Target:
        """The address in parts, if it is one that may be asked."""
        try:
            if len(address) > LONGEST:
                raise NotFetched("bad address", f"it has more than {LONGEST:,} characters")
            target = target_of(address, self.settings.ports)
            self._require_host(target)
        except NotFetched as error:
            raise self._told(where, error) from None
        return target

    def _require_host(self, target: Target) -> None:
        if not self._hosts.admits(target.host):
            raise NotFetched("host", target.host)

    async def _one(
        self, where: str, target: Target, turns: asyncio.Semaphore, left: list[int], end: float
    ) -> bytes:
        """One picture, in its turn; ``left``: bytes for it and those behind it."""
        came = False
        try:
            async with turns:
                leave = await self._place(where, target.host, end)
                async with asyncio.timeout(end - time.monotonic()):
                    body = await self._carried(where, target, end, leave)
            left[0] -= len(body)
            if left[0] < 0:
                message = f"{where}: the pictures at addresses have together more than {self._most:,} bytes"
                raise Refused(400, f"{message}; name fewer or smaller ones", param=where)
            came = True
            return body
        except TimeoutError:
            raise self._told(where, Failed("too slow")) from None
        except (NotFetched, Failed) as error:
            raise self._told(where, error) from None
        finally:
            self._noted(came)

    async def _place(self, where: str, host: str, end: float) -> Callable[[], None]:
        """A thread's place among all, and among those of one host; what is returned gives it back."""
        share = self._of_host.get(host)
        if share is None:
            share = self._of_host[host] = asyncio.Semaphore(max(1, self.settings.together // 4))
        try:
            async with asyncio.timeout(end - time.monotonic()):
                await share.acquire()
                try:
                    await self._places.acquire()
                except BaseException:
                    share.release()
                    raise
        except TimeoutError:
            raise _busy(where) from None

        def leave() -> None:
            share.release()
            self._places.release()

        return leave

    async def _carried(self, where: str, target: Target, end: float, leave: Callable[[], None]) -> bytes:
        """What a thread brings, which gives its place back at its own end, whenever this ends."""
        loop, client = asyncio.get_running_loop(), self._client()
        found: asyncio.Future[bytes | Failed | NotFetched] = loop.create_future()

        def done(outcome: bytes | Failed | NotFetched) -> None:
            leave()
            if not found.done():
                found.set_result(outcome)

        def carry() -> None:
            outcome = self._outcome(client, target, end)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(done, outcome)

        try:
            threading.Thread(target=carry, name="vitrail-fetch", daemon=True).start()
        except RuntimeError:  # this machine has no thread left
            leave()
            raise _busy(where) from None
        try:
            outcome = await found
        finally:
            client.stop()
        if isinstance(outcome, bytes):
            return outcome
        raise outcome

    def _client(self) -> Client:
        from vitrail.data.fetching.client import Client

        seconds = self.settings.max_seconds
        patience = {"seconds": seconds, "connect_seconds": min(5.0, seconds)}
        agent = self.settings.user_agent
        return Client(self._networks, agent, **patience, resolve=self._resolve, ssl_context=self._trusted)

    def _outcome(self, client: Client, target: Target, end: float) -> bytes | Failed | NotFetched:
        """In a thread: the bytes behind all redirects, or why there are none."""
        from vitrail.data.fetching.redirects import followed

        settings = self.settings

        def ask(one: Target) -> Answer:
            self._require_host(one)
            return client.get(one, settings.max_bytes, ACCEPT, end - time.monotonic())

        try:
            return followed(target, ask, settings.max_redirects, settings.ports).body
        except (NotFetched, Failed) as error:
            return error
        except Exception:  # whatever a server can make the library do
            LOGGER.exception("a picture could not be fetched from %s", target.host)
            return Failed("broken off")
        finally:
            client.close()

    def _told(self, where: str, error: NotFetched | Failed) -> Refused:
        """What a client may know of it; the log has the rest, but for paths, which may hold secrets."""
        LOGGER.warning("%s was not fetched: %s", where, error)
        settings = self.settings
        known = _WHY.get(error.reason, f"its server answers with {error.reason}")
        why = known.format(
            ports=", ".join(map(str, settings.ports)),
            seconds=settings.max_seconds,
            bytes=settings.max_bytes,
            redirects=settings.max_redirects,
        )
        message = f"{where} cannot be fetched: {why}; correct the address, or {AS_DATA}"
        return Refused(400, message, param=where, code="invalid_image_url")


def _busy(where: str) -> Refused:
    message = (
        f"{where} cannot be fetched now: this server fetches as many pictures as it may; ask again later"
    )
    return Refused(429, message, param=where, code="fetches_full", headers={"Retry-After": "2"})
