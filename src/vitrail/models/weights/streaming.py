"""Add differences to a checkpoint, file by file: no model is built, and memory is that of one file of the result.

``θ' = θ + Σ_k scale_k R_k``, summed in float64 and rounded once, to the type in which θ is stored. With θ = θ_base,
one R of instruction-tuned and base weights and scale 1 that is the tuned checkpoint to the bit; with θ further
pretrained it is the restoration of instruction residuals (arXiv 2410.10739). What the paper asks for beside is done
here: rows of the vocabulary that θ lacks begin as zeros, tied embeddings are one tensor, buffers stay, and chat
template, special tokens and generation settings come from the tuned side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.models.weights.checkpoint import Checkpoint, is_buffer
from vitrail.models.weights.difference import TOLD, AnyDifference, Difference, pieces, same_names
from vitrail.models.weights.provenance import RECORD, copy_files, record_of, takes_files, write_card
from vitrail.models.weights.tokens import same_tokens

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Added:
    """What was done: tensors that changed, of how many; values that changed; ``notes`` for people."""

    changed: int
    tensors: int
    parameters: int
    notes: tuple[str, ...] = field(default=())


def add(
    base: Checkpoint, differences: Sequence[AnyDifference], out: Path | str, *, dtype: str | None = None
) -> Added:
    """Write ``base`` with the differences added as a model's folder ``out``, which appears as a whole.

    ``dtype``: of the result (default: each tensor's own in ``base``), to which sums are rounded once.
    ValueError where a difference does not fit ``base`` (:func:`fit` says how), or where a value is not finite.
    """
    from vitrail.storage.atomic import new_folder

    notes = fit(base, differences)
    with new_folder(Path(out)) as folder:
        return write_added(base, differences, folder, notes, dtype)


def write_added(
    base: Checkpoint,
    differences: Sequence[AnyDifference],
    folder: Path,
    notes: Sequence[str] = (),
    dtype: str | None = None,
) -> Added:
    """:func:`add` into a folder that is there, and without its checks."""
    from safetensors.torch import save_file

    adder, weight_map, changed, total = _Adder(base, differences, dtype), {}, 0, 0
    for file in base.files:
        tensors = {}
        for name in (name for name, info in base.tensors.items() if info.file == file):
            tensors[name], touched = adder(name)
            weight_map[name] = file
            changed += touched
            total += tensors[name].numel() * tensors[name].element_size()
        save_file(tensors, folder / file, metadata={"format": "pt"})
        del tensors
    if list(dict.fromkeys(weight_map.values())) != ["model.safetensors"]:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        _write(folder / "model.safetensors.index.json", index)
    taken = takes_files(base, differences)
    copy_files(base.folder, folder, None if taken is None else taken.folder)
    config = _config(base, differences, taken)
    _write(folder / "config.json", config if dtype is None else {**config, "dtype": dtype})
    write_card(folder, base, differences)
    parameters = sum(info.numel for name, info in base.tensors.items() if not is_buffer(name))
    return Added(changed, len(base.tensors), parameters, tuple(notes))


class _Adder:
    """One tensor of the result after another."""

    def __init__(self, base: Checkpoint, differences: Sequence[AnyDifference], dtype: str | None) -> None:
        self.base, self.differences, self.dtype = base, differences, dtype
        self.read = base.reader()
        self.rows = [one.opened() for one in differences]
        self.known = [set(one.names) for one in differences]

    def __call__(self, name: str) -> tuple[Tensor, bool]:
        import torch

        parts = [
            (one, rows, inner)
            for one, rows, known in zip(self.differences, self.rows, self.known, strict=True)
            if (inner := _inner(name, one.into)) in known
        ]
        info = self.base.tensors[name]
        kept = getattr(torch, self.dtype or DTYPES.get(info.dtype, "float32"))
        if not parts:
            stored = self.read(name)
            return (stored.to(kept) if stored.is_floating_point() else stored), False
        shape = max([info.shape, *(one.info(inner).shape for one, _, inner in parts)])
        found = torch.empty(shape, dtype=kept)
        for place in pieces(shape):
            total = self._base(name, info.shape, place, shape)
            for one, rows, inner in parts:
                more = rows.piece(inner, _within(place, one.info(inner).shape))
                _require_finite(more, f"the difference of {inner} in {one.told()['plus']}")
                total[... if place is None else slice(len(more))] += one.scale * more
            _require_finite(total.to(found.dtype), f"{name} after the addition")
            found[place if place is not None else ...] = total.to(found.dtype)
        return found, True

    def _base(self, name: str, own: tuple[int, ...], place: slice | None, shape: tuple[int, ...]) -> Tensor:
        """Rows of the base in float64; those that it lacks are zeros."""
        import torch

        if place is None:
            return self.read(name).double()
        total = torch.zeros((place.stop - place.start, *shape[1:]), dtype=torch.float64)
        inside = _within(place, own)
        if inside.stop > inside.start:
            total[: inside.stop - inside.start] = self.read.rows(name, inside.start, inside.stop).double()
        return total


def _within(place: slice | None, shape: tuple[int, ...]) -> Any:
    return place if place is None else slice(min(place.start, shape[0]), min(place.stop, shape[0]))


def _inner(name: str, into: str) -> str | None:
    return name[len(into) :] if name.startswith(into) else None


def fit(base: Checkpoint, differences: Sequence[AnyDifference]) -> list[str]:
    """Check that every difference can be added to ``base``; returns what a person should know (already added, …).

    ValueError for names, shapes or tokenizers that do not fit, and for no difference at all.
    """
    if not differences:
        raise ValueError("nothing is added; give a difference (plus and minus, or a saved one)")
    record = getattr(base.config, RECORD, None) or {}
    there = {one["fingerprint"] for one in record.get("added", ())}
    notes = []
    for one in differences:
        _fit_one(base, one)
        if one.fingerprint in there:
            notes.append(
                f"{base.source} holds the difference {one.fingerprint} already; it is added once more"
            )
        there.add(one.fingerprint)
    return notes


def _fit_one(base: Checkpoint, one: AnyDifference) -> None:
    named = {f"{one.into}{name}": name for name in one.names}
    own = {name: info for name, info in base.tensors.items() if not is_buffer(name)}
    told = one.told()
    about = f"the difference of {told['plus']} and {told['minus']}"
    partial = bool(told.get("only") or told.get("exclude") or one.into)
    same_names(named, {name: 0 for name in own if name in named} if partial else own, about, base.source)
    for name, inner in named.items():
        shape, there = one.info(inner).shape, own[name].shape
        further = bool(there) and there[0] == base.vocabulary and shape[:1] == (one.vocabulary,)
        if shape != there and not (further and shape[0] > there[0] and shape[1:] == there[1:]):
            raise ValueError(
                f"{name} is {there} in {base.source} and {shape} in {about}; they are no versions of one model"
            )
    if not one.into and getattr(one.config, "model_type", None) == getattr(base.config, "model_type", None):
        same_tokens(one.folder, base.folder)


def write_difference(difference: Difference, out: Path | str, dtype: str = "float32") -> None:
    """Write a difference as a folder: safetensors, ``delta.json``, and the plus side's configuration and tokenizer.

    ``dtype``: ``float32`` or ``float64``. float32 holds differences of bfloat16 and float16 values exactly unless the
    exponents of the two are more than 16 apart.
    """
    import torch
    from safetensors.torch import save_file

    from vitrail.storage.atomic import new_folder

    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; a difference is kept as float32 or float64, unrounded")
    if difference.scale != 1 or difference.into:
        raise ValueError(
            "scale and into belong where a difference is added; leave them out where it is written"
        )
    rows, kept = difference.opened(), getattr(torch, dtype)
    with new_folder(Path(out)) as folder:
        files = []
        for file in difference.plus.files:
            names = [name for name in difference.names if difference.info(name).file == file]
            if names:
                made = {name: _whole(rows, name, difference.info(name).shape, kept) for name in names}
                files.append(file.replace("model", "delta", 1) if "model" in file else f"delta-{file}")
                save_file(made, folder / files[-1], metadata={"format": "pt"})
        copy_files(difference.plus.folder, folder)
        (folder / "config.json").write_bytes((difference.plus.folder / "config.json").read_bytes())
        told = {**difference.told(), "files": files, "dtype": dtype, "vocabulary": difference.vocabulary}
        _write(folder / TOLD, told)


def _whole(rows: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    import torch

    found = torch.empty(shape, dtype=dtype)
    for place in pieces(shape):
        piece = rows.piece(name, place)
        _require_finite(piece, f"the difference of {name}")
        found[place if place is not None else ...] = piece.to(dtype)
    return found


def _config(base: Checkpoint, differences: Sequence[AnyDifference], taken: Any) -> dict[str, Any]:
    """The base's own configuration; rows of the vocabulary and special tokens follow what was added."""
    told: dict[str, Any] = json.loads((base.folder / "config.json").read_text(encoding="utf-8"))
    rows = max([base.vocabulary or 0, *(one.vocabulary or 0 for one in differences if not one.into)])
    if rows and rows != base.vocabulary:
        for place in (told, told.get("text_config")):
            if isinstance(place, dict) and "vocab_size" in place:
                place["vocab_size"] = rows
    if taken is not None:
        other = json.loads((taken.folder / "config.json").read_text(encoding="utf-8"))
        told |= {
            name: other[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in other
        }
    return {**told, RECORD: record_of(base, differences)}


def _require_finite(values: Tensor, what: str) -> None:
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"{what} has values that are not finite; look for a broken checkpoint, or for a scale too large"
        )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
