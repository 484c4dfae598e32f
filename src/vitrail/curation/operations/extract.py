"""HTML → texts and pictures in their places.

As mOSCAR does (arXiv 2406.08707): the tree is walked depth first; texts come from paragraphs, headings, the title, the
description, lists, asides and definition lists, pictures from ``img``; tables are left out, and so are scripts, styles
and all text that stands in none of these elements. A text ends where one of its inner elements of the same list, or
a picture, begins. Pages too short, with too few texts or too many pictures are dropped.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from typing import Any, ClassVar
from urllib.parse import unquote, urljoin, urlsplit

from pydantic import Field

from vitrail.curation.inputs.page import HTML
from vitrail.curation.operations.formulas import delimited, formula
from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, dropped, kept, needs
from vitrail.data.media import why_no_file, why_outside
from vitrail.data.records import Document, Image, Text

_SKIPPED = frozenset(("script", "style", "template", "noscript", "head", "svg", "iframe", "object"))
_BREAKS = frozenset(("br", "li", "div", "tr", "td", "th", "p"))
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
_SIZE = re.compile(r"\s*([1-9]\d{0,4})(px)?\s*")


class Extract(Operation):
    """A page's texts and pictures; a document that is no page stays as it is."""

    class Config(OperationConfig):
        """Limits are the paper's: ``min_page_bytes`` of HTML, ``min_texts``, ``max_images``. ``formulas``: kept
        as LaTeX (:mod:`vitrail.curation.operations.formulas`); ``skip_tags``: left out besides scripts and styles.
        """

        text_tags: tuple[str, ...] = (
            "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "aside", "dl", "dd", "dt",
        )  # fmt: skip
        tables: bool = False
        formulas: bool = False
        skip_tags: tuple[str, ...] = ()
        min_page_bytes: int = Field(default=500, ge=0)
        min_texts: int = Field(default=3, ge=0)
        max_images: int = Field(default=30, ge=0)
        max_data_bytes: int = Field(default=1_000_000, ge=0)

    packages: ClassVar[tuple[str, ...]] = ("resiliparse",)
    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        try:
            from resiliparse.parse.html import HTMLTree
        except ImportError:
            raise needs("resiliparse", "extract") from None
        self._parse = HTMLTree.parse
        self._tags = frozenset(self.config.text_tags)
        left_out = _SKIPPED | frozenset(self.config.skip_tags)
        self._skipped = left_out if self.config.tables else left_out | {"table"}

    def __call__(self, document: Document) -> Outcome:
        """The document of the page's nodes."""
        if document.meta.get("format") != HTML:
            return kept(document)
        html = "".join(part.text for part in document.content if isinstance(part, Text))
        if len(html.encode("utf-8", "replace")) < self.config.min_page_bytes:
            return dropped("page too short")
        content = self.nodes(html, document.meta.get("url") or "", document.meta.get("path") or "")
        texts = sum(isinstance(part, Text) for part in content)
        if not content or texts < self.config.min_texts:
            return dropped("too few texts")
        if len(content) - texts > self.config.max_images:
            return dropped("too many pictures")
        meta = {name: value for name, value in document.meta.items() if name != "format"}
        return Outcome(document.model_copy(update={"content": tuple(content), "meta": meta}), changed=True)

    def nodes(self, html: str, url: str = "", path: str = "") -> list[Text | Image]:
        """The texts and pictures of a page at the address ``url``, or in the file ``path`` below the root."""
        tree = self._parse(html)
        walk = _Walk(self, url, path)
        if tree.title:
            walk.text(tree.title)
        if tree.head is not None:
            for node in tree.head.get_elements_by_tag_name("base"):
                walk.url = urljoin(url, node.getattr("href") or "")
            for node in tree.head.get_elements_by_tag_name("meta"):
                if (node.getattr("name") or "").lower() == "description":
                    walk.text(node.getattr("content") or "")
        if tree.body is not None:
            walk.below(tree.body)
        return walk.content


class _Walk:
    def __init__(self, extract: Extract, url: str, path: str) -> None:
        self.extract, self.url, self.path = extract, url, path
        self.content: list[Text | Image] = []
        self._buffer: list[str] = []

    def text(self, text: str) -> None:
        text = _LINES.sub("\n", _SPACES.sub(" ", text.replace("\r", "\n"))).strip()
        if self.extract.config.formulas:
            text = delimited(text)
        if text:
            self.content.append(Text(text=text))

    def below(self, body: Any) -> None:
        """Depth first, without recursion: pages nest deeper than Python's stack. ``within``: open text elements."""
        node, within, formulas = body.first_child, 0, self.extract.config.formulas
        while node is not None:
            tag = node.tag
            inside = None
            if tag == "#text":
                if within:
                    self._buffer.append(_SPACES.sub(" ", node.text.replace("\n", " ")))
            elif formulas and not tag.startswith("#") and (latex := formula(node)) is not None:
                self._buffer.append(latex)
            elif tag == "img":
                self._end()
                self._image(node)
            elif tag not in self.extract._skipped and not tag.startswith("#"):
                if tag in self.extract._tags:
                    self._end()
                    within += 1
                elif tag in _BREAKS:
                    self._buffer.append("\n")
                inside = node.first_child
                if inside is None:
                    within -= self._leave(tag)
            if inside is not None:
                node = inside
                continue
            while node is not None and node.next is None:
                node = node.parent
                if node is None or node == body:
                    node = None
                    break
                within -= self._leave(node.tag)
            node = node.next if node is not None else None
        self._end()

    def _leave(self, tag: str) -> int:
        if tag in self.extract._tags:
            self._end()
            return 1
        if tag in _BREAKS and tag != "br":
            self._buffer.append("\n")
        return 0

    def _end(self) -> None:
        self.text("".join(self._buffer))
        self._buffer = []

    def _image(self, node: Any) -> None:
        source = (node.getattr("src") or node.getattr("data-src") or "").strip()
        found = self._origin(source) if source else None
        if found is not None:
            size: dict[str, Any] = {
                name: int(m[1]) for name in ("width", "height") if (m := _size(node, name))
            }
            self.content.append(Image(**found, **size))

    def _origin(self, source: str) -> dict[str, Any] | None:
        """Where a picture is, as the fields of a record; None for what is no picture that can be had."""
        if source.lower().startswith("data:"):
            head, _, body = source.partition(",")
            if len(body) * 3 // 4 > self.extract.config.max_data_bytes or not re.match(
                r"data:image/[\w.+-]+;(.*;)?base64$", head, re.IGNORECASE
            ):
                return None
            try:
                return {"bytes": base64.b64decode(body, validate=True)}
            except (ValueError, binascii.Error):
                return None
        try:
            address = urljoin(self.url, source)
            scheme = urlsplit(address).scheme
        except ValueError:
            return None
        if scheme in ("http", "https"):
            return {"url": address}
        if scheme or not self.path:
            return None
        path = posixpath.normpath(
            posixpath.join(posixpath.dirname(self.path), unquote(source.split("#")[0].split("?")[0]))
        )
        if why_outside(path, self.extract.root) or why_no_file(Image(path=path), self.extract.root):
            return None
        return {"path": path} if (self.extract.root / path).is_file() else None


def _size(node: Any, name: str) -> re.Match[str] | None:
    return _SIZE.fullmatch(node.getattr(name) or "")
