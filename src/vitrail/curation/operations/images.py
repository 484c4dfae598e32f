"""Pictures of documents: too small, too long, of a site's furniture; and pictures that are there too often.

The rules are mOSCAR's (arXiv 2406.08707): both sides 150 pixels or more, sides at most 1 : 3, no address with words
such as ``logo`` or ``banner``; one picture once in a document, by address and by perceptual hash, and at most ten times
in a language; none that is in a benchmark.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from vitrail.curation.operations.operation import (
    CorpusOperation,
    Operation,
    OperationConfig,
    Outcome,
    filtered,
    images_of,
    language_of,
    needs,
    without_parts,
)
from vitrail.data.records import Document, Image
from vitrail.storage.cache import file_digest


class ImageRules(Operation):
    """Pictures held against rules of size and address. A size that nobody knows is no reason."""

    class Config(OperationConfig):
        """``min_side`` in pixels; ``max_ratio`` of the longer side to the shorter."""

        min_side: int = Field(default=150, ge=1)
        max_ratio: float = Field(default=3.0, ge=1)
        deny_address: tuple[str, ...] = ("logo", "banner", "button", "widget", "icon", "plugin")
        deny_name: tuple[str, ...] = ("twitter", "facebook", "rss")

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document without the pictures that break a rule."""
        return filtered(document, image=self.why_not)

    def why_not(self, image: Image) -> str | None:
        """The first rule that a picture breaks, or None."""
        address = (image.url or image.path or "").lower()
        if any(word in address for word in self.config.deny_address):
            return "address"
        name = posixpath.basename(urlsplit(address).path if image.url else address)
        if any(word in name for word in self.config.deny_name):
            return "file name"
        try:
            size = size_of(image, self.root)
        except (ValueError, OSError):
            return "cannot be decoded"
        if size is None:
            return None
        if min(size) < self.config.min_side:
            return "too small"
        return "proportions" if max(size) > self.config.max_ratio * min(size) else None


def size_of(image: Image, root: Path) -> tuple[int, int] | None:
    """Width and height: of the file where there is one, else as said; None where neither is known.

    ValueError or OSError for a file that is no picture, or promises too many pixels.
    """
    if image.url is None:
        from vitrail.data.decoding import stated_size

        return stated_size(image.read(root))
    return (image.width, image.height) if image.width and image.height else None


class RepeatedImages(CorpusOperation):
    """Pictures once in a document, at most ``max_in_language`` times in a language, never those of ``benchmarks``."""

    class Config(OperationConfig):
        """``benchmarks``: a file of perceptual hashes to leave out, 16 hexadecimal digits a line."""

        max_in_language: int = Field(default=10, ge=1)
        benchmarks: str | None = None

    config: Config
    packages: ClassVar[tuple[str, ...]] = ("imagehash",)

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        try:
            import imagehash
        except ImportError:
            raise needs("imagehash", "repeated_images") from None
        self._hash = imagehash.phash
        self._benchmarks: set[str] = set()
        if self.config.benchmarks is not None:
            path = Path(self.config.benchmarks)
            if not path.is_file():
                raise ValueError(f"repeated_images.benchmarks: there is no file {path}; correct the path")
            self._benchmarks = {
                line.strip().lower() for line in path.read_text().splitlines() if line.strip()
            }

    def fingerprint(self) -> dict[str, Any]:
        """Versions and the digest of the benchmarks' hashes."""
        path = self.config.benchmarks
        return {**super().fingerprint(), "benchmarks": file_digest(path) if path else None}

    def sketch_schema(self) -> Any:
        """Language, and of each picture in order its address (or null) and perceptual hash (or null)."""
        import pyarrow as pa

        one = pa.struct([("address", pa.string()), ("phash", pa.string())])
        return pa.schema([("language", pa.string()), ("images", pa.list_(one))])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        images = [
            {"address": image.url or image.path, "phash": self.hash(image)} for image in images_of(document)
        ]
        return {"language": language_of(document), "images": images}

    def hash(self, image: Image) -> str | None:
        """The perceptual hash of a picture that is at hand and can be decoded."""
        if image.url is not None:
            return None
        try:
            return str(self._hash(image.open(self.root)))
        except (ValueError, OSError):
            return None

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """For each picture of a document a reason to remove it, or null; counted in the corpus's order."""
        seen: Counter[tuple[str, str, str]] = Counter()
        decisions = {}
        for place, sketch in enumerate(sketches):
            here: set[tuple[str, str]] = set()
            why = [self._why_not(one, sketch["language"], here, seen) for one in sketch["images"]]
            if any(why):
                decisions[place] = why
        return decisions

    def _why_not(
        self, image: dict[str, Any], language: str, here: set[tuple[str, str]], seen: Counter[Any]
    ) -> str | None:
        names = [(kind, image[kind]) for kind in ("address", "phash") if image[kind] is not None]
        if image["phash"] in self._benchmarks:
            return "benchmark picture"
        if any(name in here for name in names):
            return "repeated in document"
        here.update(names)
        if any(seen[language, *name] >= self.config.max_in_language for name in names):
            return "repeated in language"
        seen.update((language, *name) for name in names)
        return None

    def apply(self, document: Document, decision: Any) -> Outcome:
        """The document without the pictures that have a reason."""
        reasons = iter(decision)
        why = [next(reasons) if isinstance(part, Image) else None for part in document.content]
        return without_parts(document, why)
