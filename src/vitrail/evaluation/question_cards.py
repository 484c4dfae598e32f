"""Questions of an answers file as cards of a gallery: picture, question, options, truth, and what was answered.

A file of answers holds no pictures and no questions. They are looked for where it says that they came from; a record
counts as found only if its id, its options and its picture are those that were asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import Answers
from vitrail.evaluation.calibration import confidence, likelihoods
from vitrail.evaluation.scenarios import as_item
from vitrail.evaluation.task import Task

SHOWN = 4
"""Pictures of one question that a card shows: of a clip or a stitched set the first."""
TRUE, SAID = 2, 3
"""Colours of boxes in pictures: green, red."""
GALLERY = "gallery.jsonl"
"""Records that a run keeps beside its answers, pictures inside."""


class Questions:
    """The records that a file of answers belongs to, from ``data`` or from where its header says.

    ``reason`` says why there are none. ValueError for ``data`` that cannot be opened.
    """

    def __init__(self, answers: Answers, data: str | None = None) -> None:
        self.reason, self._source, self._kept = "", None, {}
        kept = answers.path.parent / GALLERY
        if data is not None:
            self._source = _opened(answers.header, data)
        elif answers.header["task"].get("scenario") is not None:
            try:
                self._source = Task.model_validate(answers.header["task"]).part("scenario").source()
            except (ValueError, OSError, ImportError) as error:
                self.reason = " ".join(str(error).split())
        if self._source is None and kept.exists() and kept.stat().st_size:
            from vitrail.data.readers import open_source

            self._kept = {record.id: (record, None) for record in open_source(kept)}
        elif self._source is None and not self.reason:
            self.reason = "the file does not say where its questions are; name their file or folder (--data)"

    def of(self, row: Mapping[str, Any]) -> tuple[Any, Path | None] | None:
        """The record of a row with the folder of its pictures; None where it is not there, or is another by now."""
        if self._source is None:
            return self._kept.get(row["id"])
        if row["row"] >= len(self._source):
            return None
        try:
            record = self._source[row["row"]]
            item = as_item(record, row["row"], self._source.root)
        except (ValueError, OSError):
            return None
        same = (item.id, list(item.options), item.cluster) == (row["id"], row["options"], row["cluster"])
        return (record, self._source.root) if same else None


def _opened(header: Mapping[str, Any], data: str) -> Any:
    """The questions of a benchmark's folder, or of a file."""
    scenario = header["task"].get("scenario") or {}
    if header.get("benchmark") and scenario.get("name") == "benchmark":
        moved = {**header["task"], "scenario": {**scenario, "path": data}}
        return Task.model_validate(moved).part("scenario").source()
    from vitrail.data.readers import open_source

    return open_source(data, on_error="set_aside")


def mistakes(rows: Sequence[Mapping[str, Any]], *, parsed: bool) -> list[Mapping[str, Any]]:
    """Rows that are not right, the most confident first: those that could be read, or those that could not."""
    wrong = [row for row in rows if not row["correct"] and bool(row["parsed"]) == parsed]
    return sorted(wrong, key=lambda row: (-_sure(row), row["row"]))


def _sure(row: Mapping[str, Any]) -> float:
    return confidence(row) if row.get("choice") is not None else 0.0


def card(record: Any, row: Mapping[str, Any], root: Path | None = None, note: str = "") -> Any:
    """One question with what was answered."""
    from vitrail.reporting import Question, embed

    question = record.messages[-1].text if record.choices is not None else record.messages[-2].text
    shapes = _asked_about(record)
    drawn = _boxes(row)
    alt = f"picture of the question: {question}"
    return Question(
        question=question,
        pictures=[
            embed(image.read(root), alt, [*shapes, *drawn.get(place, ())])
            for place, image in enumerate(record.images[:SHOWN])
        ],
        options=row["options"],
        truth=row["answer"],
        prediction=row["prediction"],
        likelihoods=likelihoods(row),
        kind=row["kind"],
        group=row["names"] or "",
        reference=row["reference"] or "",
        answer=row.get("text", ""),
        right=None if row["options"] else row["correct"],
        note=note,
    )


def _boxes(row: Mapping[str, Any]) -> dict[int, list[Any]]:
    """True boxes and those of the answer, by picture, where boxes were asked for."""
    if not {"boxes", "sizes", "form"} <= set(row.get("groups", {})):
        return {}
    from vitrail.evaluation.box_answers import pair_of
    from vitrail.reporting.pictures import box

    pair = pair_of(dict(row))
    found: dict[int, list[Any]] = {}
    groups = len({one.group for one in pair.truth}) > 1
    for boxes, label, colour in ((pair.truth, "truth", TRUE), (pair.said, "answer", SAID)):
        for one in boxes:
            x, y, w, h = one.xywh
            told = f"{label}, group {one.group}" if groups else label
            found.setdefault(one.image, []).append(box(x, y, x + w, y + h, label=told, colour=colour))
    return found


def _asked_about(record: Any) -> list[Any]:
    """Outlines of the things that a question about a composed scene is about, where the record tells."""
    from vitrail.reporting.pictures import box

    scene, about = record.meta.get("scene"), record.meta.get("about")
    if not isinstance(scene, Mapping) or not isinstance(about, list) or len(record.images) != 1:
        return []
    things = scene.get("objects", [])
    chosen = [things[index] for index in about if isinstance(index, int) and 0 <= index < len(things)]
    corners = [(thing["name"], [float(end) for end in thing.get("box", ())]) for thing in chosen]
    return [box(ends[0], ends[1], ends[2], ends[3], label=name) for name, ends in corners if len(ends) == 4]
