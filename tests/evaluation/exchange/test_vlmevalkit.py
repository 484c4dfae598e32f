"""The exported table, read as VLMEvalKit reads one, and its predictions on the way back."""

from __future__ import annotations

import ast
import base64
import csv
import io
import sys

import pytest

from conftest import picture
from official_files import seed_bench, seed_row
from vitrail.data.readers import open_source, write_jsonl
from vitrail.data.records import Chat
from vitrail.evaluation import Task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.benchmark import LETTER
from vitrail.evaluation.exchange.portable import picture_bytes
from vitrail.evaluation.exchange.vlmevalkit import export_answers, export_task
from vitrail.evaluation.predictions import import_predictions

SAID = ["A", "B.", "no\tsuch\nthing", "D"]


@pytest.fixture
def task(tmp_path):
    data = seed_bench(tmp_path / "data", [seed_row(n) for n in range(4)])
    scenario = {"name": "benchmark", "benchmark": "seed_bench", "path": str(data)}
    return Task.model_validate({"name": "Seed_letters", "scenario": scenario, **LETTER})


def table(path):
    csv.field_size_limit(sys.maxsize)
    return list(csv.DictReader(io.StringIO(path.read_text(), newline=""), delimiter="\t"))


def test_the_table_and_the_way_back(task, tmp_path):
    source = task.part("scenario").source()
    assert export_task(task, source, tmp_path / "LMUData").questions == 4
    rows = table(tmp_path / "LMUData" / "Seed_letters.tsv")
    assert [int(row["index"]) for row in rows] == [0, 1, 2, 3]
    for number, row in enumerate(rows):
        record = source[number]
        options = [parts[0].text for parts in record.choices.options]
        assert [row[letter] for letter in "ABCD"] == options
        assert options["ABCD".index(row["answer"])] == options[record.choices.answer]
        assert row["question"] == record.messages[0].text and row["category"] == record.meta["kind"]
        assert base64.b64decode(row["image"]) == record.images[0].read(source.root)

    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, ["index", "id", "question", "prediction"], delimiter="\t", lineterminator="\n"
    )
    writer.writeheader()
    for row, said in zip(rows, SAID, strict=True):
        writer.writerow(
            {"index": row["index"], "id": row["id"], "question": row["question"], "prediction": said}
        )
    (tmp_path / "said.tsv").write_text(buffer.getvalue())
    path = import_predictions(task, source, tmp_path / "said.tsv", tmp_path)
    assert [row["text"] for row in read_answers(path).rows] == SAID and score(path).overall.unparsed == 1
    export_answers(read_answers(path), tmp_path / "theirs")
    (written,) = (tmp_path / "theirs").iterdir()
    again = import_predictions(task, source, written, tmp_path / "again")
    assert [row["text"] for row in read_answers(again).rows] == SAID


def chat(*content, **fields):
    options = {"choices": {"options": ("one", "two"), "answer": 1}}
    return Chat(messages=[{"role": "user", "content": content}], **{**options, **fields})


def test_several_pictures_and_what_has_no_place(tmp_path):
    first, second, text = picture(1), picture(2), {"type": "text", "text": "Which?"}
    records = [
        chat(first, second, text, id="two"),
        chat(text, id="none"),
        chat(first, text, id="lost", choices={"options": ("one", "None"), "answer": 0}),
        chat(first, text, second, id="between"),
        Chat(
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": (first, text)},
            ],
            choices={"options": ("one", "two"), "answer": 0},
            id="system",
        ),
    ]
    write_jsonl(records, tmp_path / "own.jsonl")
    task = Task.model_validate({"name": "own", **LETTER})
    done = export_task(task, open_source(tmp_path / "own.jsonl"), tmp_path / "out")
    (row,) = table(tmp_path / "out" / "own.tsv")
    assert [base64.b64decode(one) for one in ast.literal_eval(row["image"])] == [first.bytes, second.bytes]
    assert row["answer"] == "B" and done.questions == 1
    reasons = "\n".join(done.left_out)
    assert "no picture" in reasons and "between or behind" in reasons and "a system message" in reasons
    assert "the option or answer 'None'" in reasons


def test_pictures_that_tools_decode_differently_are_written_plainly():
    """A transparent one would be black there and white here."""
    from PIL import Image as PILImage

    from vitrail.data.decoding import decode_rgb
    from vitrail.data.records import Image

    buffer = io.BytesIO()
    PILImage.new("RGBA", (4, 4), (255, 0, 0, 0)).save(buffer, "PNG")
    raw = picture_bytes(Image(bytes=buffer.getvalue()), None)
    there = PILImage.open(io.BytesIO(raw)).convert("RGB")
    assert there.tobytes() == decode_rgb(buffer.getvalue()).tobytes()
