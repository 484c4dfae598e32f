"""Web pages and WARC files for tests."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

PAGE = """<html><head><title>About {name}</title><meta name="description" content="All there is to say"></head>
<body><div>navigation</div><p>The {name} stands <b>here</b> and waits.<img src="/{name}.png" width="200" height="300">
It was seen again.</p><ul><li>first thing<li>second thing</ul><table><tr><td><p>in a table</p></table>
<h2>More about it</h2><p>{text}</p><script>var p = "<p>no</p>"</script></body></html>"""


def page(name: str, text: str = "Some more words stand here and say what it does. ") -> str:
    return PAGE.format(name=name, text=text * 10)


def record(
    identifier: str, html: str, status: str = "200 OK", kind: str = "text/html; charset=utf-8"
) -> bytes:
    http = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + html.encode()
    return (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{identifier}>\r\n"
        f"WARC-Target-URI: http://example.org/{identifier}/page.html\r\nContent-Length: {len(http)}\r\n\r\n"
    ).encode() + http + b"\r\n\r\n"  # fmt: skip


INFO = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n"


def members(records: Sequence[bytes]) -> list[bytes]:
    return [gzip.compress(one, mtime=0) for one in records]


def crawl(folder: Path, files: int = 3, pages: int = 6) -> Path:
    """A folder of WARC files with ``pages`` pages, one request and one missing page each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        records = [INFO, *(record(f"{number}-{n}", page(f"thing{n}")) for n in range(pages))]
        records.append(record(f"{number}-gone", page("gone"), status="404 Not Found"))
        (folder / f"{number}.warc.gz").write_bytes(b"".join(members(records)))
    return folder


def cut_off(path: Path, share: float = 0.95) -> None:
    """Keep only the first ``share`` of a file."""
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])


def tree(folder: Path) -> dict[str, bytes]:
    """What a run wrote that must not depend on how it was made."""
    files = [path for path in (folder / "data").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*files, folder / "funnel.json"]}
