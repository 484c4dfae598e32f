"""MC-Bench: boxes of what a prompt means, in either, both or neither of two pictures (arXiv 2410.12332).

See :mod:`vitrail.evaluation.grounding_pairs` for the metrics and :mod:`vitrail.evaluation.box_answers` for answers.

Official files: ``mc-bench_v0.2_val.json`` (COCO's form, with ``descriptions``) and pictures below ``mc-bench_images``.
``catgory_id`` is taken for ``category_id`` and ``pair_image_id`` for ``inter_img_id``. Predictions of another tool are
COCO's result list: :func:`evaluate_results`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.data.sources import BadRow, SetAside
from vitrail.evaluation.baselines import majority
from vitrail.evaluation.benchmarks.benchmark import Benchmark, BenchmarkSource, Media, not_empty
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion
from vitrail.evaluation.box_answers import Form, pair_of, written
from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.grounding_pairs import Box, Pair, images_right, instance_ap
from vitrail.storage.cache import file_digest

FORMS = {
    "pixels": "pixels",
    "unit": "fractions of the picture's width and height, from 0 to 1",
    "thousandths": "thousandths of the picture's width and height",
}
PROMPT = (
    "{text}\nLocate every instance that this describes, in the first picture (image 1) and the second (image 2). "
    "Answer "
    'with a JSON list of objects {{"image": 1 or 2, "bbox_2d": [left, top, right, bottom], "group": number}}, boxes in '
    "{form}. If several groups of things are meant, number them from 1; otherwise group is 1. If there is none, "
    "answer []."
)
COINS = 0.25
"""Image-level accuracy of a coin for each of the two pictures, whatever they hold."""
_HELD: tuple[set[int], ...] = ({0, 1}, {0}, {1}, set())
SLACK = 1.0
"""Pixels that a box may reach over its picture."""
FILES = ("mc-bench_v0.2_val.json", "mc-bench*.json")


class MCBench(Benchmark):
    """Grounding over a pair of pictures."""

    name = "mc_bench"
    title = "MC-Bench"
    submits = "list"
    notes = ("AP50 is over all rows together; a mean over styles is none",)
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "words": {
            "instruction": "plain",
            "inferencer": {"name": "generate", "max_new_tokens": 512},
            "metric": "boxes",
        },
    }

    class Config(Benchmark.Config):
        """``form``: of the boxes that the model is asked for. ``images``: the pictures' folder, below or anywhere."""

        form: Literal["pixels", "unit", "thousandths"] = "thousandths"
        images: str = "mc-bench_images"

    config: Config

    def source(self) -> BenchmarkSource:
        """Every sample whose two pictures and boxes are whole."""
        file = annotation_file(self.root)
        samples, set_aside = read_samples(file)
        media = Media(file.parent, self.config.images, "mc-bench_images", "images", ".")
        questions = []
        for sample in samples:
            try:
                questions.append(_question(sample, media, self.config.form))
            except FieldError as error:
                row = BadRow(
                    file.name, sample["line"], error.field, error.reason, str(sample["id"]), "description"
                )
                set_aside.rows.append(row)
        set_aside.used = len(questions)
        not_empty(self.title, questions, set_aside)
        root = self.root if self.root.is_dir() else self.root.parent
        return BenchmarkSource(self.name, root, questions, set_aside, file_digest(file), self.config.form)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """AP50 and image-level accuracy, of all, by style, and with a target or without."""
        return pair_figures(rows)

    @classmethod
    def submission(cls, rows: Rows) -> Iterator[dict[str, Any]]:
        """COCO's result list."""
        for row in rows:
            ids = row["groups"]["images"]
            for box in pair_of(dict(row)).said:
                yield {
                    "image_id": ids[box.image],
                    "category_id": box.group,
                    "bbox": list(box.xywh),
                    "score": box.score,
                }


def pair_figures(rows: Rows, parts: Sequence[str] = ("kind",)) -> list[Figure]:
    """AP50 without an interval (it is no mean over samples), accuracies with, of all and by ``parts`` of the rows.

    Beside an accuracy stand a coin for each picture (``random``, one in four), and the best guess of the pictures that
    hold a target from answers to other questions of the kind (``majority``).
    """
    guessed = [{**row, "correct": guess} for row, guess in zip(rows, _guesses(rows), strict=True)]
    found = [_ap("AP50", rows), _image_level("", rows, guessed)]
    for part in parts:
        others = by(guessed, part)
        for name, some in by(rows, part).items():
            found += [_ap(f"{name}: AP50", some), _image_level(f"{name}: ", some, others[name])]
    others = by(guessed, "positive")
    for name, some in sorted(by(rows, "positive").items(), reverse=True):
        label = "with a target: " if name == "True" else "without a target: "
        found.append(_image_level(label, some, others[name]))
    return found


def _image_level(label: str, rows: Rows, guessed: Rows) -> Figure:
    best = sum(bool(row["correct"]) for row in guessed) / len(guessed) if guessed else None
    return replace(accuracy(f"{label}image-level accuracy", rows), random=COINS, majority=best)


def _guesses(rows: Rows) -> list[bool]:
    """Whether the best guess without a look at the pictures is right, row by row."""
    held = [{box[0] for box in row["groups"]["boxes"]} for row in rows]
    asked = [
        {**row, "options": [str(one) for one in _HELD], "answer": _HELD.index(images)}
        for row, images in zip(rows, held, strict=True)
    ]
    return [guess == row["answer"] for guess, row in zip(majority(asked), asked, strict=True)]


def _ap(name: str, rows: Rows) -> Figure:
    return Figure(name, instance_ap([pair_of(dict(row)) for row in rows]), None, len(rows))


def annotation_file(root: Path) -> Path:
    """The annotations in a folder, or the file itself. ValueError for none."""
    if root.is_file():
        return root
    for folder in (root, root / "MC-Bench"):
        for name in FILES:
            if found := sorted(folder.glob(name)):
                return found[0]
    raise ValueError(f"MC-Bench: {root} holds no {FILES[0]}; give the folder with the official files")


def read_samples(file: Path) -> tuple[list[dict[str, Any]], SetAside]:
    """Each description with its two images and their boxes: ``id``, ``line``, ``text``, ``style``, ``positive``,
    ``images`` (COCO's) and ``boxes``. Broken ones are set aside. ValueError for a file that is none.
    """
    try:
        whole = json.loads(file.read_text(encoding="utf-8-sig"))
        descriptions, images = whole["descriptions"], {one["id"]: one for one in whole["images"]}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"{file} is no annotation file of MC-Bench (images, descriptions): {error!r}"
        ) from None
    order = {one["id"]: place for place, one in enumerate(whole["images"])}
    groups = {one["id"] for one in whole.get("categories", ())} or {1}
    boxes: dict[Any, list[Mapping[str, Any]]] = {}
    for one in whole.get("annotations", ()):
        boxes.setdefault(one.get("image_id"), []).append(one)
    found, aside = [], SetAside()
    for line, one in enumerate(descriptions, start=1):
        try:
            pair = _pair(one, images, order)
            held = [box for image, about in enumerate(pair) for box in _boxes(image, about, boxes, groups)]
            if bool(one.get("positive_sample", bool(held))) != bool(held):
                raise FieldError(
                    "positive_sample", f"is {one['positive_sample']}, but there are {len(held)} boxes"
                )
            found.append(
                {"id": one["id"], "line": line, "text": str(one["text"]), "style": str(one.get("text_style", "all")),
                 "positive": bool(held), "images": pair, "boxes": held}
            )  # fmt: skip
        except (FieldError, KeyError) as error:
            field, reason = (
                (error.field, error.reason) if isinstance(error, FieldError) else (str(error), "is missing")
            )
            aside.rows.append(BadRow(file.name, line, field, reason, str(one.get("id")), "description"))
    return found, aside


def _pair(
    row: Mapping[str, Any], images: Mapping[Any, Any], order: Mapping[Any, int]
) -> list[Mapping[str, Any]]:
    ids = row["images_id"]
    if not isinstance(ids, list) or len(ids) != 2:
        raise FieldError("images_id", f"is {shown(ids)}; a sample has two images")
    unknown = [one for one in ids if one not in images]
    if unknown:
        raise FieldError("images_id", f"names image {unknown[0]}, which is not in images")
    pair = [images[one] for one in ids]
    if order[ids[1]] != order[ids[0]] + 1:
        raise FieldError("images_id", f"are {ids}, which do not stand one behind the other in images")
    for one, other in (pair, pair[::-1]):
        linked = one.get("inter_img_id", one.get("pair_image_id", other["id"]))
        if linked != other["id"]:
            raise FieldError(
                "inter_img_id", f"of image {one['id']} is {linked}, but its pair is {other['id']}"
            )
        if one["width"] <= 0 or one["height"] <= 0:
            raise FieldError("width", f"of image {one['id']} is {one['width']}, its height {one['height']}")
    return pair


def _boxes(image: int, about: Mapping[str, Any], boxes: Mapping[Any, Any], groups: set[int]) -> list[Box]:
    found = []
    for one in boxes.get(about["id"], ()):
        group = one.get("category_id", one.get("catgory_id"))
        if group not in groups:
            raise FieldError("category_id", f"is {shown(group)}; the groups are {sorted(groups)}")
        x, y, w, h = one["bbox"]
        inside = min(x, y) >= -SLACK and x + w <= about["width"] + SLACK and y + h <= about["height"] + SLACK
        if w <= 0 or h <= 0 or not inside:
            raise FieldError(
                "bbox", f"{one['bbox']} (left, top, width, height) does not lie in image {about['id']}"
            )
        found.append(Box(image, (float(x), float(y), float(w), float(h)), int(group)))
    return found


def _question(sample: Mapping[str, Any], media: Media, form: Form) -> BenchmarkQuestion:
    sizes = [[one["width"], one["height"]] for one in sample["images"]]
    answer = [written(box, tuple(sizes[box.image]), form) for box in sample["boxes"]]  # type: ignore[arg-type]
    pictures = [media.image(one["file_name"], "file_name") for one in sample["images"]]
    return BenchmarkQuestion(
        id=str(sample["id"]),
        content=(*pictures, Text(text=PROMPT.format(text=sample["text"], form=FORMS[form]))),
        reference=json.dumps(answer),
        kind=sample["style"],
        cluster=sample["images"][0]["file_name"],
        groups={
            "positive": sample["positive"],
            "images": [one["id"] for one in sample["images"]],
            "sizes": sizes,
            "form": form,
            "boxes": [[box.image, *box.xywh, box.group] for box in sample["boxes"]],
        },
    )


def evaluate_results(
    annotations: Path | str, results: Path | str | Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """``AP50`` and ``accuracy`` of COCO's result list, of all and by style.

    ValueError for results that do not belong.
    """
    samples, _ = read_samples(Path(annotations))
    rows = json.loads(Path(results).read_text("utf-8")) if isinstance(results, (str, Path)) else list(results)
    place = {one["id"]: (number, image) for number, sample in enumerate(samples)
             for image, one in enumerate(sample["images"])}  # fmt: skip
    said: list[list[Box]] = [[] for _ in samples]
    over = 0
    for row in rows:
        if row["image_id"] not in place:
            raise ValueError(
                f"image_id {row['image_id']} of the results is in no sample; give those of {annotations}"
            )
        number, image = place[row["image_id"]]
        about = samples[number]["images"][image]
        x, y, w, h = map(float, row["bbox"])
        over += x + w > about["width"] + SLACK or y + h > about["height"] + SLACK
        said[number].append(
            Box(image, (x, y, w, h), int(row.get("category_id", 1)), float(row.get("score", 1.0)))
        )
    if over > len(rows) / 4:
        raise ValueError(
            f"{over} of {len(rows)} boxes reach out of their pictures; bbox must be [left, top, width, height], not "
            f"corners"
        )
    pairs = [Pair(tuple(one["boxes"]), tuple(boxes)) for one, boxes in zip(samples, said, strict=True)]
    found: dict[str, float | None] = {}
    styles = sorted({one["style"] for one in samples})
    for name in ("", *styles):
        some = [pair for one, pair in zip(samples, pairs, strict=True) if name in ("", one["style"])]
        prefix = f"{name}: " if name else ""
        found[f"{prefix}AP50"] = instance_ap(some)
        found[f"{prefix}accuracy"] = sum(map(images_right, some)) / len(some)
    return found
