"""Predictions of other tools, in their own formats, become answers with the official score."""

from __future__ import annotations

import json

import pytest

from official_files import TEXTS, seed_bench, seed_row
from vitrail.evaluation import Task, compare, score
from vitrail.evaluation.predictions import import_predictions, read_predictions

ROWS = [seed_row(n) for n in range(4)]
SAID = ["A", "B) because", "the answer is A", "???"]  # right, right, wrong, unreadable


def forms(folder):
    """The same predictions as each tool writes them."""
    lines = [
        {"question_id": row["question_id"], "prediction": said} for row, said in zip(ROWS, SAID, strict=True)
    ]
    samples = [{"doc_id": n, "filtered_resps": [said], "target": "A"} for n, said in enumerate(SAID)]
    cells = [
        "index\tprediction",
        *(f"{row['question_id']}\t{said}" for row, said in zip(ROWS, SAID, strict=True)),
    ]
    for name, rows in (("results.jsonl", lines), ("samples.jsonl", samples)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "vlm.tsv").write_text("\n".join(cells) + "\n")
    return [folder / name for name in ("results.jsonl", "samples.jsonl", "vlm.tsv")]


@pytest.fixture
def task(tmp_path):
    data = seed_bench(tmp_path / "data", ROWS)
    scenario = {"name": "benchmark", "benchmark": "seed_bench", "path": str(data)}
    return Task(name="seed", scenario=scenario, inferencer="generate", metric="match")


def test_every_format_gives_the_same_score(task, tmp_path):
    source = task.part("scenario").source()
    paths = [import_predictions(task, source, file, tmp_path, file.stem) for file in forms(tmp_path)]
    for path in paths:
        found = score(path)
        assert (found.overall.right, found.overall.wrong, found.overall.unparsed) == (2, 1, 1)
        assert found.official["overall"].value == 0.5 and found.official.answered == 4
    assert compare(paths[0], paths[1]).overall.difference == 0.0
    again = import_predictions(task, source, forms(tmp_path)[0], tmp_path, "results")
    assert again.read_text() == paths[0].read_text()


def test_what_does_not_fit_is_said(task, tmp_path):
    source = task.part("scenario").source()
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"question_id": ROWS[0]["question_id"], "text": TEXTS[0]}) + "\n")
    found = score(import_predictions(task, source, few, tmp_path))
    assert found.overall.n == 1 and found.reasons == {"has no prediction": 3}
    few.write_text(json.dumps({"question_id": "other", "text": "A"}) + "\n")
    with pytest.raises(ValueError, match="belongs to a question of"):
        import_predictions(task, source, few, tmp_path, "other")
    few.write_text('{"question_id": "1", "text": "A"}\n{"question_id": "1", "text": "B"}\n')
    with pytest.raises(ValueError, match="line 2: '1' is there twice"):
        read_predictions(few)
    few.write_text('{"question": "1"}\n')
    with pytest.raises(ValueError, match="line 1: needs one of question_id"):
        read_predictions(few)
    ranked = Task(name="r", scenario=task.scenario)
    with pytest.raises(ValueError, match="use the metric 'match'"):
        import_predictions(ranked, source, few, tmp_path)
