"""Was this text trained on? Min-K % Prob and the scores it is held against (Shi et al., arXiv 2310.16789).

From the log-probabilities ``lp_t = log p(x_t | x_<t)``, t = 2 … n, of a text's tokens (the first has none)::

    k = int((n − 1) K)              Min-K % = − mean of the k smallest lp_t
    NLL = − mean of all lp_t        perplexity = exp NLL       (Min-100 % is NLL)
    zlib = NLL / bytes of the compressed text
    lowercase = − NLL(lower-case text) / NLL(text)
    reference = NLL − NLL of another model          neighbours = NLL − mean NLL of altered texts

Every score here is *higher for a text that surprises the model*: a member of the training data has a low one (the paper
writes the mean of Min-K % with the opposite sign). Scores of texts of unlike length are not comparable.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""K that the paper tries; 0.2 is its default."""
LogProbs = Sequence[float] | np.ndarray


def min_k(logprobs: LogProbs, k: float = 0.2) -> float:
    """Minus the mean of the ``int(len · k)`` smallest log-probabilities, in nats.

    ValueError for ``k`` outside (0, 1], values that are not finite, or a text so short that nothing is left.
    """
    if not 0 < k <= 1:
        raise ValueError(f"k is {k}; give a share above 0 and at most 1, such as 0.2")
    values = _checked(logprobs)
    count = int(len(values) * k)
    if count == 0:
        least = int(np.ceil(1 / k))
        raise ValueError(
            f"the text has {len(values)} scored tokens, of which {k:g} is none; Min-K % needs {least} at least"
        )
    return -float(np.sort(values)[:count].mean())


def mean_nll(logprobs: LogProbs) -> float:
    """The mean negative log-likelihood, in nats a token: the logarithm of the perplexity."""
    return -float(_checked(logprobs).mean())


def zlib_score(nll: float, text: str) -> float:
    """Nats a token for each byte that zlib compresses the text to. ValueError for an empty text."""
    if not text:
        raise ValueError("the text is empty; there is nothing to compress")
    return nll / len(zlib.compress(text.encode()))


def lowercase_score(nll: float, lower: float) -> float:
    """Minus the ratio of the lower-case text's mean NLL to the text's own; exactly −1 for a text in lower case."""
    if nll == 0:
        raise ValueError("the text's mean NLL is 0, so that nothing can be divided by it")
    return -(lower / nll)


def reference_score(nll: float, other: float) -> float:
    """The mean NLL less that under a reference model (smaller, or trained on other texts)."""
    return nll - other


def neighbour_score(nll: float, neighbours: Sequence[float]) -> float:
    """The mean NLL less the mean over altered versions of the text. ValueError for none of these."""
    if not len(neighbours):
        raise ValueError("neighbours is empty; give the mean NLL of one altered text at least")
    return nll - float(np.mean(neighbours))


def _checked(logprobs: LogProbs) -> np.ndarray:
    values = np.asarray(logprobs, float)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            "a text needs two tokens at least: the first is given, the others have a probability"
        )
    if not np.isfinite(values).all():
        raise ValueError("a log-probability is NaN or infinite; look at the model's logits")
    return values
