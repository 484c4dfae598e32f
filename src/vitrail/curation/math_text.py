r"""Text as the classifiers of mathematics read it (InfiMM-WebMath, arXiv 2409.12568).

Lower-cased tokens (lemmas, where a lemmatiser is given), every number one token ``<NUM>``, runs of dashes and of
underscores one sign, signs that mean nothing left out, line breaks and long tokens gone. A digit behind a letter
belongs to a name (``x1``) and stays.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

NUMBER = "<NUM>"
MAX_TOKEN = 100
"""ASCII tokens longer than this are dropped: addresses, encoded data."""

_NUMBER = re.compile(r"(?<![^\W_])\d+(?:[.,]\d+)*(?:e[+-]?\d+(?![^\W_]))?")
_DASHES = re.compile(r"[-‐-―−]{2,}")
_UNDERSCORES = re.compile(r"_{2,}")
_PLACEHOLDER = re.compile(r"<\s*num(?:ber)?\s*>")
_DROPPED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk"))


def normalise_math_text(text: str, lemmatiser: Callable[[str], Iterable[str]] | None = None) -> str:
    """One line of normalised tokens; applied again without a lemmatiser it changes nothing.

    ``lemmatiser`` gives a text's lemmas (:func:`spacy_lemmatiser`). ValueError for what is no text.
    """
    if not isinstance(text, str):
        raise ValueError(f"text must be a string, but it is a {type(text).__name__}; give the page's text")
    if lemmatiser is not None:
        text = " ".join(lemmatiser(text))
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    text = "".join(map(_meaningful, text))
    text = _PLACEHOLDER.sub(NUMBER, text)
    text = _NUMBER.sub(NUMBER, _UNDERSCORES.sub("_", _DASHES.sub("-", text)))
    return " ".join(token for token in text.split() if len(token) <= MAX_TOKEN or not token.isascii())


@lru_cache(maxsize=8192)
def _meaningful(sign: str) -> str:
    return " " if unicodedata.category(sign) in _DROPPED else sign


def spacy_lemmatiser(model: str = "en_core_web_sm") -> Callable[[str], Iterable[str]]:
    """Lemmas of a spaCy model. ImportError names what to install."""
    try:
        import spacy

        pipeline = spacy.load(model, disable=["ner", "parser"])
    except (ImportError, OSError):
        raise ImportError(
            f"lemmas need spaCy and its model {model}; pip install spacy, then: python -m spacy download {model}"
        ) from None
    return lambda text: [token.lemma_ for token in pipeline(text)]


__all__ = ["NUMBER", "normalise_math_text", "spacy_lemmatiser"]
