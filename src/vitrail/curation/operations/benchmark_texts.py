"""Documents that hold a text of a benchmark, whole or some words of it in a row, go: a score must not be memory.

The overlap of thirteen words is that of Brown et al. 2020 (arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from vitrail.curation.ngram_quality import words
from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    kept,
    texts_of,
)
from vitrail.data.records import Document
from vitrail.storage.cache import file_digest


class BenchmarkTexts(Operation):
    """Documents with ``words`` of a benchmark's text in a row go; a shorter text counts whole."""

    class Config(OperationConfig):
        """``files``: questions in any format that is read, or a text a line (.txt); texts of fewer than ``min_words``
        words are not looked for, they would be found anywhere.
        """

        files: tuple[str, ...] = Field(min_length=1)
        words: int = Field(default=13, ge=1)
        min_words: int = Field(default=6, ge=1)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        for name in config.files:
            if not Path(name).is_file():
                raise ValueError(f"benchmark_texts.files: there is no file {name}; correct the path")
        self._found: dict[int, set[tuple[str, ...]]] | None = None

    def fingerprint(self) -> dict[str, Any]:
        """The digests of the files."""
        return {name: file_digest(name) for name in self.config.files}

    @property
    def spans(self) -> dict[int, set[tuple[str, ...]]]:
        """What is looked for, by its number of words."""
        if self._found is None:
            self._found = {}
            for text in (text for name in self.config.files for text in _texts(Path(name))):
                said = words(text)
                size = min(len(said), self.config.words)
                if size >= min(self.config.min_words, self.config.words):
                    spans = self._found.setdefault(size, set())
                    spans.update(tuple(said[start : start + size]) for start in range(len(said) - size + 1))
        return self._found

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped."""
        said = words("\n".join(texts_of(document)))
        for size, spans in self.spans.items():
            if any(tuple(said[start : start + size]) in spans for start in range(len(said) - size + 1)):
                return dropped("text of a benchmark")
        return kept(document)


def _texts(path: Path) -> list[str]:
    """What a benchmark's users and documents say; answers alone are words that stand anywhere."""
    from vitrail.data.readers import open_source

    found = []
    for record in open_source(path):
        parts = [*getattr(record, "messages", ()), record]
        for one in parts:
            if getattr(one, "role", "user") in ("user", "system"):
                content = getattr(one, "content", ())
                found.append("".join(part.text for part in content if part.type == "text"))
    return found
