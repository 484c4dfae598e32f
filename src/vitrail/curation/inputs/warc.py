"""Web pages of WARC files (ISO 28500), plain or compressed member by member as Common Crawl's are.

Read here and not by a library, because damage must be seen: fastwarc ends quietly where a file was cut off, and stops
at the first corrupt member. A member that does not unpack is set aside with its place, reading goes on at the next
one that unpacks to a record, and a record shorter than its ``Content-Length`` is said to be cut off.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs.page import KINDS, decoded, page
from vitrail.curation.pipeline import InputSettings
from vitrail.data.records import Document

_GZIP = b"\x1f\x8b\x08"
_CHUNK = 1 << 16
_MAX_HEADER = 1 << 16
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)


class Damaged(ValueError):
    """What cannot be read as a record; ``reason`` is short, for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class _Plain:
    """Bytes of an uncompressed file, with a buffer for lines."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self.file, self.position = file, start
        file.seek(start)

    def line(self) -> bytes:
        found = self.file.readline(_MAX_HEADER)
        self.position += len(found)
        return found

    def read(self, size: int) -> bytes:
        found = self.file.read(size)
        self.position += len(found)
        return found


class _Member:
    """The unpacked bytes of the gzip member that begins at ``start``; ``end`` is known when all were read."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self.file, self.start, self.end = file, start, -1
        file.seek(start)
        self._unpack = zlib.decompressobj(31)
        self._packed, self._buffer, self._taken = b"", bytearray(), 0

    def _more(self) -> bool:
        if self._unpack.eof:
            return False
        if not self._packed:
            self._packed = self.file.read(_CHUNK)
            self._taken += len(self._packed)
        try:
            found = self._unpack.decompress(self._packed, _CHUNK)
        except zlib.error as error:
            raise Damaged("corrupt gzip member", f"at byte {self.start:,}: {error}") from None
        if not self._packed and not found and not self._unpack.eof:
            raise Damaged("cut off", f"the gzip member at byte {self.start:,} has no end")
        self._buffer += found
        self._packed = self._unpack.unconsumed_tail
        if self._unpack.eof:
            self.end = self.start + self._taken - len(self._unpack.unused_data)
        return True

    def line(self) -> bytes:
        while (place := self._buffer.find(b"\n")) < 0 and len(self._buffer) < _MAX_HEADER:
            if not self._more():
                break
        size = place + 1 if place >= 0 else min(len(self._buffer), _MAX_HEADER)
        return self._take(size)

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and self._more():
            pass
        return self._take(size)

    def _take(self, size: int) -> bytes:
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


def read_warc(path: Path, settings: InputSettings, base: Path, counts: OperationCounts) -> Iterator[Document]:
    """The HTML pages of a file, in order; all else is counted by reason in ``counts``."""
    name = Path(os.path.relpath(path, base)).as_posix()
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP[:2]
        start, size = 0, os.fstat(file.fileno()).st_size
        while 0 <= start < size:
            stream = _Member(file, start) if packed else _Plain(file, start)
            held: Document | None = None  # a member's checksum is behind its last record
            try:
                for document in _records(stream, f"{name}#{start}", settings.max_page_bytes, counts):
                    if held is not None:
                        yield held
                    held = document
                while packed and stream.read(_CHUNK):
                    pass
                if held is not None:
                    yield held
                start = stream.end if isinstance(stream, _Member) else size
            except Damaged as fault:
                if held is not None and (fault.reason == "cut off" or not packed):
                    yield held  # was whole, what follows it is not
                counts.add_fault(None, fault.reason, fault.detail, f"{name}#{start}")
                start = _next_member(file, start + 1) if packed else -1


def _next_member(file: BinaryIO, start: int) -> int:
    """Where the next member that unpacks to a record's first line begins, or -1."""
    while True:
        file.seek(start)
        block = file.read(_CHUNK)
        place = block.find(_GZIP)
        if place < 0:
            if len(block) < _CHUNK:
                return -1
            start += len(block) - 2
            continue
        start += place
        try:
            if _Member(file, start).read(5) == b"WARC/":
                return start
        except Damaged:
            pass
        start += 1


def _records(stream: _Plain | _Member, place: str, limit: int, counts: OperationCounts) -> Iterator[Document]:
    while True:
        first = stream.line()
        while first in (b"\r\n", b"\n"):
            first = stream.line()
        if not first:
            return
        if not first.startswith(b"WARC/"):
            raise Damaged("no WARC record", f"a record begins with {first[:20]!r}")
        headers = _headers(stream)
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise Damaged("no WARC record", f"Content-Length is {length!r}")
        body = stream.read(min(int(length), limit + _MAX_HEADER))
        skipped = _skip(stream, int(length) - len(body))
        if len(body) + skipped < int(length):
            raise Damaged(
                "cut off", f"{len(body) + skipped:,} of {int(length):,} bytes of a record are there"
            )
        document = _page(headers, body, int(length), limit, place, counts)
        if document is not None:
            yield document


def _skip(stream: _Plain | _Member, size: int) -> int:
    """Read past ``size`` bytes; how many there were."""
    left = size
    while left > 0 and (found := len(stream.read(min(left, _CHUNK)))):
        left -= found
    return size - left


def _headers(stream: _Plain | _Member) -> dict[str, str]:
    headers: dict[str, str] = {}
    size = 0
    while (line := stream.line()) not in (b"\r\n", b"\n"):
        size += len(line)
        if not line or size > _MAX_HEADER:
            raise Damaged("cut off" if not line else "no WARC record", "a record's header has no end")
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _page(
    headers: dict[str, str], body: bytes, length: int, limit: int, place: str, counts: OperationCounts
) -> Document | None:
    """The page of a response; None, counted, for anything else."""
    kind = headers.get("warc-type", "")
    if kind != "response":
        counts.add_unread(f"WARC {kind or 'record without a type'}")
        return None
    if length > limit:
        counts.add_fault(None, "page too large", f"{length:,} bytes", place)
        return None
    head, _, content = body.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    http = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    code = (status.split() + ["", ""])[1]
    if code != "200":
        counts.add_unread(f"HTTP status {code or 'missing'}")
        return None
    media = http.get("content-type", "").split(";")[0].strip().lower()
    if media not in KINDS:
        counts.add_unread("not HTML")
        return None
    try:
        content = _unpacked(content, http, limit)
    except Damaged as fault:
        counts.add_fault(None, fault.reason, fault.detail, place)
        return None
    charset = _CHARSET.search(http.get("content-type", ""))
    identifier = headers.get("warc-record-id", "").strip("<>") or place
    url, date = headers.get("warc-target-uri", "").strip("<>"), headers.get("warc-date", "")
    return page(identifier, decoded(content, charset[1] if charset else None), url=url, date=date)


def _unpacked(content: bytes, http: dict[str, str], limit: int) -> bytes:
    """The body without HTTP's transfer and content encodings (Common Crawl has removed them, wget has not)."""
    if http.get("transfer-encoding", "").lower() == "chunked":
        content = _joined(content)
    encoding = http.get("content-encoding", "identity").lower()
    if encoding in ("identity", ""):
        return content
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Damaged("content encoding", f"{encoding!r} is not unpacked here")
    if encoding != "deflate" and not content.startswith(_GZIP[:2]):
        return content  # already unpacked, with its header left as it was
    unpack = zlib.decompressobj(47 if encoding != "deflate" else 15)
    try:
        found = unpack.decompress(content, limit + 1)
    except zlib.error as error:
        raise Damaged("content encoding", f"{encoding}: {error}") from None
    if len(found) > limit:
        raise Damaged("page too large", f"more than {limit:,} bytes when unpacked")
    return found


def _joined(content: bytes) -> bytes:
    """The chunks of a chunked body; the body itself where it is not in chunks (any more)."""
    parts: list[bytes] = []
    place = 0
    while (end := content.find(b"\r\n", place)) >= 0:
        size = content[place:end].split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            return content if not parts else b"".join(parts)
        length = int(size, 16)
        if length == 0:
            return b"".join(parts)
        parts.append(content[end + 2 : end + 2 + length])
        place = end + 2 + length + 2
    return b"".join(parts) if parts else content
