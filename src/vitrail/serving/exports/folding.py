"""A model as one plain set of weights: adapters of PEFT and surgeries that are sums of matrices, folded in.

Folding is done in float32, layer by layer, and rounded once, to the type in which the weights are stored.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vitrail.models.bundle import Bundle
from vitrail.models.folders import first_line
from vitrail.models.loading import load, load_config, model_source
from vitrail.models.surgery import operating
from vitrail.models.surgery.sltrain import NAMES, merge_sltrain
from vitrail.models.weights.checkpoint import ADAPTER, FLOATS, files_of, folder_of, headers
from vitrail.models.weights.model_delta import resize_and_align
from vitrail.models.weights.streaming import DTYPES

Say = Callable[[str], None]
FOLDED = (*NAMES, "reinitialise")
"""Surgeries of which nothing but weights of the model's own shapes is left when they are folded."""
_OWN = "connector"
"""A replaced connector: in our own model it is an ordinary part of the configuration."""


@dataclass
class Opened:
    """A model in memory with what it was made of.

    ``base``: its folder, run or hub name; ``adapter``: the folder of adapters on it that are not folded yet; ``folds``:
    names of what has to be folded.
    """

    bundle: Bundle
    base: str
    adapter: Path | None = None
    folds: list[str] = field(default_factory=list)


def open_model(path: str, *, base: str | None = None, float32: bool = True, say: Say = print) -> Opened:
    """Load ``path``: a model's folder, a run's, a hub name, or a folder of adapters as PEFT writes them.

    ``base``: the model under the adapters (default: the one that they name). ``float32``: of the weights, else as they
    are stored. ValueError for what cannot be folded, with the reason, before any weight is read.
    """
    folder = Path(path)
    if not (folder / ADAPTER).is_file():
        if base is not None:
            raise ValueError(f"--base goes with a folder of adapters ({ADAPTER}); {path} is none")
        _refuse_quantised(load_config(model_source(path)), path)
        bundle = _load(path, float32, say)
        return Opened(bundle, path, folds=folds_of(bundle.model.config))
    settings = _adapter_settings(folder)
    under = base_of(path, base)
    try:
        _refuse_quantised(load_config(model_source(under)), under)
        bundle = _load(under, float32, say)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the model under the adapters, {under!r}, cannot be used: {first_line(error)}; give another with --base"
        ) from None
    found = Opened(bundle, under, folder, folds_of(bundle.model.config))
    found.folds.append(f"adapters ({settings['peft_type']}) of {path}")
    _put_adapters(found, say)
    return found


def base_of(adapter: str, base: str | None = None) -> str:
    """The model under a folder of adapters. ValueError if neither ``base`` nor the folder names one."""
    named = base or _adapter_settings(Path(adapter)).get("base_model_name_or_path")
    if not named:
        raise ValueError(f"{adapter} does not name the model under its adapters; give it with --base")
    return str(named)


def _load(path: str, float32: bool, say: Say) -> Bundle:
    say(f"reading {path}")
    return load(path, dtype=torch.float32 if float32 else None)


def stored_dtype(path: str) -> torch.dtype:
    """The type in which most values of a model's safetensors files are kept."""
    folder = folder_of(path)
    sizes: Counter[str] = Counter()
    for file in files_of(folder):
        for info in headers(folder / file).values():
            sizes[info.dtype] += info.numel if info.dtype in FLOATS else 0
    found: torch.dtype = getattr(torch, DTYPES[sizes.most_common(1)[0][0]])
    return found


def cast(model: Any, dtype: torch.dtype) -> Any:
    """Give what is saved of a model another type, in place. Tables that are computed, such as rotary ones, stay."""
    for value in model.state_dict(keep_vars=True).values():
        if value.is_floating_point():
            value.data = value.data.to(dtype)
    return model


def folds_of(config: Any) -> list[str]:
    """The surgeries of a configuration that have to be folded. ValueError for those that cannot be, with the reason."""
    own = getattr(config, "model_type", "") == "vitrail"
    found = []
    for name, surgery, _ in operating.done(config):
        if name in FOLDED:
            found.append(f"surgery {name}")
        elif not (own and name == _OWN):
            about = (type(surgery).__doc__ or "").strip().partition("\n")[0].rstrip(".")
            raise ValueError(
                f"the surgery {name!r} cannot be folded into plain weights ({about[:1].lower()}{about[1:]}): it "
                "changes what the model computes, not the values that it computes with. vitrail serve serves such a "
                "model as it is"
            )
    return found


def fold(opened: Opened, say: Say = print) -> None:
    """Fold everything in, in place; nothing of it is left in the model or its configuration.

    ValueError if a layer with adapters did not change, or has values that are not finite.
    """
    model = opened.bundle.model
    if opened.adapter is not None:
        model = _merge_adapters(model, say)
    if any(name.removeprefix("surgery ") in NAMES for name in opened.folds):
        say(f"folded {merge_sltrain(model)} low-rank layers")
    if hasattr(model.config, operating.KEY):
        kept = dict(getattr(model.config, operating.KEY) or {})
        left = [one for one in kept.pop("surgeries", []) if one["name"] not in FOLDED]
        kept |= {"surgeries": left} if left else {}
        delattr(model.config, operating.KEY)
        if kept:
            setattr(model.config, operating.KEY, kept)
    model.requires_grad_(False).eval()
    opened.bundle.model, opened.adapter = model, None


def _merge_adapters(model: Any, say: Say) -> Any:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(name, one) for name, one in model.named_modules() if isinstance(one, BaseTunerLayer)]
    same: list[str] = []
    for name, layer in layers:
        inner: Any = layer.get_base_layer()
        before = {key: value.detach().clone() for key, value in inner.named_parameters()}
        types = {key: value.dtype for key, value in before.items()}
        inner.float()
        if not hasattr(layer, "merge"):
            raise ValueError(f"PEFT cannot fold {type(layer).__name__} ({name}) into the layer under it")
        if not hasattr(layer, "unload_and_optionally_merge_module"):
            _merge_one(layer, name)
        for key, value in inner.named_parameters():
            value.data = value.data.to(types.get(key, value.dtype))
        if all(torch.equal(value, before[key]) for key, value in inner.named_parameters() if key in before):
            same.append(name)
    if layers and len(same) == len(layers):
        raise ValueError(
            f"none of the {len(layers)} layers with adapters changed: the adapters hold nothing, or what they learnt "
            "is below the precision of the weights (--dtype float32 keeps it)"
        )
    more = f"; {len(same)} adapters hold nothing" if same else ""
    say(f"folded adapters into {len(layers) - len(same)} of {len(layers)} layers{more}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All adapters are already merged")
            return model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"PEFT cannot fold these adapters: {first_line(error)}") from None


def _merge_one(layer: Any, name: str) -> None:
    try:
        layer.merge(safe_merge=True)
    except NotImplementedError:
        raise ValueError(
            f"PEFT cannot fold {type(layer).__name__} ({name}) into the layer under it"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name} cannot be folded: {first_line(error)}") from None


def _adapter_settings(folder: Path) -> dict[str, Any]:
    """``adapter_config.json``. ValueError for kinds that are no change of weights, and for pickled weights."""
    settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    kind = str(settings.get("peft_type"))
    if "num_virtual_tokens" in settings or kind in ("ADAPTION_PROMPT", "CPT", "CARTRIDGE"):
        raise ValueError(
            f"{folder} is {kind}: it puts learnt vectors into the input or between layers, and no weight holds them; "
            "serve the base with PEFT, or train LoRA"
        )
    if not (folder / "adapter_model.safetensors").is_file():
        raise ValueError(
            f"{folder} has no adapter_model.safetensors; other formats can run code and are not loaded. Save it again "
            "with a PEFT of today"
        )
    return dict(settings)


def _put_adapters(opened: Opened, say: Say) -> None:
    from peft import PeftModel

    folder = opened.adapter
    assert folder is not None
    tokenizer = _tokenizer_beside(folder)
    if tokenizer is not None and opened.bundle.family.kind in ("language", "multimodal"):
        resize_and_align(opened.bundle.model, tokenizer)
    say(f"reading adapters of {folder}")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(opened.bundle.model, str(folder))
        missing = [str(one.message) for one in told if "missing adapter keys" in str(one.message)]
        if missing or (more := _more_than_taken(model, folder)):
            raise ValueError(missing[0] if missing else f"{more} of its tensors belong to no layer")
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"the adapters of {folder} do not fit {opened.base}: {first_line(error)}; give their model with --base"
        ) from None
    opened.bundle.model = model.eval()


def _more_than_taken(model: Any, folder: Path) -> int:
    """How many tensors of adapters the file holds beyond those that found a layer (names may have been mapped)."""
    from peft import get_peft_model_state_dict
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(model.peft_config["default"].peft_type, "")
    taken = get_peft_model_state_dict(model, save_embedding_layers=False)
    held = headers(folder / "adapter_model.safetensors")
    return sum(prefix in name for name in held) - sum(prefix in name for name in taken)


def _tokenizer_beside(folder: Path) -> Any:
    if not (folder / "tokenizer.json").is_file():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


def _refuse_quantised(config: Any, path: str) -> None:
    told = getattr(config, "quantization_config", None)
    if told is not None:
        method = told.get("quant_method") if isinstance(told, dict) else getattr(told, "quant_method", "")
        raise ValueError(
            f"{path} holds quantised weights ({method}); folding into them would round every weight once more. Name "
            "the same model unquantised"
        )
