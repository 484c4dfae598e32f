"""A web page as a document of one text, its HTML; the operation ``extract`` makes texts and pictures of it."""

from __future__ import annotations

from typing import Any

from vitrail.curation.operations.operation import needs
from vitrail.data.records import Document, Text

HTML = "text/html"
KINDS = (HTML, "application/xhtml+xml")
SUFFIXES = (".html", ".htm", ".xhtml")


def page(identifier: str, text: str, **meta: Any) -> Document:
    """The document of a page not yet extracted."""
    return Document(id=identifier, content=(Text(text=text),), meta={**meta, "format": HTML})


def decoded(body: bytes, charset: str | None = None) -> str:
    """The text of a page: the encoding that it names, else one that is detected; bytes that fit none are replaced."""
    try:
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    except ImportError:
        raise needs("resiliparse", "extract") from None
    encoding = charset or detect_encoding(body, from_html_meta=True) or "utf-8"
    try:
        text = bytes_to_str(body, encoding, errors="replace", fallback_encodings=("utf-8",))
    except (LookupError, ValueError):
        text = body.decode("utf-8", "replace")
    return str(text).encode("utf-8", "replace").decode("utf-8").replace("\0", "�")
