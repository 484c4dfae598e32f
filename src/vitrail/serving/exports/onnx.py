"""Models as ONNX, by PyTorch's own exporter, each part compared with ONNX Runtime before it is kept.

Towers and dual encoders, masked encoders, language models, and vitrail's own model or a LLaVA in three parts. Batches
and lengths stay open. Language models are written without a cache of keys and values: for scores, and for answers that
compute the whole text for every token. optimum-onnx, which writes caches, asks for transformers 4.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.models.folders import first_line
from vitrail.serving.exports.folding import Say

TOLERANCE = 1e-4
"""The largest difference, as a share of the largest value."""
_ONE_FILE = 1_500_000_000
"""Bytes of weights above which they lie in a file of their own: a file of protobuf holds 2 GiB."""


@dataclass
class Part:
    """One file: a module, arguments by name to trace it with, and others to compare it on.

    ``axes``: of every argument, the axes that may have any size, by name. ``masked``: where an argument of this name is
    0 the outputs at that place (batch, tokens) mean nothing, and are not compared.
    """

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    axes: dict[str, dict[int, str]]
    outputs: tuple[str, ...]
    tests: list[dict[str, Tensor]] = field(default_factory=list)
    about: str = ""
    masked: str | None = None


def require_onnx() -> None:
    """ImportError that names the extra where a package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--to onnx needs {error.name}: pip install 'vitrail[onnx]'") from None


def write(parts: list[Part], folder: Path, *, verify: bool = True, say: Say = print) -> dict[str, Any]:
    """Write every part into ``folder``; the largest difference of each, as a share of its largest value.

    ValueError for a part that cannot be exported, or whose file says something else, with the reason.
    """
    checks: dict[str, Any] = {}
    for part in parts:
        say(f"exporting {part.name}.onnx")
        path = folder / f"{part.name}.onnx"
        _export(part, path)
        if verify:
            say(f"comparing {part.name}.onnx with ONNX Runtime")
            checks[f"{part.name}.onnx, ONNX Runtime (largest difference, of the largest value)"] = _compare(
                part, path
            )
    return checks


def sentences(parts: list[Part]) -> list[str]:
    """What each file takes and gives."""
    return [
        f"`{part.name}.onnx`: {', '.join(part.example)} → {', '.join(part.outputs)}{part.about and '; '}{part.about}."
        for part in parts
    ]


def _export(part: Part, path: Path) -> None:
    dims = {name: torch.export.Dim(name, min=1) for axes in part.axes.values() for name in axes.values()}
    shapes = tuple(  # by place: a module's own names of its arguments may be others
        {axis: dims[name] for axis, name in part.axes[argument].items()} for argument in part.example
    )
    size = sum(one.numel() * one.element_size() for one in part.module.parameters())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                part.module.eval(),
                tuple(part.example.values()),
                str(path),
                dynamo=True,
                input_names=list(part.example),
                output_names=list(part.outputs),
                dynamic_shapes=shapes,
                external_data=size > _ONE_FILE,
                verbose=False,
            )
        except Exception as error:  # the exporter's steps each raise classes of their own
            cause = error.__cause__ or error
            raise ValueError(
                f"{part.name} cannot be exported to ONNX ({type(cause).__name__}: {first_line(cause)}); "
                "--to merged or hf-llava hands the model on as it is"
            ) from None


def _compare(part: Part, path: Path) -> float:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for test in part.tests:
        with torch.inference_mode():
            expected = part.module(*(test[name] for name in part.example))
        found = session.run(list(part.outputs), {name: test[name].numpy() for name in part.example})
        for value, other in zip(expected if isinstance(expected, tuple) else (expected,), found, strict=True):
            wanted, got = value.float().numpy(), np.asarray(other)
            if part.masked is not None and wanted.ndim > 2:
                there = test[part.masked].bool().numpy()
                wanted, got = wanted[there], got[there]
            scale = max(float(np.abs(wanted).max()), 1e-6)
            worst = max(worst, float(np.abs(wanted - got).max()) / scale)
    if not worst <= TOLERANCE:
        raise ValueError(
            f"{path.name} says something else in ONNX Runtime than the model in PyTorch: values differ by {worst:.2g} "
            f"of the largest, more than {TOLERANCE:g}; this model cannot be exported to ONNX with these versions"
        )
    return worst
