"""Pages of HTML as WARC files of Common Crawl's form: Debian's documentation, and composed pages beyond it.

    python benchmarks/curation/material.py --pages 2000 --files 8 --out FOLDER [--html /usr/share/doc]

One page in ten is there twice, one answer in twenty says that it is a picture, and each file has a warcinfo and a
request. All answers have status 200: datatrove does not look at it.
"""

from __future__ import annotations

import argparse
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 1_000_000
_SYLLABLES = ("ka", "lo", "mi", "ren", "sto", "tu", "va", "wes", "an", "ber", "cor", "del")
_SENTENCE = "The {} of the {} is shown on page {} and was {} by the {}."


def found(folder: Path) -> Iterator[str]:
    """The HTML files below a folder that are UTF-8, in order."""
    for path in sorted(folder.rglob("*.html")):
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            try:
                yield path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def composed(number: int) -> str:
    """A page of its own: paragraphs of invented words, a menu, a table, a script."""
    draw = random.Random(number)

    def word() -> str:
        return "".join(draw.choices(_SYLLABLES, k=draw.randint(1, 3)))

    def paragraph() -> str:
        return " ".join(
            _SENTENCE.format(word(), word(), draw.randint(1, 500), word() + "ed", word())
            for _ in range(draw.randint(3, 12))
        )

    body = "".join(
        f"<h2>{word()}</h2><p>{paragraph()}</p><ul><li>{word()}<li>{word()}</ul>"
        for _ in range(draw.randint(1, 9))
    )
    menu = "".join(f'<li><a href="/{word()}">{word()}</a>' for _ in range(20))
    head = f"<html><head><meta charset='utf-8'><title>{word()} {number}</title><script>var a = 1;</script></head>"
    return f"{head}<body><nav><ul>{menu}</ul></nav><article><h1>{word()}</h1>{body}</article></body></html>"


def record(number: int, html: str, kind: str = "text/html") -> bytes:
    """A response as a gzip member."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n".encode() + html.encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:08d}>\r\n"
        f"WARC-Target-URI: http://example.org/{number}.html\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        "Content-Type: application/http; msgtype=response\r\n"
        f"WARC-Identified-Payload-Type: {kind}\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)


def other(kind: str) -> bytes:
    """A record that is no page."""
    return gzip.compress(
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{kind}>\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        "WARC-Target-URI: dns:example.org\r\nContent-Type: application/warc-fields\r\nContent-Length: 5\r\n\r\n"
        "hello\r\n\r\n".encode(),
        mtime=0,
    )


def write(folder: Path, pages: int, files: int, html: Path | None) -> int:
    """Make the files; how many pages come from documentation."""
    from_files = [] if html is None else list(found(html))
    random.Random(0).shuffle(from_files)
    texts = from_files[:pages]
    texts += [composed(number) for number in range(pages - len(texts))]
    random.Random(1).shuffle(texts)
    for number in range(9, len(texts), 10):
        texts[number] = texts[number // 2]
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        with open(folder / f"{file:05d}.warc.gz", "wb") as out:
            out.write(other("warcinfo"))
            for number in range(file, len(texts), files):
                kind = "image/png" if number % 20 == 3 else "text/html"
                out.write(record(number, texts[number], kind))
            out.write(other("request"))
    return min(len(from_files), pages)


def main() -> None:
    """Make material."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--html", type=Path, default=None)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(write(args.out, args.pages, args.files, args.html), "pages of documentation")


if __name__ == "__main__":
    main()
