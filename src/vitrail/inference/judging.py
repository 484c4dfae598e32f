"""A model's yes or no to questions about pictures, from the probabilities of its next token.

As RLAIF-V (arXiv 2405.17220) asks its labeller: p_yes = p("yes") + p("Yes"), p_no = p("no") + p("No"), and a claim is
accepted where p_yes > p_no. Nothing is generated, so that a judgement costs one forward of the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.inference.inputs import evaluating, model_inputs, takes_use_cache
from vitrail.models.logits import logits_at

if TYPE_CHECKING:
    from vitrail.data.records import Chat
    from vitrail.models.bundle import Bundle

YES, NO = ("yes", "Yes"), ("no", "No")
REQUEST = "Please answer yes or no."


@dataclass(frozen=True)
class Judgement:
    """``accept``: p_yes > p_no."""

    accept: bool
    p_yes: float
    p_no: float


def yes_no_tokens(bundle: Bundle) -> tuple[list[int], list[int]]:
    """The tokens of yes and of no. ValueError where the tokenizer has none of one of them."""
    found = []
    for words in (YES, NO):
        ids = [bundle.encoder.text_ids(word) for word in words]
        unknown = bundle.tokenizer.unk_token_id
        single = sorted({one[0] for one in ids if len(one) == 1 and one[0] != unknown})
        if not single:
            raise ValueError(
                f"the tokenizer of {bundle.name} has neither {words[0]!r} nor {words[1]!r} as one token; "
                "choose another labeller, or one that answers in words"
            )
        found.append(single)
    return found[0], found[1]


def judge(
    bundle: Bundle, chats: Sequence[Chat], *, root: Path | None = None, batch_size: int = 16
) -> list[Judgement]:
    """Yes or no to chats that end with a question, in their order, whatever the batch size."""
    yes, no = yes_no_tokens(bundle)
    if not chats:
        return []
    shares = next_token_log_shares(bundle, chats, [*yes, *no], root=root, batch_size=batch_size).exp()
    sums = zip(shares[:, : len(yes)].sum(-1).tolist(), shares[:, len(yes) :].sum(-1).tolist(), strict=True)
    return [Judgement(p > q, p, q) for p, q in sums]


def next_token_log_shares(
    bundle: Bundle,
    chats: Sequence[Chat],
    tokens: Sequence[int],
    *,
    root: Path | None = None,
    batch_size: int = 16,
) -> Float[Tensor, "chats tokens"]:
    """The log-probability (nats) that an answer to each of ``chats`` (one at least) begins with each of ``tokens``."""
    encoded = [bundle.encoder.encode(chat, add_generation_prompt=True, root=root) for chat in chats]
    order = sorted(range(len(encoded)), key=lambda index: (-encoded[index].length, index))
    collator = bundle.collator("right")
    found: dict[int, Tensor] = {}
    for start in range(0, len(order), batch_size):
        group = order[start : start + batch_size]
        batch = collator([encoded[index] for index in group])
        inputs = model_inputs(bundle.model, batch)
        if takes_use_cache(bundle.model):
            inputs["use_cache"] = False
        last = torch.tensor([encoded[index].length - 1 for index in group])
        keep = torch.zeros(batch["labels"].shape, dtype=torch.bool)
        keep[torch.arange(len(group)), last] = True
        with evaluating(bundle.model):
            logits = logits_at(bundle.model, keep.to(next(bundle.model.parameters()).device), **inputs).logits
        found.update(zip(group, logits.float().log_softmax(-1)[:, list(tokens)].cpu(), strict=True))
    return torch.stack([found[index] for index in range(len(encoded))])


def judge_claims(
    bundle: Bundle, image: object, questions: Sequence[str], *, root: Path | None = None, batch_size: int = 16
) -> list[Judgement]:
    """Yes or no to questions about one picture (None: about none)."""
    from vitrail.inference.answerers import question

    images = [] if image is None else [image]
    chats = [question(f"{text}\n{REQUEST}", images=images) for text in questions]
    return judge(bundle, chats, root=root, batch_size=batch_size)


def read_yes_no(text: str) -> bool | None:
    """Yes or no from an answer in words: its first word; None where that is neither."""
    first = next(iter(text.strip().lower().replace("*", " ").replace('"', " ").split()), "").strip(".,:;!()'")
    return {"yes": True, "no": False}.get(first)


__all__ = [
    "NO",
    "REQUEST",
    "YES",
    "Judgement",
    "judge",
    "judge_claims",
    "next_token_log_shares",
    "read_yes_no",
    "yes_no_tokens",
]
