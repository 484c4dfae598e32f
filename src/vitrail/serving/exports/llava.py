"""vitrail's own model as ``LlavaForConditionalGeneration``: what plain transformers and vLLM load.

LLaVA computes ``W2 · GELU(W1 · x)`` on every token x of one hidden layer of its tower, and puts the results at the
placeholders of a plain causal language model. Where ours does the same the weights are written under its names, and the
logits are equal. A connector that is narrower between its layers is filled up with zeros (GELU(0) = 0); learnt vectors
of cells that are all one vector join the bias. Everything else is refused with all of its reasons.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vitrail.models.bundle import Bundle
from vitrail.models.connectors.mlp import MLPConnector
from vitrail.models.families.family import side_of
from vitrail.models.towers.huggingface import HuggingFaceTower
from vitrail.models.vlm import VitrailForConditionalGeneration
from vitrail.models.weights.checkpoint import files_of

CLASS = "LlavaForConditionalGeneration"
VLLM_TOWERS = ("clip_vision_model", "siglip_vision_model")
"""The towers that vLLM's LLaVA knows (besides Pixtral's, which takes pictures of any size)."""
_AROUND_THE_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_bias",
    "use_lm_head_bias",
)


@dataclass(frozen=True)
class Places:
    """How the tower's tokens lie: ``side`` tokens along a picture of ``side · patch`` pixels, ``summary`` in front."""

    side: int
    patch: int
    summary: int

    @property
    def strategy(self) -> Literal["default", "full"]:
        """``vision_feature_select_strategy``."""
        return "default" if self.summary else "full"


def require_llava(bundle: Bundle) -> Places:
    """How a model's tower fits. ValueError with every reason why it cannot be written as a LLaVA."""
    model = bundle.model
    if not isinstance(model, VitrailForConditionalGeneration):
        raise ValueError(
            f"{type(model).__name__} is a class of transformers' already, which plain transformers loads; --to "
            "hf-llava is for vitrail's own model (--to merged folds adapters and surgeries into this one)"
            if type(model).__module__.startswith("transformers.")
            else f"--to hf-llava is for vitrail's own model of tower, connector and language model, and this is "
            f"{type(model).__name__}"
        )
    places, wrong = _tower(bundle)
    wrong += _connector(model, places) + _language(model.language)
    if wrong or places is None:
        raise ValueError(f"this model cannot be written as {CLASS}: " + "; ".join(wrong))
    return places


def _tower(bundle: Bundle) -> tuple[Places | None, list[str]]:
    tower = bundle.model.tower
    if not isinstance(tower, HuggingFaceTower):
        name = (bundle.model.config.tower or {}).get("name")
        return None, [
            f"its tower {name!r} is no vision model of transformers, and LLaVA's is one that gives tokens (CLIP, "
            "SigLIP, DINOv2, ViT); train with tower: {name: huggingface, …}, or export the whole with --to onnx"
        ]
    parameter = next(tower.model.parameters())
    inner: Any = tower.model.config
    channels = getattr(inner, "num_channels", 3)
    pixels = torch.zeros(1, channels, tower.image_size, tower.image_size, dtype=parameter.dtype)
    with torch.inference_mode():
        hidden = tower.model(pixels.to(parameter.device), output_hidden_states=True).hidden_states
    about = f"its tower {inner.model_type!r}"
    hidden = hidden[tower.config.layer]
    if hidden.ndim != 3:
        return None, [
            f"{about} gives maps of rows and columns, and LLaVA takes tokens; train with a tower that gives tokens "
            "(CLIP, SigLIP, DINOv2, ViT), or export the whole with --to onnx"
        ]
    side, _ = tower.grid(0, 0)
    summary = hidden.shape[1] - side * side
    if summary not in (0, 1):
        return None, [
            f"{about} has {summary} tokens in front of the grid, and LLaVA leaves out one at most (CLIP's, DINOv2's); "
            "take a tower without registers"
        ]
    wrong = []
    patch = tower.image_size // side
    size = _size_of(bundle.processor.image_processor)
    if patch * side != tower.image_size or size != tower.image_size:
        wrong.append(
            f"{about} makes {side} tokens a side of {tower.image_size} pixels, and its image processor pictures of "
            f"{size}; LLaVA's processor counts whole patches of one size"
        )
    return Places(side, patch, summary), wrong


def _size_of(images: Any) -> int | None:
    cropped = bool(getattr(images, "do_center_crop", False))
    try:
        return side_of(images.crop_size if cropped else images.size, "size")
    except (ValueError, AttributeError):
        return None


def _connector(model: Any, places: Places | None) -> list[str]:
    connector, config = model.connector, model.connector.config
    if not isinstance(connector, MLPConnector):
        name = (model.config.connector or {}).get("name")
        return [
            f"its connector {name!r} is not LLaVA's two linear layers with GELU between; train with connector: {{name: "
            "mlp, norm: false, pool: null, cell_embedding: false}"
        ]
    wrong = []
    if config.norm:
        wrong.append(
            "connector.norm puts a layer norm in front of the connector, and LLaVA has none (norm: false)"
        )
    if config.pool is not None and (places is None or config.pool != places.side):
        wrong.append(
            f"connector.pool makes {config.pool} × {config.pool} cells, and LLaVA pools nothing (pool: null)"
        )
    if config.stride != 1:
        wrong.append(
            f"connector.stride joins blocks of {config.stride} × {config.stride} tokens, and LLaVA joins none"
        )
    if config.cell_words:
        wrong.append(
            "connector.cell_words writes words between a picture's tokens, and LLaVA's processor writes none"
        )
    if connector.cells is not None and not _all_one(connector.cells):
        wrong.append(
            "connector.cell_embedding adds a learnt vector for each cell, and LLaVA has one bias for all "
            "(cell_embedding: false)"
        )
    width, hidden = connector.up.out_features, connector.down.out_features
    if width > hidden:
        wrong.append(
            f"connector.hidden is {width} wide between its layers, and LLaVA is as wide as the language model there "
            f"({hidden}; narrower is filled up)"
        )
    return wrong


def _all_one(cells: Tensor) -> bool:
    return bool((cells == cells[:1]).all())


def _language(language: Any) -> list[str]:
    """Whether logits are one matrix without a bias times the decoder's states, and nothing behind it: tried out."""
    config, head = language.config, language.get_output_embeddings()
    about = f"its language model {config.model_type!r}"
    if not isinstance(head, nn.Linear) or head.bias is not None:
        return [f"{about} has a head with a bias, and LLaVA's has none"]
    if head.out_features != config.vocab_size:
        return [f"{about} has a head of {head.out_features} words and a vocabulary of {config.vocab_size}"]
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(1, 5, config.hidden_size, generator=generator).to(head.weight)
    arguments = {
        "inputs_embeds": words,
        "attention_mask": torch.ones(1, 5, dtype=torch.long, device=words.device),
    }
    with torch.inference_mode():
        plain = head(language.base_model(**arguments)[0])
        if torch.equal(plain, language(**arguments).logits):
            return []
    named = [name for name in _AROUND_THE_HEAD if getattr(config, name, None) not in (None, False, 1, 1.0)]
    how = f" ({', '.join(named)})" if named else ""
    return [f"{about} does more to its logits than its head does{how}, and LLaVA does not"]


def configuration(bundle: Bundle, places: Places) -> Any:
    """The ``LlavaConfig``."""
    from transformers import LlavaConfig

    model = bundle.model
    text = copy.deepcopy(model.language.config)
    text.architectures = [type(model.language).__name__]  # vLLM looks up the language model by it
    return LlavaConfig(
        vision_config=copy.deepcopy(model.tower.model.config),
        text_config=text,
        image_token_index=model.config.image_token_id,
        image_seq_length=places.side**2,
        projector_hidden_act="gelu",
        vision_feature_select_strategy=places.strategy,
        vision_feature_layer=model.tower.config.layer,
        multimodal_projector_bias=True,
        tie_word_embeddings=bool(text.tie_word_embeddings),
    )


def projector(connector: MLPConnector) -> dict[str, Tensor]:
    """The connector's weights under LLaVA's names, as wide between its layers as the language model."""
    hidden, width = connector.down.out_features, connector.up.out_features
    more = hidden - width
    bias = connector.down.bias.detach()
    if connector.cells is not None:
        bias = bias + connector.cells[0].detach()
    pad = nn.functional.pad
    return {
        "linear_1.weight": pad(connector.up.weight.detach(), (0, 0, 0, more)),
        "linear_1.bias": pad(connector.up.bias.detach(), (0, more)),
        "linear_2.weight": pad(connector.down.weight.detach(), (0, more)),
        "linear_2.bias": bias,
    }


def build(bundle: Bundle, places: Places, dtype: torch.dtype) -> Any:
    """The model, its weights those of ``bundle`` as ``dtype``. ValueError where transformers builds other parts."""
    from transformers import GenerationConfig, LlavaForConditionalGeneration

    from vitrail.inference.generation import end_tokens

    model, config = bundle.model, configuration(bundle, places)
    with torch.device("meta"):
        made: Any = LlavaForConditionalGeneration(config)
    parts = {
        made.model.vision_tower: model.tower.model.state_dict(),
        made.model.multi_modal_projector: projector(model.connector),
        made.model.language_model: model.language.base_model.state_dict(),
        made.lm_head: model.language.get_output_embeddings().state_dict(),
    }
    for part, state in parts.items():
        cast = {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()
        }
        try:
            part.load_state_dict(cast, strict=True, assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"transformers builds another {type(part).__name__} inside {CLASS}: {reason}"
            ) from None
    if config.tie_word_embeddings:
        made.tie_weights()
    ends = end_tokens(bundle)
    made.generation_config = GenerationConfig(
        bos_token_id=bundle.tokenizer.bos_token_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=bundle.pad_token_id,
    )
    return made.eval()


def save(made: Any, folder: Path, max_shard_size: str) -> None:
    """Write the model, its tensors named as in the published LLaVA-1.5.

    transformers 5 leaves ``vision_model`` out of the names of CLIP and SigLIP, and reads both; vLLM and earlier
    versions of transformers know the published names.
    """
    made.save_pretrained(folder, max_shard_size=max_shard_size)
    if made.config.vision_config.model_type in VLLM_TOWERS:
        renamed(folder, "vision_tower.", "vision_tower.vision_model.")


def renamed(folder: Path, old: str, new: str) -> None:
    """Change the beginning of tensors' names in the safetensors files of a folder, and in its index."""
    from safetensors.torch import load_file, save_file

    def name_of(name: str) -> str:
        return name if name.startswith(new) or not name.startswith(old) else new + name.removeprefix(old)

    for file in files_of(folder):
        tensors = {name_of(name): value for name, value in load_file(folder / file).items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        told = json.loads(index.read_text(encoding="utf-8"))
        told["weight_map"] = {name_of(name): file for name, file in told["weight_map"].items()}
        index.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def save_processor(bundle: Bundle, places: Places, folder: Path) -> None:
    """``LlavaProcessor`` with the model's tokenizer, image processor and chat template."""
    from transformers import LlavaProcessor

    own = bundle.processor
    processor = LlavaProcessor(
        image_processor=own.image_processor,
        tokenizer=_without_more_tokens(own.tokenizer),
        patch_size=places.patch,
        vision_feature_select_strategy=places.strategy,
        chat_template=bundle.encoder.chat_template,
        image_token=own.image_token,
        num_additional_image_tokens=places.summary,
    )
    processor.save_pretrained(folder)
    own.image_processor.save_pretrained(folder)  # for readers that know no processor_config.json


def _without_more_tokens(tokenizer: Any) -> Any:
    """The tokenizer; one that puts tokens around a text by itself no longer does: vitrail was trained without them."""
    if tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"]:
        return tokenizer
    own = copy.deepcopy(tokenizer)
    for name in ("add_bos_token", "add_eos_token"):
        if hasattr(own, name):
            setattr(own, name, False)
    own.backend_tokenizer.post_processor = None
    return own
