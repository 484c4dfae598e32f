"""Rows of text and pictures as batches of tiny families, by hand: what a collator would give, without a tokenizer."""

from __future__ import annotations

import torch

import families
from vitrail.models.testbeds import nano

WIDTH = 64
TEXT = 6
# Visual tokens of a picture, and the shape of its pixels.
PICTURES = {
    "vitrail": (4, (3, 32, 32)),
    "llava": (16, (3, 16, 16)),
    "qwen2_5_vl": (4, (16, 96)),
    "qwen3_vl": (4, (16, 96)),
    "smolvlm": (4, (3, 16, 16)),
    "internvl": (4, (3, 16, 16)),
}


def build(name):
    """A tiny model in float32, its weights always the same, that trains as a whole.

    What no batch ever reaches does not: the last norm of a tower that stands behind the layer that is read.
    """
    model = nano.build(seed=0).model if name == "vitrail" else families.build(name)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(not (name in ("vitrail", "llava") and "post_layernorm" in parameter_name))
    return model


def batch(name, model, rows):
    """``rows``: pairs of a number that the row's content depends on, and how many pictures it has."""
    count, _ = PICTURES[name]
    token = model.config.image_token_id
    ids = torch.zeros(len(rows), WIDTH, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for line, (seed, pictures) in enumerate(rows):
        draws = torch.Generator().manual_seed(seed)
        text = torch.randint(3, 100, (TEXT,), generator=draws)
        picture = torch.tensor([1] + [token] * count)
        row = torch.cat([picture.repeat(pictures), torch.tensor([1]), text])
        ids[line, : len(row)], mask[line, : len(row)] = row, 1
        labels[line, len(row) - TEXT : len(row)] = text
    found = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if name.startswith("qwen"):
        found["mm_token_type_ids"] = (ids == token).int()
    return {**found, **pixels(name, rows)}


def pixels(name, rows):
    """The vision arguments of the rows' pictures; none for rows without any."""
    shape = PICTURES[name][1]
    drawn = [torch.randn(n, *shape, generator=torch.Generator().manual_seed(100 + seed)) for seed, n in rows]
    total = sum(len(one) for one in drawn)
    if total == 0:
        return {}
    if name == "smolvlm":  # padded with empty pictures
        most = max(len(one) for one in drawn)
        values, seen = torch.zeros(len(rows), most, *shape), torch.zeros(len(rows), most, *shape[1:]).long()
        for line, one in enumerate(drawn):
            values[line, : len(one)], seen[line, : len(one)] = one, 1
        return {"pixel_values": values, "pixel_attention_mask": seen}
    if name.startswith("qwen"):
        grids = torch.tensor([[1, 4, 4]] * total)
        return {"pixel_values": torch.cat([one.flatten(0, 1) for one in drawn]), "image_grid_thw": grids}
    return {"pixel_values": torch.cat(drawn)}
