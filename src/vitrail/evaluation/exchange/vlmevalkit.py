"""A task as VLMEvalKit's table, and a file of answers as its predictions.

One TSV: ``index``, ``image`` (base64; several as a list), ``question``, options ``A``, ``B`` …, ``answer`` (the
letter, or the words of a question without options), ``category``; ``id`` is kept beside, so that its predictions find
their way back (``PRED_FORMAT=tsv``). VLMEvalKit words the prompt itself: a question is the record's
own, pictures in front.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vitrail.data.records import Image
from vitrail.data.sources import Source
from vitrail.evaluation.answers import Answers
from vitrail.evaluation.exchange.portable import (
    Exported,
    Portable,
    last_turn,
    picture_bytes,
    portable_questions,
    text_behind_pictures,
)
from vitrail.evaluation.reading import LETTERS
from vitrail.evaluation.task import Task
from vitrail.storage.atomic import write_text

NOTHING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas, which VLMEvalKit reads its tables with, takes for an empty cell."""


def export_task(task: Task, source: Source, out: Path) -> Exported:
    """Write ``out/<task>.tsv``; ``LMUData=out`` and ``--data <task>`` let VLMEvalKit find it.

    ValueError where the task is not one in words, or no question fits the format.
    """
    left_out: list[str] = []
    rows: list[dict[str, Any]] = []
    for one in portable_questions(task, source, left_out):
        try:
            rows.append({"index": one.item.row, **_row(one)})
        except ValueError as error:
            left_out.append(f"row {one.item.row} ({one.item.id}): {error}")
    if not rows:
        raise ValueError(
            f"{source.name} has no question that fits VLMEvalKit's table ({left_out[0] if left_out else 'it is empty'})"
        )
    most = max(sum(letter in row for letter in LETTERS) for row in rows)
    columns = ["index", "id", "image", "question", *LETTERS[:most], "answer", "category"]
    write_text(Path(out) / f"{task.name}.tsv", _table(columns, rows))
    return Exported(Path(out), len(rows), left_out)


def _row(one: Portable) -> dict[str, Any]:
    item = one.item
    content = last_turn(item.chat)
    pictures = [picture_bytes(part, item.root) for part in content if isinstance(part, Image)]
    if not pictures:
        raise ValueError("has no picture, and this format leaves such questions out")
    if item.chat.choices is not None and isinstance(item.chat.choices.options[0][0], Image):
        raise ValueError("has pictures as options, for which this format has no place")
    lost = next((text for text in (*item.options, item.reference) if text in NOTHING), None)
    if lost is not None:
        raise ValueError(f"has the option or answer {lost!r}, which VLMEvalKit reads as an empty cell")
    if len(item.options) > len(LETTERS):
        raise ValueError(f"has {len(item.options)} options, more than letters")
    encoded = [base64.b64encode(raw).decode("ascii") for raw in pictures]
    answer = LETTERS[item.answer] if item.answer is not None else item.reference
    return {
        "id": item.id,
        "image": encoded[0] if len(encoded) == 1 else repr(encoded),
        "question": text_behind_pictures(content),
        **dict(zip(LETTERS, item.options, strict=False)),
        "answer": answer,
        "category": item.kind,
    }


def export_answers(answers: Answers, out: Path) -> Exported:
    """Write ``out/<model>_<task>.tsv``: predictions by ``index`` and ``id`` with options and answer, as VLMEvalKit's.

    ValueError for rankings.
    """
    rows = [
        {
            "index": row["row"],
            "id": row["id"],
            **dict(zip(LETTERS, row["options"], strict=False)),
            "answer": LETTERS[row["answer"]] if row["options"] else row["reference"],
            "category": row["kind"],
            "prediction": row["text"],
        }
        for row in answers.rows
        if "text" in row
    ]
    most = max((len(row["options"]) for row in answers.rows), default=0)
    if not rows:
        raise ValueError(f"{answers.path} holds no answer in words; predictions are texts")
    model = Path(str(answers.header["model"])).name or "model"
    path = Path(out) / f"{model}_{answers.header['task']['name']}.tsv"
    columns = ["index", "id", *LETTERS[:most], "answer", "category", "prediction"]
    write_text(path, _table(columns, rows))
    return Exported(Path(out), len(rows), [f"{row.get('id')}: {row['reason']}" for row in answers.set_aside])


def _table(columns: list[str], rows: Iterable[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, delimiter="\t", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
