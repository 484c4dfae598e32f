"""Tiny models of each family with batches of one picture a sample, packed, or padded, and their layouts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as T

import families
from vitrail.models.layout import Layout, Modality, Speaker
from vitrail.models.towers.huggingface import HuggingFaceTower
from vitrail.models.vlm import VitrailForConditionalGeneration

TEXT_ONLY = ("llama", "qwen2")
PICTURES = (
    "llava",
    "llava_onevision",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "idefics3",
    "smolvlm",
    "internvl",
    "ovis2",
    "paligemma",
    "gemma3",
)
FAMILIES = (*TEXT_ONLY, *PICTURES, "ours")
TRIO = ("llava", "qwen2_vl", "smolvlm")
CLOSE = 1e-5
"""Of float32 logits, relative to the largest: these random models are far from calm."""
THREE_AXES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def build(family: str, attention: str = "sdpa") -> Any:
    """A tiny model in evaluation mode whose decoder attends by ``attention``."""
    if family == "ours":
        model = _ours()
    elif family == "llama":
        torch.manual_seed(0)
        model = families.llama().eval()
    elif family == "qwen2":
        torch.manual_seed(0)
        model = T.Qwen2ForCausalLM._from_config(T.Qwen2Config(**families.TEXT, **families.INIT)).eval()
    else:
        model = families.build(family)
    text = model.config.get_text_config()
    if text._attn_implementation != attention:
        configs = {id(m.config): m.config for m in model.get_decoder().modules() if hasattr(m, "config")}
        for config in (text, *configs.values()):
            config._attn_implementation = attention
    model.generation_config.eos_token_id = None
    return model


def _ours() -> Any:
    torch.manual_seed(0)
    tower = HuggingFaceTower(
        HuggingFaceTower.Config(
            vision_config={
                "model_type": "siglip_vision_model",
                **families.VISION,
                **families.INIT,
                "vision_use_head": False,
            }
        )
    )
    return VitrailForConditionalGeneration.from_parts(
        tower=tower,
        tower_name="huggingface",
        connector={"name": "mlp", "pool": 2},
        language=T.LlamaForCausalLM._from_config(T.LlamaConfig(**families.TEXT, **families.INIT)),
        image_token_id=families.IMAGE,
    ).eval()


def image_token(model: Any) -> int:
    return getattr(model.config, "image_token_id", families.IMAGE)


def pixels_of(model: Any, family: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    if family in TEXT_ONLY:
        return {}
    if family in THREE_AXES:
        return {"pixel_values": noise(16, 96), "image_grid_thw": torch.tensor([[1, 4, 4]])}
    if family in ("idefics3", "smolvlm"):
        return {
            "pixel_values": noise(1, 1, 3, 16, 16),
            "pixel_attention_mask": torch.ones(1, 1, 16, 16).long(),
        }
    if family == "llava_onevision":
        return {"pixel_values": noise(1, 2, 3, 16, 16), "image_sizes": torch.tensor([[16, 16]])}
    return {"pixel_values": noise(1, 3, 16, 16)}


def count_of(model: Any, family: str, pixels: dict[str, torch.Tensor]) -> int:
    if not pixels:
        return 0
    with torch.no_grad():
        accepted = {"return_dict": True} if family != "ours" else {}
        found = model.get_image_features(**pixels, **accepted).pooler_output
    tokens = torch.cat(list(found)) if isinstance(found, (list, tuple)) else found
    return tokens.flatten(0, -2).shape[0]


@dataclass
class Sample:
    """One sample: tokens, pixels, and the columns of its layout."""

    family: str
    ids: list[int]
    pixels: dict[str, torch.Tensor]
    columns: dict[str, list[int]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.ids)


def sample(model: Any, family: str, seed: int = 0, words: int = 5) -> Sample:
    """A beginning, a picture, ``words`` words."""
    generator = torch.Generator().manual_seed(1000 + seed)
    pixels = pixels_of(model, family, seed)
    count = count_of(model, family, pixels)
    vocabulary = min(120, model.config.get_text_config().vocab_size - 2)
    text = torch.randint(5, vocabulary, (words + 2,), generator=generator).tolist()
    if family in THREE_AXES:  # by what stands around them it counts pictures
        text[1:3] = families.IDS["begin"], families.IDS["end"]
    ids = [1, *text[:2], *[image_token(model)] * count, *text[2:]]
    side = int(count**0.5)
    square = side * side == count and count > 0
    visual = [0] * 3 + [1] * count + [0] * words
    number = [-1] * 3 + list(range(count)) + [-1] * words
    return Sample(
        family,
        ids,
        pixels,
        {
            "modality": [Modality.IMAGE if one else Modality.TEXT for one in visual],
            "item": [0 if one else -1 for one in visual],
            "frame": [0 if one else -1 for one in visual],
            "row": [one // side if square and one >= 0 else -1 for one in number],
            "col": [one % side if square and one >= 0 else -1 for one in number],
            "speaker": [Speaker.USER] * len(ids),
        },
    )


def _joined(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def _row(samples: list[Sample]) -> dict[str, list[int]]:
    columns = {"ids": _joined(one.ids for one in samples)}
    columns["segment"] = _joined([index] * one.length for index, one in enumerate(samples))
    for name in samples[0].columns:
        columns[name] = _joined(one.columns[name] for one in samples)
    return columns


def batch(rows: list[list[Sample]], side: str = "right") -> tuple[dict[str, torch.Tensor], Layout]:
    """Rows of packed samples → the arguments of a model (without positions) and their layout."""
    made = [_row(row) for row in rows]
    width = max(len(one["ids"]) for one in made)

    def stack(name: str, fill: int) -> torch.Tensor:
        full = []
        for one in made:
            more = [fill] * (width - len(one[name]))
            full.append([*more, *one[name]] if side == "left" else [*one[name], *more])
        return torch.tensor(full)

    family = rows[0][0].family
    ids, segment, modality = stack("ids", 0), stack("segment", -1), stack("modality", Modality.PADDING)
    visual = (modality == Modality.IMAGE) & (segment >= 0)
    layout = Layout(
        segment=segment,
        modality=modality,
        item=stack("item", -1),
        frame=stack("frame", -1),
        row=stack("row", -1),
        col=stack("col", -1),
        speaker=stack("speaker", Speaker.TEMPLATE),
        weight=torch.zeros(ids.shape),
        droppable=visual,
    )
    inputs = {"input_ids": ids, "attention_mask": (segment >= 0).long(), **_pixels(rows, family)}
    if family in THREE_AXES:
        inputs["mm_token_type_ids"] = visual.int()
    if family == "gemma3":
        inputs["token_type_ids"] = visual.long()
    if family == "paligemma":
        # The prefix, seen in both directions, is all but the last two words of each sample.
        suffix = segment != torch.nn.functional.pad(segment, (0, 2), value=-1)[:, 2:]
        inputs["token_type_ids"] = suffix.long()
    return inputs, layout


def _pixels(rows: list[list[Sample]], family: str) -> dict[str, torch.Tensor]:
    names = rows[0][0].pixels
    if family in ("idefics3", "smolvlm"):
        return {
            name: torch.cat([torch.cat([one.pixels[name] for one in row], dim=1) for row in rows])
            for name in names
        }
    return {name: torch.cat([one.pixels[name] for row in rows for one in row]) for name in names}


def changed(one: Sample, model: Any, seed: int = 77) -> Sample:
    """The same sample with other words and another picture."""
    other = sample(model, one.family, seed, words=len(one.ids) - 3 - one.columns["item"].count(0))
    assert other.length == one.length
    return other


def forget(model: Any) -> None:
    """Qwen-VL keeps the offset of its last positions on the module."""
    inner = getattr(model, "model", None)
    if hasattr(inner, "rope_deltas"):
        inner.rope_deltas = None


@torch.no_grad()
def logits(model: Any, inputs: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
    forget(model)
    return model(**inputs, **more).logits


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest value (or 1)."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def hide_image_tokens(model: Any) -> None:
    """Random models like to answer with placeholders, which a prompt could not hold."""
    model.generation_config.suppress_tokens = [0, *range(families.IMAGE, families.IMAGE + 10)]


def continued(inputs: dict[str, torch.Tensor], tokens: torch.Tensor, family: str) -> dict[str, torch.Tensor]:
    """The inputs with an answer behind the prompt."""
    made = {**inputs, "input_ids": torch.cat([inputs["input_ids"], tokens], 1)}
    fills = {
        "attention_mask": 1,
        "mm_token_type_ids": 0,
        "token_type_ids": int(family == "paligemma"),
    }
    for name, fill in fills.items():
        if name in made:
            made[name] = torch.cat([made[name], torch.full_like(tokens, fill).to(made[name].dtype)], 1)
    return made


@torch.no_grad()
def generate(model: Any, inputs: dict[str, torch.Tensor], tokens: int = 5, **settings: Any) -> Any:
    """Tokens and the logits of each step."""
    forget(model)
    hide_image_tokens(model)
    settings = {"do_sample": False, **settings}
    return model.generate(
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        output_logits=True,
        return_dict_in_generate=True,
        **settings,
    )
