"""Which rules have anything to do with a picture, by a CLIP-like encoder (CLUE, arXiv 2501.00192).

Rule r is kept iff cos(I(x), T(r)) > t, on the objective wording. What is not kept costs no call of the large model.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from PIL import Image as PILImage

from vitrail.inference.constitution import Rule

THRESHOLD = 0.22


class ImageTextEncoder(Protocol):
    """As :class:`vitrail.models.experts.clip_scorer.ClipScorer`: unit vectors of pictures and of texts."""

    def embed_images(self, images: Sequence[Any]) -> Any: ...  # noqa: D102
    def embed_texts(self, texts: Sequence[str]) -> Any: ...  # noqa: D102


class RelevanceScanner:
    """Cosines of pictures with rules, and which rules they keep at ``t`` (−1 keeps all, 1 none).

    A rule that is longer than the encoder reads is cut, as the encoder cuts it; a warning names it.
    """

    def __init__(self, encoder: ImageTextEncoder, t: float = THRESHOLD) -> None:
        if not -1 <= t <= 1:
            raise ValueError(f"t is {t}; a cosine lies between −1 and 1")
        self.encoder, self.t = encoder, t
        self._texts: dict[tuple[str, ...], np.ndarray] = {}

    def scores(
        self, pictures: Sequence[PILImage.Image], rules: Sequence[Rule]
    ) -> Float[np.ndarray, "pictures rules"]:
        """The cosine of each picture with each rule's text."""
        texts = tuple(rule.text for rule in rules)
        if texts not in self._texts:
            self._warn(rules)
            self._texts[texts] = _unit(self.encoder.embed_texts(list(texts)))
        return np.clip(_unit(self.encoder.embed_images(list(pictures))) @ self._texts[texts].T, -1.0, 1.0)

    def keeps(self, score: float) -> bool:
        """Whether a rule of this cosine is kept."""
        return score > self.t or self.t == -1

    def _warn(self, rules: Sequence[Rule]) -> None:
        limit = getattr(self.encoder, "max_length", None)
        tokenizer = getattr(getattr(self.encoder, "processor", None), "tokenizer", None)
        if limit is None or tokenizer is None:
            return
        for rule in rules:
            length = len(tokenizer(rule.text)["input_ids"])
            if length > limit:
                warnings.warn(
                    f"rule {rule.id!r} has {length} tokens, and the encoder reads {limit}: the rest is not looked at; "
                    "shorten it, or take an encoder of longer texts",
                    stacklevel=4,
                )


def _unit(vectors: Any) -> np.ndarray:
    found = np.asarray(vectors, dtype=np.float64)
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True))
