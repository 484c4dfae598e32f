"""WikiMIA: official rows, planted members found, a benchmark's own items audited, what words alone tell."""

from __future__ import annotations

import json

import pytest
import torch

from vitrail.evaluation import Task, run_task, score
from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.benchmarks.wikimia import WikiMIA, bag_of_words
from vitrail.evaluation.membership import row_scores
from vitrail.evaluation.mme_survey.audits import audit
from vitrail.models.testbeds import nano as testbed

WORDS = ["red", "blue", "fish", "cow", "house", "boat", "left", "right", "center", "top"]


def texts(n, seed):
    import random

    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) for _ in range(32)) for _ in range(n)]


def wikimia(folder, members, others, **changes):
    rows = [{"input": text, "label": 1} for text in members] + [
        {"input": text, "label": 0} for text in others
    ]
    rows[-1] |= changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "WikiMIA_length32.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def task_of(folder, name="wikimia"):
    return Task(
        name=name,
        scenario={"name": "benchmark", "benchmark": "wikimia", "path": str(folder)},
        **WikiMIA.parts(None),
    )


@pytest.fixture(scope="module")
def memorised():
    """A tiny language model that read twelve texts often."""
    bundle = testbed.build(seed=0)
    ids = [bundle.tokenizer(text)["input_ids"] for text in texts(12, 0)]
    longest = max(map(len, ids))
    batch = torch.tensor([one + [bundle.pad_token_id] * (longest - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    labels = batch.masked_fill(mask == 0, -100)
    optimiser = torch.optim.AdamW(bundle.model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = bundle.model(input_ids=batch, attention_mask=mask, labels=labels).loss
        if loss.item() < 0.3:
            break
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    bundle.model.eval()
    return bundle


def test_planted_members_are_found(memorised, tmp_path):
    folder = wikimia(tmp_path / "data", texts(12, 0), texts(12, 1))
    official = score(run_task(task_of(folder), memorised, tmp_path)).official
    assert official.figures[0].name == "AUC, Min-20 %" and official.figures[0].value > 0.95
    assert official["AUC, perplexity"].value > 0.95 and official["AUC, lowercase"].value == 0.5
    assert (
        official["AUC, bag of words"].value < 0.8 and official["best balanced accuracy, Min-20 %"].value > 0.9
    )
    rows = read_answers(tmp_path / "wikimia" / "trained.jsonl").rows
    assert row_scores(rows[0])["lowercase"] == -1
    other = run_task(task_of(folder, "other"), memorised, tmp_path, batch_size=1)
    for one, two in zip(rows, read_answers(other).rows, strict=True):
        assert one["token_logprobs"] == pytest.approx(two["token_logprobs"], abs=1e-4)


def test_an_untrained_model_knows_none(nano, tmp_path):
    folder = wikimia(tmp_path / "data", texts(30, 0), texts(30, 1))
    official = score(run_task(task_of(folder), nano, tmp_path)).official
    assert official["AUC, Min-20 %"].interval[0] < 0.5 < official["AUC, Min-20 %"].interval[1]
    assert next(WikiMIA.submission(read_answers(tmp_path / "wikimia" / "trained.jsonl").rows))["label"] == 1


def test_items_of_a_benchmark_are_audited(nano, tmp_path):
    files = {}
    for role, seed in (("seen", 0), ("unseen", 7)):
        task = Task(
            name=role,
            scenario={"name": "benchmark", "benchmark": "offline_scenes", "settings": {"n": 8, "seed": seed}},
            instruction="item_text",
            inferencer="membership",
            metric="loss",
        )
        files[role] = run_task(task, nano, tmp_path)
    found = {one.name: one for one in audit(files)}
    assert found["AUC, Min-20 %"].n == 16 and 0 <= found["AUC, Min-20 %"].value <= 1
    row = read_answers(files["seen"]).rows[0]
    assert row["read"].endswith(f"Answer: {row['options'][row['answer']]}") and "\nA. " in row["read"]


def test_words_alone_tell_classes_of_unlike_topics():
    same = bag_of_words(texts(40, 0), [0, 1] * 20, range(40))
    apart = bag_of_words([f"{'ship' if n % 2 else 'moon'} {text}" for n, text in enumerate(texts(40, 0))],
                         [n % 2 for n in range(40)], range(40))  # fmt: skip
    assert same.value < 0.75 and apart.value == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 2}, "label: is 2"),
        ({"input": ""}, "input: is missing"),
        ({"label": None}, "label: is None"),
    ],
)
def test_broken_rows_are_named(tmp_path, change, words):
    source = WikiMIA(WikiMIA.Config(path=str(wikimia(tmp_path, texts(2, 0), texts(2, 1), **change)))).source()
    assert len(source) == 3 and words in str(source.set_aside.rows[0])


def test_unlike_lengths_are_told(tmp_path):
    path = str(wikimia(tmp_path, texts(2, 0), texts(2, 1), input="red fish"))
    assert len(WikiMIA(WikiMIA.Config(path=path)).source()) == 4
    cut = WikiMIA(WikiMIA.Config(path=path, cut=20)).source()
    assert len(cut) == 3 and len(cut[0].content[0].text.split()) == 20
    assert any("not comparable" in note for note in WikiMIA.remarks([{"tokens": 4}, {"tokens": 40}]))
