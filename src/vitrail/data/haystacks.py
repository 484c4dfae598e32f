"""Haystacks: grids of pictures, several of them in a row, and a caption that belongs to one cell, or to none.

MMNeedle's construction (Wang et al., arXiv 2406.11230). N × N pictures are resized to squares and pasted row by row; a
sequence has M such grids. The first half of the sequences asks for pictures that are there, the second half for others.
Records are in MMNeedle's JSON form: ``{"id", "image_ids", "index", "row", "col", "target"}``, places from 0, −1 for a
needle that is not there; with several needles (k > 1) the last four are lists.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 256
STITCHED = "COCO_val2014_stitched_{:04}"
Metadata = Mapping[str, Mapping[str, str]]
"""Of each stitched picture, the picture in each cell, ``"row_col"`` → its path."""


def stitch(images: Sequence[Image], n: int, cell: int = CELL) -> Image:
    """One picture of ``n`` × ``n`` cells of ``cell`` pixels, row by row; each picture is resized, its shape ignored.

    ValueError unless there are n² pictures.
    """
    from PIL import Image as PILImage

    if n < 1 or cell < 1 or len(images) != n * n:
        raise ValueError(f"{len(images)} pictures do not fill {n} × {n} cells; give {max(n, 0) ** 2}")
    canvas = PILImage.new("RGB", (n * cell, n * cell))
    for place, image in enumerate(images):
        row, col = divmod(place, n)
        canvas.paste(image.convert("RGB").resize((cell, cell)), (col * cell, row * cell))
    return canvas


def grids(
    names: Sequence[str], n: int, count: int, seed: int = 0, ending: str = ".jpg"
) -> dict[str, dict[str, str]]:
    """Which picture is in which cell of ``count`` stitched pictures, each of distinct ones. ValueError for too few."""
    if n < 1:
        raise ValueError(f"N is {n}; a grid has 1 cell at least")
    if len(set(names)) < n * n:
        raise ValueError(f"the pool has {len(set(names))} pictures; a grid of {n} × {n} needs {n * n}")
    pool, rng = sorted(set(names)), np.random.default_rng([seed, n])
    return {
        STITCHED.format(number) + ending: {
            f"{place // n}_{place % n}": pool[chosen]
            for place, chosen in enumerate(rng.choice(len(pool), n * n, replace=False))
        }
        for number in range(count)
    }


def sequences(
    metadata: Metadata, names: Sequence[str], m: int, n: int, k: int, count: int, seed: int = 0
) -> list[dict[str, Any]]:
    """``count`` records over the stitched pictures of ``metadata``; ``names``: the pool that absent needles come from.

    ValueError for a pool smaller than M N² + k, or fewer stitched pictures than M.
    """
    stitched, pool = list(metadata), sorted(set(names))
    if min(m, n, k, count) < 1:
        raise ValueError(f"M is {m}, N {n}, k {k} and count {count}; each must be 1 or more")
    if len(pool) < m * n * n + k:
        raise ValueError(f"the pool has {len(pool)} pictures; M N² + k = {m * n * n + k} are needed")
    if len(stitched) < m:
        raise ValueError(f"there are {len(stitched)} stitched pictures; a sequence has {m}")
    if k > m * n * n:
        raise ValueError(f"k is {k}, but a sequence has {m * n * n} cells")
    rng = np.random.default_rng([seed, m, n, k])
    found = []
    for number in range(count):
        own = [number % len(stitched)] if m == 1 else rng.choice(len(stitched), m, replace=False).tolist()
        chosen = [stitched[one] for one in own]
        if number < (count + 1) // 2:
            needles = _present(rng, [metadata[one] for one in chosen], n, k)
        else:
            shown = {name for one in chosen for name in metadata[one].values()}
            absent = [name for name in pool if name not in shown]
            drawn = rng.choice(len(absent), k, replace=False)
            needles = [(-1, -1, -1, absent[one]) for one in drawn]
        listed: list[Any] = [list(column) for column in zip(*needles, strict=True)]
        index, row, col, target = [column[0] for column in listed] if k == 1 else listed
        found.append(
            {"id": number, "image_ids": chosen, "index": index, "row": row, "col": col, "target": target}
        )
    return found


def _present(
    rng: np.random.Generator, cells: Sequence[Mapping[str, str]], n: int, k: int
) -> list[tuple[int, int, int, str]]:
    """``k`` distinct places whose pictures differ too (one picture may be in two grids)."""
    found: list[tuple[int, int, int, str]] = []
    for place in rng.permutation(len(cells) * n * n).tolist():
        index, rest = divmod(place, n * n)
        row, col = divmod(rest, n)
        target = cells[index][f"{row}_{col}"]
        if target not in [one[3] for one in found]:
            found.append((index, row, col, target))
        if len(found) == k:
            break
    return found


def build_haystack(
    folder: Path,
    pool: Mapping[str, tuple[Image, str]],
    m: int,
    n: int,
    k: int = 1,
    count: int = 100,
    *,
    stitched: int | None = None,
    seed: int = 0,
    cell: int = CELL,
) -> list[dict[str, Any]]:
    """Write a haystack in MMNeedle's layout, of any pictures with captions; its records.

    Args:
        folder: gets ``images_stitched``, ``metadata_stitched`` and ``captions_val2014.json``.
        pool: file name → picture and caption.
        m, n, k: pictures of a sequence, cells along a side, needles.
        count: sequences. ``stitched``: how many grids (default: as many as sequences, at least ``m``).
        seed: of everything drawn. ``cell``: pixels along a cell.

    ValueError as :func:`sequences`, or for an empty caption.
    """
    from vitrail.storage.atomic import write_bytes, write_json

    empty = next((name for name, (_, caption) in pool.items() if not caption.strip()), None)
    if empty is not None:
        raise ValueError(f"the caption of {empty!r} is empty; a needle is known by its caption")
    metadata = grids(list(pool), n, max(stitched or count, m), seed)
    records = sequences(metadata, list(pool), m, n, k, count, seed)
    place = Path(folder) / "images_stitched" / f"{n}_{n}"
    for name, cells in metadata.items():
        buffer = io.BytesIO()
        stitch([pool[one][0] for one in cells.values()], n, cell).save(buffer, "JPEG", quality=95)
        place.mkdir(parents=True, exist_ok=True)
        write_bytes(place / name, buffer.getvalue())
    about = Path(folder) / "metadata_stitched"
    about.mkdir(parents=True, exist_ok=True)
    prefix = "" if k == 1 else f"{k}_"
    write_json(about / f"{n}_{n}.json", metadata)
    write_json(about / f"{prefix}annotations_{m}_{n}_{n}.json", records)
    images = [{"id": number, "file_name": name} for number, name in enumerate(pool)]
    captions = [
        {"id": number, "image_id": number, "caption": caption}
        for number, (_, caption) in enumerate(pool.values())
    ]
    write_json(Path(folder) / "captions_val2014.json", {"images": images, "annotations": captions})
    return records
