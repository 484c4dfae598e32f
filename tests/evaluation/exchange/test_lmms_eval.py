"""The exported folder, read as lmms-eval reads one: the same questions, answers judged alike, and the way back."""

from __future__ import annotations

import importlib.util
import io
import json
import random

import pyarrow.parquet as parquet
import pytest
import yaml
from PIL import Image

from official_files import seed_bench, seed_row
from vitrail.data.decoding import decode_rgb
from vitrail.evaluation import Task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.benchmark import LETTER
from vitrail.evaluation.exchange.lmms_eval import export_answers, export_task
from vitrail.evaluation.metrics import Match
from vitrail.evaluation.predictions import import_predictions
from vitrail.evaluation.reading import READINGS
from vitrail.evaluation.scenarios import as_item

SAID = ["A", "B. this one", "nothing", "c", ""]


@pytest.fixture
def task(tmp_path):
    rows = [seed_row(n) for n in range(5)] + [seed_row(9, data_id="gone", data_type="none")]
    scenario = {
        "name": "benchmark",
        "benchmark": "seed_bench",
        "path": str(seed_bench(tmp_path / "data", rows)),
    }
    return Task.model_validate({"name": "seed", "scenario": scenario, **LETTER})


@pytest.fixture
def folder(task, tmp_path):
    return export_task(task, task.part("scenario").source(), tmp_path / "out").folder


def functions(folder):
    spec = importlib.util.spec_from_file_location("exported_questions", folder / "questions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(folder):
    """The rows with pictures decoded, as the `datasets` library gives them."""
    table = parquet.read_table(folder / "data" / "test.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["images"] == {"feature": {"_type": "Image"}, "_type": "List"}
    rows = table.to_pylist()
    for row in rows:
        row["images"] = [Image.open(io.BytesIO(one["bytes"])) for one in row["images"]]
    return rows


def configuration(folder, name="seed"):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: f"function {node.value}")
    return yaml.load((folder / f"{name}.yaml").read_text(), Loader)


def test_the_folder_is_a_task_of_lmms_eval(task, folder):
    read, module = configuration(folder), functions(folder)
    assert read["task"] == "seed" and read["output_type"] == "generate_until" and read["test_split"] == "test"
    assert read["dataset_kwargs"]["data_files"]["test"] == str(folder / "data" / "test.parquet")
    assert read["generation_kwargs"]["max_new_tokens"] == task.inferencer["max_new_tokens"]
    named = [value for value in read.values() if str(value).startswith("function ")]
    named += [one["aggregation"] for one in read["metric_list"]]
    assert len(named) == 6 and all(callable(getattr(module, one.rpartition(".")[2])) for one in named)
    assert not any("utils" in path.name for path in folder.rglob("*"))


def test_the_same_questions_are_shown(task, folder):
    module, source = functions(folder), task.part("scenario").source()
    for row, doc in enumerate(documents(folder)):
        item = as_item(source[row], row, source.root)
        (expected,) = task.part("instruction").prompt(item).chat.messages
        (message,) = module.doc_to_messages(doc)
        assert [part["type"] for part in message["content"]] == [part.type for part in expected.content]
        for part, own in zip(message["content"], expected.content, strict=True):
            if own.type == "text":
                assert part["text"] == own.text
            else:
                assert part["url"].tobytes() == decode_rgb(own.read(source.root)).tobytes()
        assert module.doc_to_text(doc) == expected.text and len(module.doc_to_visual(doc)) == 1


@pytest.mark.parametrize("reading", [*READINGS, "contained-text"])
def test_answers_are_judged_alike(task, tmp_path, reading):
    """Whatever is said, under every reading, for options and for words."""
    metric = {"name": "match", "reading": reading}
    other = task.model_copy(update={"metric": Task(name="x", inferencer="generate", metric=metric).metric})
    folder = export_task(other, task.part("scenario").source(), tmp_path / reading).folder
    module, judge = functions(folder), Match(Match.Config(reading=reading))
    draw = random.Random(0)
    for doc in documents(folder):
        words = [*doc["options"], "A", "b", "(C)", "D.", "The answer is", "best", "no", ".", ""]
        for _ in range(40):
            said = " ".join(draw.choices(words, k=draw.randint(1, 4)))
            own = judge.judge({"text": said.strip(), "options": doc["options"], "answer": doc["answer"]})
            found = module.process_results(doc, [said])
            assert (found["accuracy"]["prediction"], found["accuracy"]["score"]) == (
                own.prediction,
                own.correct,
            )
            assert found["unparsed"]["score"] == (not own.parsed)
    open_question = {"options": [], "answer": None, "reference": "The dog", "vitrail_id": "a", "kind": "k"}
    for said in ("dog", "a Dog.", "cat", ""):
        own = judge.judge({"text": said, "options": [], "reference": "The dog"})
        assert module.judge(said, open_question) == (own.prediction, own.correct, own.parsed)


def test_there_and_back_again(task, folder, tmp_path):
    """Samples as lmms-eval writes them come back as answers with the same score; ours are written in that form."""
    module, docs = functions(folder), documents(folder)
    lines, scores = [], []
    for number, (doc, said) in enumerate(zip(docs, SAID, strict=True)):
        judged = module.process_results(doc, [said])
        scores.append(judged["accuracy"])
        # As version 0.7.3 writes them; the row is that of the exported file, which lacks what was left out.
        lines.append(
            {"doc_id": len(docs) - number, "target": doc["target"], "filtered_resps": said, **judged}
        )
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = task.part("scenario").source()
    path = import_predictions(task, source, samples, tmp_path / "answers")
    found = score(path)
    assert found.overall.right / found.overall.n == module.accuracy(scores)
    assert [row["text"] for row in read_answers(path).rows] == SAID

    done = export_answers(read_answers(path), tmp_path / "theirs")
    again = import_predictions(
        task, source, tmp_path / "theirs" / "vitrail_samples_seed.jsonl", tmp_path / "again"
    )
    assert [row["text"] for row in read_answers(again).rows] == SAID
    results = json.loads((tmp_path / "theirs" / "vitrail_results.json").read_text())
    assert results["results"]["seed"]["accuracy,none"] == module.accuracy(scores) and done.questions == 5
    assert len(done.left_out) == 1


def test_what_cannot_be_exported_is_said(task, folder, tmp_path):
    source = task.part("scenario").source()
    with pytest.raises(ValueError, match="is there already; give another folder"):
        export_task(task, source, folder)
    ranking = Task.model_validate({"name": "seed", "scenario": task.scenario})
    with pytest.raises(ValueError, match=r"answered by likelihood and judged by accuracy.*--mode letters"):
        export_task(ranking, source, tmp_path / "other")
    assert not (tmp_path / "other").exists()
