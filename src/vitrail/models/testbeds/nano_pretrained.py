"""The testbed *nano_pretrained*: tiny parts that were trained before, as a real model's are, and a fresh connector.

A study on a model from scratch of this size ends at the floor. Here the tower already tells the drawings of the suite
``nano-scenes-v1`` apart, the language model already reads and answers its sentences, and what is left to learn is
what the connector has to say. ``parts/`` beside this file holds both as safetensors (float16, run in float32) with
``parts.json``: the command that made them, on what, what they were measured at, and their hashes. They have seen the
training fold and the names "known" and "helpers" alone.
"""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from vitrail.models.bundle import Bundle
from vitrail.models.joining import join
from vitrail.models.towers.convolutional import ConvolutionalTower

SUITE = "nano-scenes-v1"
"""The frozen suite whose drawings and sentences the parts know."""
DEFAULT_CONNECTOR = {"name": "mlp", "pool": 4}


@cache
def parts() -> dict[str, Any]:
    """``parts.json``: for ``tower``, ``language`` and ``tokenizer`` file, hash, settings, command and figures."""
    return dict(json.loads(_read("parts.json")))


def build(connector: dict[str, Any] | None = None, *, seed: int = 0) -> Bundle:
    """The testbed: both pretrained parts and a fresh connector ``{"name": …, **settings}``, drawn with ``seed``.

    ValueError if a file of a part is not the one that ``parts.json`` describes.
    """
    return join(
        tower=load_tower(),
        tower_name="convolutional",
        language=load_language(),
        tokenizer=tokenizer(),
        connector=dict(connector or DEFAULT_CONNECTOR),
        seed=seed,
        name="nano_pretrained",
    )


def load_tower() -> ConvolutionalTower:
    """The tower with its weights, frozen, float32."""
    with torch.random.fork_rng(devices=[]):
        tower = ConvolutionalTower(ConvolutionalTower.Config(**parts()["tower"]["settings"]))
    tower.load_state_dict(_weights("tower"))
    return tower.eval().requires_grad_(False)


def load_language() -> Any:
    """The language model with its weights, float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(parts()["language"]["settings"])
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
    lacking = model.load_state_dict(_weights("language"), strict=False)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if lacking.unexpected_keys or set(lacking.missing_keys) - tied:
        wrong = [*lacking.unexpected_keys, *lacking.missing_keys]
        raise ValueError(f"the language model's weights do not fit its settings: {wrong[:3]} do not match")
    model.tie_weights()
    return model.eval()


def tokenizer() -> Any:
    """The parts' tokenizer: byte-level BPE with ChatML's special tokens. Any text survives it."""
    return copy.deepcopy(_tokenizer())


def wrapped_tokenizer(built: Any) -> Any:
    """A ``tokenizers.Tokenizer`` as transformers' own class, with its special tokens named."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    return wrapped_tokenizer(Tokenizer.from_str(_part("tokenizer").decode("utf-8")))


def _weights(part: str) -> dict[str, Tensor]:
    from safetensors.torch import load

    return {name: value.float() for name, value in load(_part(part)).items()}


def _part(part: str) -> bytes:
    """The file of a part. ValueError if its hash is another."""
    told = parts()[part]
    data = _read(told["file"])
    found = hashlib.sha256(data).hexdigest()
    if found != told["sha256"]:
        raise ValueError(
            f"{told['file']} of the testbed nano_pretrained has SHA-256 {found}, not {told['sha256']}; reinstall "
            "vitrail, or make the parts again with scripts/nano_parts.py"
        )
    return data


def _read(name: str) -> bytes:
    return resources.files("vitrail.models.testbeds").joinpath("parts", name).read_bytes()
