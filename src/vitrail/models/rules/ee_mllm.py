"""EE-MLLM (2024, arXiv 2408.11795): composite attention. Only text asks; a layer's weights carry its visual tokens.

With V and T the visual and text states of a layer, text rows see what they always see, [V; T] before them:

    T' = T + W_o softmax(Q K^T / √d + mask) W_v norm([V; T])        Q = W_q norm(T) alone

and visual tokens attend to nothing, not even to each other. The *aligner* carries them with weights that are there:

    V' = V + W_o W_v norm(V),   V'' = V' + FFN(norm(V'))

which is what the unmodified layer gives a token that sees itself alone. So ``vo+ffn`` is a block mask
(``path="mask"``, the slow reference), or attention over the text rows only (``path="fast"``), whose cost is linear in
visual tokens. Which projections the paper's aligner has could not be checked, hence ``aligner``: ``ffn`` has no
W_o W_v, ``vo`` no FFN, and with ``none`` visual states stay what the connector gave.

The layer's own code runs on either path, so parallel branches, norms behind a branch and sliding windows, which the
paper's formulas leave out, mean what they mean in the unmodified layer. Dropout of attention does not touch a visual
token's own value on the fast path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from jaxtyping import Bool
from torch import Tensor

from vitrail.models.layout import Layout
from vitrail.models.rules.masks import narrowing
from vitrail.models.rules.rule import Pairs, Rule, Silent

Aligner = Literal["vo+ffn", "ffn", "vo", "none"]
Path = Literal["fast", "mask"]


def composite_attention(
    aligner: Aligner = "vo+ffn", *, path: Path = "fast", layers: Iterable[int] | None = None
) -> Rule:
    """The rule of EE-MLLM, on ``layers`` (default: all).

    ValueError for an aligner other than ``vo+ffn`` on the path ``mask``: a mask cannot leave out projections.
    """
    if aligner not in ("vo+ffn", "ffn", "vo", "none") or path not in ("fast", "mask"):
        raise ValueError(
            f"composite_attention(aligner={aligner!r}, path={path!r}): aligners are 'vo+ffn', 'ffn', 'vo' and 'none', "
            "paths 'fast' and 'mask'"
        )
    if path == "mask":
        if aligner != "vo+ffn":
            raise ValueError(f"a mask cannot be the aligner {aligner!r}, only 'vo+ffn'; use path='fast'")
        rule = narrowing("composite_mask", composite_mask)
    else:
        name = f"composite_attention({aligner})"
        silent = Silent(name, visual_tokens, own_value="vo" in aligner, feed_forward="ffn" in aligner)
        rule = Rule(name, silent=(silent,))
    return rule if layers is None else rule.on(layers)


def composite_mask(layout: Layout) -> Pairs:
    """A visual token sees itself alone; to text nothing is forbidden that the model's own mask allows."""
    visual = layout.visual
    return lambda b, h, q, k: ~visual[b, q] | (q == k)


def visual_tokens(layout: Layout) -> Bool[Tensor, "batch tokens"]:
    """The tokens that do not ask."""
    return layout.visual


def flops_per_layer(text: int, visual: int, config: Any, mode: Aligner | Literal["dense"] = "vo+ffn") -> int:
    """Multiply-adds of one layer's projections, attention and gated feed-forward network, over a whole prompt.

    Args:
        text: text tokens N_t.
        visual: visual tokens N_v.
        config: the language model's configuration (``hidden_size`` …); grouped keys and values count as they are.
        mode: ``dense`` is the ordinary layer: 4 (N_t + N_v) d² + 2 (N_t + N_v)² d + 3 (N_t + N_v) d h without groups.
    """
    width, heads = config.hidden_size, config.num_attention_heads
    dim = getattr(config, "head_dim", None) or width // heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    every, asking = text + visual, text + visual if mode == "dense" else text
    out = every if mode == "dense" or "vo" in mode else text
    forward = every if mode == "dense" or "ffn" in mode else text
    queries = asking * width * heads * dim
    keys_and_values = 2 * every * width * groups * dim
    attention = 2 * asking * every * heads * dim
    return (
        queries
        + keys_and_values
        + attention
        + out * heads * dim * width
        + 3 * forward * width * config.intermediate_size
    )
