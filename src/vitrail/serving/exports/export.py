"""Write a model for another runtime: whole or not at all, and compared with the model that it was made of."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from vitrail.serving.exports import card, verifying
from vitrail.serving.exports.folding import Opened, Say, cast, fold, open_model, stored_dtype
from vitrail.storage.atomic import new_folder

To = Literal["hf-llava", "merged", "onnx"]
FORMATS: tuple[To, ...] = ("hf-llava", "merged", "onnx")
LAST_PLACES = 8
"""Folding may move predictions as far as this many units in the last place of the weights do."""
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """``to``: the format. ``dtype``: of the weights (None: as they are stored). ``max_shard_size``: of a file, as the
    hub's library writes sizes ("5GB"). ``base``: the model under a folder of adapters, where another than the one that
    they name. ``verify``: compare; ``tolerance``: the largest difference of log-probabilities that is equal.
    """

    to: To
    dtype: str | None = None
    max_shard_size: str = "5GB"
    base: str | None = None
    verify: bool = True
    tolerance: float = verifying.TOLERANCE

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise ValueError(f"to is {self.to!r}; use one of {', '.join(FORMATS)}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; use one of {', '.join(DTYPES)}")
        if self.to == "onnx" and self.dtype not in (None, "float32"):
            raise ValueError(f"dtype is {self.dtype!r}; ONNX is written in float32; quantise it afterwards")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}; give a number above 0")
        _require_size(self.max_shard_size)


@dataclass(frozen=True)
class Exported:
    """What was written: ``how`` in sentences, ``checks`` by name, the ``files`` of the folder."""

    folder: str
    to: str
    dtype: str
    files: list[str]
    how: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def export(model: str, out: Path, settings: Settings, say: Say = print) -> Exported:
    """Write ``model`` (a folder, a run, a hub name, or a folder of adapters) as the new folder ``out``.

    ValueError where the format cannot hold the model, with every reason, and where what was written does not say what
    the model says; there is no folder then. FileExistsError if ``out`` is there.
    """
    if Path(out).exists():
        raise FileExistsError(f"{out} exists already; remove it or choose another folder")
    write: dict[str, Callable[..., tuple[list[str], dict[str, Any]]]] = {
        "hf-llava": _llava,
        "merged": _merged,
        "onnx": _onnx,
    }
    if settings.to == "onnx":
        from vitrail.serving.exports.onnx import require_onnx

        require_onnx()
    stored = _stored(model, settings)
    dtype: torch.dtype = getattr(torch, settings.dtype) if settings.dtype else stored
    dtype = torch.float32 if settings.to == "onnx" else dtype
    float32 = settings.verify or dtype != stored or settings.to == "onnx"
    opened = open_model(model, base=settings.base, float32=float32, say=say)
    sources = list(dict.fromkeys([opened.base, model]))
    _require_space(Path(out), opened.bundle.model, dtype)
    name = str(dtype).removeprefix("torch.")
    with new_folder(Path(out)) as place:
        how, checks = write[settings.to](opened, place, settings, dtype, say)
        bundle = opened.bundle
        told = card.Told(
            to=settings.to,
            sources=sources,
            kind=bundle.family.kind,
            dtype=name,
            library="onnx" if settings.to == "onnx" else _library(bundle.model),
            use=_use(settings.to, bundle),
            how=how,
            checks=checks,
        )
        card.write_card(place, told)
        files = sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file())
    return Exported(str(out), settings.to, name, files, how, checks)


def _llava(
    opened: Opened, place: Path, settings: Settings, dtype: torch.dtype, say: Say
) -> tuple[list[str], dict[str, Any]]:
    from vitrail.serving.exports import llava

    how, checks = _folded(opened, settings, say)
    places = llava.require_llava(opened.bundle)
    rounded, more = _rounded(opened, settings, dtype, say, several=True)
    say(f"writing {llava.CLASS}")
    llava.save(llava.build(opened.bundle, places, dtype), place, settings.max_shard_size)
    llava.save_processor(opened.bundle, places, place)
    how += [f"vitrail's tower, connector and language model stand under the names of {llava.CLASS}."]
    tower = opened.bundle.model.tower.model.config.model_type
    if tower not in llava.VLLM_TOWERS:
        how += [f"transformers loads it; vLLM's LLaVA knows the towers CLIP and SigLIP, not {tower}."]
    checks |= more
    if rounded is not None:
        say("comparing with it in a process that has transformers alone")
        answers = verifying.ask_afresh(place, llava.CLASS, rounded, processor=True)
        difference = verifying.largest_difference(rounded.answers, answers)
        verifying.require_equal(
            difference, "the log-probabilities of the model and of the export", settings.tolerance
        )
        checks |= {
            "prompts": len(answers),
            "tokens and pixels of the processor": "equal",
            "log-probabilities, transformers alone (largest difference)": difference,
        }
    return how, checks


def _merged(
    opened: Opened, place: Path, settings: Settings, dtype: torch.dtype, say: Say
) -> tuple[list[str], dict[str, Any]]:
    if not opened.folds:
        raise ValueError(
            f"{opened.base} has nothing to fold in: no adapters and no surgery that leaves plain weights; it is "
            "a plain model already"
        )
    adapter = opened.adapter
    how, checks = _folded(opened, settings, say)
    rounded, more = _rounded(opened, settings, dtype, say)
    checks |= more
    model = cast(opened.bundle.model, dtype)
    model.config.dtype = dtype
    say("writing the model")
    model.save_pretrained(place, max_shard_size=settings.max_shard_size)
    opened.bundle.processor.save_pretrained(place)
    _files_beside(adapter, place)
    if rounded is not None:
        own = type(model).__module__.startswith("vitrail.")
        say("comparing with it in a fresh process")
        answers = verifying.ask_afresh(place, type(model).__name__, rounded, vitrail=own)
        difference = verifying.largest_difference(rounded.answers, answers)
        verifying.require_equal(
            difference, "the log-probabilities of the folder and of the model", settings.tolerance
        )
        where = "vitrail" if own else "transformers alone"
        checks |= {"prompts": len(answers), f"log-probabilities, {where} (largest difference)": difference}
    return how, checks


def _onnx(
    opened: Opened, place: Path, settings: Settings, dtype: torch.dtype, say: Say
) -> tuple[list[str], dict[str, Any]]:
    from vitrail.serving.exports import onnx
    from vitrail.serving.exports.onnx_parts import parts_of

    how, checks = _folded(opened, settings, say)
    parts = parts_of(opened.bundle)
    checks |= onnx.write(parts, place, verify=settings.verify, say=say)
    opened.bundle.model.config.save_pretrained(place)
    opened.bundle.processor.save_pretrained(place)
    return [*how, *onnx.sentences(parts)], checks


def _folded(opened: Opened, settings: Settings, say: Say) -> tuple[list[str], dict[str, Any]]:
    """Fold, and compare the model before and behind it."""
    if not opened.folds:
        return [], {}
    before = verifying.asked(opened.bundle) if settings.verify else None
    fold(opened, say)
    how = [f"Folded into the weights: {', '.join(opened.folds)}."]
    if before is None:
        return how, {}
    model = opened.bundle.model
    answers = verifying.answers_of(model, before.inputs)
    difference = verifying.largest_difference(before.answers, answers)
    checks = {"log-probabilities before and behind folding (largest difference)": difference}
    allowed = settings.tolerance
    if not difference <= allowed:
        moved = verifying.moved_by_last_places(model, before.inputs, answers)
        checks["what one unit in the last place of the weights moves"] = moved
        allowed = max(allowed, LAST_PLACES * moved)
    verifying.require_equal(difference, "log-probabilities before and behind the folding", allowed)
    return how, checks


def _rounded(
    opened: Opened, settings: Settings, dtype: torch.dtype, say: Say, several: bool = False
) -> tuple[verifying.Asked | None, dict[str, Any]]:
    """Round the weights to ``dtype``; what the model says with them, computed in float32."""
    model = opened.bundle.model
    before = verifying.asked(opened.bundle, several) if settings.verify else None
    if dtype != torch.float32 and before is not None:
        say(f"rounding weights to {str(dtype).removeprefix('torch.')}")
        cast(cast(model, dtype), torch.float32)
        after = verifying.Asked(before.records, before.inputs, verifying.answers_of(model, before.inputs))
        moved = verifying.largest_difference(before.answers, after.answers)
        return after, {
            f"what rounding to {str(dtype).removeprefix('torch.')} moves (largest difference)": moved
        }
    return before, {}


def _stored(model: str, settings: Settings) -> torch.dtype:
    from vitrail.models.weights.checkpoint import ADAPTER
    from vitrail.serving.exports.folding import base_of

    under = base_of(model, settings.base) if (Path(model) / ADAPTER).is_file() else model
    return stored_dtype(under)


def _files_beside(adapter: Path | None, place: Path) -> None:
    """Tokenizer, chat template and generation settings that were saved with adapters."""
    from vitrail.models.weights.provenance import TUNED

    if adapter is None:
        return
    for name in TUNED:
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, place / name)


def _library(model: Any) -> str:
    return "vitrail" if type(model).__module__.startswith("vitrail.") else "transformers"


def _use(to: str, bundle: Any) -> str:
    if to == "onnx":
        return "Open the files with ONNX Runtime; the tokenizer and the image processor are transformers'."
    if to == "hf-llava":
        return (
            "```python\nfrom transformers import AutoProcessor, LlavaForConditionalGeneration\n\n"
            'model = LlavaForConditionalGeneration.from_pretrained("FOLDER")\n'
            'processor = AutoProcessor.from_pretrained("FOLDER")\n```\n\nor `vllm serve FOLDER`.'
        )
    if _library(bundle.model) == "vitrail":
        return "`vitrail chat FOLDER`, or `vitrail.models.loading.load`; it is vitrail's own class."
    return f'`transformers.{type(bundle.model).__name__}.from_pretrained("FOLDER")`; `vitrail` loads it too.'


def _require_size(size: str) -> None:
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?[KMGT]B", size):
        raise ValueError(f"max_shard_size is {size!r}; write a number and a unit, such as 5GB or 500MB")


def _require_space(out: Path, model: Any, dtype: torch.dtype) -> None:
    needed = sum(one.numel() for one in model.parameters()) * dtype.itemsize
    place = next(one for one in (out.absolute().parent, *out.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(f"{out} needs {needed:,} bytes, and {free:,} are free there; choose another disk")
