"""Whether an exported model says what the one says that it was made of: asked in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail.models.bundle import Bundle
from vitrail.serving.exports import fresh
from vitrail.serving.exports.prompts import as_messages, encoded_inputs, records

TOLERANCE = 1e-5
"""The largest difference of float32 log-probabilities, or of the values of an embedding."""


@dataclass(frozen=True)
class Asked:
    """Prompts as records and as tensors, and what a model predicts for them."""

    records: list[Any]
    inputs: list[dict[str, Tensor]]
    answers: list[dict[str, Tensor]]


def asked(bundle: Bundle, several: bool = False) -> Asked:
    """The prompts of :mod:`vitrail.serving.exports.prompts`, and the predictions of the bundle's model (float32)."""
    made = records(bundle.family.kind, several)
    inputs = [encoded_inputs(bundle, record) for record in made]
    return Asked(made, inputs, answers_of(bundle.model, inputs))


def answers_of(model: Any, inputs: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The predictions of a model for prompts."""
    return [fresh.ask(model.eval(), prompt) for prompt in inputs]


def largest_difference(answers: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> float:
    """Over all values of all prompts; infinite where something is missing, of another shape, or not finite."""
    worst = 0.0
    for one, other in zip(answers, others, strict=True):
        for name, value in one.items():
            there = other.get(name)
            if there is None or there.shape != value.shape or not bool(torch.isfinite(value - there).all()):
                return float("inf")
            worst = max(worst, float((value - there).abs().max()))
    return worst


def moved_by_last_places(
    model: Any, asked: list[dict[str, Tensor]], answers: list[dict[str, Tensor]]
) -> float:
    """How far predictions move when every weight of a linear layer moves by one unit in its last place, up or down.

    ``answers`` are those to ``asked`` before. What float32 cannot tell apart: (W + B A) x and W x + B (A x) are summed
    in another order, and in a deep model that shows. The weights are as they were afterwards, to the bit.
    """
    _nudge(model, 1)
    moved = largest_difference(answers, answers_of(model, asked))
    _nudge(model, -1)
    return moved


def _nudge(model: Any, direction: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.is_floating_point():
            up = torch.rand(module.weight.shape, generator=generator).to(module.weight.device) < 0.5
            towards = torch.where(up, float("inf"), float("-inf")) * direction
            module.weight.data = torch.nextafter(module.weight.data, towards.to(module.weight.dtype))


def require_equal(difference: float, what: str, tolerance: float) -> None:
    """ValueError where a difference is larger than ``tolerance``."""
    if not difference <= tolerance:
        raise ValueError(
            f"{what} differ by {difference:.2g}, more than {tolerance:g} (float32 log-probabilities); nothing was "
            "written. --tolerance allows more, --no-verify does not look"
        )


def ask_afresh(
    folder: Path, kind: str, prompts: Asked, *, vitrail: bool = False, processor: bool = False
) -> list[dict[str, Tensor]]:
    """Load ``folder`` as ``kind`` in a fresh process and answer the prompts there.

    Without ``vitrail`` that process cannot import it. ``processor``: the folder's own processor also makes the inputs
    of each prompt, which must be those of ``prompts``, tokens and pixels alike. ValueError for whatever goes wrong.
    """
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tensors = {f"{i}/{key}": v for i, one in enumerate(prompts.inputs) for key, v in one.items()}
        save_file({key: value.contiguous() for key, value in tensors.items()}, place / "inputs.safetensors")
        job = {
            "folder": str(folder),
            "class": kind,
            "vitrail": vitrail,
            "threads": torch.get_num_threads(),
            "inputs": str(place / "inputs.safetensors"),
            "prompts": len(prompts.inputs),
            "messages": [as_messages(one, place) for one in prompts.records] if processor else [],
            "out": str(place / "out.safetensors"),
        }
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        _run(place / "job.json")
        found = load_file(place / "out.safetensors")
    answers: list[dict[str, Tensor]] = [{} for _ in prompts.inputs]
    made: list[dict[str, Tensor]] = [{} for _ in prompts.inputs]
    for key, value in found.items():
        number, _, what = key.partition("/")
        (made if what.startswith("made/") else answers)[int(number)][what.removeprefix("made/")] = value
    for asked_as, one in enumerate(made if processor else []):
        _require_same_inputs(asked_as, prompts.inputs[asked_as], one)
    return answers


def _run(job: Path) -> None:
    # -P: the folder of the file is not searched for modules, which have names of their own there.
    command = [sys.executable, "-P", fresh.__file__, str(job)]
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["no reason was given"]
        raise ValueError(f"a fresh process cannot load or ask the exported model: {lines[-1]}")


def _require_same_inputs(number: int, wanted: dict[str, Tensor], made: dict[str, Tensor]) -> None:
    for name in ("input_ids", "pixel_values"):
        one, other = wanted.get(name), made.get(name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one, other)):  # type: ignore[arg-type]
            what = "tokens" if name == "input_ids" else "pixels"
            raise ValueError(
                f"the exported processor makes other {what} than vitrail's of prompt {number}; transformers' processor "
                "cannot express how this model is fed"
            )
