"""A bank of demonstrations that were read once: their rows by what they depend on (AIM, arXiv 2406.07588).

A demonstration's rows depend on its pictures, its text, and the model that read it, projection included; the key is a
hash of these. In memory, or in a folder as one safetensors file an entry, so that processes and days share it.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vitrail.storage import atomic
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.models.encoding import Encoded

HELD_BYTES = 256 << 20
"""Rows held in memory; the least recently used ones go first."""


class DemonstrationBank:
    """Rows ``(tokens, hidden)`` by key. ``path``: a folder that keeps them; ``held_bytes``: what stays in memory."""

    def __init__(self, path: Path | str | None = None, held_bytes: int = HELD_BYTES) -> None:
        self.path = None if path is None else Path(path)
        self.held_bytes = held_bytes
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        if self.path is not None:
            if self.path.exists() and not self.path.is_dir():
                raise ValueError(f"the bank {self.path} is a file; give a folder")
            self.path.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def key(reading: Encoded, made_by: str) -> str:
        """Of a demonstration as it is read (tokens and pictures' bytes), by the model with the fingerprint."""
        pictures = [image.read(reading.root) for image in reading.images]
        return key("demonstration", made_by, reading.input_ids.tolist(), *pictures)

    def get(self, name: str) -> Tensor | None:
        """The rows under a key, None where there are none. ValueError for a damaged file."""
        found = self._held.get(name)
        if found is None and self.path is not None and (file := self._file(name)).exists():
            found = _read(file)
            self._hold(name, found)
        if found is not None:
            self._held.move_to_end(name)
        return found

    def put(self, name: str, rows: Tensor) -> None:
        """Keep rows. ValueError where other rows are there under this key: what is read again must come out equal."""
        rows = rows.detach().cpu().contiguous()
        there = self.get(name)
        if there is not None:
            if there.shape == rows.shape and torch.equal(there, rows):
                return
            raise ValueError(
                f"the bank holds other rows under {name[:16]}…; evict them, or give another folder to another machine"
            )
        if self.path is not None:
            from safetensors.torch import save

            with atomic.new_file(self._file(name)) as file:
                file.write(save({"rows": rows}))
        self._hold(name, rows)

    def evict(self, name: str | None = None) -> int:
        """Forget one entry, or all; how many that were."""
        names = self._names() if name is None else [one for one in self._names() if one == name]
        for one in names:
            self._held.pop(one, None)
            if self.path is not None:
                self._file(one).unlink(missing_ok=True)
        return len(names)

    def __len__(self) -> int:
        return len(self._names())

    @property
    def bytes(self) -> int:
        """Of all rows: of the files where there is a folder."""
        if self.path is None:
            return sum(_size(rows) for rows in self._held.values())
        return sum(self._file(name).stat().st_size for name in self._names())

    def _names(self) -> list[str]:
        if self.path is None:
            return list(self._held)
        return sorted(file.stem for file in self.path.glob("*.safetensors"))

    def _file(self, name: str) -> Path:
        assert self.path is not None
        return self.path / f"{name}.safetensors"

    def _hold(self, name: str, rows: Tensor) -> None:
        self._held[name] = rows
        while len(self._held) > 1 and sum(map(_size, self._held.values())) > self.held_bytes:
            self._held.popitem(last=False)


def _size(rows: Tensor) -> int:
    return rows.numel() * rows.element_size()


def _read(file: Path) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(file.read_bytes())["rows"]
    except (SafetensorError, KeyError):
        raise ValueError(f"{file} is no entry of a bank of demonstrations, or damaged; remove it") from None
