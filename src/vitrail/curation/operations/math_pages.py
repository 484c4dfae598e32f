"""Pages with mathematics: a cheap look at the HTML, and an extraction that keeps formulas and pictures in their places.

Both serve InfiMM-WebMath (arXiv 2409.12568). The look is OpenWebMath's (arXiv 2310.06786): marks of MathJax, KaTeX,
MathML and equation servers, or LaTeX commands. It comes before any parsing, so it is as cheap as a search, and finds
whatever a page writes with these; mathematics in plain words is the classifier's to find.
"""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, model_validator

from vitrail.curation.operations.extract import Extract
from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    changed,
    dropped,
    texts_of,
)
from vitrail.data.records import Document

MARKS = (
    r"mathjax|katex|<math\b|math/tex|mwe-math|mjx-|class=[\"'][^\"']*\b(?:latex|mathtex|mathml|math-tex|math)\b|"
    r"latex\.php|codecogs\.com|mathtex\.cgi|mimetex\.cgi|text-latex|application/x-tex"
)
"""What pages show formulas with."""
COMMANDS = (
    r"\\(?:d?frac|sqrt|sum|int|prod|lim|infty|partial|nabla|alpha|beta|gamma|delta|theta|lambda|sigma|pi|times|cdot|leq?"
    r"|geq?|neq|in|subset|mathbb|mathcal|mathrm|begin\{(?:equation|align|array|[bp]?matrix)\*?\})(?![A-Za-z])"
)
"""LaTeX commands that a page has among its text."""


class MathMarkup(Operation):
    """Pages without a sign of formulas go; of others ``meta.math_marks`` says how many signs there are."""

    class Config(OperationConfig):
        """``marks``: an expression of which one match is enough; ``commands``: one that must match ``min_commands``
        times. Case is ignored for ``marks`` alone.
        """

        marks: str = MARKS
        commands: str = COMMANDS
        min_commands: int = Field(default=2, ge=1)

        @model_validator(mode="after")
        def _compile(self) -> MathMarkup.Config:
            for name in ("marks", "commands"):
                try:
                    re.compile(getattr(self, name))
                except re.error as error:
                    raise ValueError(f"{name} is no regular expression ({error}); correct it") from None
            return self

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._marks = re.compile(self.config.marks, re.IGNORECASE)
        self._commands = re.compile(self.config.commands)

    def __call__(self, document: Document) -> Outcome:
        """Kept with its count, or dropped."""
        texts = texts_of(document)
        marks = sum(1 for text in texts for _ in self._marks.finditer(text))
        commands = sum(1 for text in texts for _ in self._commands.finditer(text))
        if not marks and commands < self.config.min_commands:
            return dropped("no sign of formulas")
        return changed(document, math_marks=marks + commands)


class ExtractMath(Extract):
    """:class:`~vitrail.curation.operations.extract.Extract` with formulas, all of a page's text, and its tables."""

    class Config(Extract.Config):
        """Defaults of a page about mathematics; a page's menus, head and foot are left out."""

        text_tags: tuple[str, ...] = (
            "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "dd", "dt", "div", "section", "article", "main",
            "blockquote", "pre", "table", "figcaption", "body", "center",
        )  # fmt: skip
        tables: bool = True
        formulas: bool = True
        skip_tags: tuple[str, ...] = ("nav", "header", "footer", "aside", "form", "button", "select")
        min_page_bytes: int = Field(default=0, ge=0)
        min_texts: int = Field(default=1, ge=0)
        max_images: int = Field(default=1000, ge=0)

    packages: ClassVar[tuple[str, ...]] = ("resiliparse",)
