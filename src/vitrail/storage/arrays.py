"""Arrays computed once for each item (a tower's features of a picture), kept in shards addressed by content.

A shard's name is a hash of who computed it and of the items in it, so a shard is right or absent: resuming
needs no state, changed inputs find nothing, and data sets that begin alike share their shards. Shards are
``.npy`` files, mapped into memory when read, never unpickled. Behind the array a shard carries the SHA-256 of
what precedes (readers of ``.npy`` stop at the array's end), so that content and hash are written in one step.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.storage import atomic
from vitrail.storage.cache import default_root, key

if TYPE_CHECKING:
    import numpy as np


class ArrayStore:
    """One array of fixed ``shape`` and ``dtype`` for each of ``items``.

    Args:
        producer: fingerprint of what computes the arrays: weights, preprocessing, layer.
        items: a content hash for each item, such as :func:`vitrail.storage.cache.key` of a picture's bytes.
            Equal items are stored once.
        shape: of one item's array, such as ``(49, 1280)``.
        dtype: numpy's name, such as ``"float16"``.
        root: folder of the shards; default ``arrays`` in the cache folder.
        items_per_shard: how much work a killed run can lose.

    ``store[i]`` is a read-only view of item ``i``'s array; KeyError while its shard is missing.
    """

    def __init__(
        self,
        producer: str,
        items: Sequence[str],
        shape: tuple[int, ...],
        dtype: str,
        root: Path | str | None = None,
        items_per_shard: int = 256,
    ):
        import numpy as np

        if items_per_shard < 1:
            raise ValueError(f"items_per_shard is {items_per_shard}; give 1 or more.")
        self.root = Path(root) if root is not None else default_root() / "arrays"
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        if self.dtype.hasobject:
            raise ValueError(f"dtype {dtype!r} would need pickle; give a plain number type.")
        self.items_per_shard = items_per_shard
        places: dict[str, int] = {}
        self._places = [places.setdefault(item, len(places)) for item in items]
        self._unique = list(places)
        first: dict[str, int] = {}
        for index, item in enumerate(items):
            first.setdefault(item, index)
        self._first = [first[item] for item in self._unique]
        self._names = [
            key("arrays", producer, self.shape, self.dtype.str, self._unique[start : start + items_per_shard])
            for start in range(0, len(self._unique), items_per_shard)
        ]
        self._open: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shards(self) -> int:
        """How many shards the items make."""
        return len(self._names)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, equal items counted once."""
        return len(self._unique) * math.prod(self.shape) * self.dtype.itemsize

    def path(self, shard: int) -> Path:
        """Where a shard is, or would be."""
        name = self._names[shard]
        return self.root / name[:2] / f"{name}.npy"

    def missing(self) -> list[int]:
        """The shards that are still to be computed."""
        return [shard for shard in range(self.shards) if not self.path(shard).exists()]

    @property
    def complete(self) -> bool:
        """Whether every item's array is there."""
        return not self.missing()

    def items_of(self, shard: int) -> list[int]:
        """Indices into ``items`` of the arrays that :meth:`write` wants for this shard, in order."""
        start = shard * self.items_per_shard
        return self._first[start : start + self.items_per_shard]

    def write(self, shard: int, arrays: np.ndarray) -> None:
        """Store a shard: ``(len(items_of(shard)), *shape)`` of this dtype. ValueError for anything else."""
        import numpy as np

        expected = (len(self.items_of(shard)), *self.shape)
        if arrays.shape != expected or arrays.dtype != self.dtype:
            raise ValueError(
                f"shard {shard} must be {self.dtype.name} {expected}, got {arrays.dtype.name} {arrays.shape}."
            )
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(arrays), allow_pickle=False)
        raw = buffer.getvalue()
        atomic.write_bytes(self.path(shard), raw + hashlib.sha256(raw).digest())

    def fill(
        self, compute: Callable[[list[int]], np.ndarray], progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Compute and store what is missing; returns how many items that was.

        ``compute(indices)`` returns the arrays of those items, stacked. ``progress(done, of)`` is called
        after each shard, in items.
        """
        todo = self.missing()
        total = sum(len(self.items_of(shard)) for shard in todo)
        done = 0
        for shard in todo:
            indices = self.items_of(shard)
            self.write(shard, compute(indices))
            done += len(indices)
            if progress:
                progress(done, total)
        return done

    def __getitem__(self, index: int) -> np.ndarray:
        place = self._places[index]
        shard, row = divmod(place, self.items_per_shard)
        if shard not in self._open:
            self._open[shard] = self._load(shard)
        return self._open[shard][row]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def gather(self, indices: Sequence[int]) -> np.ndarray:
        """The arrays of several items, copied into one: ``(len(indices), *shape)``."""
        import numpy as np

        out = np.empty((len(indices), *self.shape), self.dtype)
        for row, index in enumerate(indices):
            out[row] = self[index]
        return out

    def verify(self, deep: bool = False) -> None:
        """ValueError naming the first shard that is missing or not what it should be.

        Shape and type always; with ``deep``, every byte against the hash at the file's end.
        """
        for shard in range(self.shards):
            path = self.path(shard)
            if not path.exists():
                raise ValueError(
                    f"shard {shard} of {self.shards} is missing ({path}); run the step that fills it again."
                )
            self._load(shard)
            if deep and not _intact(path):
                raise ValueError(
                    f"{path} was changed after it was written; remove it, and it is computed again."
                )

    def _load(self, shard: int) -> np.ndarray:
        import numpy as np

        path = self.path(shard)
        try:
            arrays = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise KeyError(f"shard {shard} of {self.shards} is not computed yet") from None
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}); remove it, and it is computed again."
            ) from None
        expected = (len(self.items_of(shard)), *self.shape)
        if arrays.shape != expected or arrays.dtype != self.dtype:
            raise ValueError(
                f"{path} holds {arrays.dtype} {arrays.shape}, not {self.dtype} {expected}; remove it."
            )
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        # A worker maps the shards itself: pickling a memory map would copy its content.
        return {**self.__dict__, "_open": {}}


def _intact(path: Path) -> bool:
    digest = hashlib.sha256()
    left = path.stat().st_size - digest.digest_size
    with open(path, "rb") as file:
        while left > 0:
            block = file.read(min(left, 1 << 20))
            left -= len(block)
            digest.update(block)
        return file.read() == digest.digest()
