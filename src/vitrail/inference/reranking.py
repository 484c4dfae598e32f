"""A multimodal model says which pictures are relevant to a question, by its probability of Yes.

The reranker of RagLLaVA (Chen et al. 2024, "MLLM Is a Strong Reranker", arXiv 2407.21439): with z_yes and z_no the
logits of the first sub-tokens of "Yes" and "No" where the answer begins, ``p_yes = softmax(z_yes, z_no)``. The best N
are kept, and of them those with ``p_yes ≥ η``; η is where the densities of true and false pictures cross on a
validation split. Here both are taken to be normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.records import Chat
from vitrail.inference.answerers import question
from vitrail.inference.judging import next_token_log_shares

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

YES, NO = "Yes", "No"
_LEAST_SPREAD = 1e-3


def relevance_chat(query: str, image: Any, caption: str | None = None) -> Chat:
    """The reranker's question about a picture: what it is tuned on, and asked."""
    if caption is None:
        text = f"Question: {query}\nIs this image relevant to the question? Answer 'Yes' or 'No'."
    else:
        text = (
            f"Image Caption: {caption}\nQuestion: {query}\n"
            "Based on the image and its caption, is the image relevant to the question? Answer 'Yes' or 'No'."
        )
    return question(text, images=[image])


class YesNoReranker:
    """Scores pictures for a question. ValueError where the tokenizer begins Yes and No with the same token."""

    def __init__(self, bundle: Bundle, *, batch_size: int = 16) -> None:
        first = [bundle.encoder.text_ids(word)[0] for word in (YES, NO)]
        if first[0] == first[1]:
            raise ValueError(
                f"the tokenizer of {bundle.name} begins {YES!r} and {NO!r} with the same token, so their probabilities "
                "cannot be told apart; take another model for reranking"
            )
        self.bundle, self.batch_size, self._first = bundle, batch_size, first

    def score(self, query: str, images: Sequence[Any], captions: Sequence[str] | None = None) -> list[float]:
        """p_yes of each picture (:class:`~vitrail.data.records.Image` parts). ValueError for a missing caption."""
        if captions is not None and (len(captions) != len(images) or not all(captions)):
            raise ValueError(
                f"{len(images)} pictures have {sum(map(bool, captions))} captions; give each one, or none of them"
            )
        if not images:
            return []
        texts: Sequence[str | None] = captions if captions is not None else [None] * len(images)
        chats = [relevance_chat(query, image, text) for image, text in zip(images, texts, strict=True)]
        found = next_token_log_shares(self.bundle, chats, self._first, batch_size=self.batch_size)
        shares: list[float] = found.double().softmax(-1)[:, 0].tolist()
        return shares


def kept(scores: Sequence[float], n: int, eta: float = 0.0) -> list[int]:
    """Places of the ``n`` highest scores, highest first, that are at least ``eta``; equals in their given order.

    ValueError for more than there are.
    """
    if not 0 <= n <= len(scores):
        raise ValueError(
            f"n is {n}, and there are {len(scores)} candidates; retrieve more (k), or keep fewer"
        )
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:n]
    return [place for place in order if scores[place] >= eta]


def adaptive_threshold(true: Sequence[float], false: Sequence[float]) -> float:
    """η: where the normal densities of true and false pictures' p_yes cross, between their means.

    ValueError for fewer than two of a kind, values outside [0, 1], or a reranker that gives false ones more.
    """
    kinds = {"true": np.asarray(true, float), "false": np.asarray(false, float)}
    for name, values in kinds.items():
        if values.size < 2 or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"give two or more probabilities of {name} pictures, each from 0 to 1")
    (high, wide), (low, narrow) = ((v.mean(), max(v.std(), _LEAST_SPREAD)) for v in kinds.values())
    if not high > low:
        raise ValueError(
            f"true pictures have a mean of {high:.3f} and false ones {low:.3f}, so no threshold parts them; tune the "
            "reranker first"
        )
    if math.isclose(wide, narrow, rel_tol=1e-9):
        return float((high + low) / 2)
    a = 1 / narrow**2 - 1 / wide**2
    b = 2 * (high / wide**2 - low / narrow**2)
    c = low**2 / narrow**2 - high**2 / wide**2 + 2 * math.log(narrow / wide)
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    crossings = [one for one in ((-b - root) / (2 * a), (-b + root) / (2 * a)) if low <= one <= high]
    return float(crossings[0]) if crossings else float((high + low) / 2)
