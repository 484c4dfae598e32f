"""Checkpoints on disk that tests copy, round and move a little."""

from __future__ import annotations

import json
import shutil

import torch
from safetensors.torch import load_file, save_file


def copied(folder, out):
    shutil.copytree(folder, out)
    return out


def rounded(folder, dtype=torch.bfloat16):
    rewrite(folder, lambda name, value: value.to(dtype))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}))


def moved(folder, seed, size=0.05):
    generator = torch.Generator().manual_seed(seed)

    def change(name, value):
        noise = torch.randn(value.shape, generator=generator) * size
        return (value.float() + noise).to(value.dtype)

    rewrite(folder, change)


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    made = {name: change(name, value).contiguous() for name, value in tensors.items()}
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


def tensors(folder):
    return {
        name: value
        for file in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(file).items()
    }
