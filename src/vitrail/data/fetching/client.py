"""One request and its answer, whole and within bounds, or the reason why not. Redirects are the caller's."""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpcore2

from vitrail.data.fetching.addresses import Address, Networks, Target, resolved
from vitrail.data.fetching.connecting import CheckedBackend, Deadline
from vitrail.data.fetching.failures import Failed, Refused

REDIRECTS = (301, 302, 303, 307, 308)
_WAIT = (429, 503)
_AGAIN = (408, 425, 500, 502, 503, 504)
_UNPACKED = 1 << 16


@dataclass(frozen=True)
class Answer:
    """``headers`` in lower case; ``body`` only of status 200."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Requests one after the other; connections to a host stay open between them. For one thread.

    ``seconds`` bound a request from its begin to its last byte (the look-up of its host, which cannot be broken off,
    counts and ends when the resolver ends it), ``connect_seconds`` each try to connect. ``ssl_context``: whom to trust,
    read from this machine where it is None.
    """

    def __init__(
        self,
        networks: Networks,
        user_agent: str,
        seconds: float = 30.0,
        connect_seconds: float = 10.0,
        resolve: Callable[[str, int], list[Address]] = resolved,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._agent, self._seconds, self._connect = user_agent, seconds, connect_seconds
        self._deadline = Deadline()
        backend = CheckedBackend(networks, self._deadline, resolve)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=8,
            max_keepalive_connections=2,
            keepalive_expiry=15.0,
            network_backend=backend,
        )

    def close(self) -> None:
        """End the connections."""
        self._pool.close()

    def stop(self) -> None:
        """From any thread: break off what is under way, and ask for nothing more."""
        self._deadline.stop()

    def get(
        self, target: Target, max_bytes: int, accept: str = "*/*", seconds: float | None = None
    ) -> Answer:
        """The answer, within ``seconds`` (None: the client's own).

        :class:`~vitrail.data.fetching.failures.Refused` or :class:`~vitrail.data.fetching.failures.Failed` where there
        is none to be had.
        """
        seconds = self._seconds if seconds is None else seconds
        headers = [("User-Agent", self._agent), ("Accept", accept), ("Accept-Encoding", "identity")]
        timeout = {
            "connect": self._connect,
            "read": seconds,
            "write": seconds,
            "pool": seconds,
        }
        self._deadline.begin(seconds)
        try:
            self._deadline.left()
            with self._pool.stream(
                "GET", target.address, headers=headers, extensions={"timeout": timeout}
            ) as found:
                said = {_text(name).lower(): _text(value) for name, value in found.headers}
                if found.status != 200:
                    return _passed(Answer(found.status, said, b""))
                return Answer(200, said, _body(found.iter_stream(), said, max_bytes))
        except (Refused, Failed):
            raise
        except httpcore2.ConnectTimeout as error:
            raise Failed("no connection", str(error), passing=True) from None
        except httpcore2.TimeoutException as error:
            raise Failed("too slow", str(error)) from None
        except httpcore2.ConnectError as error:
            if isinstance(error.__context__, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
                raise Failed("certificate", str(error)) from None
            raise Failed("no connection", str(error), passing=True) from None
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            raise Failed("broken off", str(error), passing=True) from None
        except socket.gaierror as error:
            raise Failed("no such host", str(error), passing=error.errno == socket.EAI_AGAIN) from None
        except (httpcore2.ProtocolError, OSError, ValueError) as error:
            raise Failed("no connection", str(error)) from None


def _text(raw: bytes) -> str:
    """A header's text: UTF-8, as many send addresses of redirects, else Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _passed(answer: Answer) -> Answer:
    """An answer that is a redirect. ``Failed`` for any other status."""
    status = answer.status
    if status in REDIRECTS and answer.headers.get("location"):
        return answer
    wait = seconds_of(answer.headers.get("retry-after", "")) if status in _WAIT else None
    raise Failed(f"status {status}", "", passing=status in _WAIT or status in _AGAIN, wait=wait)


def seconds_of(told: str, now: Callable[[], float] = time.time) -> float | None:
    """``Retry-After`` in seconds, from a number or a date; None for what is neither."""
    told = told.strip()
    if told.isdigit():
        return float(told[:9])
    try:
        return max(email.utils.parsedate_to_datetime(told).timestamp() - now(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def _body(chunks: Iterator[bytes], headers: dict[str, str], max_bytes: int) -> bytes:
    """All of it, unpacked where a server packed it unasked. ``Failed`` beyond ``max_bytes``, packed or not."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise Failed("too many bytes", f"{int(length):,} are promised, at most {max_bytes:,} are read")
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Failed("content encoding", f"{coding[:40]!r} was not asked for")
    unpack = zlib.decompressobj(47) if coding not in ("", "identity") else None
    body, read = bytearray(), 0
    for chunk in chunks:
        read += len(chunk)
        for piece in _unpacked(unpack, chunk) if unpack is not None else (chunk,):
            body += piece
            if max(len(body), read) > max_bytes:
                raise Failed("too many bytes", f"more than {max_bytes:,}")
    if unpack is not None and not unpack.eof:
        raise Failed("broken off", f"the {coding} stream has no end", passing=True)
    return bytes(body)


def _unpacked(unpack: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """Small pieces, so that no more than one is held beyond the limit."""
    try:
        while chunk and not unpack.eof:
            yield unpack.decompress(chunk, _UNPACKED)
            chunk = unpack.unconsumed_tail
    except zlib.error as error:
        raise Failed("content encoding", str(error)) from None
