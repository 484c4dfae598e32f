"""Questions that begin alike: what they have in common, up to and with the same pictures, is forwarded once for all.

Several questions about one picture are the rule in benchmarks, be their options ranked or their answers written. Their
prompts share the system's words and the picture; in a causal model these tokens' keys and values do not depend on what
follows. Nothing is kept beyond a batch: what an answer is computed from depends on the batch alone, so that a run that
was killed ends with the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from torch import nn

from vitrail.data.demonstrations import APART
from vitrail.inference.inputs import forward_parameters
from vitrail.inference.methods import TRACE
from vitrail.models.encoding import Encoded
from vitrail.models.logits import unwrapped
from vitrail.models.rules.standing import standing

_TEXT_REACHES_PICTURES = ("cross_attention_mask", "qformer_input_ids")
"""Arguments of models whose pictures are read by, or with, the text: their cache depends on the question."""
_COLUMNS = ("input_ids", "labels", "weight", "modality", "item", "frame", "row", "col", "speaker")


def why_not(model: nn.Module) -> str:
    """Why a prefix with pictures cannot be forwarded for several questions at once; empty where it can.

    It cannot where something may look at the question while it reads the picture: a rule or a surgery, which hook into
    the model, or a picture read through the text. That the model has a cache which can be expanded is asked elsewhere
    (:func:`vitrail.inference.prefill.prompt_sharing`).
    """
    parameters = forward_parameters(model)
    for name in _TEXT_REACHES_PICTURES:
        if name in parameters:
            return f"its forward takes {name!r}"
    if rules := standing(model):
        return f"{' & '.join(rules)} stands in it, which may look at the question"
    for name, module in unwrapped(model).named_modules():
        if not all(
            map(_the_library_s, (*module._forward_hooks.values(), *module._forward_pre_hooks.values()))
        ):
            return f"{name or 'the model'} has hooks, which may look at the question"
    return ""


def _the_library_s(hook: Any) -> bool:
    """Whether a hook is transformers' or torch's own (it collects hidden states, moves inputs to a device)."""
    function = getattr(hook, "func", hook)
    return str(getattr(function, "__module__", "")).split(".")[0] in ("transformers", "accelerate", "torch")


def prefix_length(prompt: Encoded) -> int:
    """Tokens up to the last visual one; 0 for a prompt without pictures, or one that a method has a say in, or with
    demonstrations that are read apart: those may differ where the tokens are alike.
    """
    if not prompt.images or TRACE in prompt.meta or prompt.meta.get(APART):
        return 0
    visual = np.flatnonzero(prompt.item >= 0)
    return int(visual[-1]) + 1 if len(visual) else 0


def cut(prompt: Encoded, stop: int) -> Encoded:
    """The first ``stop`` tokens, with all pictures."""
    return dataclasses.replace(prompt, **{name: getattr(prompt, name)[:stop] for name in _COLUMNS})


def common_length(group: Sequence[Encoded]) -> int:
    """Tokens that prompts of one group have in common, so that one is left of each. What closes a picture is among
    them: some models embed it by what they saw (Ovis2), so that it must be forwarded with the picture.
    """
    common = min(prompt.length for prompt in group) - 1
    for prompt in group[1:]:
        unlike = np.flatnonzero(prompt.input_ids[:common] != group[0].input_ids[:common])
        common = int(unlike[0]) if len(unlike) else common
    return common


def beginning(group: Sequence[Encoded]) -> Encoded:
    """What the prompts of a group have in common."""
    return cut(group[0], common_length(group))


def tails(groups: Sequence[Sequence[Encoded]]) -> tuple[list[int], list[list[int]]]:
    """Of every prompt, group by group: the number of its group, and the tokens behind the group's beginning."""
    rows, found = [], []
    for row, group in enumerate(groups):
        stop = common_length(group)
        rows += [row] * len(group)
        found += [prompt.input_ids[stop:].tolist() for prompt in group]
    return rows, found


def same_beginnings(prompts: Sequence[Encoded], at_most: int) -> tuple[list[list[int]], list[int]]:
    """Indices in groups of 2 to ``at_most`` with the same pictures and the same tokens up to the last of them; and the
    indices of the others, in order.
    """
    by_key: dict[Hashable, list[int]] = {}
    others: list[int] = []
    for index, prompt in enumerate(prompts):
        stop = prefix_length(prompt)
        if not 0 < stop < prompt.length:
            others.append(index)
            continue
        pictures = tuple(
            (image.bytes, image.path, prompt.root if image.path else None) for image in prompt.images
        )
        by_key.setdefault((pictures, prompt.input_ids[:stop].tobytes()), []).append(index)
    groups: list[list[int]] = []
    for found in by_key.values():
        for start in range(0, len(found), at_most):
            some = found[start : start + at_most]
            if len(some) > 1:
                groups.append(some)
            else:
                others += some
    return groups, sorted(others)


def batches(
    groups: Sequence[list[int]], prompts: Sequence[Encoded], batch_size: int, token_budget: int
) -> list[list[list[int]]]:
    """Groups that are forwarded together: ``batch_size`` questions at most, the longest prompts first.

    ``token_budget``: tokens of all their questions, each with its picture's, at most; a group alone may exceed it.
    """
    width = [max(prompts[index].length for index in group) for group in groups]
    order = sorted(range(len(groups)), key=lambda place: (-width[place], groups[place][0]))
    made: list[list[list[int]]] = []
    for place in order:
        group = groups[place]
        if made:
            rows = sum(map(len, made[-1])) + len(group)
            widest = max(prompts[index].length for some in made[-1] for index in some)
            if rows <= batch_size and rows * widest <= token_budget:
                made[-1].append(group)
                continue
        made.append([group])
    return made
