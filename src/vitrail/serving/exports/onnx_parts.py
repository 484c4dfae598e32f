"""Which parts of a model become ONNX files, and what each takes and gives.

Names of files and arguments are those that optimum and Transformers.js use.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitrail.inference.inputs import forward_parameters, model_inputs
from vitrail.models.bundle import Bundle
from vitrail.models.vlm import VitrailForConditionalGeneration
from vitrail.serving.exports.onnx import Part
from vitrail.serving.exports.prompts import encoded_inputs, records

_ROWS = {0: "batch", 1: "tokens"}


def parts_of(bundle: Bundle) -> list[Part]:
    """The files that a model becomes. ValueError for one whose pictures change the shape of its arguments."""
    kind = bundle.family.kind
    if kind == "dual encoder":
        return _dual_encoder(bundle)
    if kind == "encoder":
        return [_encoder(bundle)]
    if kind == "language":
        return [_language(bundle)]
    if isinstance(bundle.model, VitrailForConditionalGeneration) or bundle.family.model_type == "llava":
        return _multimodal(bundle)
    raise ValueError(
        f"{bundle.family.about or bundle.family.model_type} cuts or scales a picture by its size, and its arguments "
        "change with that; --to onnx knows vitrail's own model, LLaVA-1.5, dual encoders, masked encoders "
        "and language models"
    )


class _Picture(nn.Module):
    """Pixels → the normalised vector of each picture."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return F.normalize(self.model.get_image_features(pixel_values=pixel_values).pooler_output, dim=-1)


class _Text(nn.Module):
    """Tokens → the normalised vector of each text."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        return F.normalize(self.model.get_text_features(**given).pooler_output, dim=-1)


class _WholeText(_Text):
    """The same for a text side that takes no mask: texts have one width."""

    def forward(self, input_ids: Tensor) -> Tensor:  # type: ignore[override]
        return F.normalize(self.model.get_text_features(input_ids=input_ids).pooler_output, dim=-1)


def _dual_encoder(bundle: Bundle) -> list[Part]:
    encoded = [bundle.encoder.encode(record) for record in records("dual encoder")]  # type: ignore[arg-type]
    batch = model_inputs(bundle.model, bundle.collator()(encoded))
    pixels = batch["pixel_values"]
    rows: dict[str, Tensor] = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    masked = "attention_mask" in rows
    more: dict[str, Tensor] = {name: torch.cat([one, one.flip(0)[:1]]) for name, one in rows.items()}
    return [
        Part(
            "vision_model",
            _Picture(bundle.model),
            {"pixel_values": pixels},
            {"pixel_values": {0: "batch"}},
            ("image_embeds",),
            [{"pixel_values": torch.cat([pixels.flip(0), pixels[:1]])}],
            "vectors of length 1",
        ),
        Part(
            "text_model",
            _Text(bundle.model) if masked else _WholeText(bundle.model),
            rows,
            dict.fromkeys(rows, _ROWS if masked else {0: "batch"}),
            ("text_embeds",),
            [more],
            "vectors of length 1"
            + ("" if masked else f"; texts are padded to {rows['input_ids'].shape[1]} tokens"),
        ),
    ]


class _Encoder(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return output.logits, output.hidden_states[-1]


def _encoder(bundle: Bundle) -> Part:
    encoded = [bundle.encoder.encode(record) for record in records("encoder")]  # type: ignore[arg-type]
    batch = bundle.collator()(encoded)
    rows: dict[str, Tensor] = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return Part(
        "model",
        _Encoder(bundle.model),
        rows,
        dict.fromkeys(rows, _ROWS),
        ("logits", "last_hidden_state"),
        [rows, {name: value[:1, :5] for name, value in rows.items()}],
        "for single texts",
        masked="attention_mask",
    )


class _Decoder(nn.Module):
    """Tokens, or vectors in their place, and their positions → logits, without a cache."""

    def __init__(self, body: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.head = body, head

    def _logits(self, attention_mask: Tensor, position_ids: Tensor, **words: Tensor) -> Tensor:
        options = {"attention_mask": attention_mask, "position_ids": position_ids, "use_cache": False}
        output = self.body(**words, **options)
        return output.logits if self.head is None else self.head(output[0])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        return self._logits(attention_mask, position_ids, input_ids=input_ids)


class _FromVectors(_Decoder):
    def forward(  # type: ignore[override]
        self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor
    ) -> Tensor:
        return self._logits(attention_mask, position_ids, inputs_embeds=inputs_embeds)


def _language(bundle: Bundle) -> Part:
    if "position_ids" not in forward_parameters(bundle.model):
        raise ValueError(
            f"{type(bundle.model).__name__} takes no position_ids, so that padding would move its tokens; --to onnx is "
            "for decoders that do"
        )
    encoded = [bundle.encoder.encode(one, add_generation_prompt=True) for one in records("language")]  # type: ignore[arg-type]
    batch = bundle.collator("left")(encoded)
    rows = _with_positions({name: batch[name] for name in ("input_ids", "attention_mask")})
    return Part(
        "model",
        _Decoder(bundle.model),
        rows,
        dict.fromkeys(rows, _ROWS),
        ("logits",),
        [rows, {name: value[:1, -4:] for name, value in rows.items()}],
        "no cache; positions count from the first token that the mask keeps",
        masked="attention_mask",
    )


class _LlavaVision(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.layer = model.config.vision_feature_layer
        self.first = 1 if model.config.vision_feature_select_strategy == "default" else 0

    def forward(self, pixel_values: Tensor) -> Tensor:
        hidden = self.tower(pixel_values, output_hidden_states=True).hidden_states[self.layer]
        return self.projector(hidden[:, self.first :])


class _OwnVision(nn.Module):
    def __init__(self, model: Any, count: int) -> None:
        super().__init__()
        self.tower, self.connector, self.count = model.tower, model.connector, count

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens, _ = self.connector(self.tower(pixel_values))
        return tokens.reshape(pixel_values.shape[0], self.count, tokens.shape[-1])


def _multimodal(bundle: Bundle) -> list[Part]:
    model = bundle.model
    prompts = [encoded_inputs(bundle, record) for record in records("multimodal")]
    pixels = torch.cat([prompt["pixel_values"] for prompt in prompts if "pixel_values" in prompt])
    own = isinstance(model, VitrailForConditionalGeneration)
    if not own and not isinstance(model.config.vision_feature_layer, int):
        raise ValueError("vision_feature_layer names several layers; --to onnx knows one")
    seen = prompts[-1]["input_ids"]
    count = int((seen == model.config.image_token_id).sum())
    vision: nn.Module = _OwnVision(model, count) if own else _LlavaVision(model)
    decoder = (
        _FromVectors(model.language)
        if own
        else _FromVectors(model.model.language_model, model.get_output_embeddings())
    )
    words = model.get_input_embeddings()
    with torch.inference_mode():
        placed = words(seen)
        there = (seen == model.config.image_token_id).unsqueeze(-1)
        placed = placed.masked_scatter(there, vision.eval()(pixels[-1:]))
    read = _with_positions({"inputs_embeds": placed.clone(), "attention_mask": torch.ones_like(seen)})
    twice = {name: torch.cat([value, value.flip(0)])[:, -9:].contiguous() for name, value in read.items()}
    twice["position_ids"] = torch.arange(9).expand(2, 9).contiguous()
    mask = torch.ones_like(twice["attention_mask"])
    mask[0, :3] = 0
    padded = _with_positions({"inputs_embeds": twice["inputs_embeds"], "attention_mask": mask})
    return [
        Part(
            "vision_encoder",
            vision,
            {"pixel_values": pixels},
            {"pixel_values": {0: "images"}},
            ("image_features",),
            [{"pixel_values": torch.cat([pixels.flip(0), pixels[:1]])}],
            f"{count} visual tokens a picture, which replace the vectors at its placeholders (token "
            f"{model.config.image_token_id})",
        ),
        Part(
            "embed_tokens",
            words,
            {"input_ids": torch.cat([seen, seen])},
            {"input_ids": _ROWS},
            ("inputs_embeds",),
            [{"input_ids": seen}],
        ),
        Part(
            "decoder_model",
            decoder,
            twice,
            dict.fromkeys(twice, _ROWS),
            ("logits",),
            [read, padded],
            "no cache; positions count from the first token that the mask keeps",
            masked="attention_mask",
        ),
    ]


def _with_positions(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    positions = (rows["attention_mask"].long().cumsum(-1) - 1).clamp(min=0)
    return {**rows, "position_ids": positions}
