"""A checkpoint as its safetensors files have it: names, shapes and types at once, values tensor by tensor.

Nothing is instantiated, so that a checkpoint of any model of transformers is read, whole or sharded, in as little
memory as one of its tensors takes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = ("F64", "F32", "BF16", "F16")
"""safetensors' names of the types that arithmetic is defined for."""
BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "position_ids", "inv_freq")
"""Last parts of names that are buffers, not parameters: no difference is taken of them."""
ADAPTER = "adapter_config.json"
_ALIAS = "lm_head.weight"


@dataclass(frozen=True)
class Info:
    """Where a tensor lies and what it is."""

    file: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Checkpoint:
    """Weights in ``folder``, which is called ``source``. ``tensors``: by name, file by file, without tied doubles."""

    source: str
    folder: Path
    tensors: Mapping[str, Info]

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """A model's folder, a run's, or a hub name.

        ValueError for a folder without safetensors, with a shard missing or cut off, for an adapter that is not merged,
        and for quantised weights.
        """
        folder = folder_of(path)
        if (folder / ADAPTER).is_file():
            raise ValueError(
                f"{path} is an adapter beside a model; merge it first (PEFT's merge_and_unload, then save_pretrained)"
            )
        found = {name: info for file in files_of(folder) for name, info in headers(folder / file).items()}
        _refuse_adapters(str(path), found)
        whole = cls(str(path), folder, found)
        if whole.tied:
            whole = cls(str(path), folder, _without_doubles(found))
        whole._refuse_quantised()
        return whole

    @cached_property
    def config(self) -> Any:
        """transformers' configuration. ValueError if it cannot be read."""
        from vitrail.models.loading import load_config

        return load_config(str(self.folder))

    @property
    def tied(self) -> bool:
        """Whether input and output embeddings are one tensor."""
        whole = bool(getattr(self.config, "tie_word_embeddings", False))
        return whole or bool(getattr(self.config.get_text_config(), "tie_word_embeddings", False))

    @property
    def vocabulary(self) -> int | None:
        """Rows of the embeddings, as the configuration says."""
        found = getattr(self.config.get_text_config(), "vocab_size", None)
        return None if found is None else int(found)

    @property
    def files(self) -> list[str]:
        """Its safetensors files."""
        return list(dict.fromkeys(info.file for info in self.tensors.values()))

    def reader(self) -> Reader:
        """Values by name."""
        return Reader(self)

    @cached_property
    def fingerprint(self) -> str:
        """Of all values, by name: the same for one file and for many shards."""
        from vitrail.storage.cache import key

        with self.reader() as read:
            return key("weights", *(part for name in sorted(self.tensors) for part in read.digest(name)))[:16]

    def _refuse_quantised(self) -> None:
        if getattr(self.config, "quantization_config", None) is not None:
            raise ValueError(
                f"{self.source} holds quantised weights (quantization_config); de-quantise it first, and save it as "
                "bfloat16 or float32"
            )
        for name, info in self.tensors.items():
            if info.dtype not in FLOATS and not is_buffer(name):
                raise ValueError(
                    f"{self.source}: {name} is stored as {info.dtype}, which cannot be added to; save the model as "
                    "bfloat16, float16 or float32"
                )


class Stored(Protocol):
    """What lies in safetensors files of a folder."""

    @property
    def folder(self) -> Path:
        """Where they are."""

    @property
    def tensors(self) -> Mapping[str, Info]:
        """What they hold."""


class Reader:
    """Open files of a checkpoint, for reading tensors by name; a context manager."""

    def __init__(self, checkpoint: Stored) -> None:
        self.checkpoint = checkpoint
        self._open: dict[str, Any] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.clear()

    def __call__(self, name: str) -> Tensor:
        """The tensor ``name``, in the type it is stored in."""
        found: Tensor = self._file(name).get_tensor(name)
        return found

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of a tensor of one dimension or more."""
        found: Tensor = self._file(name).get_slice(name)[start:stop]
        return found

    def digest(self, name: str) -> Iterator[Any]:
        """What a fingerprint is made of: name, type, shape and bytes."""
        import torch

        info = self.checkpoint.tensors[name]
        yield [name, info.dtype, list(info.shape)]
        yield self(name).reshape(-1).view(torch.uint8).numpy().tobytes()

    def _file(self, name: str) -> Any:
        from safetensors import safe_open

        file = self.checkpoint.tensors[name].file
        if file not in self._open:
            self._open[file] = safe_open(self.checkpoint.folder / file, framework="pt")
        return self._open[file]


def is_buffer(name: str) -> bool:
    """Whether the name is that of a buffer (:data:`BUFFERS`)."""
    return name.rpartition(".")[2] in BUFFERS


def selected(only: tuple[str, ...], exclude: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a tensor's name is meant: it fits one of ``only`` (all if empty) and none of ``exclude``.

    A pattern is a shell's (``*layers.1?.*``), or the beginning of names (``language_model``).
    """
    from fnmatch import fnmatchcase

    def fits(name: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, one) or f"{name}.".startswith(f"{one.rstrip('.')}.") for one in patterns)

    return lambda name: (not only or fits(name, only)) and not fits(name, exclude)


def folder_of(path: str | Path) -> Path:
    """The folder of a checkpoint; a hub's model is fetched: weights, configuration and tokenizer, no code."""
    from vitrail.models.loading import model_source

    if Path(path).is_dir() and (Path(path) / ADAPTER).is_file():
        return Path(path)
    source = model_source(path)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(source, allow_patterns=wanted))
    except Exception as error:  # offline, not found, no such name: each has a class of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is neither a folder nor a model that the hub gives ({reason})") from None


def files_of(folder: Path) -> list[str]:
    """The safetensors files of a model's folder, in order. ValueError if there are none, or one is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} lacks {missing[0]}, which its index names; fetch it again")
        return files
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    raise ValueError(
        f"{folder} has no weights in safetensors; other formats (.bin, .pt) can run code and are not read. Convert it "
        "with save_pretrained"
    )


def headers(file: Path) -> dict[str, Info]:
    """What a safetensors file holds, from its header. ValueError for a damaged or cut-off file."""
    size = file.stat().st_size
    with open(file, "rb") as handle:
        length = struct.unpack("<Q", start)[0] if len(start := handle.read(8)) == 8 else size
        try:
            told = json.loads(handle.read(length)) if length < size else None
        except ValueError:
            told = None
    if not isinstance(told, dict):
        raise ValueError(f"{file} is damaged: it does not begin as a safetensors file does")
    told.pop("__metadata__", None)
    if any(one["data_offsets"][1] + 8 + length > size for one in told.values()):
        raise ValueError(f"{file} is cut off: it is shorter than its header says; fetch it again")
    return {name: Info(file.name, one["dtype"], tuple(one["shape"])) for name, one in told.items()}


def _without_doubles(found: Mapping[str, Info]) -> dict[str, Info]:
    """A tied model's tensors: where the head is stored beside the embedding that it is, it is left out."""
    embeddings = {info.shape for name, info in found.items() if "embed" in name}
    return {
        name: info
        for name, info in found.items()
        if not (f".{name}".endswith(f".{_ALIAS}") and info.shape in embeddings)
    }


def _refuse_adapters(source: str, names: Mapping[str, Any]) -> None:
    inside = next((name for name in names if "lora_" in name or ".base_layer." in name), None)
    if inside is not None or any(name.startswith("base_model.model.") for name in names):
        where = inside or next(iter(names))
        raise ValueError(
            f"{source} holds adapters that are not merged ({where}); merge them first (merge_and_unload)"
        )
