"""MMNeedle: find the picture that a caption describes among M images of N × N pictures (arXiv 2406.11230).

See :mod:`vitrail.evaluation.needles` for the answers and their figures, :mod:`vitrail.data.haystacks` for making such
files of one's own pictures. Reported are the first 1,000 sequences with a needle, and the first 1,000 without.

Official files: ``metadata_stitched/annotations_{M}_{N}_{N}.json`` (``{k}_annotations_…`` for k needles),
``metadata_stitched/{N}_{N}.json``, ``images_stitched/{N}_{N}``; for N = 1 single pictures below ``val2014``. Captions
are COCO's ``captions_val2014.json``, of each picture the last one listed (the repository's pickle is not read), below
the folder or its ``annotations``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, wanted
from vitrail.evaluation.benchmarks.table import find_table
from vitrail.evaluation.figures import Figure, Rows
from vitrail.evaluation.needles import needle_figures, said, truth
from vitrail.storage.cache import file_digest

REPORTED = 1000
CAPTIONS = (
    "captions_val2014.json",
    "annotations/captions_val2014.json",
    "annotations_trainval/captions_val2014.json",
)
_ASKED = {"instruction": "plain", "inferencer": {"name": "generate", "max_new_tokens": 300}}


class MMNeedle(Benchmark):
    """A needle in stitched pictures."""

    name = "mmneedle"
    title = "MMNeedle"
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "words": {**_ASKED, "metric": {"name": "needle"}},
        "lenient": {**_ASKED, "metric": {"name": "needle", "reading": "lenient"}},
    }

    class Config(Benchmark.Config):
        """``m`` images of ``n`` × ``n`` pictures, ``k`` needles. ``sequences``: those that are reported, or ``all``."""

        m: int = Field(default=10, ge=1)
        n: int = Field(default=2, ge=1)
        k: int = Field(default=1, ge=1)
        sequences: Literal["reported", "all"] = "reported"
        images: str = "images_stitched"

    config: Config

    def source(self) -> BenchmarkSource:
        """The sequences of one setting."""
        c = self.config
        if not self.root.is_dir():
            raise ValueError(f"{self.title}: there is no folder {self.root}; give that of the official files")
        prefix = "" if c.k == 1 else f"{c.k}_"
        name = f"metadata_stitched/{prefix}annotations_{c.m}_{c.n}_{c.n}.json"
        table = find_table(self.root, (name, Path(name).name), f"{self.title}, m={c.m} n={c.n} k={c.k}")
        reader = _Reader(c, self.root)
        total = sum(1 for _ in table.rows())
        questions, set_aside = read_questions(table, lambda row, line: reader.question(row, line, total))
        not_empty(self.title, questions, set_aside)
        settings = [c.m, c.n, c.k, c.sequences]
        return BenchmarkSource(
            self.name, self.root, questions, set_aside, table.digest, reader.digest, settings
        )

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Exact, index and existence accuracy, with needles and without; by depth."""
        return needle_figures(rows)

    @classmethod
    def submission(cls, rows: Rows) -> Any:
        """Answer and truth of each sequence."""
        for row in rows:
            yield {"id": row["id"], "response": said(row), "gt": row["reference"]}


def needle_prompt(captions: Sequence[str], m: int, n: int) -> str:
    """The request behind the images."""
    k = len(captions)
    grid = (
        f"Given {m} image{'s' if m > 1 else ''} indexed from 1 to {m}, each divided into {n}*{n} sub-images, "
    )
    if k == 1:
        form = (
            'identify the sub-image that best matches the provided caption. Respond with "index, row, column" and '
            'nothing else. For example, "1, 2, 3" indicates the sub-image in the first image, second row, and third '
            'column. If no match is found, respond only with "-1".'
        )
        return f"{grid}{form}\nCaption: {captions[0]}"
    places = "; ".join(f"index_{i}, row_{i}, column_{i}" for i in range(1, k + 1))
    form = (
        f"identify the sub-images that best match the provided {k} captions. Respond in the format: {places}. Only "
        f"provide "
        'this information. For example, "1, 2, 3" indicates the sub-image in the first image, second row, and third '
        'column. If no match is found for a caption, respond with "-1" for that caption.'
    )
    listed = "\n".join(f"Caption_{i}: {caption}" for i, caption in enumerate(captions, start=1))
    return f"{grid}{form}\n{listed}"


def captions_of(file: Path) -> dict[str, str]:
    """File name → its last caption, from a captions file of COCO. ValueError for a file that is none."""
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        names = {one["id"]: one["file_name"] for one in whole["images"]}
        return {names[one["image_id"]]: one["caption"].strip() for one in whole["annotations"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no captions file of COCO (images, annotations): {error!r}") from None


class _Reader:
    """Rows of one setting as questions."""

    def __init__(self, config: MMNeedle.Config, root: Path) -> None:
        self.config = config
        n = config.n
        self.media = Media(root, f"{config.images}/{n}_{n}", config.images, "val2014", ".")
        file = next((root / name for name in CAPTIONS if (root / name).is_file()), None)
        if file is None:
            raise ValueError(f"MMNeedle: {root} holds no {CAPTIONS[0]}; put COCO's captions of val2014 there")
        self.captions = captions_of(file)
        about = root / "metadata_stitched" / f"{n}_{n}.json"
        if n > 1 and not about.is_file():
            raise ValueError(f"MMNeedle: {about} is missing; it says which picture is in which cell")
        self.cells: dict[str, dict[str, str]] = (
            json.loads(about.read_text("utf-8")) if about.is_file() else {}
        )
        self.digest = [file_digest(file), file_digest(about) if about.is_file() else ""]

    def question(self, row: Mapping[str, Any], line: int, total: int) -> BenchmarkQuestion | None:
        """One sequence; None for one that is not reported."""
        half = (total + 1) // 2
        if (
            self.config.sequences == "reported"
            and (line - 1 if line <= half else line - 1 - half) >= REPORTED
        ):
            return None
        c = self.config
        images = wanted(row, "image_ids", list)
        if len(images) != c.m:
            raise FieldError("image_ids", f"has {len(images)} images; m is {c.m}")
        columns = [self._column(row, name) for name in ("index", "row", "col", "target")]
        there = self._checked(images, columns)
        index, rows, cols, targets = columns
        captions = [self._caption(target) for target in targets]
        pictures = [self.media.image(self._name(name), "image_ids") for name in images]
        places = {"depth": index[0], "row": rows[0], "col": cols[0]} if there and c.k == 1 else {}
        return BenchmarkQuestion(
            id=str(wanted(row, "id", (str, int))) if row.get("id") != 0 else "0",
            content=(*pictures, Text(text=needle_prompt(captions, c.m, c.n))),
            reference=truth(index, rows, cols),
            kind="needle" if there else "no needle",
            cluster=str(images[0]),
            groups={"there": there, "m": c.m, "n": c.n, "k": c.k, **places},
        )

    def _column(self, row: Mapping[str, Any], name: str) -> list[Any]:
        if row.get(name) is None:
            raise FieldError(name, "is missing; add it")
        value = row[name] if isinstance(row[name], list) else [row[name]]
        if len(value) != self.config.k:
            raise FieldError(name, f"has {len(value)} entries; k is {self.config.k}")
        return value

    def _name(self, path: Any) -> str:
        """A picture's path below its folder, or its bare name."""
        name = str(path)
        return (
            name if ".." not in Path(name).parts and (self.media.root / name).is_file() else Path(name).name
        )

    def _caption(self, target: Any) -> str:
        caption = self.captions.get(Path(str(target)).name, "")
        if not caption:
            raise FieldError("target", f"{target!r} has no caption in the captions file")
        return caption

    def _checked(self, images: list[Any], columns: list[list[Any]]) -> bool:
        """Whether the needles are there; :class:`FieldError` where places and metadata do not agree."""
        c = self.config
        shown_cells = [self._cells_of(name) for name in images]
        there = [one[0] != -1 for one in zip(*columns, strict=True)]
        if any(there) != all(there):
            raise FieldError("index", "has needles that are there and others that are not")
        every = {Path(name).name for cells in shown_cells for name in cells.values()}
        for index, row, col, target in zip(*columns, strict=True):
            if index == -1:
                if Path(str(target)).name in every:
                    raise FieldError("target", f"{target!r} is in the images, but index says that it is not")
                continue
            for name, value, most in (("index", index, c.m), ("row", row, c.n), ("col", col, c.n)):
                if not isinstance(value, int) or not 0 <= value < most:
                    raise FieldError(name, f"is {shown(value)}; places count from 0 to {most - 1}")
            held = shown_cells[index].get(f"{row}_{col}", "")
            if Path(held).name != Path(str(target)).name:
                raise FieldError("target", f"is {target!r}, but the metadata has {held!r} in that cell")
        return all(there)

    def _cells_of(self, name: Any) -> Mapping[str, str]:
        if self.config.n == 1 and not self.cells:
            return {"0_0": str(name)}
        cells = self.cells.get(Path(str(name)).name)
        if cells is None:
            raise FieldError(
                "image_ids", f"{name!r} is not in the metadata of {self.config.n} × {self.config.n}"
            )
        return cells
