"""The guess that must not strike.

transformers takes positions that fall back for packed samples and isolates them, but only if no attention mask and no
cache come with them (``_preprocess_mask_arguments`` and ``find_packed_sequence_indices`` of ``masking_utils``): the
same batch leaks or does not by ``use_cache``. vitrail never leaves it to that: a mask is always passed, which
switches the guess off, and isolation is a rule, ``same_segment()``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vitrail.models.rules.call import call_of


def refuse_unruled_resets(position_ids: Tensor | None, attention_mask: Any, *, decoder: Any) -> None:
    """ValueError if positions of one row fall back, as those of packed samples do, and no rule isolates them.

    ``position_ids`` ``(batch, tokens)``, or ``(4, batch, tokens)`` with the text's first; three axes alone fall back
    between pictures and text and say nothing. ``attention_mask`` ``(batch, tokens)`` tells padding, whose positions
    do not count; one of four dimensions says itself who sees whom, and nothing is refused.
    """
    if position_ids is None or position_ids.shape[-1] < 2:
        return
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 4:
        return
    if position_ids.ndim == 3 and len(position_ids) != 4:
        return
    text = position_ids if position_ids.ndim == 2 else position_ids[0]
    falls = text[:, 1:] <= text[:, :-1]
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
        there = attention_mask[:, -text.shape[1] :].bool()
        falls = falls & there[:, 1:] & there[:, :-1]
    if not bool(falls.any()):
        return
    call = call_of(decoder=decoder)
    if call is None or not call.rule.isolation:
        row, token = falls.nonzero()[0].tolist()
        raise ValueError(
            f"position_ids of row {row} fall back at token {token + 1}, as if samples were packed, but nothing "
            "isolates them: use applied(model, same_segment(), layout), or give positions that go on"
        )


def all_present(tokens: Tensor, past: int) -> Tensor:
    """The attention mask of a batch without padding, behind ``past`` cached tokens: ``(batch, past + tokens)``."""
    batch, count = tokens.shape[:2]
    return torch.ones(batch, past + count, dtype=torch.long, device=tokens.device)
